"""The transformer over codes: causal, a distribution, as good as it can be on known ones, seeded, on all levels."""

import itertools
import json
import math

import numpy as np
import pytest
import torch
from evaluation_cases import SAMPLES, sample, save_run, smooth_images, write_data

from vaebench.base.errors import UserError
from vaebench.models.run_spec import Named
from vaebench.models.sampler_options import defaults_of
from vaebench.models.storage import load_model
from vaebench.sampling import fitting, transformer
from vaebench.sampling.causal_transformer import CausalTransformer, Size
from vaebench.sampling.choice import resolve_sampler
from vaebench.sampling.transformer import Sharpening, code_nats, fit_transformer, sample_codes


def nats_of_images(prior, grids, batch_size):
    """Those of all levels together."""
    return code_nats(prior, grids, batch_size).reshape(len(grids), -1).sum(1)


TINY = defaults_of("transformer") | {"epochs": 2, "width": 8, "heads": 2, "layers": 1, "batch_size": 16}
SHAPES = [((3, 4), 1), ((2, 3, 2), 1), ((4, 6), 2), ((2, 2, 4), 2)]  # of one level and of two, in patches of 1 and 2
TINY_SHAPES = [((2, 2), 1), ((2, 1, 2), 1), ((2, 2), 2)]  # of four codes


def network(codes=5, shape=(3, 4), patch=1, std=0.3):
    """A float64 network whose weights are large enough for every input to show."""
    torch.manual_seed(0)
    prior = CausalTransformer(codes, shape, Size(8, 2, 2, patch)).double().eval()
    for parameter in prior.parameters():
        torch.nn.init.normal_(parameter, std=std)
    return prior


@pytest.mark.parametrize(("shape", "patch"), SHAPES)
def test_a_code_depends_on_all_codes_before_it_and_on_no_other(shape, patch):
    prior = network(shape=shape, patch=patch)
    sequence = torch.randint(5, (1, prior.length))
    with torch.no_grad():
        before = prior(sequence)
        for place in range(prior.length):
            changed = sequence.clone()
            changed[0, place] = (sequence[0, place] + 1) % 5
            differs = (prior(changed) != before).any(2)[0]
            assert not differs[: place + 1].any()
            assert differs[place + 1 :].all()


@pytest.mark.parametrize(("shape", "patch"), SHAPES)
def test_a_sequence_is_read_by_rows_of_patches_and_of_their_cells_and_by_levels(shape, patch):
    prior = network(shape=shape, patch=patch)
    grids = torch.arange(math.prod(shape)).reshape(1, *shape)
    sequence = prior.sequences(grids)
    assert torch.equal(prior.grids(sequence), grids)
    rows, columns = shape[-2:]
    levels = range(shape[0]) if len(shape) == 3 else [...]
    cells = [
        (i + y, j + x)
        for i in range(0, rows, patch)
        for j in range(0, columns, patch)
        for y in range(patch)
        for x in range(patch)
    ]
    expected = [int(grids[0, level, y, x]) for y, x in cells for level in levels]
    assert sequence[0].tolist() == expected


@pytest.mark.parametrize(("shape", "patch"), SHAPES)
def test_codes_one_by_one_have_the_logits_of_whole_sequences(shape, patch):
    prior = network(shape=shape, patch=patch)
    sequences = torch.randint(5, (7, prior.length))
    drawing = prior.drawing(7)
    with torch.no_grad():
        stepwise = [prior.next_logits(sequences[:, :place], drawing) for place in range(prior.length)]
        torch.testing.assert_close(torch.stack(stepwise, 1), prior(sequences), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("shape", "patch"), TINY_SHAPES)
def test_the_probabilities_of_all_sequences_add_up_to_one(shape, patch):
    prior = network(codes=3, shape=shape, patch=patch)
    every = torch.tensor(list(itertools.product(range(3), repeat=4))).reshape(-1, *shape)
    assert np.exp(-nats_of_images(prior, every, 20)).sum() == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize(("shape", "patch"), TINY_SHAPES)
def test_samples_follow_the_probabilities(shape, patch):
    prior = network(codes=2, shape=shape, patch=patch, std=0.8)
    every = torch.tensor(list(itertools.product(range(2), repeat=4))).reshape(-1, *shape)
    expected = np.exp(-nats_of_images(prior, every, 16))
    count = 10_000
    drawn = sample_codes(prior, count, 0)
    assert drawn.shape == (count, *shape)
    weights = 2 ** torch.arange(3, -1, -1)
    shares = torch.bincount(drawn.flatten(1) @ weights, minlength=16).numpy() / count
    deviation = np.sqrt(expected * (1 - expected) / count)
    assert (np.abs(shares - expected) < 5 * deviation).all()


def test_the_nats_of_several_levels_are_told_apart():
    """Level by level as the chain rule has it: those of the second level, given the first, are the rest."""
    prior = network(codes=3, shape=(2, 1, 1))
    every = torch.tensor(list(itertools.product(range(3), repeat=2))).reshape(-1, 2, 1, 1)
    nats = code_nats(prior, every, 9)
    assert nats.shape == (9, 2)
    first = np.exp(-nats[:, 0]).reshape(3, 3)
    np.testing.assert_allclose(first, first[:, :1].repeat(3, 1), rtol=1e-12)
    assert first[:, 0].sum() == pytest.approx(1)
    np.testing.assert_allclose(np.exp(-nats[:, 1]).reshape(3, 3).sum(1), 1)


def test_temperature_and_top_k_narrow_the_distribution():
    prior = network(codes=6, shape=(1, 1))
    with torch.no_grad():
        logits = prior.next_logits(torch.empty(1, 0, dtype=torch.int64), prior.drawing(1))[0]
    count = 20_000
    for temperature, top_k in ((0.5, None), (2.0, None), (1.0, 2), (0.5, 3), (1.0, 100)):
        expected = logits / temperature
        kept = expected.topk(min(top_k or 6, 6)).indices
        probabilities = torch.zeros(6, dtype=torch.float64)
        probabilities[kept] = expected[kept].softmax(0)
        drawn = sample_codes(prior, count, 0, Sharpening(temperature, top_k)).flatten()
        shares = torch.bincount(drawn, minlength=6) / count
        assert ((shares - probabilities).abs() <= 5 * (probabilities * (1 - probabilities) / count).sqrt()).all()


@pytest.mark.parametrize(("shape", "patch"), [((3, 4), 1), ((2, 2, 3), 1), ((2, 6), 2)])
def test_the_nats_of_a_known_distribution_come_near_its_entropy(shape, patch):
    """Codes of which each is the last one, or any other, as a Markov chain: the entropy has a closed form.

    No model has fewer nats than the entropy but by chance: the mean of n images of standard deviation s is known to
    s / √n, and five of these are the tolerance below; above, a tenth of what a model without memory loses.
    """
    codes, length, stays, count = 4, 12, 0.85, 1500
    random = np.random.default_rng(0)
    steps = np.where(random.random((count, length - 1)) < stays, 0, random.integers(1, codes, (count, length - 1)))
    first = random.integers(codes, size=(count, 1))
    sequence = torch.from_numpy(np.cumsum(np.concatenate([first, steps], 1), 1) % codes)
    grids = CausalTransformer(codes, shape, Size(8, 1, 1, patch)).grids(sequence)
    entropy_of_step = -stays * math.log(stays) - (1 - stays) * math.log((1 - stays) / (codes - 1))
    entropy = math.log(codes) + (length - 1) * entropy_of_step
    options = defaults_of("transformer") | {
        "width": 32,
        "layers": 1,
        "epochs": 4,
        "learning_rate": 1e-2,
        "patch": patch,
    }
    prior = fit_transformer((grids[:1000], grids[1000:1100]), codes, options, seed=0)
    nats = nats_of_images(prior, grids[1100:], 100)
    chance = 5 * nats.std() / math.sqrt(len(nats))
    assert entropy - chance < nats.mean() < entropy + chance + 0.1 * (length * math.log(codes) - entropy)


def test_a_fit_and_its_samples_are_seeded_and_leave_torchs_numbers_alone():
    grids = torch.randint(4, (40, 2, 3))
    before = torch.get_rng_state()
    found = []
    for seed in (0, 0, 1):
        prior = fit_transformer((grids[:30], grids[30:]), 4, TINY, seed)
        found.append((nats_of_images(prior, grids, 16), sample_codes(prior, 50, seed)))
    assert torch.equal(torch.get_rng_state(), before)
    assert np.array_equal(found[0][0], found[1][0])
    assert torch.equal(found[0][1], found[1][1])
    assert not np.array_equal(found[0][0], found[2][0])
    assert not torch.equal(found[0][1], found[2][1])


def test_the_epoch_of_least_held_out_loss_is_kept(monkeypatch):
    """Held-out codes that the training codes contradict: later epochs make them worse."""
    train, held_out = torch.zeros(64, 2, 2, dtype=torch.int64), torch.ones(16, 2, 2, dtype=torch.int64)
    losses = []
    nats_of = fitting.nats_of
    monkeypatch.setattr(fitting, "nats_of", lambda *given: losses.append(nats_of(*given)) or losses[-1])
    prior = fit_transformer((train, held_out), 2, TINY | {"epochs": 4}, 0)
    means = [values.mean() for values in losses]
    assert len(means) == 4
    assert means[-1] > min(means)
    assert nats_of_images(prior, held_out, 16).mean() == min(means)


def test_a_fit_that_diverges_is_refused():
    with pytest.raises(UserError, match="lower its learning_rate"):
        fit_transformer(
            (torch.randint(4, (40, 2, 3)), torch.randint(4, (8, 2, 3))), 4, TINY | {"learning_rate": 1e30}, 0
        )


def test_codes_are_drawn_in_blocks_of_bounded_memory(monkeypatch):
    prior = CausalTransformer(3, (2, 3), Size(8, 1, 2))
    monkeypatch.setattr(transformer, "NUMBERS", 100 * 2 * 6 * 8)
    sizes = []
    drawing = prior.drawing
    monkeypatch.setattr(prior, "drawing", lambda count: sizes.append(count) or drawing(count))
    drawn = sample_codes(prior, 250, 0)
    assert sizes[1:] == [100, 100, 50]
    assert drawn.shape == (250, 2, 3)
    assert len(drawn.flatten(1).unique(dim=0)) > 100


def test_options_that_cannot_be_are_named(tmp_path):
    model = load_model(save_run(tmp_path, "VQVAE", latent_dim=4, num_embeddings=16)[0])
    for options, message in (
        ({"temperature": 0}, "transformer.temperature: 0 must be a number that is more than 0"),
        ({"temperature": "hot"}, "'hot' must be a number that is more than 0"),
        ({"top_k": 0}, "transformer.top_k: 0 must be a whole number that is at least 1"),
        ({"layers": 1.5}, "transformer.layers: 1.5 must be a whole number that is at least 1"),
        ({"patch": 0}, "transformer.patch: 0 must be a whole number that is at least 1"),
        ({"width": True}, "transformer.width: True must be a whole number that is at least 1"),
        ({"width": 30}, "transformer: width 30 is no multiple of heads 4"),
    ):
        with pytest.raises(UserError, match=message):
            resolve_sampler(model, Named("transformer", options))
    with pytest.raises(UserError, match="a grid of 2x3 codes has no whole patches of 2"):
        fit_transformer((torch.zeros(2, 2, 3), torch.zeros(2, 2, 3)), 3, TINY | {"patch": 2}, 0)
    assert resolve_sampler(model, Named("transformer", {"temperature": 1, "top_k": None}))[1]["temperature"] == 1
    assert resolve_sampler(model, Named("transformer", {"weight_decay": 0}))[1]["weight_decay"] == 0


def test_the_samples_of_a_vqvae_hold_its_nats_and_recipe(tmp_path):
    images = smooth_images(60)
    data = write_data(tmp_path / "data", {"train": images[:40], "eval": images[40:50], "test": images[50:]})
    folder, _ = save_run(tmp_path, "VQVAE", latent_dim=4, num_embeddings=16)
    quick = {"epochs": 10, "width": 16, "learning_rate": 1e-2, "temperature": 0.9}
    sampler = {"name": "transformer", "options": quick}
    sample(folder, data, tmp_path / "samples.npz", sampler, SAMPLES, seed=0, threads=1)
    with np.load(tmp_path / "samples.npz") as archive:
        recipe = json.loads(str(archive["sampler"]))
        nats = [archive[f"code_nats_{split}"] for split in ("eval", "test")]
        assert archive["data"].shape == (12, 1, 28, 28)
    assert recipe["options"] == defaults_of("transformer") | quick
    uniform = 49 * math.log(16)
    for values in nats:
        assert values.shape == (10,)
        assert 0 < values.mean() < 0.9 * uniform
