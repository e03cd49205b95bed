"""Bring a trained pythae model from the Hugging Face Hub or a folder into the place of a training, without its pickles.

pythae saves its networks as pickles, and opening a pickle runs whatever code is in it. Here the weights are read as
plain tensors, and the networks are rebuilt: among the known ones (pythae's default and benchmark networks, our compact
ones, or those named in the config) the one is taken whose parameters have the very names and shapes of the weights.
"""

import json
import math
import sys
from collections.abc import Mapping
from pathlib import Path

import torch
from pythae.models import AutoModel, BaseAE
from torch import Tensor, nn

from vaebench.arrays import open_array
from vaebench.catalog import MODELS, NETS
from vaebench.errors import UserError
from vaebench.files import atomic_path, sha256_of
from vaebench.finiteness import not_finite
from vaebench.inference import reconstruct
from vaebench.models import (
    DEFAULT,
    PICKLED,
    build_config,
    build_model,
    build_network,
    live_state,
    load_weights,
    restore_model,
    roles_of,
    save_model,
)
from vaebench.provenance import environment

PLAIN_FILES = ("model_config.json", "model.pt")
SET_BY_PYTHAE = {"name", "input_dim", "discriminator_input_dim"}
CHECKED = 512  # images of the validation split that the imported model is tried on


def import_pretrained(spec: Mapping, eval_data: Path, output: Path, history: Path, provenance: Path) -> None:
    """Write the model that `spec["pretrained"]` names as a training would: `output`, `history`, `provenance`.

    `spec["pretrained"]` holds `hf_hub` (an id on the Hub) or `path` (a folder that pythae saved), and `trust_pickle`,
    which allows the pickled networks to be executed. `eval_data` is an npz of uint8 images (n, C, H, W): the model must
    be one for such images. The history has one row, the validation MSE. Raises `UserError` when files are missing, the
    weights are no plain tensors, the images have another shape, or no known network fits.
    """
    source = spec["pretrained"]
    trust = bool(source.get("trust_pickle"))
    folder = _download(source["hf_hub"], trust) if source.get("hf_hub") else Path(source["path"]).expanduser()
    images = open_array(eval_data)
    described = _read_config(folder)
    model_name, fields, shape = _what_it_is(described, folder)
    if spec.get("model") not in (None, model_name):
        raise UserError(f"{spec['run']}: the config says {spec['model']}, but {folder} holds a {model_name}")
    if shape != images.shape[1:]:
        raise UserError(f"{spec['run']}: the model is for images {shape} (C, H, W), the data are {images.shape[1:]}")
    resolved = {**spec, "model": model_name, "config": fields}
    if trust:
        print(f"WARNING: trust_pickle is set: code from {folder} is executed now.", file=sys.stderr)
        model = AutoModel.load_from_folder(str(folder)).eval()
        resolved["nets"] = dict.fromkeys(roles_of(model_name), PICKLED)
    else:
        weights = load_weights(folder / "model.pt")
        resolved["nets"] = _find_networks(resolved, shape, described, weights["model_state_dict"])
        model = build_model(resolved, shape).eval()
        restore_model(model, weights)
    if name := not_finite(live_state(model)):
        raise UserError(f"{spec['run']}: the weights in {folder} are not finite (first {name}): the training diverged")
    mse = _validation_mse(model, images)
    if not math.isfinite(mse):
        raise UserError(f"{spec['run']}: the model in {folder} gives images that are not finite (mse {mse})")
    save_model(model, resolved, output)
    with atomic_path(history) as temporary:
        temporary.write_text(f"epoch,split,term,value\n0,eval,mse,{mse!r}\n")
    record = {
        "spec": resolved,
        "source": dict(source),
        "files": {path.name: sha256_of(path) for path in sorted(folder.iterdir()) if path.is_file()},
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "environment": environment(),
    }
    with atomic_path(provenance) as temporary:
        temporary.write_text(json.dumps(record, indent=2, sort_keys=True) + "\n")
    print(f"{spec['run']}: {model_name} with {resolved['nets']}, validation MSE {mse:.5f}; {output}", file=sys.stderr)


def _download(name: str, trust: bool) -> Path:
    """A folder with the model's plain files from the Hub (HF_ENDPOINT, HF_HOME and HF_TOKEN hold); pickles on trust."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    wanted = [*PLAIN_FILES, "environment.json", *(["*.pkl"] if trust else [])]
    try:
        return Path(snapshot_download(name, allow_patterns=wanted))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise UserError(
            f"pretrained.hf_hub: {name} cannot be downloaded: {error}. Without network, download it elsewhere and give "
            "the folder as `pretrained: {path: ...}`"
        ) from error


def _read_config(folder: Path) -> dict:
    missing = [name for name in PLAIN_FILES if not (folder / name).is_file()]
    if missing:
        raise UserError(f"pretrained: {folder} has no {', '.join(missing)}; give a folder that pythae saved")
    return json.loads((folder / "model_config.json").read_text())


def _what_it_is(described: Mapping, folder: Path) -> tuple[str, dict, tuple[int, ...]]:
    """Model name, configuration fields and input shape from pythae's model_config.json."""
    name = str(described.get("name", "")).removesuffix("Config").removesuffix("_")
    if name not in MODELS:
        raise UserError(
            f"pretrained: {folder}/model_config.json is of {described.get('name')!r}, no model of pythae 0.1.2"
        )
    if not described.get("input_dim"):
        raise UserError(f"pretrained: {folder}/model_config.json does not say input_dim, the shape of the images")
    fields = {
        key: value
        for key, value in described.items()
        if key not in SET_BY_PYTHAE and not key.startswith("uses_default")
    }
    return name, fields, tuple(described["input_dim"])


def _find_networks(spec: Mapping, shape: tuple[int, ...], described: Mapping, weights: Mapping[str, Tensor]) -> dict:
    """The name of a network for each role whose parameters fit the weights; `UserError` when none does."""
    config = build_config(spec["model"], spec["config"], shape)
    chosen = {}
    for role in roles_of(spec["model"]):
        expected = _shapes({key: value for key, value in weights.items() if key.startswith(f"{role}.")}, f"{role}.")
        named = (spec.get("nets") or {}).get(role)
        known = [named] if named else [*NETS]
        candidates = [DEFAULT] if described.get(f"uses_default_{role}", False) else known
        chosen[role] = next((name for name in candidates if _fits(role, name, spec, config, expected)), None)
        if chosen[role] is None:
            raise UserError(
                f"{spec['run']}: no network among {', '.join(candidates)} has the parameters of this model's {role} "
                f"({len(expected)} tensors, first {next(iter(expected.items()), None)}). Its own network is a pickle, "
                "which can run any code and is not opened. Write the network as a class and name it under nets "
                f"({role}: package.module.Class), or set pretrained.trust_pickle: true if you trust its author"
            )
    return chosen


def _fits(role: str, name: str, spec: Mapping, config: object, expected: Mapping) -> bool:
    if name == DEFAULT:
        return True
    if name in NETS and NETS[name].check(role, spec["model"], config.input_dim, vars(config)):
        return False
    with torch.random.fork_rng(devices=[]):
        network: nn.Module = build_network(role, name, spec["model"], config)
    return _shapes(network.state_dict()) == expected


def _shapes(tensors: Mapping[str, Tensor], prefix: str = "") -> dict[str, tuple[int, ...]]:
    return {key.removeprefix(prefix): tuple(value.shape) for key, value in tensors.items()}


def _validation_mse(model: BaseAE, images: object) -> float:
    x = torch.from_numpy(images[:CHECKED].copy()).float() / 255
    model.device = torch.device("cpu")
    return float((reconstruct(model, x).detach() - x).square().double().mean())
