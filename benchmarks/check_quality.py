"""Whether the numbers moved: the fixed small study of benchmarks/quality.yaml against benchmarks/results/quality.csv.

Every family is trained, sampled and measured as the workflow does it, with three seeds, and each value is held against
its reference: what moved is named, with the size of the change in spreads over seeds, and the program ends with 1.
quality_reference.py says what counts as moved. `--write` trains all seeds of the study and makes new references.
Without `--all`, models that differ from another of the study in their quantiser or in one term only are left out.

    make check-quality
    make check-quality ALL=1
    make check-quality OPTIONS="--runs vae fsq"
"""

import argparse
import logging
import os
import sys
import tempfile
import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pandas as pd
from quality_reference import CHECKED, compare, read, references, with_bounds
from runs import files_in

from vaebench.base.evaluation_settings import EvaluationSettings
from vaebench.base.files import atomic_path
from vaebench.base.layout import SPLITS
from vaebench.config.plan import read_config
from vaebench.config.runs import expand_runs
from vaebench.config.sections import evaluation_settings
from vaebench.evaluation.run import EvaluationFiles, evaluate
from vaebench.models.run_spec import RunSpec
from vaebench.results.suite_files import TrainingIdentity
from vaebench.results.tables import values_of
from vaebench.sampling.samplers import SamplingFiles, sample
from vaebench.sampling.sampling_settings import SamplingSettings
from vaebench.training.one_training import train
from vaebench.training.record import TrainingJob

# Of reconstructions, bounds, latents and drawn images. Counts, such as active units, often do not spread at all.
METRICS = ("mse", "ssim", "neg_elbo", "rate", "aggregate_variance", "codebook_perplexity", "nearest_train_distance")
SUITES = ("reconstruction", "generation", "latent")
# Checked by --all: near relatives of sigma_vae, vqvae and fsq.
FURTHER = ("cv_vae", "vq", "vq_normalised", "residual_vq", "lfq", "bsq", "simvq", "fsq_gan", "kl_ae")


def main() -> int:
    """Train, measure, and compare or write; what the process ends with."""
    options = parse()
    config = read_config([Path("config/config.yaml"), Path("benchmarks/quality.yaml"), *options.config])
    specs = expand_runs(config)
    if unknown := sorted({*options.runs} - {*specs}):
        raise SystemExit(f"error: benchmarks/quality.yaml has no run {unknown[0]!r}; it has {', '.join(specs)}")
    passed_over = left_out([*specs], options)
    chosen = {run: spec for run, spec in specs.items() if run not in passed_over}
    started = time.time()
    values = study(chosen, config, config["seeds"] if options.write else CHECKED, options)
    print(f"{len(chosen)} runs, {values['seed'].nunique()} seeds, {time.time() - started:.0f} s")
    known = read(options.references) if options.references.exists() else None
    if options.write:
        made = references(values)
        if options.runs and known is not None:
            made = with_bounds(
                pd.concat([known[known["run"].isin(specs.keys() - chosen.keys())], made], ignore_index=True)
            )
        made = made.sort_values("run", key=lambda runs: runs.map(list(specs).index), kind="stable")
        write(made, options.references)
        return 0
    if known is None:
        raise SystemExit(f"error: there is no {options.references}; --write makes it")
    result = compare(known[~known["run"].isin(passed_over)], values)
    print("\n".join(result.lines()))
    return 0 if result.passed else 1


def left_out(runs: list[str], options: argparse.Namespace) -> set[str]:
    """Which of the study's runs are not trained this time."""
    if options.runs:
        return {*runs} - {*options.runs}
    return set() if options.all or options.write else {*FURTHER}


def study(
    specs: dict[str, RunSpec], config: dict[str, Any], seeds: list[int], options: argparse.Namespace
) -> pd.DataFrame:
    """Every run with every seed: a table run, model, metric, seed, value, in the order of the runs."""
    settings = evaluation_settings(config)
    sampling = SamplingSettings(*(config["samples"][key] for key in ("count", "batch_size", "seed")), "cpu")
    data = {split: options.data / f"{split}_data.npz" for split in SPLITS}
    with ProcessPoolExecutor(options.jobs, get_context("spawn"), initializer=quiet) as pool:
        tasks = [
            pool.submit(measured, spec, seed, data, settings, sampling) for spec in specs.values() for seed in seeds
        ]
        return pd.concat([task.result() for task in tasks], ignore_index=True)


def measured(
    spec: RunSpec, seed: int, data: dict[str, Path], settings: EvaluationSettings, sampling: SamplingSettings
) -> pd.DataFrame:
    """Train one run on one thread, draw from it and measure it: run, model, metric, seed, value."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for split in ("train", "eval"):
            (folder / f"{split}_data.npz").symlink_to(data[split].resolve())
        files = files_in(folder)
        train(TrainingJob(spec, seed, files, "check"), threads=1)
        drawn = folder / "samples.npz"
        sample(SamplingFiles(files.output, data, drawn), spec.sampler, sampling, seed, threads=1)
        outputs = {name: folder / name for name in ("per_image.parquet", "latent.npz", "extremes.npz")}
        outputs |= {f"{suite}.csv": folder / f"{suite}.csv" for suite in (*SUITES, "likelihood")}
        evaluated = EvaluationFiles(files.output, data, drawn, {}, None)
        identity = TrainingIdentity("quality", spec.run, spec.model, seed)
        evaluate(identity, evaluated, settings, outputs, threads=1)
        table = values_of([folder / f"{suite}.csv" for suite in SUITES])
    table = table[table["metric"].isin(METRICS) & (table["value"] != "")]
    return table[["run", "model", "metric"]].assign(seed=seed, value=table["value"].astype(float))


def quiet() -> None:
    """Let a process that trains say nothing but its errors' last words."""
    logging.disable(logging.INFO)
    warnings.simplefilter("ignore")
    with open(os.devnull, "w") as silence:
        os.dup2(silence.fileno(), 1)
        os.dup2(silence.fileno(), 2)


def write(made: pd.DataFrame, path: Path) -> None:
    """Write references with six digits of what they spread by."""
    rounded = made.assign(sd=made["sd"].map("{:.4g}".format), bound=made["bound"].map("{:.4g}".format))
    with atomic_path(path) as temporary:
        rounded.to_csv(temporary, index=False, lineterminator="\n")
    print(f"written to {path}: {len(made)} values of {made['run'].nunique()} runs")


def parse() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="make new references, of --runs only where they are given")
    parser.add_argument("--all", action="store_true", help="check every run of the study")
    parser.add_argument("--runs", nargs="+", default=[], help="some runs of the study, not all")
    parser.add_argument("--config", type=Path, nargs="+", default=[], help="YAML merged over the study's, for trials")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="trainings at a time, each on one thread")
    parser.add_argument("--data", type=Path, default=Path("data/quality"), help="folder of train, eval and test npz")
    parser.add_argument("--references", type=Path, default=Path("benchmarks/results/quality.csv"))
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
