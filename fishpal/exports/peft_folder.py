"""LoRA or (IA)³ as a checkpoint of `peft`, with the head where transformers' own model takes it."""

from pathlib import Path

from safetensors.torch import load_file, save_file

from fishpal.api.model import Model
from fishpal.common.checks import check_types
from fishpal.common.errors import EncoderError
from fishpal.common.files import read_json, write_json
from fishpal.encoders.classification import base_prefix, head_spec, head_tensors, named_config
from fishpal.encoders.ports import config_of
from fishpal.exports.peft_encoder import BASE, CONFIG, HEAD, WEIGHTS, is_own
from fishpal.exports.peft_encoder import export_peft as export_bare
from fishpal.exports.transformers_folder import export_folder, own_unit
from fishpal.models.classifier import Classifier

ROOT = "base_model.model."


def export_peft(model: Model | Classifier, folder: str | Path, licence: str | None = None) -> None:
    """Write a `peft` checkpoint.

    Where transformers' classification model takes the head (cls pooling, texts of pairs not
    compared), for that model, with
    the head in `modules_to_save`: `PeftModel.from_pretrained(AutoModelForSequenceClassification…)`
    gives the logits, to 1e-4. Else for the bare encoder, with the head beside
    (`fishpal.exports.peft_encoder.export_peft`, which a `Classifier` always gets).

    Raises:
        PlanError: where the model has modules that peft does not know, or none.
        FishpalError: where the folder holds files of others (`replacing`), or the encoder.
    """
    check_types(model=(model, (Model, Classifier)), folder=(folder, (str, Path)))
    if isinstance(model, Classifier):
        export_bare(model, folder)
        return
    try:
        spec = head_spec(config_of(model.encoder.model), model.encoder.pooling)
    except EncoderError:
        spec = None
    spec = None if model.module.compares else spec
    names = len(model.classes or ("value",))
    # A base that was fine-tuned may have a head for other labels, which peft's takes the place of.
    number = f", num_labels={names}, ignore_mismatched_sizes=True"
    how = {"auto": "AutoModelForSequenceClassification", "number": number}
    if spec is None:
        beside = "  # pooling and head.safetensors come on top"
        if model.module.compares:
            features = "[pooled, |u - v|, u * v], u and v the means of either text"
            beside = f"  # head.safetensors on {features}, comes on top"
        how = {"auto": "AutoModel", "number": "", "beside": beside}
    with export_folder(folder, model, "peft", licence, is_own, **{"beside": ""} | how) as draft:
        export_bare(model.module, draft)
        config = read_json(draft / CONFIG) | {BASE: model.encoder.name}
        config["revision"] = model.encoder.revision
        if spec is None:
            weight, bias = own_unit(model)
            save_file({"weight": weight.contiguous(), "bias": bias.contiguous()}, draft / HEAD)
        else:
            tensors = load_file(draft / WEIGHTS)
            prefix = base_prefix(named_config(model.encoder.folder, model.classes))
            tensors = {n.replace(ROOT, f"{ROOT}{prefix}.", 1): t for n, t in tensors.items()}
            head = head_tensors(spec, *own_unit(model))
            tensors |= {ROOT + name: tensor for name, tensor in head.items()}
            save_file(tensors, draft / WEIGHTS)
            config |= {"task_type": "SEQ_CLS", "modules_to_save": spec.modules}
            (draft / HEAD).unlink()
        write_json(draft / CONFIG, config)
