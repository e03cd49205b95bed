"""What one evaluation works on, and what one pass over images leaves."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor
from tqdm import tqdm

from vaebench.base.errors import UserError
from vaebench.base.evaluation_settings import EvaluationSettings
from vaebench.base.formats import check_npz
from vaebench.base.npz import open_array
from vaebench.metrics.features.extractors import (
    AddedFeatures,
    PixelFeatures,
    clean_inception,
    inception,
    inception_name,
)
from vaebench.metrics.features.vision_transformers import vision_transformer
from vaebench.metrics.pairs import PairMetrics
from vaebench.metrics.set_names import CLEAN, OFFICIAL
from vaebench.models.batches import aligned_batches, conditions_beside
from vaebench.models.feature_networks import FEATURE_NETWORKS, wanted_features, weights_needed
from vaebench.models.interface import Autoencoder
from vaebench.results.words import narrowed

# The random streams of an evaluation, by purpose; those that a draw is numbered in begin at the number given.
PRIOR, SAMPLED, LIKELIHOOD, BOUND = 1, 2, 1000, 2000


FeatureFunction = Callable[[Tensor], Tensor]  # images (B, C, H, W) -> features (B, D) float64


@dataclass
class Networks:
    """Feature networks by name, and for others the reason why they cannot take the images."""

    ready: dict[str, FeatureFunction] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)


@dataclass
class Task:
    """One evaluation: the model and everything it is measured on. Images are uint8 (n, C, H, W), mapped from disk.

    networks: those of the wanted features that LPIPS does not run, by the name of their metrics. conditions: of a
    conditional model, the rows (n, K) of the images of each split.
    """

    model: Autoencoder
    seed: int
    images: np.ndarray
    train: np.ndarray
    drawn: Path
    settings: EvaluationSettings
    pairs: PairMetrics
    weights: Mapping[str, Path]
    device: str
    networks: dict[str, FeatureFunction] = field(default_factory=dict[str, Any])
    conditions: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def given(self) -> np.ndarray | None:
        """The rows of the held-out images that a conditional model is given, (n, K)."""
        rows = self.conditions.get(self.settings.split)
        return None if rows is None else rows[: len(self.images)]

    @cached_property
    def sample_conditions(self) -> np.ndarray | None:
        """The rows that the generated images were drawn for, (n, K); None for a model that is not conditional."""
        if not self.model.labels:
            return None
        with np.load(self.drawn) as archive:
            if "conditions" not in archive:
                raise UserError(f"{self.drawn} does not say the labels of its images: generate them again")
            return np.asarray(archive["conditions"], np.float32)

    @property
    def limit(self) -> int:
        """How many images of either side the distances between sets use."""
        return self.settings.distribution.limit

    @property
    def features(self) -> list[str]:
        """The feature networks that this evaluation uses, by the name of their metrics."""
        return [*self.pairs.features, *self.networks]

    @cached_property
    def samples(self) -> np.ndarray:
        """The generated images."""
        check_npz("samples", self.drawn)
        return open_array(self.drawn)

    @cached_property
    def recipe(self) -> Mapping[str, Any]:
        """What generated the images: the sampler's `name` and `options`, as far as they are known."""
        with np.load(self.drawn) as archive:
            recorded: dict[str, Any] = json.loads(str(archive["sampler"])) if "sampler" in archive else {}
        return {"name": "", "options": {}} | recorded

    @property
    def sampler(self) -> str:
        """The name of the sampler that generated the images."""
        return str(self.recipe["name"])

    @property
    def cooled(self) -> str:
        """The options by which images were drawn from a narrower distribution than the fitted one; else empty."""
        return " and ".join(narrowed(self.recipe["options"]))

    @cached_property
    def code_nats(self) -> np.ndarray | None:
        """-ln p(codes) of each held-out image under the prior that drew the codes, (n,), or of each level (n, levels).

        None where there is none.
        """
        return self._stored("code_nats")

    @cached_property
    def latent_nats(self) -> np.ndarray | None:
        """-ln p of each held-out image's latent under the density that drew the images, (n,); None without one."""
        return self._stored("latent_nats")

    def _stored(self, kind: str) -> np.ndarray | None:
        """What the samples hold of the measured images."""
        with np.load(self.drawn) as archive:
            key = f"{kind}_{self.settings.split}"
            return archive[key][: len(self.images)] if key in archive else None

    def generator(self, purpose: int) -> np.random.Generator:
        """The random stream of one purpose, the same whatever else is measured."""
        return np.random.default_rng([self.seed, purpose])

    def batches(
        self, images: np.ndarray, label: str, conditions: np.ndarray | None = None
    ) -> Iterator[tuple[Tensor, int]]:
        """Batches of images on the device and how many of each count, with a progress bar.

        While a batch is worked on, a conditional model is given the rows of its images.
        """
        size = self.settings.batch_size
        given = conditions_beside(conditions, size, self.device)
        with tqdm(total=len(images), desc=label, unit="image") as progress:
            for (x, kept), rows in zip(aligned_batches(images, size, self.device), given, strict=False):
                with self.model.given(rows):
                    yield x, kept
                progress.update(kept)


@dataclass
class Pass:
    """What one pass over images leaves: per-image values by metric, and features by network."""

    values: dict[str, list[np.ndarray]] = field(default_factory=dict)
    found: dict[str, list[np.ndarray]] = field(default_factory=dict)
    count: int = 0

    def add(self, values: dict[str, Tensor], features: dict[str, Tensor], kept: int, limit: int) -> None:
        """Take in the values of the first `kept` images of a batch, and their features up to `limit` in all."""
        room = self.room(kept, limit)
        for name, value in values.items():
            self.values.setdefault(name, []).append(value[:kept].cpu().numpy())
        for name, value in features.items():
            self.found.setdefault(name, []).append(value[:room].float().cpu().numpy())
        self.count += kept

    def room(self, kept: int, limit: int) -> int:
        """How many of the next `kept` images still have their features kept."""
        return max(min(kept, limit - self.count), 0)

    def columns(self) -> dict[str, np.ndarray]:
        """Per-image values, (n,) float64 by metric."""
        return {name: np.concatenate(parts) for name, parts in self.values.items()}

    def features(self, name: str) -> np.ndarray:
        """The features of one network, (n, D) float64."""
        return np.concatenate(self.found[name]).astype(np.float64)


def load_networks(
    settings: EvaluationSettings, weights: Mapping[str, Path], shape: Sequence[int], device: str
) -> Networks:
    """The feature networks beside LPIPS's trunks that the settings want.

    shape: (C, H, W) of the images. Inception's name follows from its file's checksum.
    """
    found = Networks()
    for name in wanted_features(settings):
        entry = FEATURE_NETWORKS[name]
        if name == OFFICIAL:
            found.ready[inception_name(weights[name])] = PixelFeatures(inception(weights[name]), device)
        elif name == CLEAN:
            found.ready[name] = PixelFeatures(clean_inception(weights[OFFICIAL]), device)
        elif entry.added and (least := entry.added.options["smallest"]) > min(shape[-2:]):
            found.skipped[name] = f"{name} needs images of at least {least} x {least} pixels"
        elif entry.added:
            found.ready[name] = AddedFeatures(entry.added, weights.get(name), device)
        elif not entry.backbone:
            found.ready[name] = PixelFeatures(vision_transformer(name, weights[entry.weights]), device)
    return found


def check_weights(settings: EvaluationSettings, weights: Mapping[str, Path]) -> None:
    """Raise UserError, before any work, when a network that the settings need has no weights."""
    for network in weights_needed(settings):
        if network not in weights:
            raise UserError(f"the evaluation needs the {network} weights: give their source under weights.{network}")
