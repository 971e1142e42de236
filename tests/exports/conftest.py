"""Models of random modules in tiny encoders of every type, with texts to compare on."""

from __future__ import annotations

import ast
import json
import re
from dataclasses import replace

import pytest
import torch

import fishpal
from benchmarks.toy.encoder import save_tokenizer, tiny_folder
from fishpal.params.module_options import LoraOptions
from tests.api.conftest import plan_of, texts_of

SIZES = LoraOptions()
TYPED = ("bert", "electra", "deberta-v2")


@pytest.fixture(scope="session")
def text_encoders(tmp_path_factory):
    """`text_encoders(type, pooling)`: loaded once; models of it are twins."""
    found = {}

    def load(kind, pooling):
        if (kind, pooling) not in found:
            folder = tiny_folder(kind, tmp_path_factory.mktemp("encoder") / kind)
            names = ["input_ids", "attention_mask"]
            save_tokenizer(folder, model_input_names=names + ["token_type_ids"] * (kind in TYPED))
            found[kind, pooling] = fishpal.load_encoder(folder, pooling)
        return found[kind, pooling]

    return load


@pytest.fixture
def make(text_encoders):
    """`make(type or encoder, pooling, …)`: of random modules and a random head."""

    def build(
        kind="bert", pooling="cls", kinds=("lora",) * 3, classes=2, pair=False, lora=SIZES,
        around=0, gates=False,
    ):  # fmt: skip
        encoder = text_encoders(kind, pooling) if isinstance(kind, str) else kind
        texts, labels = texts_of(60, classes)
        labels = [f"c{y}" for y in labels] if classes > 1 else [around + i / 7 for i in range(60)]
        if classes == 1:
            texts, _ = texts_of(60)
        if pair:
            texts = list(zip(texts, texts[::-1], strict=True))
        task = fishpal.Task.from_lists(texts, labels, name="toy")
        options = fishpal.ModuleOptions(lora=lora, gates=gates)
        plan = replace(plan_of(encoder), layers=tuple(kinds), modules=options)
        model = fishpal.start(encoder, task, plan)
        generator = torch.Generator().manual_seed(7)
        with torch.no_grad():
            for parameter in [*model.module.modules_.parameters(), *model.module.head.parameters()]:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) / 2)
        return model

    return build


TEXTS = texts_of(9, seed=11)[0] + ["w1", "w2 w3 w4 w5 w6 w7 w8 w9 w10 w11"]


def expected_of(model):
    """Logits (n, C); a regression's in the label's own unit."""
    logits = model.logits(TEXTS)
    scale = model.task.scale
    return logits if scale is None else logits * scale.sd + scale.mean


def run_listing(folder):
    """Run the listing of a folder's model card; its names, and its last line's value: `last`."""
    listing = (folder / "README.md").read_text().split("```python\n")[1].split("```")[0]
    names: dict[str, object] = {}
    origin = folder / "origin.json"
    encoder = json.loads(origin.read_text())["encoder"] if origin.is_file() else ""
    listing = re.sub("path/of/[^']+", encoder, listing)
    tree = ast.parse(listing.replace("path/or/name", str(folder)))
    if isinstance(tree.body[-1], ast.Expr):
        tree.body[-1] = ast.Assign([ast.Name("last", ast.Store())], tree.body[-1].value)
    code = compile(ast.fix_missing_locations(tree), "listing", "exec")
    exec(code, names)  # noqa: S102 - the card's own
    return names
