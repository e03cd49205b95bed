"""How the device computes: the settings of torch within a training, put back after it."""

import pytest
import torch
from training_cases import make_spec, run

from vaebench.models.providers.pythae.catalog import MODELS
from vaebench.models.state import load_weights
from vaebench.training.numerics import numerics
from vaebench.training.trainer import Trainer

CPU = torch.device("cpu")


@pytest.mark.parametrize("former", [True, False])
def test_fresh_tensors_are_not_filled_while_training_and_the_setting_is_put_back(former, monkeypatch):
    monkeypatch.setattr(torch.utils.deterministic, "fill_uninitialized_memory", former)
    with numerics(make_spec("VAE").training, CPU, threads=1):
        assert torch.are_deterministic_algorithms_enabled()
        assert not torch.utils.deterministic.fill_uninitialized_memory
    assert torch.utils.deterministic.fill_uninitialized_memory is former
    with pytest.raises(KeyError), numerics(make_spec("VAE").training, CPU, threads=1):
        raise KeyError
    assert torch.utils.deterministic.fill_uninitialized_memory is former


@pytest.mark.parametrize("model", MODELS)
def test_no_operation_reads_what_was_not_filled(model, data, tmp_path, monkeypatch):
    """With every fresh tensor filled with NaN, as torch does by itself, a training ends in the same bits."""
    spec = make_spec(model, epochs=1)
    plain = load_weights(run(spec, data, tmp_path / "plain")["output"] / "model.pt")
    train_epoch = Trainer.train_epoch

    def filled(trainer, tracker):
        torch.utils.deterministic.fill_uninitialized_memory = True
        assert torch.empty(3).isnan().all()
        train_epoch(trainer, tracker)

    monkeypatch.setattr(Trainer, "train_epoch", filled)
    checked = load_weights(run(spec, data, tmp_path / "filled")["output"] / "model.pt")
    for name, value in plain["model_state_dict"].items():
        assert torch.equal(value, checked["model_state_dict"][name]), name
