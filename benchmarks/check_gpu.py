"""Everything that has to be seen on a GPU, in one go: tests, training, preprocessing, evaluation and sampling.

`python benchmarks/check_gpu.py` runs the parts one after the other, each in a process of its own with a time limit, and
ends with one table. A part writes every result to OUTPUT/PART.jsonl as soon as it is known, so that a cut leaves what
was measured. Without a GPU the same lines run on tiny sizes, as a rehearsal.

- tests: tests/gpu.
- study: images a second of each model of config/config.yaml, as configured there, and the hours of its trainings.
- training: our loop against pythae's trainer, same model, weights, batch size and data, in turn; what a step of ours
  consists of (kernel time against wall time, launches, waits of the host), and its share of the card's peak.
- data: validation and preprocessing, resize on the GPU and on the CPU, nvJPEG, against raw decoding and the plain way.
- evaluation: sampling, all metrics of a run, and the per-image metrics against a bare LPIPS loop and the plain way.
"""

import argparse
import csv
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from types import SimpleNamespace

ROOT = Path(__file__).resolve().parents[1]
LIMITS = {"tests": 120, "study": 60, "training": 130, "data": 70, "evaluation": 100}  # seconds
SHAPE = (3, 64, 64)
CELEBA = {"train": 162_770, "eval": 19_867, "test": 19_962}
PRECISIONS = ("tf32", "bf16")
TRAINED = [
    ("VAE", "compact", "compact"),
    ("VAEGAN", "compact", "compact"),
    ("VAE", "convnet", "convnet"),
    ("VQVAE", "resnet", "resnet"),
    ("VAEGAN", "convnet", "convnet"),
    ("VQVAE", "compact", "compact"),
    ("VAE", "resnet", "resnet"),
]


def main() -> None:
    """Run the parts, or one of them, and print the table."""
    options = read_options()
    if options.part:
        PARTS[options.part](options, Results(options.output / f"{options.part}.jsonl"))
        return
    options.output.mkdir(parents=True, exist_ok=True)
    card = describe_machine()
    print(f"{card['device']}; torch {card['torch']}, Python {card['python']}", flush=True)
    failed = []
    for part in options.only or LIMITS:
        started = time.monotonic()
        outcome = run_part(part, options)
        print(f"{part}: {outcome} after {time.monotonic() - started:.0f} s", flush=True)
        failed += [] if outcome == "done" else [part]
    rows = [row for part in options.only or LIMITS for row in read_rows(options.output / f"{part}.jsonl")]
    print_table(rows)
    write_table(rows, card, options.output / "check.csv")
    sys.exit(f"not done: {', '.join(failed)}" if failed else 0)


def run_part(part: str, options: argparse.Namespace) -> str:
    """`done`, or how the part ended; what it printed is in OUTPUT/PART.log."""
    (options.output / f"{part}.jsonl").unlink(missing_ok=True)
    command = [sys.executable, __file__, "--part", part, "--output", str(options.output)]
    command += ["--tiny"] if options.tiny else []
    command += ["--cases", *options.cases] if options.cases else []
    with open(options.output / f"{part}.log", "w") as log:
        try:
            code = subprocess.run(command, stdout=log, stderr=log, timeout=LIMITS[part]).returncode
        except subprocess.TimeoutExpired:
            return f"cut at its limit of {LIMITS[part]} s"
    return "done" if code == 0 else f"failed with exit code {code}, see {options.output / part}.log"


class Results:
    """The rows of one part: each goes to the disk as soon as it is known."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, part: str, what: str, ours: float, reference: float | None, unit: str, **more: object) -> None:
        """One measurement; where the unit is seconds, the ratio is the reference's over ours."""
        ratio = None
        if reference:
            ratio = reference / ours if unit == "s" else ours / reference
        row = {"part": part, "what": what, "ours": ours, "reference": reference, "unit": unit, "ratio": ratio, **more}
        with open(self.path, "a") as file:
            file.write(json.dumps(row) + "\n")
            file.flush()
        print(row, flush=True)


def run_tests(options: argparse.Namespace, results: Results) -> None:
    """tests/gpu, in as many processes as there are cores, up to twelve."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "VAEBENCH_REHEARSAL": "1"}
    workers = min(os.cpu_count() or 1, 12)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", str(workers), "tests/gpu"]
    if options.tiny:
        command += ["-k", "not (resumed or first_losses or zoo or family) or VAEGAN or VQVAE"]
    command += ["-o", "timeout=0"] if has_module("pytest_timeout") else []
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    print(run.stdout, run.stderr)
    counts = {word: number_before(word, run.stdout) for word in ("passed", "failed", "skipped")}
    results.add("tests", "tests/gpu", counts["passed"], None, "passed", **counts)
    sys.exit(run.returncode)


def train(options: argparse.Namespace, results: Results) -> None:
    """Our loop in tf32 and bf16 and pythae's trainer, in turn, in one process.

    pythae leaves torch's default, by which convolutions are in TensorFloat-32; fp32 of ours is stricter and slower.
    """
    from vaebench.base.devices import choose_device
    from vaebench.base.interruption import Interruption
    from vaebench.base.npz import write_array

    device = choose_device("auto")
    count, batch, rounds = (32, 8, 1) if options.tiny else (6_400, 128, 2)
    images = random_images(count)
    cases = [case for case in TRAINED if not options.cases or f"{case[0]}-{case[1]}" in options.cases]
    cases = cases[:2] if options.tiny and not options.cases else cases
    with tempfile.TemporaryDirectory() as folder, Interruption() as interruption:
        folder = Path(folder)
        for name, part in (("train", images), ("eval", images[:batch])):
            write_array(folder / f"{name}_data.npz", part)
        for number, case in enumerate(cases):
            data = folder, folder / str(number), images
            for row in compare_training(case, data, batch, rounds, device, interruption):
                results.add("training", **row)


def time_study(options: argparse.Namespace, results: Results) -> None:
    """Trainings of config/config.yaml: images a second as configured, and hours of one for all its epochs."""
    from dataclasses import replace

    from bench_train import last_value
    from runs import files_in

    from vaebench.base.npz import write_array
    from vaebench.config.runs import expand_runs
    from vaebench.training.one_training import trainer_at_work
    from vaebench.training.record import TrainingJob
    from vaebench.training.tracking import NoTracker

    count = 64 if options.tiny else 12_800
    images = random_images(count)
    runs = list(expand_runs(study_settings()).values())[: 1 if options.tiny else None]
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        for name, part in (("train", images), ("eval", images[:64])):
            write_array(folder / f"{name}_data.npz", part)
        for spec in runs:
            files = replace(files_in(folder), state=folder / spec.run)
            with trainer_at_work(TrainingJob(spec, 0, files, "check"), os.cpu_count() or 1) as trainer:
                for _ in range(2):
                    trainer.train_epoch(NoTracker())
                rate, precision = last_value(trainer, "images_per_second"), trainer.training.precision
            hours = spec.training.epochs * CELEBA["train"] / rate / 3600
            results.add("study", f"training {spec.run}, {precision}", rate, None, "images/s", hours=hours)


def compare_training(
    case: tuple[str, str, str],
    data: tuple[Path, Path, object],
    batch: int,
    rounds: int,
    device: object,
    interruption: object,
) -> Iterator[dict]:
    """One row for our loop in each of `PRECISIONS`, measured in turn with pythae's trainer."""
    from bench_train import last_value, share_of_peak, stock_trainer
    from runs import files_in, specification

    from vaebench.training.checkpoint import Checkpoint
    from vaebench.training.numerics import numerics
    from vaebench.training.record import TrainingJob
    from vaebench.training.tracking import NoTracker
    from vaebench.training.trainer import Trainer

    folder, place, images = data
    model, nets, discriminator = case
    threads = os.cpu_count() or 1
    trainers = {}
    for precision in PRECISIONS:
        spec = specification(model, nets, discriminator, batch, precision=precision)
        with numerics(spec.training, device, threads):
            state = Checkpoint(place / precision, "check")
            job = TrainingJob(spec, 0, files_in(folder), "check")
            trainers[precision] = Trainer(job, device, state, interruption)
    stock = stock_trainer(specification(model, nets, discriminator, batch), images, place, device)

    def rate_of_stock(epoch: int) -> float:
        wait(device)
        return len(images) / clock(lambda: (stock.train_step(epoch), wait(device)))

    def our_rate(trainer: Trainer) -> float:
        """Of the steps alone, as pythae's: an epoch of ours also validates and saves, which takes 0.1 to 0.8 s."""
        trainer.train_epoch(NoTracker())
        return last_value(trainer, "images_per_second")

    turns = []
    for epoch in range(1, rounds + 2):
        turn = {"pythae": rate_of_stock(epoch)}
        for name, trainer in trainers.items():
            with numerics(trainer.training, device, threads):
                turn[name] = our_rate(trainer)
        turns.append(turn)
    reference = [turn["pythae"] for turn in turns[1:]]
    for name, trainer in trainers.items():
        found = [turn[name] for turn in turns[1:]]
        ratios = [a / b for a, b in zip(found, reference, strict=True)]
        with numerics(trainer.training, device, threads):
            anatomy = step_anatomy(trainer, device)
        yield {
            "what": f"{model} {nets} {name}",
            "ours": median(found),
            "reference": median(reference),
            "unit": "images/s",
            "spread": f"{min(ratios):.2f} to {max(ratios):.2f}",
            "share_of_peak": share_of_peak(trainer, median(found), device),
            **anatomy,
        }


def step_anatomy(trainer: object, device: object) -> dict:
    """Milliseconds a step of wall time and of kernels, launches a step, and how often the host waited in one."""
    from torch.profiler import ProfilerActivity, profile

    steps = 20 if device.type == "cuda" else 4
    batches = list(trainer.train_set.load(trainer.train_set.order(shuffle=False)[:1])) * steps
    one_step = trainer.make_step(1)

    def some_steps() -> None:
        for x in batches:
            one_step(x)
        wait(device)

    some_steps()
    started = time.monotonic()
    some_steps()
    wall = time.monotonic() - started
    activities = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if device.type == "cuda" else [])
    with profile(activities=activities) as profiler:
        some_steps()
    events = profiler.events()
    names = [event.name for event in events]
    kernel = sum(event.device_time for event in events if event.device_type.name == "CUDA")
    waits = sum(name in ("cudaStreamSynchronize", "cudaEventSynchronize", "cudaMemcpy") for name in names)
    return {
        "wall_ms": 1e3 * wall / steps,
        "kernel_ms": kernel / 1e3 / steps,
        "launches": sum("LaunchKernel" in name or "GraphLaunch" in name for name in names) / steps,
        "waits": waits / steps,
        "operations": sum(name.startswith("aten::") for name in names) / steps,
    }


def prepare_data(options: argparse.Namespace, results: Results) -> None:
    """Faces as JPEGs in CelebA's size, in CelebA's number on a GPU, through every stage of the data road."""
    import bench_data

    count, distinct, plain = (60, 30, 60) if options.tiny else (182_637, 1_000, 5_000)
    workers = os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as folder:
        settings = SimpleNamespace(images=plain, distinct=min(distinct, plain), package=options.faces, skip_plain=False)
        compare_with_plain_way(Path(folder), settings, workers, results)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        settings = SimpleNamespace(images=count, distinct=distinct, package=options.faces, skip_plain=True)
        bench_data.make_images(folder, settings)
        decoding = clock(bench_data.decode_only, folder, workers)
        validation = clock(bench_data.run_stage, {"stage": "ours_validate", "folder": str(folder), "workers": workers})
        what = f"validation of {count} images, {workers} workers"
        results.add("data", what, validation, decoding, "s", note="reference: raw decoding")
        gpu = has_gpu()
        ways = [("cpu", "libjpeg")] + ([("cuda", "libjpeg"), ("cuda", "nvjpeg")] if gpu else [("auto", "libjpeg")])
        made = {}
        for device, decoder in ways:
            output = folder / f"{device}-{decoder}"
            took = clock(preprocess, folder, output, device, decoder, workers)
            made[device, decoder] = output
            what = f"preprocessing {count} images, lanczos, {device}, {decoder}"
            results.add("data", what, took, decoding, "s", note="reference: raw decoding")
            if len(made) == 2:
                first, second = made.values()
                same = all(
                    (second / f"{s}_data.npz").read_bytes() == (first / f"{s}_data.npz").read_bytes() for s in CELEBA
                )
                results.add("data", "files of both devices equal", float(same), None, "1 = yes")


def compare_with_plain_way(folder: Path, settings: SimpleNamespace, workers: int, results: Results) -> None:
    """Validation and preprocessing of `settings.images` images against the plain way."""
    import bench_data

    bench_data.make_images(folder, settings)
    theirs = clock(bench_data.verify_plain, folder) + clock(bench_data.preprocess_plain, folder, "lanczos", workers)
    stage = {"stage": "ours_validate", "folder": str(folder), "workers": workers}
    ours = clock(bench_data.run_stage, stage)
    ours += clock(preprocess, folder, folder / "ours", "auto", "libjpeg", workers)
    results.add("data", f"{settings.images} images end to end", ours, theirs, "s", note="reference: the plain way")


def preprocess(folder: Path, output: Path, device: str, decoder: str, workers: int) -> None:
    """The library's preprocessing of the benchmark's images."""
    from bench_data import ARCHIVE, CROP, DECODING, PARTITION, SIZE, TABLE

    from vaebench.base.values import from_dict
    from vaebench.data.image_table import ImageFiles
    from vaebench.data.preprocessing import PreprocessingSettings, preprocess

    settings = DECODING | {
        "crop": {"center": CROP},
        "size": [SIZE, SIZE],
        "filter": "lanczos",
        "channels": 3,
        "batch_size": 512,
        "decoder": decoder,
        "device": device,
        "compress": False,
        "limit": None,
    }
    outputs = {split: output / f"{split}_data.npz" for split in CELEBA}
    files = ImageFiles(folder / ARCHIVE, folder / PARTITION, folder / TABLE)
    preprocess(files, outputs, from_dict(PreprocessingSettings, settings), workers, "check")


def evaluate(options: argparse.Namespace, results: Results) -> None:
    """Per-image metrics, then sampling and the whole evaluation of untrained models on images in CelebA's numbers."""
    import bench_eval

    from vaebench.models.batches import prepare_torch

    device = prepare_torch(os.cpu_count() or 1, "auto")  # all ways in strict float32, as the pipeline measures
    pairs = 8 if options.tiny else 2_048
    ways = bench_eval.make_ways(device, 8 if options.tiny else 64)
    x, y = bench_eval.pairs(pairs)
    if options.tiny:
        ways = {name: ways[name] for name in ("limit", "ours", "plain")}
    few = {"plain": 64}  # it builds its network anew for every batch: 23 pairs/s on an H200
    for run in ways.values():
        bench_eval.timed(run, x[:64], y[:64])
    rates = {}
    for name, run in ways.items():
        count = min(few.get(name, pairs), pairs)
        times = [bench_eval.timed(run, x[:count], y[:count]) for _ in range(1 if options.tiny else 2)]
        rates[name] = count / min(times)
    for name in [name for name in ways if name != "ours"]:
        results.add("evaluation", f"per-image metrics against {name}", rates["ours"], rates[name], "pairs/s")
    scale = 1 / 2_000 if options.tiny else 1
    with tempfile.TemporaryDirectory() as folder:
        measure_runs(Path(folder), scale, results)


def measure_runs(folder: Path, scale: float, results: Results) -> None:
    """Seconds of `sample` and `evaluate` at CelebA's size times `scale`, with the study's settings."""
    from runs import specification

    from vaebench.base.evaluation_settings import EvaluationSettings
    from vaebench.base.values import from_dict
    from vaebench.evaluation.run import EvaluationFiles, evaluate
    from vaebench.models.run_spec import Named
    from vaebench.results.suite_files import TrainingIdentity
    from vaebench.sampling.samplers import SamplingFiles, sample
    from vaebench.sampling.sampling_settings import SamplingSettings

    counts = {split: max(int(count * scale), 16) for split, count in CELEBA.items()}
    data = write_splits(folder, counts)
    study = study_settings()
    threads, drawn = os.cpu_count() or 1, max(int(10_000 * scale), 16)
    for model, sampler, options in (
        ("VAE", "normal", {}),
        ("VQVAE", "pixelcnn", {"epochs": 2}),
        ("VAE", "gaussian_mixture", {}),
    ):
        spec = specification(model, "compact", "compact", 128)
        network = save_untrained(folder / model, spec)
        settings = SamplingSettings(drawn, study["samples"]["batch_size"], study["samples"]["seed"])
        samples = folder / f"{model}-{sampler}.npz"
        took = clock(sample, SamplingFiles(network, data, samples), Named(sampler, options), settings, 0, threads)
        results.add("evaluation", f"{drawn} samples of {model}, {sampler} {options or ''}", took, None, "s")
        if sampler == "gaussian_mixture":
            continue
        suites = [f"{suite}.csv" for suite in study["evaluation"]["suites"]]
        outputs = {
            name: folder / f"{model}-metrics" / name
            for name in (*suites, "per_image.parquet", "latent.npz", "extremes.npz")
        }
        weights = {name: ROOT / f"data/weights/{name}.pt" for name in ("vgg16", "alexnet")}
        files = EvaluationFiles(network, data, samples, weights, labels=None)
        wanted = from_dict(EvaluationSettings, study["evaluation"])
        took = clock(evaluate, TrainingIdentity("check", spec.run, model, 0), files, wanted, outputs, threads)
        what = f"evaluation of {model}: {counts['test']} images, {drawn} samples, {counts['train']} training"
        results.add("evaluation", what, took, None, "s")


def study_settings() -> dict:
    """The CelebA study's configuration with its defaults."""
    import yaml

    from vaebench.config.completion import complete, load_schema

    config = yaml.safe_load((ROOT / "config/config.yaml").read_text())
    return complete(config, load_schema(ROOT / "workflow/schemas/config.schema.yaml"))


def write_splits(folder: Path, counts: dict[str, int]) -> dict[str, Path]:
    """Arrays of noise in place of each split, with the part of the manifest that the evaluation reads."""
    from vaebench.base.npz import manifest_path, write_array

    paths = {split: folder / f"{split}_data.npz" for split in counts}
    for seed, (split, count) in enumerate(counts.items()):
        write_array(paths[split], random_images(count, seed))
        manifest = {"sha256": split, "split": split, "ids": [f"{split}{row}.png" for row in range(count)]}
        manifest_path(paths[split]).write_text(json.dumps(manifest))
    return paths


def save_untrained(folder: Path, spec: object) -> Path:
    """A model with random weights, saved as a training would."""
    from vaebench.models.building import build_model
    from vaebench.models.storage import save_model
    from vaebench.training.checkpoint import seed_everything

    seed_everything(0)
    save_model(build_model(spec, SHAPE).eval(), spec.as_record(), folder)
    return folder


PARTS = {"tests": run_tests, "study": time_study, "training": train, "data": prepare_data, "evaluation": evaluate}


def random_images(count: int, seed: int = 0) -> object:
    """uint8 (count, 3, 64, 64) of noise, scaled up so that neighbours are alike."""
    import numpy as np

    coarse = np.random.default_rng(seed).integers(0, 256, (count, 3, 8, 8), dtype=np.uint8)
    return coarse.repeat(8, axis=2).repeat(8, axis=3)


def clock(work: Callable, *arguments: object, **options: object) -> float:
    """Seconds that a call of `work` takes."""
    started = time.monotonic()
    work(*arguments, **options)
    return time.monotonic() - started


def wait(device: object) -> None:
    """Until the device has done all it was given."""
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize(device)


def has_gpu() -> bool:
    """Whether torch sees a GPU."""
    import torch

    return torch.cuda.is_available()


def has_module(name: str) -> bool:
    """Whether it can be imported."""
    from importlib.util import find_spec

    return find_spec(name) is not None


def number_before(word: str, text: str) -> int:
    """The number in front of `word` in pytest's closing line."""
    import re

    found = re.findall(rf"(\d+) {word}", text)
    return int(found[-1]) if found else 0


def describe_machine() -> dict:
    """What the figures were measured on."""
    import torch

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{platform.machine()}, no GPU"
    return {"device": device, "torch": torch.__version__, "python": platform.python_version()}


def read_rows(path: Path) -> list[dict]:
    """The rows of one part, as far as it came."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def print_table(rows: list[dict]) -> None:
    """One line a measurement."""
    print(f"\n{'what':70}{'ours':>12}{'reference':>12} {'unit':9}{'ratio':>7}  {'share':>6}  where the time goes")
    for row in rows:
        reference = f"{row['reference']:12.1f}" if row["reference"] else f"{'':12}"
        ratio = f"{row['ratio']:7.2f}" if row["ratio"] else f"{'':7}"
        share = f"{row['share_of_peak']:6.1%}" if row.get("share_of_peak") else f"{'':6}"
        print(
            f"{row['what'][:69]:70}{row['ours']:12.1f}{reference} {row['unit']:9}{ratio}  {share}  {anatomy_text(row)}"
        )


def anatomy_text(row: dict) -> str:
    """Where a step's time goes, or the row's remark."""
    if "hours" in row:
        return f"{row['hours']:.1f} hours a training of the study"
    if "wall_ms" not in row:
        return str(row.get("note", ""))
    busy = f", kernels {row['kernel_ms']:.2f} ms" if row["kernel_ms"] else ""
    return f"{row['wall_ms']:.2f} ms a step{busy}, {row['launches']:.0f} launches, {row['waits']:.1f} waits"


def write_table(rows: list[dict], card: dict, path: Path) -> None:
    """All rows as one CSV, each with the machine."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, [*columns, *card], lineterminator="\n")
        writer.writeheader()
        writer.writerows(row | card for row in rows)
    print(f"written to {path}")


def read_options() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=ROOT / ".bench/gpu", help="where every part writes its rows")
    parser.add_argument("--only", nargs="*", choices=LIMITS, help="these parts alone")
    parser.add_argument("--cases", nargs="*", help="of the trainings these alone, such as VAE-compact")
    parser.add_argument("--tiny", action="store_true", help="tiny sizes, as without a GPU")
    parser.add_argument("--faces", type=Path, default=ROOT / "data/packages/gan_face_generate.archive")
    parser.add_argument("--part", choices=LIMITS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.tiny = options.tiny or not has_gpu()
    options.output = options.output.resolve()
    return options


if __name__ == "__main__":
    main()
