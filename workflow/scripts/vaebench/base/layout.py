"""Where a study's results lie, and the names of its splits."""

from pathlib import Path

SPLITS = ("train", "eval", "test")  # the numbers 0, 1, 2 of a partition file


def runs_folder(results: Path) -> Path:
    """The folder of all runs in `results/{dataset}`."""
    return results / "runs"


def training_folder(runs: Path, run: str, seed: int | str) -> Path:
    """The folder of one training among `runs`."""
    return runs / run / f"seed{seed}"


def state_folder(training: Path) -> Path:
    """The folder of a training's checkpoints, progress and failure; `training` is the training's folder."""
    return training / "training_state"


def tuning_folder(results: Path, run: str) -> Path:
    """The folder of a run's tuning in `results/{dataset}`."""
    return results / "tuning" / run
