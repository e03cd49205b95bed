"""HRQ-VAE's quantiser against the formulas of Hosking et al. 2022, and the model around it."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from evaluation_cases import SAMPLES, sample
from run_specs import run_spec
from test_resume import assert_equal, in_a_process, result, train_and_kill
from training_cases import digits, read_history, run, write_data

from vaebench.models.building import build_model
from vaebench.models.inference import encode
from vaebench.models.interface import Moment
from vaebench.models.lookup import code_of_run
from vaebench.models.providers.quantizers.catalog import QUANTIZERS
from vaebench.models.providers.quantizers.hierarchical import Hierarchy, divergence_from_uniform
from vaebench.models.storage import load_model

SHAPE = (1, 32, 32)
SMALL = {"latent_dim": 6, "quantizer": {"hierarchical": {"codebook_size": 8, "depth": 3}}}


def quantizer(channels=6, **options):
    torch.manual_seed(0)
    return Hierarchy(channels, QUANTIZERS.chosen({"hierarchical": {"codebook_size": 8, "depth": 3} | options})[1])


def test_its_temperature_falls_to_a_half():
    """max(2 exp(-t / γ), 0.5): t epochs are over, and γ is 33.3 epochs unless told otherwise."""
    hot = quantizer()
    assert hot.temperature(1) == 2
    assert hot.temperature(12) == pytest.approx(2 * math.exp(-11 / 33.3))
    assert hot.temperature(47) == pytest.approx(2 * math.exp(-46 / 33.3)) == pytest.approx(0.5024, abs=1e-3)
    assert hot.temperature(48) == hot.temperature(1000) == 0.5
    assert quantizer(temperature_decay=2).temperature(3) == pytest.approx(2 / math.e)


def test_codes_are_drawn_as_the_gumbel_softmax_says():
    """P(k) is the softmax of -‖z - c_k‖², whatever the temperature, which is for the gradient alone."""
    model = quantizer(depth_drop=0.0).train()
    z = torch.randn(6, generator=torch.Generator().manual_seed(1)) * 0.3
    grid = z.view(1, 6, 1, 1).expand(20_000, 6, 1, 1)
    for epoch in (1, 100):
        with torch.no_grad():
            codes = model(grid, Moment(epoch)).codes[:, 0].flatten()
        expected = (-(z - model.codebooks[0]).square().sum(1)).softmax(0).detach()
        found = codes.bincount(minlength=8) / 20_000
        assert (found - expected).abs().max() < 5 * (0.25 / 20_000) ** 0.5  # 5 standard errors at most


def test_the_vector_is_the_sum_of_the_levels_that_are_kept():
    model = quantizer(depth_drop=0.3).train()
    grid = torch.randn(500, 6, 2, 2)
    found = model(grid, Moment(1))
    vectors = torch.stack([book[level] for book, level in zip(model.codebooks, found.codes.unbind(1), strict=True)], 1)
    sums = torch.cat([torch.zeros_like(vectors[:, :1]), vectors.cumsum(1)], 1)  # of the first 0, 1, 2, 3 levels
    distances = (sums.movedim(-1, 2) - found.vectors[:, None]).norm(dim=2)
    assert distances.min(1).values.max() < 1e-5
    depths = distances.argmin(1).flatten().bincount(minlength=4) / 2000
    expected = torch.tensor([0.3, 0.7 * 0.3, 0.7**2 * 0.3, 0.7**3])
    assert (depths - expected).abs().max() < 5 * (0.25 / 2000) ** 0.5


def test_its_losses_are_the_formulas(float64):
    model = quantizer(kl=0.2, norm_weight=0.7, norm_scale=1.4).eval()
    grid = torch.randn(4, 6, 2, 3)
    with torch.no_grad():
        found = model(grid, Moment(1))
    z = grid.movedim(1, -1).reshape(-1, 6)
    total = 0.0
    for row in z:
        rest, lengths = row, []
        for book in model.codebooks.detach():
            distances = (rest - book).square().sum(1)
            p = (-distances).softmax(0)
            total += 0.2 * float((p * (p * 8).log()).sum())
            lengths.append(float(book[distances.argmin()].norm()))
            rest = rest - book[distances.argmin()]
        ratios = [1.4 * deep / shallow for shallow, deep in pairwise(lengths)]
        total += 0.7 * sum((max(ratio, 1) - 1) ** 2 for ratio in ratios) / 2
    assert float(found.loss) == pytest.approx(total / 4, rel=1e-10)


def test_norm_loss_and_divergence_in_closed_form():
    model = quantizer()  # norm_scale 1.5
    lengths = torch.tensor([[4.0, 2.0, 1.0], [1.0, 1.0, 1.0], [1.0, 2.0, 1.0]])
    assert model.norm_loss(lengths[..., None])[()] == pytest.approx((0 + 0 + 0.25 + 0.25 + 4 + 0) / 6)
    torch.testing.assert_close(divergence_from_uniform(torch.zeros(1, 8)), torch.zeros(1), atol=1e-6, rtol=0)
    certain = torch.tensor([[1000.0] + [0.0] * 7])
    torch.testing.assert_close(divergence_from_uniform(certain), torch.tensor([math.log(8)]))


def test_each_level_begins_half_as_long_as_the_former():
    lengths = quantizer(scale=3.0).codebooks.norm(dim=-1)
    torch.testing.assert_close(lengths, torch.tensor([3.0, 1.5, 0.75])[:, None].expand(3, 8))


def test_its_gradients_reach_encoder_and_codebooks():
    model = quantizer(depth_drop=0.0).train()
    grid = torch.randn(4, 6, 2, 2, requires_grad=True)
    found = model(grid, Moment(1))
    into_grid, into_books = torch.autograd.grad(found.vectors.square().sum(), [grid, model.codebooks])
    assert (into_grid.flatten(1).norm(dim=1) > 0).all()
    assert (into_books.flatten(1).norm(dim=1) > 0).all()


def test_the_model_encodes_to_the_nearest_codes_and_moves_nothing():
    torch.manual_seed(0)
    model = build_model(run_spec("HRQVAE", config=SMALL), SHAPE).eval()
    assert (model.name, model.codebook_size, model.code_levels) == ("HRQVAE", 8, 3)
    x = torch.from_numpy(digits(5)).float() / 255
    posterior = encode(model, x)
    assert posterior.codes.shape == (5, 3, 8, 8)
    assert torch.equal(model.embed_codes(posterior.codes), posterior.mode())
    with torch.no_grad():
        forward = model.quantizer(model.encoder(x).embedding, Moment(0))
    assert torch.equal(forward.codes, posterior.codes)
    torch.testing.assert_close(forward.vectors, posterior.mode())


def test_its_defaults_are_the_original_study_s():
    fields = QUANTIZERS.chosen({"hierarchical": {}})[1]
    assert (fields["codebook_size"], fields["depth"]) == (64, 4)
    assert [fields[name] for name in ("kl", "scale", "scale_decay")] == [0.1, 1, 0.5]
    assert [fields[name] for name in ("norm_weight", "norm_scale")] == [0.5, 1.5]
    assert [fields[name] for name in ("temperature_decay", "depth_drop")] == [33.3, 0.1]
    assert "vaebench.models.providers.quantizers.hierarchical" in code_of_run(run_spec("HRQVAE")).modules


def test_it_learns_resumes_is_kept_and_sampled(tmp_path):
    data = write_data(tmp_path)
    chosen = run_spec(
        "HRQVAE", config=SMALL, training={"epochs": 3, "checkpoint_minutes": 1e-9, "select": "last", "batch_size": 8}
    )
    paths = run(chosen, data, tmp_path / "whole")
    for number, epoch, position in ((9, 1, 2), (15, 2, 1)):
        code = in_a_process(train_and_kill, chosen, data, tmp_path / "killed", number, epoch, position)
        assert code == (-9 if number == 9 else 128 + number)
    run(chosen, data, tmp_path / "killed")
    assert_equal(result(tmp_path / "killed"), result(tmp_path / "whole"))
    course = read_history(paths["history"], "eval", "mse")
    assert course[-1] < course[0]
    splits = {name.removesuffix("_data"): path for name, path in data.items()}
    sample(
        paths["output"],
        splits,
        tmp_path / "s.npz",
        {"name": "auto", "options": {"epochs": 1, "width": 16, "layers": 1, "heads": 2}},
        SAMPLES,
        0,
        1,
    )
    with np.load(tmp_path / "s.npz") as archive:
        assert archive["data"].shape == (12, *SHAPE)
        assert archive["code_nats_eval"].shape == (20, 3)
    assert load_model(paths["output"]).quantizer.levels == 3
