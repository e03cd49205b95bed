"""The images that the figures show: reconstructions, latent traversals and interpolations, the same for every run."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vaebench.base.formats import write_npz
from vaebench.base.npz import open_array
from vaebench.models.batches import prepare_torch, to_bytes, to_float
from vaebench.models.conditions import described, read_conditions
from vaebench.models.inference import between, decode, encode, reconstruct
from vaebench.models.interface import Autoencoder
from vaebench.models.posterior import Posterior
from vaebench.models.storage import load_model
from vaebench.sampling.sampling_settings import ShowcaseSettings

REACH = 3.0  # standard deviations to either side
REFERENCE_IMAGES = 512  # held-out images that tell which dimensions matter, and how far they vary
INTERPOLATION_STEPS = 8
LABELLED_COLUMNS = 8  # latents that are decoded for each of the labels
MOST_ROWS = 12  # of labels


@dataclass(frozen=True)
class ShowcaseFiles:
    """The folder of a trained model, the npz of the test images, the npz to be written, and of a conditional model the
    CSV of the images' labels."""

    model: Path
    test_data: Path
    output: Path
    labels: Path | None = None


def make_showcase(files: ShowcaseFiles, settings: ShowcaseSettings, seed: int, threads: int) -> None:
    """Write showcase.npz: index, originals, reconstructions, traversal (with _dims and _values), interpolation.

    All images are uint8. The held-out images are chosen by `seed` alone, so every run shows the same. A model of codes
    has no traversal, and the array is empty. Of a conditional model there are also `conditional_rows`, rows of labels
    (n, K), and `conditional_labels`, these in words; and `conditional`, (n, columns, C, H, W): one latent a column,
    decoded for each row. A model of codes lacks the last: which codes are likely depends on the labels.
    """
    device = prepare_torch(threads, settings.device)
    network = load_model(files.model, device)
    images = open_array(files.test_data)
    index = choose_images(len(images), settings.images, seed)
    x, reference = to_float(images[index], device), to_float(images[:REFERENCE_IMAGES], device)
    conditional = read_conditions(files.labels, network.labels) if network.labels and files.labels else None
    given = rows_of(conditional, index, device)
    given_reference = rows_of(conditional, slice(REFERENCE_IMAGES), device)
    traversal, dims, values = traverse(network, x[:1], reference, settings, [part(given, slice(1)), given_reference])
    pairs = min(settings.interpolations, len(x) // 2)
    first, second = slice(pairs), slice(pairs, 2 * pairs)
    halves = [part(given, first), part(given, second)]
    with network.given(given):
        reconstructions = to_bytes(reconstruct(network, x))
    arrays = {
        "index": index,
        "originals": images[index],
        "reconstructions": reconstructions,
        "traversal": traversal,
        "traversal_dims": dims,
        "traversal_values": values,
        "interpolation": interpolations(network, x[first], x[second], INTERPOLATION_STEPS, halves),
    }
    if conditional is not None:
        arrays |= of_each_label(network, conditional, seed)
    write_npz("showcase", files.output, arrays)
    print(f"Showed {len(index)} images, {len(dims)} traversals and {pairs} interpolations: {files.output}")


def choose_images(available: int, wanted: int, seed: int) -> np.ndarray:
    """Indices of the shown images, sorted, drawn without replacement by `seed`."""
    return np.sort(np.random.default_rng(seed).choice(available, min(wanted, available), replace=False))


def traverse(
    model: Autoencoder,
    x: Tensor,
    reference: Tensor,
    settings: ShowcaseSettings,
    given: Sequence[Tensor | None] = (None, None),
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Decode the first image's latent with one dimension at a time moved from -3 to 3 standard deviations.

    Gives uint8 (dims, steps, C, H, W), the dimensions with the most information first, and the steps. A Gaussian model
    moves in units of its prior, another in those of the latents of the `reference` images, around their mean. The
    dimensions of a grid are its numbers, counted through. given: the rows of x and of `reference` that a conditional
    model is given.
    """
    values = np.linspace(-REACH, REACH, settings.traversal_steps)
    with model.given(given[1]):
        posterior = encode(model, reference)
    if posterior.codes is not None or not settings.traversal_dims:
        return np.empty((0, len(values), *x.shape[1:]), np.uint8), np.empty(0, np.int64), values
    modes = posterior.mode()
    latents, shape = modes.flatten(1), modes.shape[1:]
    dims = informative_dimensions(posterior, latents)[: settings.traversal_dims]
    gaussian = posterior.kl_per_dimension() is not None
    with model.given(given[0]):
        start = encode(model, x).mode().flatten(1)
    rows = []
    for dim in dims:
        centre, unit = (0.0, 1.0) if gaussian else (float(latents[:, dim].mean()), float(latents[:, dim].std()))
        moved = start.repeat(len(values), 1)
        moved[:, dim] = torch.from_numpy(centre + unit * values).to(moved)
        with model.given(given[0]):
            rows.append(to_bytes(decode(model, moved.reshape(-1, *shape))))
    return np.stack(rows), dims, values


def informative_dimensions(posterior: Posterior, latents: Tensor) -> np.ndarray:
    """Latent dimensions by falling mean KL (Gaussian models) or variance, (L,)."""
    kl = posterior.kl_per_dimension()
    information = latents.double().var(0) if kl is None else kl.flatten(1).mean(0)
    return information.argsort(descending=True, stable=True).cpu().numpy()


def interpolations(
    model: Autoencoder,
    first: Tensor,
    second: Tensor,
    steps: int,
    given: Sequence[Tensor | None] = (None, None),
) -> np.ndarray:
    """Decode the straight line between the latents of two images, uint8 (pairs, steps, C, H, W).

    given: the rows of both that a conditional model is given; they go along as the latents do.
    """
    if not len(first):
        return np.empty((0, steps, *first.shape[1:]), np.uint8)
    with model.given(given[0]):
        a = encode(model, first)
    with model.given(given[1]):
        b = encode(model, second)
    images = []
    for weight in (step / (steps - 1) for step in range(steps)):
        with model.given(between(given[0], given[1], weight)):
            images.append(to_bytes(decode(model, a.between(b, weight))))
    return np.stack(images, axis=1)


def of_each_label(model: Autoencoder, conditions: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """The arrays `conditional*` of showcase.npz, for the labels of images with these rows."""
    rows = most_frequent(conditions)
    labels = {
        "conditional_labels": np.array([described(row, model.labels) for row in rows]),
        "conditional_rows": rows.astype(np.uint8),
    }
    if model.codebook_size is not None:
        return labels
    noise = np.random.default_rng(seed).standard_normal((LABELLED_COLUMNS, *model.latent_shape), dtype=np.float32)
    device = next(model.parameters()).device
    z, images = torch.from_numpy(noise).to(device), []
    for row in torch.from_numpy(rows).to(device):
        with model.given(row[None]):
            images.append(to_bytes(decode(model, z)))
    return {**labels, "conditional": np.stack(images)}


def most_frequent(rows: np.ndarray) -> np.ndarray:
    """The rows that occur, in the order of their values; of more than `MOST_ROWS` the most frequent ones."""
    found, counts = np.unique(rows, axis=0, return_counts=True)
    kept = np.sort(np.argsort(-counts, kind="stable")[:MOST_ROWS])
    return np.ascontiguousarray(found[kept][::-1])


def rows_of(conditions: np.ndarray | None, chosen: np.ndarray | slice, device: str) -> Tensor | None:
    """The rows of some images on the device; None for a model that is not conditional."""
    return None if conditions is None else torch.from_numpy(conditions[chosen]).to(device)


def part(rows: Tensor | None, chosen: slice) -> Tensor | None:
    """Some of the rows; None where there are none."""
    return None if rows is None else rows[chosen]
