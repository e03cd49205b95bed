"""What a training step of each model costs: the runs of config/zoo.yaml without added terms, by turns, on one thread.

Processor time of a step of 64 random images of 28x28 in float32, the least of several rounds, and its ratio to that of
the VAE.
Other work on the machine disturbs processor time less than the clock. Writes benchmarks/results/steps.csv, which
docs/models.md reads.

    python benchmarks/measure_steps.py
"""

import time
from pathlib import Path

import torch
from runs import write_rows

from vaebench.config.plan import read_config
from vaebench.config.runs import expand_runs
from vaebench.models.building import build_model
from vaebench.models.interface import Moment
from vaebench.models.run_spec import RunSpec
from vaebench.training.objectives import make_objectives, step

SHAPE, BATCH, STEPS, ROUNDS = (1, 28, 28), 64, 5, 4


class Stepper:
    """A model in training, and the least time that one of its steps took."""

    def __init__(self, spec: RunSpec) -> None:
        torch.manual_seed(0)
        self.spec, self.seconds = spec, float("inf")
        self.model = build_model(spec, SHAPE)
        self.model.prepare_training()
        self.model.train()
        self.objectives = make_objectives(self.model, spec.training)

    def run(self, steps: int) -> None:
        """Take some steps, on the same images, and keep the mean time where it is the least so far."""
        x = torch.rand(BATCH, *SHAPE, generator=torch.Generator().manual_seed(0))
        started = time.process_time()
        for _ in range(steps):
            step(self.objectives, self.model.losses(x, Moment(1, BATCH)))
        self.seconds = min(self.seconds, (time.process_time() - started) / steps)


def main() -> None:
    """Measure all runs, write the table."""
    torch.set_num_threads(1)
    specs = expand_runs(read_config([Path("config/config.yaml"), Path("config/zoo.yaml")]))
    plain = {run: spec for run, spec in specs.items() if not {"perceptual", "adversarial"} & set(spec.config)}
    steppers = {run: Stepper(spec) for run, spec in plain.items()}
    for stepper in steppers.values():
        stepper.run(2)
        stepper.seconds = float("inf")
    for _ in range(ROUNDS):
        for stepper in steppers.values():
            stepper.run(STEPS)
    vae = steppers["vae"].seconds
    rows = []
    for run, stepper in steppers.items():
        found = {"ms": f"{1000 * stepper.seconds:.2f}", "of_vae": f"{stepper.seconds / vae:.2f}"}
        rows.append({"run": run, "model": str(stepper.spec.model), **found})
        print(", ".join(rows[-1].values()))
    write_rows(rows, Path("benchmarks/results/steps.csv"))


if __name__ == "__main__":
    main()
