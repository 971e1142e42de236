"""Models to the Hugging Face hub."""

import tempfile
from pathlib import Path

from fishpal.api.model import Model
from fishpal.common.checks import check_types
from fishpal.common.errors import SourceError, brief
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
    import huggingface_hub as hub  # here: slow to import

    check_types(model=(model, (Model, str, Path)))
    check_pattern("name", HUB_NAME, name, "owner/name of the hub")
    if isinstance(model, Model):
        with tempfile.TemporaryDirectory(prefix="fishpal-") as folder:
            model.save(Path(folder, "model"), licence)
            return push_to_hub(Path(folder, "model"), name, private=private, token=token)
    if not Path(model).is_dir():
        raise SourceError(f"{model}: is no folder; allowed: a model, or a folder of an export")
    try:
        api = hub.HfApi(token=token)
        api.create_repo(name, private=private, exist_ok=True)
        commit = api.upload_folder(repo_id=name, folder_path=model)
    except Exception as error:  # of the HTTP library, which is another in each major version
        said = brief(str(error).partition("\n")[0], 160)
        raise SourceError(f"hub model {name}: cannot be written: {said}") from error
    return str(commit.oid)
