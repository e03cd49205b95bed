"""config/published held against the sources: what images are drawn with, and schedules."""

from itertools import pairwise
from pathlib import Path

import pytest
import torch

from vaebench.config.optimizers import make_scheduler, step_scheduler
from vaebench.config.plan import read_config
from vaebench.config.published_names import PUBLISHED
from vaebench.config.runs import drawn_runs, expand_runs
from vaebench.results.published_values import read_published

ROOT = Path(__file__).parents[2]


def config_of(name):
    return read_config([ROOT / "config/config.yaml", ROOT / f"config/published/{name}.yaml"])


def suits(run, value):
    """Whether a run is the model of a row."""
    return run.model in value.models and value.models[run.model].items() <= run.config.items()


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_protocol_draws_its_images_as_its_source_did(name):
    config = config_of(name)
    drawn = drawn_runs(config, expand_runs(config)).values()
    for value in read_published(name):
        samplers = [run.sampler for runs in drawn for run in runs.values() if suits(run, value)]
        if value.sampler is not None and value.protocol.dataset == "celeba" and samplers:
            alike = [sampler for sampler in samplers if sampler.name == value.sampler.name]
            assert any(value.sampler.options.items() <= sampler.options.items() for sampler in alike), value.row


@pytest.mark.parametrize("where", ["Table 1, CelebA", "Table 1, MNIST"])
def test_of_ghosh_et_al_vae_wae_and_two_stage_vae_alone_draw_from_a_prior(where):
    """The caption of their Table 1: N is a Gaussian fitted to the latents of all others, CV-VAE among them."""
    column = [value for value in read_published("rae") if (value.where, value.column) == (where, "N")]
    values = {value.row: value.sampler for value in column}
    prior = {"VAE": "normal", "WAE-MMD": "normal", "2sVAE": "two_stage"}
    assert {row: values[row].name for row in prior} == prior
    others = [values[row] for row in values.keys() - prior.keys()]
    assert len(others) == 6
    assert all((sampler.name, sampler.options) == ("gaussian_mixture", {"n_components": 1}) for sampler in others)


def lowered_by_keras(course, delta):
    """The epochs after which Keras 2.3's ReduceLROnPlateau(factor=0.5, patience=5, min_delta=delta) halves a rate."""
    best, waited, epochs = float("inf"), 0, []
    for epoch, loss in enumerate(course, start=1):
        if loss < best - delta:
            best, waited = loss, 0
            continue
        waited += 1
        if waited >= 5:
            epochs.append(epoch)
            waited = 0
    return epochs


def lowered(run, course):
    """The epochs after which a run's schedule halves its rate."""
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.ones(1))], lr=1.0)
    scheduler, rates = make_scheduler(optimizer, run.training.scheduler, len(course)), [1.0]
    for loss in course:
        step_scheduler(scheduler, loss)
        rates.append(optimizer.param_groups[0]["lr"])
    assert all(after in (before, before / 2) for before, after in pairwise(rates))
    return [epoch for epoch in range(1, len(rates)) if rates[epoch] < rates[epoch - 1]]


# How many times their loss ours is: config/published/rae.yaml.
TIMES = {"vae": 1.5, "cv_vae": 1.5, "wae": 1, **dict.fromkeys(("ae", "rae", "rae_gp", "rae_l2", "rae_sn"), 12288)}


@pytest.mark.parametrize("run", TIMES)
def test_the_rate_of_ghosh_et_al_falls_as_keras_lets_it_fall(run):
    """It stands, it falls by less than 1e-4 of their loss in an epoch, or by more; then it stands."""
    spec = expand_runs(config_of("rae"))[run]
    for step in (0.0, 0.9e-4, 1.1e-4):
        theirs = [1.0 - step * min(epoch, 8) for epoch in range(20)]
        assert lowered(spec, [TIMES[run] * loss for loss in theirs]) == lowered_by_keras(theirs, 1e-4)
