"""Networks by name: shapes at every allowed size, and what our families promise."""

import itertools
import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from pythae import models as pythae_models
from scipy import fft

from vaebench.base.errors import UserError
from vaebench.models.catalog import GRID, NETS, grid_size
from vaebench.models.networks.compact import CompactDiscriminator, keep_energy
from vaebench.models.networks.dcgan import Doubled, halved
from vaebench.models.networks.families import build
from vaebench.models.networks.lapped import LappedDecoder, Windows
from vaebench.models.networks.spectral import Spectrum
from vaebench.models.providers.pythae.building import build_config
from vaebench.models.providers.pythae.catalog import MODELS

SIZES = [(1, 28, 28), (3, 28, 45), (3, 33, 29), (1, 64, 50), (3, 64, 64), (3, 109, 90), (3, 218, 178)]
HEADS = {"AE": ["embedding"], "VAE": ["embedding", "log_covariance"], "SVAE": ["embedding", "log_concentration"]}


def config_for(model, shape, **fields):
    return build_config(model, {"latent_dim": 6, **fields}, shape)


def latent_shape(family, model, shape):
    """A vector, or VQVAE's grid of vectors: pythae's of a fixed side, our families' by the image's size."""
    if model != "VQVAE":
        return (6,)
    return (6, *(grid_size(shape[1:]) if family in ("compact", "lapped") else 2 * ({28: 4, 32: 8, 64: 4}[shape[1]],)))


@pytest.mark.parametrize("shape", SIZES)
@pytest.mark.parametrize("model", [*HEADS, "VQVAE"])
@pytest.mark.parametrize("family", ["compact", "lapped"])
def test_convolutional_encoder_and_decoder_fit_every_size(family, model, shape):
    config = config_for(model, shape)
    encoder, decoder = (build(role, family, MODELS[model], config).eval() for role in ("encoder", "decoder"))
    output = encoder(torch.rand(2, *shape))
    assert list(output) == HEADS.get(model, ["embedding"])
    assert output.embedding.shape[1:] == latent_shape(family, model, shape)
    images = decoder(output.embedding).reconstruction
    assert images.shape == (2, *shape)
    assert images.min() >= 0
    assert images.max() <= 1


@pytest.mark.parametrize("shape", SIZES)
@pytest.mark.parametrize("model", HEADS)
def test_spectral_encoder_and_decoder_fit_every_size(model, shape):
    config = config_for(model, shape)
    encoder, decoder = (build(role, "spectral", MODELS[model], config).eval() for role in ("encoder", "decoder"))
    output = encoder(torch.rand(2, *shape))
    assert list(output) == HEADS[model]
    assert output.embedding.shape == (2, 6)
    images = decoder(output.embedding).reconstruction
    assert images.shape == (2, *shape)
    assert images.min() >= 0
    assert images.max() <= 1


@pytest.mark.parametrize("shape", SIZES)
def test_the_spectrum_is_scipys(shape):
    spectrum = Spectrum(shape).double()
    x = torch.rand(2, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    rows, columns = (min(side, max(28, math.ceil(side / 2))) for side in shape[1:])
    expected = fft.dctn(x.numpy(), axes=(2, 3), norm="ortho")[:, :, :rows, :columns]
    found = spectrum(x).reshape(2, shape[0], rows, columns) * spectrum.amplitude
    torch.testing.assert_close(found, torch.from_numpy(expected), rtol=1e-5, atol=1e-4)  # the waves are float32
    full = np.zeros(x.shape)
    full[:, :, :rows, :columns] = expected
    back = torch.from_numpy(fft.idctn(full, axes=(2, 3), norm="ortho"))
    torch.testing.assert_close(spectrum.inverse(spectrum(x)), back, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("model", ["AE", "VAE"])
def test_dcgan_has_the_layers_of_its_paper(model):
    """Ghosh et al. 2020: 5x5 convolutions of 128 to 1024 channels with batch norm, a dense layer; and back."""
    config = config_for(model, (3, 64, 64), latent_dim=64)
    encoder, decoder = (build(role, "dcgan", MODELS[model], config).eval() for role in ("encoder", "decoder"))
    widths = (3, 128, 256, 512, 1024)
    convolutions = sum(25 * a * b + 3 * b for a, b in pairwise(widths))  # a bias, and two of batch norm, a channel
    heads = {"AE": 1, "VAE": 2}[model] * (1024 * 4 * 4 + 1) * 64
    assert sum(p.numel() for p in encoder.parameters()) == convolutions + heads
    up = sum(25 * a * b + 3 * b for a, b in pairwise(widths[:0:-1]))
    assert sum(p.numel() for p in decoder.parameters()) == 65 * 1024 * 8 * 8 + up + 25 * 128 * 3 + 3
    output = encoder(torch.rand(2, 3, 64, 64))
    assert list(output) == HEADS[model]
    images = decoder(output.embedding).reconstruction
    assert images.shape == (2, 3, 64, 64)
    assert ((images > 0) & (images < 1)).all()


def test_dcgan_pads_as_tensorflow_and_its_decoder_is_the_transpose():
    """The convolution begins a pixel outside of the image; the transposed one is its adjoint: <Cx, y> = <x, C'y>."""
    torch.manual_seed(0)
    x, y = torch.randn(1, 1, 16, 16, dtype=torch.float64), torch.randn(1, 1, 8, 8, dtype=torch.float64)
    pad, convolution = list(halved(1, 1).double())[:2]
    transposed = Doubled(1, 1).double().convolution
    with torch.no_grad():
        convolution.bias.zero_()
        transposed.bias.zero_()
        transposed.weight.copy_(convolution.weight)
        down, up = convolution(pad(x)), transposed(y)[..., :-1, :-1]
    padded = np.pad(x[0, 0].numpy(), ((1, 2), (1, 2)))
    kernel = convolution.weight[0, 0].detach().numpy()
    expected = [[(padded[2 * i : 2 * i + 5, 2 * j : 2 * j + 5] * kernel).sum() for j in range(8)] for i in range(8)]
    np.testing.assert_allclose(down[0, 0].numpy(), expected, atol=1e-12)
    assert up.shape == x.shape
    assert (down * y).sum().item() == pytest.approx((x * up).sum().item(), rel=1e-12)


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (3, 64, 64)])
def test_strided_networks_have_a_quarter_of_the_side(shape):
    config = config_for("VQVAE", shape)
    encoder, decoder = (build(role, "strided", MODELS["VQVAE"], config).eval() for role in ("encoder", "decoder"))
    grid = encoder(torch.rand(2, *shape)).embedding
    assert grid.shape == (2, 6, shape[1] // 4, shape[2] // 4)
    images = decoder(grid).reconstruction
    assert images.shape == (2, *shape)
    blocks = 2 * (9 * 256 * 256 + 256 * 256)
    same = 9 * 256 * 256 + 256
    strided = 16 * 128 * 256 + 16 * shape[0] * 128
    assert sum(p.numel() for p in encoder.parameters()) == blocks + same + strided + 128 + 256 + 257 * 6
    assert sum(p.numel() for p in decoder.parameters()) == blocks + same + strided + 128 + shape[0] + 7 * 256


def test_families_refuse_latents_that_they_do_not_give():
    with pytest.raises(UserError, match="strided gives grid latents; VAE needs gaussian; use compact"):
        build("encoder", "strided", MODELS["VAE"], config_for("VAE", (3, 64, 64)))
    with pytest.raises(UserError, match="dcgan takes only 64x64x3"):
        build("encoder", "dcgan", MODELS["VAE"], config_for("VAE", (3, 32, 32)))


def test_spectral_networks_give_no_grids():
    with pytest.raises(UserError, match="use resnet, compact or lapped"):
        build("encoder", "spectral", MODELS["VQVAE"], config_for("VQVAE", (3, 64, 64)))


@pytest.mark.parametrize(("latent", "grid"), [((32,), None), ((8, 8, 8), (8, 8)), ((8, 16, 16), (16, 16))])
def test_no_cell_of_the_grid_shows_in_lapped_images(latent, grid):
    """Neighbouring pixels differ as much across the border of two cells as within one, before any training."""
    torch.manual_seed(0)
    decoder = LappedDecoder((3, 64, 64), latent[0], grid)
    images = decoder(torch.randn(64, *latent)).reconstruction.detach().double()
    steps = (images[..., 1:] - images[..., :-1]).square().mean((0, 1, 2))
    across = torch.arange(63) % 4 == 3
    assert 0.75 < float(steps[across].mean() / steps[~across].mean()) < 1.25


def test_overlapping_windows_are_the_sum_of_each_cells_own():
    torch.manual_seed(0)
    windows = Windows(5, 3).double()
    grid = torch.randn(1, 5, 4, 4, dtype=torch.float64)
    expected = torch.zeros(3, 4 * 4 + 4, 4 * 4 + 4, dtype=torch.float64)
    for row, column in itertools.product(range(4), range(4)):
        window = torch.einsum("i,icyx->cyx", grid[0, :, row, column], windows.layer.weight)
        expected[:, 4 * row : 4 * row + 8, 4 * column : 4 * column + 8] += window
    torch.testing.assert_close(windows(grid)[0], expected[:, 2:-2, 2:-2])


@pytest.mark.parametrize("shape", SIZES)
def test_compact_discriminator_gives_layers_and_probability(shape):
    network = CompactDiscriminator(shape).eval()
    x = torch.rand(2, *shape)
    layers = network(x, output_layer_levels=[1, 3])
    assert set(layers) == {"embedding_layer_1", "embedding_layer_3"}
    probability = network(x).embedding
    assert probability.shape == (2, 1)
    assert ((probability > 0) & (probability < 1)).all()
    assert torch.equal(network(x, output_layer_levels=[network.depth]).embedding_layer_4, probability)
    assert network.depth == NETS["compact"].discriminator_depth


def test_compact_networks_are_small_at_64_pixels():
    shape = (3, 64, 64)
    for model, latent in (("VAE", 32), ("VQVAE", 64)):
        config = config_for(model, shape, latent_dim=latent)
        networks = [build(role, "compact", MODELS[model], config) for role in ("encoder", "decoder")]
        assert sum(p.numel() for network in networks for p in network.parameters()) < 800_000


def test_discriminator_layers_start_on_the_scale_of_pixels():
    """Squared differences of two images, summed over each layer's outputs, are about those of the pixels."""
    torch.manual_seed(0)
    network = CompactDiscriminator((3, 64, 64))
    a, b = torch.randn(2, 64, 3, 64, 64)
    pixels = (a - b).square().sum()
    for level in (1, 2, 3):
        layers = [network(x, output_layer_levels=[level])[f"embedding_layer_{level}"].detach() for x in (a, b)]
        assert 1 / 3 < float((layers[0] - layers[1]).square().sum() / pixels) < 3


def test_keep_energy_matches_its_formula():
    torch.manual_seed(0)
    convolution = torch.nn.Conv2d(16, 32, 3, 2, 1)
    keep_energy(convolution)
    assert float(convolution.weight.std()) == pytest.approx(math.sqrt(2 * 16 * 4 / (32 * 16 * 9)), rel=0.05)


@pytest.mark.parametrize("family", ["convnet", "resnet"])
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (3, 64, 64)])
@pytest.mark.parametrize("model", ["AE", "VAE", "SVAE", "VQVAE", "VAEGAN"])
def test_catalog_agrees_with_pythaes_networks(family, shape, model):
    fields = {"reconstruction_layer": 2} if model == "VAEGAN" else {}
    config = config_for(model, shape, **fields)
    for role in MODELS[model].nets:
        if NETS[family].check(role, MODELS[model], shape, vars(config)):
            with pytest.raises(UserError):
                build(role, family, MODELS[model], config)
            continue
        network = build(role, family, MODELS[model], config).eval()
        latent = latent_shape(family, model, shape) if role != "discriminator" else (1,)
        if role == "decoder":
            assert network(torch.randn(2, *latent)).reconstruction.shape == (2, *shape)
        else:
            assert network(torch.rand(2, *shape)).embedding.shape == (2, *latent)
        if role == "discriminator":
            assert network.depth == NETS[family].discriminator_depth


def test_vqvae_quantises_vectors_not_single_numbers():
    config = config_for("VQVAE", (3, 64, 64), num_embeddings=7)
    networks = {role: build(role, "compact", MODELS["VQVAE"], config) for role in ("encoder", "decoder")}
    model = pythae_models.VQVAE(config, **networks)
    assert model.quantizer.embeddings.weight.shape == (7, 6)
    assert model({"data": torch.rand(2, 3, 64, 64)}).quantized_indices.shape == (2, 1, 8, 8)
    assert MODELS["VQVAE"].head({}) == GRID


@pytest.mark.parametrize("path", ["no.such.Network", "torch.nn.NoSuchNetwork"])
def test_own_network_that_cannot_be_imported_is_named(path):
    with pytest.raises(UserError, match=path):
        build("encoder", path, MODELS["AE"], config_for("AE", (1, 28, 28)))
