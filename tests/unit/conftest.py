"""Fixtures: images to train on, and arithmetic in which two ways to compute one thing can be compared."""

import pytest
import torch
from pythae.data import datasets
from pythae.models.vq_vae import vq_vae_utils
from training_cases import write_data

from vaebench.training.minibatches import Minibatches


class _TorchOfDoubles:
    """torch, for those modules of pythae that ask for `torch.float`."""

    float = torch.float64

    def __getattr__(self, name):
        return getattr(torch, name)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """The paths of npz files of digits, `train_data` and `eval_data`."""
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture
def float64(monkeypatch):
    """Models are built and trained in float64 within the test, also where pythae asks for float32.

    Two orders of the same sum differ by their rounding, 1e-16 of its terms here, and otherwise on each processor. A
    training enlarges that: Adam divides by small gradients, batch norm by deviations. Over the few steps of a test it
    stays below 1e-9, while what is computed by another formula differs by 1e-5 and more. In float32, where rounding is
    6e-8, the two cannot be told apart.
    """
    former = torch.get_default_dtype()
    load = Minibatches.load
    monkeypatch.setattr(Minibatches, "load", lambda self, order: (x.double() for x in load(self, order)))
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    for module in (datasets, vq_vae_utils):
        monkeypatch.setattr(module, "torch", _TorchOfDoubles())
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(former)
