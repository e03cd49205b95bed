"""The images that the figures show: reconstructions, latent traversals and interpolations, the same for every run."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vaebench.base.formats import write_npz
from vaebench.base.npz import open_array
from vaebench.models.batches import prepare_torch, to_bytes, to_float
from vaebench.models.inference import decode, encode, reconstruct
from vaebench.models.interface import Autoencoder
from vaebench.models.posterior import Posterior
from vaebench.models.storage import load_model
from vaebench.sampling.sampling_settings import ShowcaseSettings

REACH = 3.0  # standard deviations to either side
REFERENCE_IMAGES = 512  # held-out images that tell which dimensions matter, and how far they vary
INTERPOLATION_STEPS = 8


def make_showcase(
    model: Path, test_data: Path, output: Path, settings: ShowcaseSettings, seed: int, threads: int
) -> None:
    """Write showcase.npz: index, originals, reconstructions, traversal (with _dims and _values), interpolation.

    All images are uint8. The held-out images are chosen by `seed` alone, so every run shows the same. A model of codes
    has no traversal, and the array is empty.
    """
    device = prepare_torch(threads, settings.device)
    network = load_model(model, device)
    images = open_array(test_data)
    index = choose_images(len(images), settings.images, seed)
    x = to_float(images[index], device)
    traversal, dims, values = traverse(network, x[:1], to_float(images[:REFERENCE_IMAGES], device), settings)
    pairs = min(settings.interpolations, len(x) // 2)
    arrays = {
        "index": index,
        "originals": images[index],
        "reconstructions": to_bytes(reconstruct(network, x)),
        "traversal": traversal,
        "traversal_dims": dims,
        "traversal_values": values,
        "interpolation": interpolations(network, x[:pairs], x[pairs : 2 * pairs], INTERPOLATION_STEPS),
    }
    write_npz("showcase", output, arrays)
    print(f"Showed {len(index)} images, {len(dims)} traversals and {pairs} interpolations: {output}")


def choose_images(available: int, wanted: int, seed: int) -> np.ndarray:
    """Indices of the shown images, sorted, drawn without replacement by `seed`."""
    return np.sort(np.random.default_rng(seed).choice(available, min(wanted, available), replace=False))


def traverse(
    model: Autoencoder, x: Tensor, reference: Tensor, settings: ShowcaseSettings
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Decode the first image's latent with one dimension at a time moved from -3 to 3 standard deviations.

    Gives uint8 (dims, steps, C, H, W), the dimensions with the most information first, and the steps. A Gaussian model
    moves in units of its prior, another in those of the latents of the `reference` images, around their mean. The
    dimensions of a grid are its numbers, counted through.
    """
    values = np.linspace(-REACH, REACH, settings.traversal_steps)
    posterior = encode(model, reference)
    if posterior.codes is not None or not settings.traversal_dims:
        return np.empty((0, len(values), *x.shape[1:]), np.uint8), np.empty(0, np.int64), values
    modes = posterior.mode()
    latents, shape = modes.flatten(1), modes.shape[1:]
    dims = informative_dimensions(posterior, latents)[: settings.traversal_dims]
    gaussian = posterior.kl_per_dimension() is not None
    start = encode(model, x).mode().flatten(1)
    rows = []
    for dim in dims:
        centre, unit = (0.0, 1.0) if gaussian else (float(latents[:, dim].mean()), float(latents[:, dim].std()))
        moved = start.repeat(len(values), 1)
        moved[:, dim] = torch.from_numpy(centre + unit * values).to(moved)
        rows.append(to_bytes(decode(model, moved.reshape(-1, *shape))))
    return np.stack(rows), dims, values


def informative_dimensions(posterior: Posterior, latents: Tensor) -> np.ndarray:
    """Latent dimensions by falling mean KL (Gaussian models) or variance, (L,)."""
    kl = posterior.kl_per_dimension()
    information = latents.double().var(0) if kl is None else kl.flatten(1).mean(0)
    return information.argsort(descending=True, stable=True).cpu().numpy()


def interpolations(model: Autoencoder, first: Tensor, second: Tensor, steps: int) -> np.ndarray:
    """Decode the straight line between the latents of two images, uint8 (pairs, steps, C, H, W)."""
    if not len(first):
        return np.empty((0, steps, *first.shape[1:]), np.uint8)
    a, b = encode(model, first), encode(model, second)
    weights = [step / (steps - 1) for step in range(steps)]
    return np.stack([to_bytes(decode(model, a.between(b, weight))) for weight in weights], axis=1)
