"""Put a trained model on the Hugging Face Hub, with a card that says how to open it."""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vaebench.base.errors import UserError
from vaebench.base.files import atomic_path
from vaebench.base.formats import read_json
from vaebench.models.lookup import provider_of

CARD = """---
library_name: {library}
tags: [variational-autoencoder, vaebench]
---
# {title}

{model} trained by vaebench on the data set {dataset}: {parameters:,} parameters, seed {seed}, the weights of epoch
{kept_epoch} of {epochs}, kept by `{metric}` on the validation images. {how_to_open}

```json
{spec}
```
"""


@dataclass(frozen=True)
class Repository:
    """A repository on the Hub, account/name, and whether others may not see it, should it have to be made."""

    name: str
    private: bool


def upload(model: Path, provenance: Path, dataset: str, repository: Repository, output: Path) -> None:
    """Upload the folder `model` and a model card to the repository and write the commit to `output`.

    The repository is made if need be. The Hub's own settings hold: HF_ENDPOINT, HF_TOKEN, `hf auth login`. Raises
    `UserError` when the Hub cannot be reached or refuses.
    """
    from huggingface_hub import CommitOperationAdd, HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalTokenNotFoundError

    card = model_card(read_json("training", provenance), dataset, repository.name)
    files = [path for path in sorted(model.rglob("*")) if path.is_file()]
    operations = [CommitOperationAdd(str(path.relative_to(model)), path) for path in files]
    operations.append(CommitOperationAdd("README.md", card.encode()))
    hub = HfApi()
    refusals: tuple[Any, ...] = HfHubHTTPError.__bases__  # its HTTP library's too
    try:
        hub.create_repo(repository.name, private=repository.private, exist_ok=True)
        commit = hub.create_commit(repository.name, operations, commit_message="Model trained by vaebench")
    except (*refusals, HFValidationError, LocalTokenNotFoundError) as error:
        raise UserError(
            f"push.hf_hub: the Hub did not take {repository.name}: {error}; log in with `hf auth login`, "
            "or set HF_TOKEN to a token that may write there"
        ) from error
    with atomic_path(output) as temporary:
        temporary.write_text(json.dumps({"repository": repository.name, "commit": commit.oid}) + "\n")
    print(f"{len(operations)} files are in {commit.commit_url}", file=sys.stderr)


def model_card(provenance: Mapping[str, Any], dataset: str, repository: str) -> str:
    """The README.md of the repository, from the provenance.json of a training."""
    spec = provenance["spec"]
    provider = provider_of(spec["model"])
    return CARD.format(
        library=provider.library,
        how_to_open=provider.how_to_open.format(repository=repository),
        title=repository.split("/")[-1],
        model=spec["model"],
        dataset=dataset,
        parameters=provenance["parameters"],
        seed=provenance["seed"],
        kept_epoch=provenance["kept_epoch"],
        epochs=provenance["epochs"],
        metric=provenance["kept_by"]["metric"],
        repository=repository,
        spec=json.dumps({key: spec[key] for key in ("model", "nets", "config", "training")}, indent=2),
    )
