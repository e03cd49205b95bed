"""The images that the figures show."""

import numpy as np
import pytest
import torch
from evaluation_cases import SAMPLES, default_model, make_showcase, save_run, smooth_images, write_data

from vaebench.models.batches import to_bytes
from vaebench.models.inference import decode, encode, reconstruct
from vaebench.models.storage import load_model
from vaebench.sampling.sampling_settings import ShowcaseSettings
from vaebench.sampling.showcase import choose_images, interpolations, traverse


@pytest.mark.parametrize(
    ("model", "dims"), [("VAE", 3), ("AE", 3), ("VQVAE", 0), ("VAE_IAF", 3), ("PoincareVAE", 3), ("SVAE", 3)]
)
def test_shapes_types_and_contents(model, dims, tmp_path):
    images = smooth_images(20)
    data = write_data(tmp_path, {"test": images})
    folder, _ = save_run(tmp_path, model, latent_dim=4)
    make_showcase(folder, data["test"], tmp_path / "showcase.npz", SAMPLES["showcase"], seed=999, threads=1)
    shown = np.load(tmp_path / "showcase.npz")
    assert shown["traversal"].shape == (dims, 5, 1, 28, 28)
    assert shown["traversal_dims"].shape == (dims,)
    assert shown["interpolation"].shape == (2, 8, 1, 28, 28)
    assert np.array_equal(shown["originals"], images[shown["index"]])
    network = load_model(folder)
    x = torch.from_numpy(shown["originals"]).float() / 255
    expected = to_bytes(reconstruct(network, x))
    assert np.abs(shown["reconstructions"].astype(int) - expected).max() <= 1
    assert np.abs(shown["interpolation"][:, 0].astype(int) - expected[:2]).max() <= 1
    assert np.abs(shown["interpolation"][:, -1].astype(int) - expected[2:4]).max() <= 1
    assert all(shown[name].dtype == np.uint8 for name in ("originals", "reconstructions", "traversal", "interpolation"))


@pytest.mark.parametrize("changes", [{"traversal_dims": 0, "interpolations": 0}, {"images": 1}])
def test_none_or_one_of_a_kind_may_be_shown(changes, tmp_path):
    """One image makes no pair to go between."""
    data = write_data(tmp_path, {"test": smooth_images(5)})
    folder, _ = save_run(tmp_path, "VAE", latent_dim=4)
    make_showcase(folder, data["test"], tmp_path / "showcase.npz", SAMPLES["showcase"] | changes, seed=1, threads=1)
    shown = np.load(tmp_path / "showcase.npz")
    assert shown["interpolation"].shape == (0, 8, 1, 28, 28)
    assert shown["traversal"].shape == (0 if "traversal_dims" in changes else 3, 5, 1, 28, 28)


def test_every_run_shows_the_same_images():
    first = choose_images(100, 7, seed=3)
    assert np.array_equal(first, choose_images(100, 7, seed=3))
    assert len(set(first.tolist())) == 7
    assert choose_images(4, 7, seed=3).tolist() == [0, 1, 2, 3]


def test_a_traversal_moves_one_dimension_in_units_of_the_prior():
    model = default_model("VAE")
    x = torch.rand(1, 1, 28, 28)
    rows, dims, values = traverse(model, x, torch.rand(9, 1, 28, 28), ShowcaseSettings(**SAMPLES["showcase"]))
    z = encode(model, x).mean.clone()
    z[0, dims[0]] = values[1]
    assert np.abs(rows[0, 1].astype(int) - to_bytes(decode(model, z))[0]).max() <= 1
    assert values.tolist() == [-3, -1.5, 0, 1.5, 3]


def test_a_quantised_path_passes_through_codes():
    model = default_model("VQVAE", num_embeddings=4)
    images = interpolations(model, torch.rand(1, 1, 28, 28), torch.rand(1, 1, 28, 28), steps=5)
    assert images.shape == (1, 5, 1, 28, 28)
