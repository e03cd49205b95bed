"""Bring a trained pythae model from the Hugging Face Hub or a folder into the place of a training, without its pickles.

pythae saves its networks as pickles, and opening a pickle runs whatever code is in it. Here the weights are read as
plain tensors, and the networks are rebuilt: among the known ones (pythae's default and benchmark networks, our own,
those of pythae's reproducibility scripts, or those named in the config) the one is taken whose parameters have the very
names and shapes of the weights.
"""

import json
import math
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vaebench.base.errors import UserError
from vaebench.base.failures import reason_of_error
from vaebench.base.files import atomic_path, remove_left_overs, sha256_of
from vaebench.base.npz import open_array
from vaebench.base.plain_tensors import one_line
from vaebench.base.provenance import environment, write_provenance
from vaebench.base.values import as_dict
from vaebench.models.building import build_model
from vaebench.models.catalog import OWN_NETS
from vaebench.models.finiteness import not_finite
from vaebench.models.inference import reconstruct
from vaebench.models.interface import Autoencoder
from vaebench.models.networks.code import OF_PACKAGES
from vaebench.models.provider import Shape
from vaebench.models.providers.pythae.building import (
    DEFAULT,
    PICKLED,
    build_config,
    build_network,
    load_trusted,
    roles_of,
)
from vaebench.models.providers.pythae.catalog import MODELS
from vaebench.models.run_spec import MODEL_FILES, ModelSpec, NetworkValue, PretrainedSource, network_of, why_no_model
from vaebench.models.state import load_weights, restore_model
from vaebench.models.storage import save_model

SET_BY_PYTHAE = {"name", "input_dim", "discriminator_input_dim"}
OWN_FAMILIES = tuple(name for name in OWN_NETS if name not in OF_PACKAGES)
SCRIPTS = "vaebench.models.networks.reproduction"  # has a network for each role
CHECKED = 512  # images of the validation split that the imported model is tried on


def import_pretrained(spec: ModelSpec, eval_data: Path, output: Path, history: Path, provenance: Path) -> None:
    """Write the model that `spec.pretrained` names as a training would: `output`, `history`, `provenance`.

    `spec.pretrained` holds `hf_hub` (an id on the Hub) or `path` (a folder that pythae saved), and `trust_pickle`,
    which allows the pickled networks to be executed. `eval_data` is an npz of uint8 images (n, C, H, W): the model must
    be one for such images. The history has one row, the validation MSE. Raises `UserError` when files are missing, the
    weights are no plain tensors, the images have another shape, or no known network fits.
    """
    source = spec.pretrained or PretrainedSource()
    trust = source.trust_pickle
    folder = _download(source.hf_hub, trust) if source.hf_hub else Path(source.path or "").expanduser()
    images = open_array(eval_data)
    described = _read_config(folder)
    model_name, fields, shape = _what_it_is(described, folder)
    if spec.model not in (None, model_name):
        raise UserError(f"{spec.run}: the config says {spec.model}, but {folder} holds a {model_name}")
    if shape != images.shape[1:]:
        raise UserError(f"{spec.run}: the model is for images {shape} (C, H, W), the data are {images.shape[1:]}")
    resolved = replace(spec, model=model_name, config=fields)
    if trust:
        print(f"WARNING: trust_pickle is set: code from {folder} is executed now.", file=sys.stderr)
        model = _load_trusted(folder)
        resolved = replace(resolved, nets=dict.fromkeys(roles_of(model_name), PICKLED))
    else:
        weights = load_weights(folder / "model.pt")
        resolved = replace(resolved, nets=_find_networks(resolved, shape, described, weights["model_state_dict"]))
        model = build_model(resolved, shape).eval()
        restore_model(model, weights)
    if name := not_finite(model.live_state()):
        raise UserError(f"{spec.run}: the weights in {folder} are not finite (first {name}): the training diverged")
    mse = _validation_mse(model, images, folder)
    if not math.isfinite(mse):
        raise UserError(f"{spec.run}: the model in {folder} gives images that are not finite (mse {mse})")
    remove_left_overs(output)
    save_model(model, resolved.as_record(), output)
    with atomic_path(history) as temporary:
        temporary.write_text(f"epoch,split,term,value\n0,eval,mse,{mse!r}\n")
    record = {
        "spec": resolved.as_record(),
        "source": {key: value for key, value in as_dict(source).items() if value is not None},
        "files": {path.name: sha256_of(path) for path in sorted(folder.iterdir()) if path.is_file()},
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "environment": environment(),
    }
    write_provenance(provenance, record)
    print(f"{spec.run}: {model_name} with {resolved.nets}, validation MSE {mse:.5f}; {output}", file=sys.stderr)


def _download(name: str, trust: bool) -> Path:
    """A folder with the model's plain files from the Hub (HF_ENDPOINT, HF_HOME and HF_TOKEN hold); pickles on trust."""
    from huggingface_hub import snapshot_download

    wanted = [*MODEL_FILES, "environment.json", *(["*.pkl"] if trust else [])]
    try:
        return Path(snapshot_download(name, allow_patterns=wanted))
    except Exception as error:  # a server can answer anything, and so can what the client makes of it
        if reason := reason_of_error(error):
            raise UserError(f"pretrained.hf_hub: {name}: {reason}") from error
        raise UserError(
            f"pretrained.hf_hub: {name} cannot be downloaded ({type(error).__name__}: {one_line(error)}). Without "
            "network, download it elsewhere and give the folder as `pretrained: {path: ...}`"
        ) from error


def _read_config(folder: Path) -> dict[str, Any]:
    if reason := why_no_model(folder):
        raise UserError(f"pretrained: {reason}")
    path = folder / "model_config.json"
    try:
        described = json.loads(path.read_bytes())
    except OSError as error:
        raise UserError(f"pretrained: {path} cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"pretrained: {path} is not JSON ({one_line(error)})") from error
    if not isinstance(described, dict):
        raise UserError(f"pretrained: {path} holds no mapping of settings, as pythae saves it")
    return described


def _what_it_is(described: Mapping[str, Any], folder: Path) -> tuple[str, dict[str, Any], Shape]:
    """Model name, configuration fields and input shape from pythae's model_config.json."""
    path = folder / "model_config.json"
    name = str(described.get("name", "")).removesuffix("Config").removesuffix("_")
    if name not in MODELS:
        raise UserError(f"pretrained: {path} is of {described.get('name')!r}, no model of pythae 0.1.2")
    shape = described.get("input_dim")
    if not shape:
        raise UserError(f"pretrained: {path} does not say input_dim, the shape of the images")
    if shape == [784]:
        shape = [1, 28, 28]  # digits that were trained on as rows of pixels
    if not (isinstance(shape, list) and len(shape) == 3 and all(type(side) is int and side > 0 for side in shape)):
        raise UserError(f"pretrained: {path}: input_dim {shape!r} is no shape of images (channels, height, width)")
    fields = {
        key: value
        for key, value in described.items()
        if key not in SET_BY_PYTHAE and not key.startswith("uses_default")
    }
    try:
        build_config(name, fields, tuple(shape))
    except UserError as error:
        raise UserError(f"pretrained: {path}: {error}") from error
    return name, fields, tuple(shape)


def _load_trusted(folder: Path) -> Autoencoder:
    """The model as pythae loads it, which runs the code of its pickles."""
    try:
        return load_trusted(folder).eval()
    except Exception as error:  # user's code: whatever it raises is reported
        raise UserError(
            f"pretrained: pythae cannot load {folder} ({type(error).__name__}: {one_line(error)})"
        ) from error


def _find_networks(
    spec: ModelSpec, shape: Shape, described: Mapping[str, Any], weights: Mapping[str, Tensor]
) -> dict[str, NetworkValue]:
    """The name of a network for each role whose parameters fit the weights; `UserError` when none does."""
    config = build_config(spec.model_name, spec.config, shape)
    chosen: dict[str, NetworkValue] = {}
    for role in roles_of(spec.model_name):
        expected = _shapes({key: value for key, value in weights.items() if key.startswith(f"{role}.")}, f"{role}.")
        named = spec.nets.get(role)
        known = [named] if named else [*OWN_FAMILIES, f"{SCRIPTS}.{role}"]
        candidates = [DEFAULT] if described.get(f"uses_default_{role}", False) else known
        found = next((value for value in candidates if _fits(role, value, spec, config, expected)), None)
        if found is None:
            tried = ", ".join(map(str, candidates))
            raise UserError(
                f"{spec.run}: no network among {tried} has the parameters of this model's {role} "
                f"({len(expected)} tensors, first {next(iter(expected.items()), None)}). Its own network is a pickle, "
                "which can run any code and is not opened. Write the network as a class and name it under nets "
                f"({role}: package.module.Class), or set pretrained.trust_pickle: true if you trust its author"
            )
        chosen[role] = found
    return chosen


def _fits(role: str, value: NetworkValue, spec: ModelSpec, config: Any, expected: Mapping[str, Any]) -> bool:
    named = network_of(value)
    if named.name == DEFAULT:
        return True
    try:
        with torch.random.fork_rng(devices=[]):
            network = build_network(role, named, spec.model_name, config)
    except UserError:
        return False
    return network is not None and _shapes(network.state_dict()) == expected


def _shapes(tensors: Mapping[str, Tensor], prefix: str = "") -> dict[str, tuple[int, ...]]:
    return {key.removeprefix(prefix): tuple(value.shape) for key, value in tensors.items()}


def _validation_mse(model: Autoencoder, images: np.ndarray, folder: Path) -> float:
    x = torch.from_numpy(images[:CHECKED].copy()).float() / 255
    try:
        return float((reconstruct(model, x).detach() - x).square().double().mean())
    except Exception as error:  # networks of others' making, and weights of any value
        raise UserError(
            f"pretrained: the model in {folder} cannot reconstruct the images ({type(error).__name__}: "
            f"{one_line(error)})"
        ) from error
