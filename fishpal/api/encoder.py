"""An encoder by its folder or its name on the hub, together with its tokenizer."""

import copy
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, Self

from torch import Tensor, nn

from fishpal.common.checks import check_types
from fishpal.common.errors import SourceError, caution
from fishpal.common.files import read_json
from fishpal.common.validate import decode
from fishpal.encoders.encoder import Encoder
from fishpal.encoders.encoder import load_encoder as load_folder
from fishpal.encoders.tokenizer import digest_of, load_tokenizer
from fishpal.modules.attach import check_free
from fishpal.params.sections import ENCODER_FILES, HUB_NAME, check_pattern
from fishpal.records.facts import Pooling
from fishpal.sources.encoder_files import fetch_snapshot

# Keys of config.json that change nothing in what an encoder computes.
ABOUT = {"transformers_version", "architectures", "_name_or_path", "dtype", "torch_dtype"}
OWN_FILES = ("*.json", "*.safetensors", *ENCODER_FILES)


@dataclass(frozen=True)
class TextEncoder(Encoder):
    """An encoder that knows where it came from, and so its tokenizer.

    Attributes:
        folder: where its files lie, whatever becomes of the working folder.
        name: the folder, or its name on the hub.
        revision: its commit there.
    """

    folder: Path
    name: str
    revision: str | None = None

    @cached_property
    def tokenizer(self) -> Any:
        """The encoder's own (`EncoderError` where its folder has no usable one)."""
        return load_tokenizer(self.folder)

    @cached_property
    def tokens_sha256(self) -> str:
        """Of what the tokenizer makes of texts (`encoders.tokenizer.digest_of`)."""
        return digest_of(self.tokenizer)

    @cached_property
    def config_sha256(self) -> str:
        """Of what config.json says beside `ABOUT`, and weights do not."""
        path = self.folder / "config.json"
        said = decode(dict[str, Any], read_json(path), str(path))
        own = json.dumps({key: said[key] for key in sorted(said.keys() - ABOUT)})
        return hashlib.sha256(own.encode()).hexdigest()

    def twin(self, full: bool = False) -> Self:
        """An encoder of its own modules that shares the weights, or, where `full`, has copies.

        So that several models live side by side: modules are hooks in an encoder, and one encoder
        serves one model at a time. `AttachError` where this one is in use.
        """
        check_free(self.model)
        memo = {} if full else shared_weights(self.model, self.model)
        return replace(self, model=copy.deepcopy(self.model, memo))

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Itself, for `sklearn.clone`: frozen, and too large to be copied with every fold."""
        return self

    def __copy__(self) -> Self:
        """Itself, too."""
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """Where its files lie: other processes load it again, small, and whatever its type."""
        return _reloaded, (self.folder, self.pooling, self.name, self.revision)


def shared_weights(model: nn.Module, other: nn.Module) -> dict[int, Any]:
    """A memo for `copy.deepcopy` of `model`: what lies in `other`'s memory stays there.

    Its tensors are the copy's own, which may be moved, cast or unfrozen by itself; what changes
    numbers in place changes both.
    """
    memory = {tensor.data_ptr() for tensor in _tensors(other)}
    return {id(each): _own(each) for each in _tensors(model) if each.data_ptr() in memory}


def _tensors(model: nn.Module) -> Iterator[Tensor]:
    return chain(model.parameters(), model.buffers())


def _own(tensor: Tensor) -> Tensor:
    """Another tensor in the same memory."""
    own = tensor.detach()
    return nn.Parameter(own, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else own


def load_encoder(
    name: str | Path, pooling: Pooling | None = None, revision: str | None = None
) -> TextEncoder:
    """Load a supported encoder, frozen, from a folder or the Hugging Face hub.

    Reads safetensors only, and never runs code that lies beside them.

    Args:
        name: a folder as `save_pretrained` writes it, or a name on the hub.
        pooling: of tokens into one vector a text; None: as the folder's own `fishpal.json` or
            sentence-transformers' file says, else `mean`, or a decoder's `last`.
        revision: a commit on the hub. None takes the newest, and warns with its hash.

    Raises:
        EncoderError: a file is missing, unreadable or of an unsupported type.
        ParamsError: `pooling` is none that there is.
        SourceError: the hub does not answer, or has no such model.
    """
    folder = found_folder(name, revision)
    commit = None if Path(name).is_dir() else folder.name
    return _reloaded(folder, pooling, str(name), commit)


def _reloaded(folder: Path, pooling: Pooling | None, name: str, commit: str | None) -> TextEncoder:
    found = vars(load_folder(folder, pooling))
    return TextEncoder(**found, folder=folder.resolve(), name=name, revision=commit)


def found_folder(name: str | Path, revision: str | None = None) -> Path:
    """A folder as it is, or the local copy of what has that name on the hub."""
    check_types(name=(name, (str, Path)))
    if Path(name).is_dir():
        if revision is not None:
            raise SourceError(f"{name}: is a folder; allowed with revision: a name on the hub")
        return Path(name)
    check_pattern("name", HUB_NAME, str(name), "a folder that exists, or owner/name of the hub")
    folder = fetch_snapshot(str(name), revision, OWN_FILES)
    if revision is None:  # the cache keeps each commit in a folder of its name
        caution(f"{name}: no revision was given; this is revision='{folder.name}'")
    return folder
