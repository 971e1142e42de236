"""What a saved model needs beside its trained folder."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from fishpal.api.card import Scores
from fishpal.api.encoder import TextEncoder
from fishpal.common.checks import at_least, check_choice
from fishpal.common.errors import PlanError, brief, caution
from fishpal.common.kinds import MetricName
from fishpal.records.record import JsonRecord, without_default

ORIGIN = "origin.json"


@dataclass(frozen=True)
class Origin(JsonRecord):
    """Where a model's encoder is, how texts are cut, and what it has scored.

    Attributes:
        encoder: a name on the hub, with its `revision`, or a folder.
        scores: as the model card has them; left out of the file where there are none.
        tokens: the digest of the encoder's tokenizer, which its weights know nothing of.
        config: that of what its config.json says, for the same reason.
    """

    encoder: str
    revision: str | None
    max_length: Annotated[int, at_least(1)]
    scores: tuple[Scores, ...] = ()
    tokens: str | None = None
    config: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in (name for each in self.scores for name in each.values):
            check_choice("scores", name, ("n", "loss", *MetricName))  # they go into cards as text

    def to_json(self) -> dict[str, Any]:
        data = without_default(super().to_json(), "scores", ())
        return without_default(without_default(data, "tokens", None), "config", None)

    def check(self, encoder: TextEncoder, folder: Path) -> None:
        """`PlanError` where the encoder's tokenizer is another one than it was; a warning where its
        config is, which other versions of transformers may write otherwise, too."""
        if self.tokens not in (None, encoder.tokens_sha256):
            raise PlanError(f"{folder}: was trained with another tokenizer; allowed: that one")
        if self.config not in (None, encoder.config_sha256):
            what = "the encoder's config.json says other things than when the model was saved"
            caution(f"{folder}: {what}: it may compute otherwise")


def read_origin(folder: Path, given: bool, max_length: int) -> Origin:
    """That of a saved model; of a pipeline's folder, which has none, with this `max_length`.

    `PlanError` where no encoder is `given`, and it is not where the file says, or nothing says it.
    """
    if (folder / ORIGIN).is_file():
        origin = Origin.load(folder / ORIGIN)
        local = origin.revision is None and not given
        if local and not (origin.encoder and Path(origin.encoder).is_dir()):
            what = f"the encoder's folder is '{brief(origin.encoder)}', which is not here"
            raise PlanError(f"{folder}: {what}; allowed: with `encoder`, where that lies")
        return origin
    if not given:
        raise PlanError(f"{folder}: has no {ORIGIN}; allowed: with `encoder`, where that lies")
    return Origin("", None, max_length)
