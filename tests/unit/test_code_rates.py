"""The rate of codes by either prior, against a source of known probabilities: never below, and close above."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from vaebench.evaluation.held_out import BOUNDS, rate_notes
from vaebench.models.sampler_options import defaults_of
from vaebench.sampling import pixelcnn, transformer

CODES, STAYS = 4, 0.85
CHANGE = (1 - STAYS) / (CODES - 1)
ENTROPY_OF_STEP = -STAYS * math.log(STAYS) - (1 - STAYS) * math.log(CHANGE)
ROWS, COLUMNS = 3, 4
SMALL = {"width": 32, "layers": 1, "epochs": 4, "learning_rate": 1e-2}
PIXELCNN, TRANSFORMER = defaults_of("pixelcnn") | {"epochs": 6}, defaults_of("transformer") | SMALL
PRIORS = {
    "pixelcnn": (
        lambda train, held_out: pixelcnn.fit_pixelcnn(train, held_out, CODES, PIXELCNN, 0),
        pixelcnn.code_nats,
    ),
    "transformer": (
        lambda train, held_out: transformer.fit_transformer((train, held_out), CODES, TRANSFORMER, 0),
        transformer.code_nats,
    ),
}


def steps_along(axis_of, random):
    """Codes of which each is the one before it along the last axis, or any other with probability 1 - STAYS."""
    first, *others = axis_of
    steps = np.where(random.random(others) < STAYS, 0, random.integers(1, CODES, others))
    return np.cumsum(np.concatenate([first, steps], -1), -1) % CODES


def nats_of_steps(codes):
    """-ln p of codes (n, ..., columns) whose first column is known, (n,)."""
    stays = codes[..., 1:] == codes[..., :-1]
    return -np.where(stays, math.log(STAYS), math.log(CHANGE)).reshape(len(codes), -1).sum(1)


def check(nats, exact, entropy, without_memory):
    """The rates of held-out grids beside the exact ones, whose mean difference is the divergence of prior from source.

    Over n grids it is known to its deviation / √n, five of which are allowed below 0; above, a tenth of what a prior
    without memory loses.
    """
    excess = nats - exact
    chance = 5 * excess.std() / math.sqrt(len(excess))
    assert -chance < excess.mean() < 0.1 * (without_memory - entropy)
    assert abs(exact.mean() - entropy) < 5 * exact.std() / math.sqrt(len(exact))


@pytest.mark.parametrize("name", PRIORS)
def test_the_rate_of_grids_is_their_entropy_and_little_more(name):
    """Rows that begin anywhere and hardly change."""
    count, random = 1500, np.random.default_rng(0)
    codes = steps_along((random.integers(CODES, size=(count, ROWS, 1)), count, ROWS, COLUMNS - 1), random)
    grids = torch.from_numpy(codes)
    fit, code_nats = PRIORS[name]
    found = code_nats(fit(grids[:1000], grids[1000:1100]), grids[1100:], 100)
    exact = ROWS * math.log(CODES) + nats_of_steps(codes[1100:])
    entropy = ROWS * (math.log(CODES) + (COLUMNS - 1) * ENTROPY_OF_STEP)
    check(found, exact, entropy, ROWS * COLUMNS * math.log(CODES))


def test_the_rate_of_each_level_is_its_entropy_given_the_levels_before_it():
    """A first level of independent codes, and a second that mostly repeats it."""
    count, random = 1500, np.random.default_rng(0)
    first = random.integers(CODES, size=(count, ROWS, COLUMNS, 1))
    codes = steps_along((first, count, ROWS, COLUMNS, 1), random)
    grids = torch.from_numpy(np.moveaxis(codes, -1, 1))
    fit, code_nats = PRIORS["transformer"]
    found = code_nats(fit(grids[:1000], grids[1000:1100]), grids[1100:], 100)
    places, most = ROWS * COLUMNS, ROWS * COLUMNS * math.log(CODES)
    excess = found[:, 0] - most
    assert excess.mean() > -5 * excess.std() / math.sqrt(len(excess))
    assert excess.mean() < 0.02 * most  # nothing can be known of the first level, and little is made up
    check(found[:, 1], nats_of_steps(codes[1100:]), places * ENTROPY_OF_STEP, most)


def test_every_number_that_holds_the_rate_of_codes_says_under_which_prior():
    posterior, settings = SimpleNamespace(codes=torch.zeros(1, 2, 2)), SimpleNamespace(split="test")
    task = SimpleNamespace(code_nats=np.ones((3, 2)), sampler="pixelcnn", cooled="", settings=settings)
    notes = rate_notes(SimpleNamespace(labels={}), posterior, task)
    assert set(notes) == {"rate", "rate_bits", *BOUNDS}
    assert set(notes.values()) == {"cross-entropy of the codes under the prior that draws them (pixelcnn)"}


def test_images_whose_labels_nothing_was_drawn_for_are_the_reason_of_an_empty_rate():
    posterior, settings = SimpleNamespace(codes=torch.zeros(1, 2, 2)), SimpleNamespace(split="test")
    nats = np.array([[1.0, 2.0], [np.nan, np.nan], [3.0, 4.0]])
    task = SimpleNamespace(code_nats=nats, sampler="pixelcnn", cooled="", settings=settings)
    notes = rate_notes(SimpleNamespace(labels={"class": ["a", "b"]}), posterior, task)
    assert notes["rate"].endswith("given class; no image was generated for the labels of 1 of them")
