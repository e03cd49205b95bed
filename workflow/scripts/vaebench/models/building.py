"""A run's specification made into a pythae model, and models on disk in pythae's own layout, read without pickle."""

import json
import shutil
import tempfile
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from pythae import models as pythae_models
from pythae.models import BaseAE
from pythae.models.base import BaseAEConfig
from torch import Tensor, nn

from vaebench.base.durable import sync, sync_tree
from vaebench.base.errors import UserError
from vaebench.base.plain_tensors import load_plain, one_line
from vaebench.models.catalog import MODELS
from vaebench.models.networks.compact import build

SPECIFICATION = "vaebench.json"
# Names of networks that only imported models have: pythae's own multi-layer perceptron, and one kept as a pickle.
DEFAULT, PICKLED = "default", "pickled"
LATENT_DISCRIMINATOR = "Adversarial_AE"  # its discriminator judges latents; pythae brings one, a user may bring another


def build_model(spec: Mapping, input_shape: tuple[int, int, int]) -> BaseAE:
    """The model of a run's specification for images of `input_shape` (C, H, W).

    Weights come from torch's global random numbers: seed them first. Raises `UserError` for an unknown model, field or
    network, and for values that pythae refuses.
    """
    config = build_config(spec["model"], spec["config"], input_shape)
    networks = {
        role: build_network(role, _named(spec, role), spec["model"], config) for role in roles_of(spec["model"])
    }
    try:
        model = getattr(pythae_models, spec["model"])(config, **networks)
    except (AssertionError, AttributeError, TypeError, RuntimeError, ZeroDivisionError) as error:
        raise UserError(
            f"{spec['model']} cannot be built with config {dict(spec['config'])}: {one_line(error)}"
        ) from error
    model.device = torch.device("cpu")
    return model


def roles_of(model: str) -> tuple[str, ...]:
    """The networks that the class `model` takes: encoder, decoder, and perhaps a discriminator."""
    roles = MODELS[model].nets
    return (*roles, "discriminator") if model == LATENT_DISCRIMINATOR else roles


def build_network(role: str, name: str, model: str, config: BaseAEConfig) -> nn.Module | None:
    """The network `name` (see `networks.compact.build`); None, pythae's sign for its own, when it is `DEFAULT`."""
    return None if name == DEFAULT else build(role, name, model, config)


def build_config(name: str, fields: Mapping, input_shape: tuple[int, int, int]) -> BaseAEConfig:
    """pythae's configuration object; unlike pythae it refuses fields that the model does not have."""
    if name not in MODELS:
        raise UserError(f"{name!r} is no model of pythae 0.1.2; choose from {', '.join(MODELS)}")
    info = MODELS[name]
    for field, value in fields.items():
        if field not in info.fields:
            raise UserError(f"{name} has no field {field!r}; it has {', '.join(info.fields)}")
        reason = info.check(field, value)
        if reason:
            raise UserError(f"{name}: {field}: {reason}")
    config_class = getattr(pythae_models, f"{name}Config", None) or getattr(pythae_models, f"{name}_Config")
    try:
        return config_class(input_dim=tuple(input_shape), **fields)
    except (TypeError, ValueError) as error:
        raise UserError(f"{name} cannot have the config {dict(fields)}: {one_line(error)}") from error


def save_model(model: BaseAE, spec: Mapping, folder: Path) -> None:
    """Write `folder` as pythae does (stock `AutoModel.load_from_folder` opens it), and the specification beside.

    The folder is new when it is there at all: it is written under a temporary name, is on the disk for good, and
    replaces an older one.
    """
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        model.save(str(temporary))
        described = {"spec": dict(spec), "input_shape": list(model.model_config.input_dim)}
        (temporary / SPECIFICATION).write_text(json.dumps(described, indent=2, sort_keys=True) + "\n")
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


def load_model(folder: Path | str, device: str = "cpu", trust_pickle: bool = False) -> BaseAE:
    """The model saved in `folder`, in eval mode on `device`.

    It is rebuilt from the specification; the pickled networks that pythae writes beside it are not opened, unless the
    specification says so (a pretrained model imported with `trust_pickle`), or there is none and `trust_pickle` is set.
    Raises `UserError` when the folder holds no such model.
    """
    folder = Path(folder)
    described = _read_json(folder / SPECIFICATION)
    if described is None and not trust_pickle:
        raise UserError(
            f"{folder} has no {SPECIFICATION}: not a model of this pipeline; give it as `pretrained: {{path: ...}}`"
        )
    if described is None or PICKLED in described["spec"]["nets"].values():
        model = pythae_models.AutoModel.load_from_folder(str(folder))
    else:
        with torch.random.fork_rng(devices=[]):
            model = build_model(described["spec"], tuple(described["input_shape"]))
        restore_model(model, load_weights(folder / "model.pt"))
    model.device = torch.device(device)
    return model.to(device).eval()


def load_weights(path: Path) -> dict:
    """The content of a `model.pt`, read as tensors only; `UserError` for a pickle that wants to run code."""
    content = load_plain(path)
    weights = content.get("model_state_dict") if isinstance(content, dict) else None
    if not isinstance(weights, Mapping) or not all(isinstance(value, Tensor) for value in weights.values()):
        raise UserError(f"{path} holds no `model_state_dict` of tensors, as pythae saves it")
    return content


def live_state(model: BaseAE) -> dict:
    """All tensors that make up the model, as pythae lays out `model.pt`: the state_dict, and for RHVAE its metric."""
    state = {"model_state_dict": model.state_dict()}
    if model.model_name == "RHVAE":
        state |= {"M": model.M_tens, "centroids": model.centroids_tens}
    return state


def model_state(model: BaseAE) -> dict:
    """Copies of `live_state` on its device, and of what RHVAE has gathered for its metric in this epoch."""
    state = _map_tensors(live_state(model), lambda tensor: tensor.detach().clone())
    if model.model_name == "RHVAE":
        state["metric_queue"] = [list(model.M), list(model.centroids)]
    return state


def kept_state(model: BaseAE) -> dict:
    """Copies of what a finished model consists of, on the CPU."""
    return _map_tensors(live_state(model), lambda tensor: tensor.detach().clone().cpu())


def _map_tensors(state: Mapping, change: Callable[[Tensor], Tensor]) -> dict:
    return {
        name: _map_tensors(value, change) if isinstance(value, Mapping) else change(value)
        for name, value in state.items()
    }


def has_batch_norm(model: BaseAE, of_single_pixels: tuple[int, int, int] | None = None) -> bool:
    """Whether a layer of the model normalises over the batch.

    With a shape of images (C, H, W) only layers of encoder and decoder count that see a 1x1 grid, or a vector: of one
    image these have a single number for each channel, which has no variance.
    """
    layers = [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    if of_single_pixels is None or not layers:
        return bool(layers)
    sizes: list[int] = []
    hooks = [layer.register_forward_pre_hook(lambda _, x: sizes.append(x[0][0, 0].numel())) for layer in layers]
    training, device = model.training, next(model.parameters()).device
    try:
        with torch.no_grad():
            code = model.eval().encoder(torch.zeros(1, *of_single_pixels, device=device)).embedding
            model.decoder(code)
    finally:
        model.train(training)
        for hook in hooks:
            hook.remove()
    return 1 in sizes


def restore_model(model: BaseAE, state: Mapping) -> None:
    """Put what `model_state` or a `model.pt` holds into `model`, in place; `UserError` if it does not fit."""
    try:
        model.load_state_dict(state["model_state_dict"])
        _restore_metric(model, state)
    except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise UserError(f"the weights do not fit {model.model_name}: {one_line(error)}") from error


def _restore_metric(model: BaseAE, state: Mapping) -> None:
    """The metric of RHVAE and what it has gathered for the next one."""
    if model.model_name == "RHVAE" and "M" in state:
        device = next(model.parameters()).device
        if len(state["M"]) > 1:  # one random matrix stands for the metric until the first epoch is over
            model.M, model.centroids = deque([state["M"].to(device)]), deque([state["centroids"].to(device)])
            model.update()
        else:
            model.M_tens, model.centroids_tens = state["M"].to(device), state["centroids"].to(device)
        for queue, items in zip((model.M, model.centroids), state.get("metric_queue", ((), ())), strict=True):
            queue.extend(item.to(device) for item in items)


def _named(spec: Mapping, role: str) -> str:
    name = spec["nets"].get(role)
    if name is None and role == "discriminator" and spec["model"] == LATENT_DISCRIMINATOR:
        return DEFAULT
    if name is None:
        raise UserError(f"{spec['run']}: {spec['model']} needs a network under nets.{role}")
    return name


def _read_json(path: Path) -> dict | None:
    try:
        return json.loads(path.read_text()) if path.is_file() else None
    except ValueError as error:
        raise UserError(f"{path} is not JSON ({one_line(error)})") from error
