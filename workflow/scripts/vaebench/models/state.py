"""The tensors of a model: read from a file, copied, and put back."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from vaebench.base.errors import UserError
from vaebench.base.plain_tensors import load_plain, one_line
from vaebench.models.interface import Autoencoder, map_tensors


def load_weights(path: Path) -> dict[str, Any]:
    """The content of a `model.pt`, read as tensors only; `UserError` for a pickle that would run code."""
    content: Any = load_plain(path)
    weights = content.get("model_state_dict") if isinstance(content, dict) else None
    if not isinstance(weights, Mapping) or not all(isinstance(value, Tensor) for value in weights.values()):
        raise UserError(f"{path} holds no `model_state_dict` of tensors")
    return dict(content)


def kept_state(model: Autoencoder) -> dict[str, Any]:
    """Copies of what a finished model consists of, on the CPU."""
    return map_tensors(model.live_state(), lambda tensor: tensor.detach().clone().cpu())


def restore_model(model: Autoencoder, state: Mapping[str, Any]) -> None:
    """Put a state of a model into `model`, in place; `UserError` if it does not fit."""
    try:
        model.restore(state)
    except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise UserError(f"the weights do not fit {model.name}: {one_line(error)}") from error
