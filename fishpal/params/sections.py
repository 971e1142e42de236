"""The sections of params.yaml that only the pipeline reads: grid, encoder, tokenize."""

import re
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Discriminator

from fishpal.common.checks import Seed, at_least, check, check_seed
from fishpal.common.validate import Strict

# Names become paths, stage names and commands; a hyphen could make two matrix cells collide.
NAME = re.compile(r"[a-z0-9_]+")
SHA256 = re.compile(r"[0-9a-f]{64}")
REVISION = re.compile(r"[0-9a-f]{40}")
VERSION = re.compile(r"[0-9A-Za-z.+!_-]+")
PACKAGE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
HUB_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)?")
# Data only: no pickled weights (.bin, .pt) and no code (.py) of an encoder is ever taken.
MODEL = ("config.json", "model*.safetensors", "model.safetensors.index.json")
VOCABULARIES = ("tokenizer.json", "vocab.txt", "vocab.json", "*.model")  # .model: SentencePiece
TOKENIZER = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "merges.txt")
LOWERED = ("sentence_bert_config.json",)  # whether sentence-transformers lowers texts first
ENCODER_FILES = (*MODEL, *VOCABULARIES, *TOKENIZER, *LOWERED)


def is_wanted(path: str) -> bool:
    """Whether a path relative to the encoder's folder is data that an encoder needs."""
    return "/" not in path and any(fnmatch(path, pattern) for pattern in ENCODER_FILES)


def check_name(what: str, name: str) -> None:
    check(bool(NAME.fullmatch(name)), what, f"'{name}'", "letters a-z, digits and _")


def check_pattern(what: str, pattern: re.Pattern[str], value: str, allowed: str) -> None:
    check(bool(pattern.fullmatch(value)), what, f"'{value}'", allowed)


@dataclass(frozen=True, kw_only=True)
class PinnedWheel(Strict):
    """A wheel of the package index; never installed, never imported."""

    package: str
    version: str
    sha256: str

    def __post_init__(self) -> None:
        check_pattern("package", PACKAGE, self.package, "a name of the package index")
        check_pattern("version", VERSION, self.version, "an exact version")
        check_pattern("sha256", SHA256, self.sha256, "64 hex digits")


@dataclass(frozen=True, kw_only=True)
class Wheel(PinnedWheel):
    """The one wheel that a source is in."""

    type: Literal["package"]


@dataclass(frozen=True, kw_only=True)
class Part(PinnedWheel):
    """A piece of an archive: a file inside a wheel."""

    file: str


@dataclass(frozen=True)
class Grid(Strict):
    """The cells of the comparison: every task × method × seed."""

    tasks: tuple[str, ...]
    methods: tuple[str, ...]
    seeds: tuple[int, ...]

    def __post_init__(self) -> None:
        for key, values in vars(self).items():
            check(bool(values), key, "empty", "one entry or more")
            check(len(set(values)) == len(values), key, list(values), "each entry once")
        for seed in self.seeds:
            check_seed("seeds", seed)


@dataclass(frozen=True, kw_only=True)
class AnySource(Strict):
    """What every source, of a task or an encoder, has in common."""

    licence: str = "unknown"

    def local_files(self) -> list[Path]:
        """The files of this machine that it reads; none for packages and the hub."""
        return []


@dataclass(frozen=True, kw_only=True)
class PackageEncoder(Wheel, AnySource):
    """A folder inside a wheel."""

    folder: str

    def describe(self) -> str:
        """What the encoder is, for the report."""
        return f"{self.folder} of package {self.package} {self.version}"


@dataclass(frozen=True, kw_only=True)
class PackagesEncoder(AnySource):
    """A folder inside a zip that is cut over several wheels; `parts` in the order of the cuts."""

    type: Literal["packages"]
    parts: tuple[Part, ...]
    folder: str

    def __post_init__(self) -> None:
        check(len(self.parts) > 0, "parts", "empty", "one part or more")
        files = [part.file for part in self.parts]
        check(len(set(files)) == len(files), "parts", files, "each file once")

    def describe(self) -> str:
        first, last = self.parts[0], self.parts[-1]
        return f"{self.folder} of packages {first.package} to {last.package} {last.version}"


@dataclass(frozen=True, kw_only=True)
class HubEncoder(AnySource):
    """A model of the Hugging Face hub at a pinned revision; safetensors only."""

    type: Literal["hub"]
    name: str
    revision: str

    def __post_init__(self) -> None:
        check_pattern("name", HUB_NAME, self.name, "owner/name of the hub")
        check_pattern("revision", REVISION, self.revision, "a commit of 40 hex digits")

    def describe(self) -> str:
        return f"{self.name} at revision {self.revision[:8]}"


@dataclass(frozen=True, kw_only=True)
class FolderEncoder(AnySource):
    """A local folder as `save_pretrained` writes it; safetensors only."""

    type: Literal["folder"]
    folder: str

    def local_files(self) -> list[Path]:
        return [path for path in Path(self.folder).glob("*") if is_wanted(path.name)]

    def describe(self) -> str:
        return f"the folder {Path(self.folder).name}"


EncoderSource = PackageEncoder | PackagesEncoder | HubEncoder | FolderEncoder


@dataclass(frozen=True)
class Encoder(Strict):
    """The frozen encoder and how its last hidden states become one vector a text."""

    source: Annotated[EncoderSource, Discriminator("type")]
    pooling: Literal["mean", "cls", "last"] = "mean"


@dataclass(frozen=True)
class Tokenize(Strict):
    max_length: Annotated[int, at_least(4)] = 128
    split_seed: Seed = 0
