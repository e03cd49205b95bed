"""Quality against training time: our trainings of a VAE and a sigma-VAE, and pythae's trainer with its own networks.

All see the same images. Ours trains once for each budget, of as many epochs as fit into it by the time that one takes,
since its learning rate falls to nothing over the training; pythae's stock trainer (Adam at 1e-4, batches of 64, its
convolutional networks for CelebA, no schedule) trains once and is looked at on the way. Time is processor time over the
number of threads: with one thread, other work on the machine hardly changes it.
What is measured is on the test images: MSE and LPIPS (AlexNet) of reconstructions, and the Fréchet distance of as many
drawn images in AlexNet's features. Prints one line for each model and budget, and writes a CSV and a figure.
"""

import argparse
import logging
import tempfile
import time
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import numpy as np
import torch
from bench_train import stock_trainer
from matplotlib.figure import Figure
from pythae.trainers import BaseTrainer
from pythae.trainers.training_callbacks import TrainingCallback
from runs import evaluation_images, file_of_demo, specification, with_training, write_rows

from vaebench.base.npz import open_array
from vaebench.config.plan import read_config
from vaebench.config.runs import expand_runs
from vaebench.figures.style import HUES, PAGE
from vaebench.metrics.distribution import frechet_distance
from vaebench.metrics.perceptual import Perceptual, pooled
from vaebench.models.inference import decode, reconstruct
from vaebench.models.interface import Autoencoder
from vaebench.models.providers.pythae.model import adopt
from vaebench.models.run_spec import RunSpec
from vaebench.models.storage import load_model
from vaebench.sampling.choice import find_sampler
from vaebench.sampling.request import Request
from vaebench.training.one_training import train
from vaebench.training.record import TrainingFiles, TrainingJob

BATCH = 100  # images in one pass of a measurement
MARKS = {"pythae VAE": "s", "our VAE": "o", "our sigma-VAE": "D"}


@dataclass(frozen=True)
class Images:
    """The folder with the splits' npz; `test` float32 (n, C, H, W) in [0, 1]; the network that features come from."""

    folder: Path
    test: torch.Tensor
    network: Perceptual

    def path(self, split: str) -> Path:
        """The npz of a split."""
        return self.folder / f"{split}_data.npz"

    def features(self, images: torch.Tensor) -> list[torch.Tensor]:
        """AlexNet's activations, each over all images."""
        parts = [self.network.features(part) for part in images.split(BATCH)]
        return [torch.cat(stage) for stage in zip(*parts, strict=True)]


class Done(Exception):
    """The last budget is spent."""


class Clock(TrainingCallback):
    """Looks at a stock trainer's model whenever the next budget of processor time is spent, and ends it at the last."""

    def __init__(self, trainer: BaseTrainer, images: Images, options: argparse.Namespace) -> None:
        self.trainer, self.images, self.threads = trainer, images, options.threads
        self.budgets = sorted(options.seconds)
        self.rows: list[dict] = []
        self.started = time.process_time()

    def on_train_step_end(self, training_config: object, **kwargs: object) -> None:
        """After each step."""
        spent = (time.process_time() - self.started) / self.threads
        if spent < self.budgets[0]:
            return
        paused = time.process_time()
        model = adopt(deepcopy(self.trainer.model)).eval()
        self.rows.append(row("pythae VAE", spent, measured(model, self.images, "normal")))
        self.started += time.process_time() - paused
        self.budgets.pop(0)
        if not self.budgets:
            raise Done


def main() -> None:
    """Train, measure, write."""
    options = parse()
    torch.set_num_threads(options.threads)
    images = Images(
        options.data, evaluation_images(options.data / "test_data.npz"), Perceptual("alex", options.alexnet)
    )
    rows = stock(images, options)
    for name, spec in demo_runs().items():
        epoch, _ = trained(spec, 1, images, options)
        for seconds in options.seconds:
            spent, model = trained(spec, max(1, int(seconds / epoch)), images, options)
            rows.append(row(name, spent, measured(model, images, spec.sampler.name)))
        write_rows(rows, options.output)
        draw(rows, options.figure)


def demo_runs() -> dict[str, RunSpec]:
    """The demo's VAE and sigma-VAE."""
    runs = expand_runs(read_config([Path("config/config.yaml"), Path("config/demo.yaml")]))
    return {"our VAE": runs["vae"], "our sigma-VAE": runs["sigma_vae"]}


def trained(spec: RunSpec, epochs: int, images: Images, options: argparse.Namespace) -> tuple[float, Autoencoder]:
    """The seconds that a training takes, with its validation and saving, and its model."""
    with tempfile.TemporaryDirectory() as folder:
        paths = {name: Path(folder) / name for name in ("output", "history", "provenance", "state")}
        files = TrainingFiles(images.path("train"), images.path("eval"), **paths)
        started = time.process_time()
        train(TrainingJob(with_training(spec, epochs=epochs), 0, files, "bench"), options.threads)
        spent = (time.process_time() - started) / options.threads
        return spent, load_model(paths["output"])


def stock(images: Images, options: argparse.Namespace) -> list[dict]:
    """pythae's trainer, looked at after each budget."""
    logging.disable(logging.INFO)
    spec = specification("VAE", "convnet", "", 64)
    with tempfile.TemporaryDirectory() as folder:
        train_images = np.array(open_array(images.path("train")))
        trainer = stock_trainer(spec, train_images, Path(folder), torch.device("cpu"))
        clock = Clock(trainer, images, options)
        trainer.callback_handler.add_callback(clock)
        with suppress(Done):
            for epoch in count(1):
                trainer.train_step(epoch)
    return clock.rows


@torch.no_grad()
def reconstruction_errors(model: Autoencoder, images: Images) -> dict[str, float]:
    """MSE and LPIPS of the test images' reconstructions."""
    reconstructions = torch.cat([reconstruct(model, part) for part in images.test.split(BATCH)])
    distances = images.network.distance(images.features(reconstructions), images.features(images.test))
    return {"mse": float((reconstructions - images.test).square().mean()), "lpips_alex": float(distances.mean())}


@torch.no_grad()
def measured(model: Autoencoder, images: Images, sampler: str) -> dict[str, float]:
    """MSE, LPIPS and Fréchet distance on the test images."""
    found = find_sampler(model, "normal" if sampler == "auto" else sampler)
    splits = {split: open_array(images.path(split)) for split in ("train", "eval", "test")}
    request = Request(model, len(images.test), found.options, np.random.default_rng(0), splits)
    drawn = torch.cat([decode(model, part) for part in found.draw(request).latents.split(BATCH)])
    generated, real = (pooled(images.features(part)).double().numpy() for part in (drawn, images.test))
    return {**reconstruction_errors(model, images), "fd_alexnet": frechet_distance(generated, real)[0]}


def row(name: str, seconds: float, values: dict[str, float]) -> dict:
    """One line of the table, printed."""
    print(f"{name:14} {seconds:6.1f} s  " + "  ".join(f"{metric} {value:.4g}" for metric, value in values.items()))
    return {"model": name, "seconds": round(seconds, 1), **values}


def draw(rows: list[dict], output: Path) -> None:
    """One panel for each metric, a line for each model."""
    figure = Figure(figsize=(PAGE, 2.4), layout="constrained")
    labels = {"mse": "MSE", "lpips_alex": "LPIPS (AlexNet)", "fd_alexnet": "Fréchet distance (AlexNet)"}
    for place, (metric, label) in enumerate(labels.items(), start=1):
        axes = figure.add_subplot(1, len(labels), place)
        for (name, marker), color in zip(MARKS.items(), HUES, strict=False):
            own = [entry for entry in rows if entry["model"] == name]
            places, values = ([entry[key] for entry in own] for key in ("seconds", metric))
            axes.plot(places, values, marker=marker, color=color, label=name, markersize=4)
        axes.set(xscale="log", ylim=(0, None), xlabel="seconds of training", title=label)
        axes.title.set_fontsize(9)
    figure.axes[0].legend(fontsize=7)
    output.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(output, dpi=150)
    print(f"written to {output}")


def parse() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("data/demo"), help="folder of train, eval and test npz")
    parser.add_argument("--alexnet", type=file_of_demo, default="data/weights/alexnet.pt")
    parser.add_argument("--seconds", type=float, nargs="+", default=[10, 20, 40, 80, 160])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/quality-over-time.csv"))
    parser.add_argument("--figure", type=Path, default=Path("docs/figures/quality-over-time.png"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
