"""How many images a trained model generates, and what figures show of it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class SamplingSettings:
    """The section `samples` without its showcase: images, how many at a time, and a seed, used with the training's."""

    count: int
    batch_size: int
    seed: int
    device: str = "auto"


@dataclass(frozen=True)
class ShowcaseSettings:
    """samples.showcase: held-out images, latent dimensions and the steps along each, and pairs to interpolate."""

    images: int
    traversal_dims: int
    traversal_steps: int
    interpolations: int
    device: str = "auto"
