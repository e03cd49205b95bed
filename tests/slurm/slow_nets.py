"""An encoder that takes its time, so that a test can disturb a training; when told so, it waits or takes all memory."""

import os
import time
from pathlib import Path

import torch
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseEncoder
from torch import nn

APPETITE = Path("hungry")  # while this file exists, the next training to pass BITE batches takes it and eats
BITE = 20
HELD = Path("held")  # while this file exists, trainings in jobs wait before their next batch; a trial step does not
PAUSE = 0.15


class SlowEncoder(BaseEncoder):
    """A linear Gaussian encoder that waits 0.15 s per training batch, which costs no processor time."""

    def __init__(self, args: object) -> None:
        super().__init__()
        inputs = int(torch.tensor(args.input_dim).prod())
        self.mean = nn.Linear(inputs, args.latent_dim)
        self.log_variance = nn.Linear(inputs, args.latent_dim)

    def forward(self, x: torch.Tensor) -> ModelOutput:
        if self.training:
            time.sleep(PAUSE)
            while HELD.exists() and "SLURM_JOB_ID" in os.environ:
                time.sleep(PAUSE)
        x = x.flatten(1)
        return ModelOutput(embedding=self.mean(x), log_covariance=self.log_variance(x))


class HungryEncoder(SlowEncoder):
    """The same, but it runs out of memory once."""

    def __init__(self, args: object) -> None:
        super().__init__(args)
        self.batches = 0

    def forward(self, x: torch.Tensor) -> ModelOutput:
        self.batches += self.training
        if self.batches > BITE and APPETITE.exists():
            APPETITE.unlink()
            eaten = []
            while True:
                eaten.append(torch.ones(64, 2**20))
        return super().forward(x)
