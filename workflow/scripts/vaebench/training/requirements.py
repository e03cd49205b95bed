"""What a training needs before its first step: settings that fit, enough images, and the weights of fixed networks."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from vaebench.base.errors import UserError
from vaebench.config.training_settings import why_not_select
from vaebench.models.building import has_batch_norm, has_batch_norm_of_single_pixels
from vaebench.models.catalog import ModelInfo
from vaebench.models.conditions import read_conditions
from vaebench.models.interface import Autoencoder
from vaebench.models.run_spec import TrainingSettings
from vaebench.training.minibatches import Minibatches


def check_select(info: ModelInfo, training: TrainingSettings) -> None:
    """Raises `UserError` unless the epoch that is kept can be chosen as the settings say."""
    if reason := why_not_select(info, training.select):
        raise UserError(f"training.select: {reason}")
    if training.select == "last" and training.patience is not None:
        raise UserError("training.patience needs a metric to watch; set training.select to one, such as mse")


def weights_for(info: ModelInfo, weights: Mapping[str, Path]) -> Mapping[str, Path]:
    """The files of the fixed networks that the model's losses need; raises `UserError` where one was not given."""
    if missing := [name for name in info.trained_on if name not in weights]:
        raise UserError(f"{info.name} needs the weights of {missing[0]}, which were not given")
    return weights


def smallest_step(info: ModelInfo, model: Autoencoder) -> int:
    """The fewest images of a step; a model that halves its batches needs four where a layer sees single pixels."""
    batch_norm = has_batch_norm(model)
    if info.halves_batches and batch_norm and not has_batch_norm_of_single_pixels(model):
        return info.smallest_batch
    return info.smallest_step(batch_norm)


def smallest_validation_batch(info: ModelInfo, model: Autoencoder) -> int:
    """The fewest images of a batch of the validation."""
    return max(info.smallest_batch, 2 if has_batch_norm(model) else 1)


def conditions_for(model: Autoencoder, labels: Path, images: Minibatches, device: torch.device) -> Tensor:
    """The rows of a conditional model for images, from the CSV of their labels; `UserError` for another number."""
    rows = read_conditions(labels, model.labels)
    if len(rows) != len(images):
        raise UserError(f"{labels} has {len(rows)} rows for {len(images)} images; delete it and run again")
    return torch.from_numpy(rows).to(device)


def check_images(info: ModelInfo, training: Minibatches, validation: Minibatches) -> None:
    """Raises `UserError` for too few images, batches that are too small, and images of unlike shapes."""
    for batches, name in ((training, "training"), (validation, "validation")):
        if len(batches) < batches.smallest:
            raise UserError(f"{info.name} needs at least {batches.smallest} {name} images")
    if training.batch_size < training.smallest:
        raise UserError(f"training.batch_size: {info.name} needs at least {training.smallest}")
    shape, other = training.images.shape[1:], validation.images.shape[1:]
    if other != shape:
        raise UserError(f"training images are {shape}, validation images {other}")
