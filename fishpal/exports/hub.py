"""Models to the Hugging Face hub."""

import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from fishpal.api.card import FILE as CARD
from fishpal.api.model import Model
from fishpal.api.origin import ORIGIN, Origin
from fishpal.common.checks import check_types
from fishpal.common.errors import SourceError, brief, caution
from fishpal.common.files import read_json, write_json
from fishpal.common.validate import decode
from fishpal.exports.peft_encoder import BASE, CONFIG
from fishpal.params.sections import HUB_NAME, check_pattern


def push_to_hub(
    model: Model | str | Path,
    name: str,
    *,
    private: bool = False,
    licence: str | None = None,
    token: str | None = None,
) -> str:
    """Upload a model, or a folder that an export wrote, as repository `name`; its commit.

    Args:
        name: owner/name; made where it does not exist.
        licence: for the card of a `Model`.
        token: None: that of `hf auth login` or `HF_TOKEN`.

    Raises:
        SourceError: the hub cannot be reached, or refuses.
    """
    check_types(model=(model, (Model, str, Path)))
    check_pattern("name", HUB_NAME, name, "owner/name of the hub")
    if not isinstance(model, Model) and not Path(model).is_dir():
        raise SourceError(f"{model}: is no folder; allowed: a model, or a folder of an export")
    if isinstance(model, Model) or _local(Path(model)):
        with tempfile.TemporaryDirectory(prefix="fishpal-") as draft:
            folder = Path(draft, "model")
            if isinstance(model, Model):
                model.save(folder, licence)
            else:
                shutil.copytree(model, folder)
            if path := _local(folder):
                _forget_encoder(path, name)
            return _upload(folder, name, private, token)
    return _upload(Path(model), name, private, token)


def _upload(folder: Path, name: str, private: bool, token: str | None) -> str:
    import huggingface_hub as hub  # here: slow to import

    try:
        api = hub.HfApi(token=token)
        api.create_repo(name, private=private, exist_ok=True)
        commit = api.upload_folder(repo_id=name, folder_path=folder)
    except Exception as error:  # of the HTTP library, which is another in each major version
        said = brief(str(error).partition("\n")[0], 160)
        raise SourceError(f"hub model {name}: cannot be written: {said}") from error
    return str(commit.oid)


def _local(folder: Path) -> Path | None:
    """The file of a saved model, or of peft's, that names a folder of this machine as encoder."""
    path = folder / ORIGIN
    if path.is_file():
        origin = Origin.load(path)
        return path if origin.revision is None and origin.encoder else None
    path = folder / CONFIG
    config = decode(dict[str, Any], read_json(path), str(path)) if path.is_file() else {}
    base = config.get(BASE)
    return path if isinstance(base, str) and Path(base).is_dir() else None


def _forget_encoder(path: Path, name: str) -> None:
    """Where it lies on this machine tells others nothing, and is none of theirs."""
    what = "the model's encoder is a folder, which is not uploaded"
    if path.name == CONFIG:
        config, card = read_json(path), path.parent / CARD
        base = Path(config[BASE]).name
        write_json(path, config | {BASE: base})
        if card.is_file():
            card.write_text(card.read_text("utf-8").replace(config[BASE], base), "utf-8")
        caution(f"{name}: {what}: others load the base model first, one of the same weights")
        return
    replace(Origin.load(path), encoder="").save(path)
    caution(f"{name}: {what}: others load it with `encoder`, one of the same weights")
