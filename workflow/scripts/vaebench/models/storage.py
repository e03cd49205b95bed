"""Models on disk: a folder with the specification it is rebuilt from, and what its provider saves.

No pickle in it is opened.
"""

import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vaebench.base.durable import sync, sync_tree
from vaebench.base.errors import UserError
from vaebench.base.formats import stamped
from vaebench.models.interface import Autoencoder
from vaebench.models.lookup import provider_of
from vaebench.models.provider import SPECIFICATION, read_specification
from vaebench.models.run_spec import ModelSpec


def save_model(model: Autoencoder, record: Mapping[str, Any], folder: Path) -> None:
    """Write `folder` as the model's provider does, and beside it `record`, the specification (`ModelSpec.as_record`).

    The folder is new when it is there at all: it is written under a temporary name, is on the disk for good, and
    replaces an older one.
    """
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        provider_of(record["model"]).save(model, temporary)
        described = {"spec": dict(record), "input_shape": list(model.input_shape)}
        (temporary / SPECIFICATION).write_text(json.dumps(stamped("model", described), indent=2, sort_keys=True) + "\n")
        temporary.chmod(0o755)
        sync_tree(temporary)
        former = temporary.with_name(f"{temporary.name}.former")
        if folder.exists():
            folder.rename(former)
        temporary.rename(folder)
        sync(folder.parent)
        shutil.rmtree(former, ignore_errors=True)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def load_model(folder: Path | str, device: str = "cpu") -> Autoencoder:
    """The model saved in `folder`, in eval mode on `device`.

    It is rebuilt from the specification, and no code in the folder is executed, unless the specification says so (a
    pretrained model imported with `trust_pickle`). Raises `UserError` when the folder holds no such model.
    """
    folder = Path(folder)
    described = read_specification(folder)
    if described is None:
        raise UserError(
            f"{folder} has no {SPECIFICATION}: not a model of this pipeline; give it as `pretrained: {{path: ...}}`"
        )
    spec = ModelSpec.recorded(described["spec"])
    channels, height, width = described["input_shape"]
    model = provider_of(spec.model_name).load(folder, spec, (channels, height, width))
    return model.to(device).eval()
