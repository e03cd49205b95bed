"""Training speed: our loop against pythae's trainer, with the same model, batch size and data, in one interleaved run.

Each round trains the same images once with either, each in a process of its own with torch as it leaves it; the best
round counts, since other work on the machine only slows. The round before them warms up, and its losses are compared:
both loops begin it with the same weights. The ratio of processor time is given too, which other work
hardly changes. Ours computes in the precision that `auto` is on this machine, and in float32. For models of one encoder
and one decoder the limit is measured too: forward and backward passes of
these two on one batch and nothing else, in the layout of our loop. Prints one table and writes one CSV. On a GPU the
share of the card's peak is given.
"""

import argparse
import logging
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import torch
from pythae.data.datasets import BaseDataset
from pythae.models import BaseAE
from pythae.trainers import (
    BaseTrainer,
    BaseTrainerConfig,
    CoupledOptimizerAdversarialTrainer,
    CoupledOptimizerAdversarialTrainerConfig,
)
from runs import files_in, specification, write_rows
from torch.utils.flop_counter import FlopCounterMode

from vaebench.base.devices import choose_device
from vaebench.base.interruption import Interruption
from vaebench.base.npz import open_array, write_array
from vaebench.models.building import build_model
from vaebench.models.run_spec import RunSpec
from vaebench.training.checkpoint import Checkpoint, seed_everything
from vaebench.training.numerics import numerics
from vaebench.training.precision import choose_precision
from vaebench.training.record import TrainingJob
from vaebench.training.tracking import NoTracker
from vaebench.training.trainer import Trainer

SHAPE = (3, 64, 64)
CASES = [
    ("VAE", "convnet", "convnet"),
    ("VAE", "resnet", "resnet"),
    ("VAE", "compact", "compact"),
    ("VQVAE", "resnet", "resnet"),
    ("VQVAE", "compact", "compact"),
    ("VAEGAN", "convnet", "convnet"),
    ("VAEGAN", "resnet", "convnet"),
    ("VAEGAN", "compact", "compact"),
]
PEAK_TFLOPS = {"A100": 312, "H100": 989, "H200": 989}  # dense bf16, from the makers' data sheets


def main() -> None:
    """Measure every case that was asked for."""
    arguments = parse()
    device = choose_device(arguments.device)
    rows = []
    for model, nets, discriminator in CASES:
        if arguments.only and f"{model}-{nets}" not in arguments.only:
            continue
        count = arguments.images if nets == "compact" else arguments.images_of_large_nets
        chosen = choose_precision(specification(model, nets, discriminator, 1, precision="auto"), device)
        for precision, compiled in dict.fromkeys([(chosen, False), ("fp32", False), ("fp32", arguments.compile)]):
            how = {"precision": precision, "compile": compiled}
            spec = specification(model, nets, discriminator, arguments.batch_size, **how)
            with tempfile.TemporaryDirectory() as folder:
                rows.append(compare(spec, count, Path(folder), device, arguments))
            print_row(rows[-1])
    write_rows(rows, arguments.output)


def compare(spec: RunSpec, count: int, folder: Path, device: torch.device, arguments: argparse.Namespace) -> dict:
    """Images per second of both loops, each in a process of its own, round by round in turn."""
    images = np.random.default_rng(0).integers(0, 256, (count, *SHAPE), dtype=np.uint8)
    for name, part in (("train", images), ("eval", images[:2])):
        write_array(folder / f"{name}_data.npz", part)
    with (
        loop(ours, spec, folder, device, arguments) as our_round,
        loop(theirs, spec, folder, device, arguments) as their_round,
    ):
        turns = [(our_round(), their_round(), our_round("networks")) for _ in range(arguments.rounds + 1)]
        first, rounds, limits = turns[0], [turn[:2] for turn in turns[1:]], [turn[2] for turn in turns[1:]]
        share = our_round("share_of_peak")
    best = [max(pair[side]["images_per_second"] for pair in rounds) for side in (0, 1)]
    least_processor_time = [min(pair[side]["processor_seconds"] for pair in rounds) for side in (0, 1)]
    ratios = [ours["images_per_second"] / theirs["images_per_second"] for ours, theirs in rounds]
    return {
        "model": spec.model,
        "nets": spec.nets["encoder"],
        "device": _name(device) if device.type == "cuda" else f"{arguments.threads} cpu threads",
        "precision": spec.training.precision,
        "compile": spec.training.compile,
        "batch_size": arguments.batch_size,
        "images": count,
        "rounds": arguments.rounds,
        "pythae_images_per_second": best[1],
        "ours_images_per_second": best[0],
        "ratio": best[0] / best[1],
        "median_ratio": statistics.median(ratios),
        "lowest_ratio": min(ratios),
        "highest_ratio": max(ratios),
        "networks_images_per_second": max(limits) if all(limits) else "",
        "processor_time_ratio": least_processor_time[1] / least_processor_time[0],
        "pythae_loss": first[1]["loss"],
        "ours_loss": first[0]["loss"],
        "share_of_peak": share,
    }


@contextmanager
def loop(target: Callable, *task: object) -> Iterator[Callable[..., dict]]:
    """`target` in a new process, and a function that has it train one round."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=target, args=(there, *task))
    process.start()
    there.close()

    def ask(question: str = "train") -> dict:
        here.send(question)
        return here.recv()

    try:
        yield ask
    finally:
        here.close()
        process.join()


def questions(connection: Connection) -> Iterator[str]:
    """What the measuring process asks for, until it has enough."""
    with suppress(EOFError):
        while True:
            yield connection.recv()


def ours(
    connection: Connection, spec: RunSpec, folder: Path, device: torch.device, arguments: argparse.Namespace
) -> None:
    """Our loop."""
    with numerics(spec.training, device, arguments.threads), Interruption() as interruption:
        files = files_in(folder)
        trainer = Trainer(TrainingJob(spec, 0, files, "bench"), device, Checkpoint(files.state, "bench"), interruption)
        for question in questions(connection):
            if question == "share_of_peak":
                connection.send(share_of_peak(trainer, last_value(trainer, "images_per_second"), device))
                continue
            if question == "networks":
                connection.send(networks_alone(trainer, device))
                continue
            started = time.process_time()
            trainer.train_epoch(NoTracker())
            answer = {name: last_value(trainer, name) for name in ("images_per_second", "loss")}
            connection.send(answer | {"processor_seconds": time.process_time() - started})


def theirs(
    connection: Connection, spec: RunSpec, folder: Path, device: torch.device, arguments: argparse.Namespace
) -> None:
    """pythae's loop."""
    logging.disable(logging.INFO)
    torch.set_num_threads(arguments.threads)
    images = np.array(open_array(folder / "train_data.npz"))
    trainer = stock_trainer(spec, images, folder, device)
    for epoch, _ in enumerate(questions(connection), start=1):
        started, processor_started = time.monotonic(), time.process_time()
        losses = trainer.train_step(epoch)
        _wait(device)
        connection.send(
            {
                "images_per_second": len(images) / (time.monotonic() - started),
                "processor_seconds": time.process_time() - processor_started,
                "loss": losses[0] if isinstance(losses, tuple) else losses,
            }
        )


def stock_trainer(spec: RunSpec, images: np.ndarray, folder: Path, device: torch.device) -> BaseTrainer:
    """pythae's trainer, ready to train, on the same initial weights."""
    adversarial = spec.model == "VAEGAN"
    config_class = CoupledOptimizerAdversarialTrainerConfig if adversarial else BaseTrainerConfig
    config = config_class(
        output_dir=str(folder / "pythae"),
        per_device_train_batch_size=spec.training.batch_size,
        no_cuda=device.type == "cpu",
    )
    seed_everything(0)
    model = build_model(spec, SHAPE)
    data = BaseDataset(torch.from_numpy(images / 255.0).float(), torch.zeros(len(images)))
    trainer = (CoupledOptimizerAdversarialTrainer if adversarial else BaseTrainer)(model, data, data, config)
    trainer.prepare_training()
    trainer.callback_handler.callbacks = []  # no progress bars in the measurement
    return trainer


def networks_alone(trainer: Trainer, device: torch.device) -> float | None:
    """Images per second of an epoch of passes through encoder and decoder on one batch; None for VAEGAN."""
    if trainer.spec.model == "VAEGAN":
        return None
    order = trainer.train_set.order(shuffle=False)
    model, batch = trainer.model, next(trainer.train_set.load(order[:1]))
    started = time.monotonic()
    for _ in order:
        answers = dict(model.encoder(batch))
        answers["reconstruction"] = model.decoder(answers["embedding"]).reconstruction
        gradients = [torch.ones_like(answer) for answer in answers.values()]
        torch.autograd.grad(list(answers.values()), list(_weights(model)), gradients)
    _wait(device)
    return len(order) * len(batch) / (time.monotonic() - started)


def _weights(model: BaseAE) -> Iterator[torch.nn.Parameter]:
    yield from model.encoder.parameters()
    yield from model.decoder.parameters()


def share_of_peak(trainer: Trainer, images_per_second: float, device: torch.device) -> float | str:
    """Arithmetic done per second over what the card can do at most in bf16; empty on a CPU or an unknown card."""
    peak = next((peak for name, peak in PEAK_TFLOPS.items() if device.type == "cuda" and name in _name(device)), None)
    if peak is None:
        return ""
    batch = next(trainer.train_set.load(trainer.train_set.order(shuffle=False)[:1]))
    with FlopCounterMode(display=False) as counter:
        output = trainer.model({"data": batch})
        output.loss.backward()
    return counter.get_total_flops() / len(batch) * images_per_second / (peak * 1e12)


def print_row(row: dict) -> None:
    """One line of the table."""
    share = f", {row['share_of_peak']:.1%} of peak" if row["share_of_peak"] != "" else ""
    limit = row["networks_images_per_second"]
    if limit:
        share += f"\n{'':22}networks alone {limit:.1f} images/s, {limit / row['pythae_images_per_second']:.2f} times "
        share += f"pythae's loop; ours at {row['ours_images_per_second'] / limit:.0%} of that"
    print(
        f"{row['model']:7}{row['nets']:9}{row['precision']:5}{'compiled ' if row['compile'] else '':10}"
        f"pythae {row['pythae_images_per_second']:8.1f}  ours {row['ours_images_per_second']:8.1f} images/s  "
        f"ratio of best {row['ratio']:.2f}, median {row['median_ratio']:.2f} "
        f"({row['lowest_ratio']:.2f} to {row['highest_ratio']:.2f}), "
        f"of processor time {row['processor_time_ratio']:.2f}  "
        f"(loss {row['pythae_loss']:.4g} / {row['ours_loss']:.4g}){share}",
        flush=True,
    )


def last_value(trainer: Trainer, term: str) -> float:
    """What the history has of the last epoch of training."""
    return next(
        row["value"] for row in reversed(trainer.progress.rows) if (row["split"], row["term"]) == ("train", term)
    )


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def parse() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--images", type=int, default=1024, help="images of a round with the compact networks")
    parser.add_argument(
        "--images-of-large-nets", type=int, default=192, help="images of a round with pythae's networks"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--compile", action="store_true", help="also measure torch.compile")
    parser.add_argument("--only", nargs="*", help="cases such as VAE-compact")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/train.csv"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
