import pytest
from run_specs import run_spec

from vaebench.models.building import build_model
from vaebench.training.memory_estimate import CONTEXT_MB, COPIES, SLACK, training_memory_mb


def spec(batch_size):
    return run_spec("VAE", config={"latent_dim": 8}, training={"batch_size": batch_size})


def test_memory_is_a_fixed_part_and_one_in_proportion_to_the_batch():
    small, double, triple = (training_memory_mb(spec(size), (1, 28, 28)) for size in (64, 128, 192))
    per_batch = double - small
    assert triple - double == pytest.approx(per_batch)
    parameters = sum(each.numel() for each in build_model(spec(64), (1, 28, 28)).parameters())
    fixed = CONTEXT_MB + SLACK * COPIES * 4 * parameters / 2**20
    assert small - per_batch == pytest.approx(fixed)
    assert per_batch > SLACK * 64 * 28 * 28 * 4 / 2**20, "at least the images themselves are kept"


def test_larger_images_take_more():
    assert training_memory_mb(spec(64), (3, 64, 64)) > training_memory_mb(spec(64), (1, 28, 28))
