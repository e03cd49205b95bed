"""The tables of a study: all values in runs.csv, and what is derived from it and from the per-image values."""

import json
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from vaebench.errors import UserError
from vaebench.files import atomic_path
from vaebench.metrics.registry import METRICS, describe
from vaebench.results import COLUMNS, read_context
from vaebench.statistics import bootstrap_means, holm, paired_comparison, ranks, seed_summary
from vaebench.table_formats import write_latex, write_markdown

SUMMARY_PARTS = ("mean", "sd", "ci_low", "ci_high", "n_seeds", "rank")
TABLE_SUITES = {
    "reconstruction": ("reconstruction",),
    "generation": ("generation",),
    "latent": ("latent", "likelihood"),
}
TITLES = {
    "comparison": "Comparison",
    "reconstruction": "Reconstruction of held-out images",
    "generation": "Generated images",
    "latent": "Latent space",
    "pairwise": "Paired differences between runs",
}
PAIRWISE_COLUMNS = (
    "metric",
    "run_a",
    "run_b",
    "difference",
    "ci_low",
    "ci_high",
    "p_value",
    "p_holm",
    "n_images",
    "n_seeds_a",
    "n_seeds_b",
    "better",
    "against_baseline",
)


@dataclass(frozen=True)
class Table:
    """One wide table: a row per run; for each metric the columns `{metric}_{part}`."""

    name: str
    frame: pd.DataFrame
    metrics: list[str]
    best: dict[str, str]


def runs_table(metric_files: list[Path], output: Path) -> None:
    """Join the metric CSVs of all trainings into runs.csv, in the order given; the suites in their own order.

    Raises UserError for a file that lacks a column.
    """
    frames = [_read_values(path) for path in metric_files]
    joined = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=list(COLUMNS))
    with atomic_path(output) as temporary:
        joined[list(COLUMNS)].to_csv(temporary, index=False, lineterminator="\n")
    print(f"Joined {len(frames)} files, {len(joined)} values: {output}")


def summary(
    runs: Path,
    per_image: list[Path],
    outputs_folder: Path,
    settings: dict,
    failures: list[dict],
    expected: list[str],
) -> None:
    """Write comparison, reconstruction, generation, latent and pairwise as .csv, .md and .tex, and notes.json.

    settings: the section `statistics`; failures: run, seed, stage and reason of what did not finish; expected: all runs
    of the study in their order. A failed run keeps its row, empty, with the reason in the column `note`.
    """
    values = _read_values(runs)
    values["value"] = pd.to_numeric(values["value"])
    order = list(dict.fromkeys([*expected, *values["run"]]))
    contexts = [read_context(path) for path in per_image]
    notes = mixture_notes(contexts) + failure_notes(failures, order, values)
    pairs = pairwise(per_image, contexts, order, settings)
    tables = [wide_table("comparison", values, [n for n, m in METRICS.items() if m.headline], order, settings, pairs)]
    for name, suites in TABLE_SUITES.items():
        metrics = [metric for metric, entry in METRICS.items() if entry.suite in suites]
        tables.append(wide_table(name, values, metrics, order, settings, pairs))
    outputs_folder.mkdir(parents=True, exist_ok=True)
    remarks = _row_notes(order, failures, mixture_notes(contexts), values)
    for table in tables:
        frame = table.frame.assign(note=table.frame["run"].map(remarks))
        _write_csv(frame, outputs_folder / f"{table.name}.csv")
        write_markdown(outputs_folder / f"{table.name}.md", TITLES[table.name], table, notes, settings)
        write_latex(outputs_folder / f"{table.name}.tex", TITLES[table.name], table, notes, settings)
    _write_csv(pairs, outputs_folder / "pairwise.csv")
    write_markdown(outputs_folder / "pairwise.md", TITLES["pairwise"], pairs, notes, settings)
    write_latex(outputs_folder / "pairwise.tex", TITLES["pairwise"], pairs, notes, settings)
    with atomic_path(outputs_folder / "notes.json") as temporary:
        temporary.write_text(json.dumps(notes, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"Compared {values['run'].nunique()} runs in {len(tables) + 1} tables: {outputs_folder}")


def wide_table(
    name: str, values: pd.DataFrame, metrics: list[str], order: list[str], settings: dict, pairs: pd.DataFrame
) -> Table:
    """Summarise `metrics` over seeds for every run of `order`; only metrics that some run has a value for are shown."""
    found = values[values["value"].notna() & values["metric"].isin(metrics)]
    metrics = [metric for metric in metrics if metric in set(found["metric"])]
    models = values.drop_duplicates("run").set_index("run")["model"]
    columns = {"run": order, "model": [models.get(run, "") for run in order]}
    by_cell = {key: group["value"].to_numpy() for key, group in found.groupby(["run", "metric"], sort=False)}
    best = {}
    for metric in metrics:
        cells = [by_cell.get((run, metric)) for run in order]
        parts = pd.DataFrame(
            [_empty_summary() if cell is None else seed_summary(cell, settings["confidence"]) for cell in cells],
            index=order,
        )
        better = describe(metric).higher_is_better
        parts["rank"] = np.nan if better is None else ranks(parts["mean"].to_numpy(), better)
        columns |= {f"{metric}_{part}": parts[part].to_numpy() for part in SUMMARY_PARTS}
        winner = clear_winner(metric, parts, pairs, 1 - settings["confidence"])
        if winner:
            best[metric] = winner
    return Table(name, pd.DataFrame(columns), metrics, best)


def clear_winner(metric: str, parts: pd.DataFrame, pairs: pd.DataFrame, alpha: float) -> str | None:
    """The run that is better than every other beyond doubt, or None.

    Two runs with several seeds are told apart when their intervals over seeds do not meet; otherwise when the paired
    bootstrap over images, Holm-corrected, has p < alpha. Metrics without either are never decided.
    """
    better = describe(metric).higher_is_better
    present = parts[parts["mean"].notna()]
    if better is None or len(present) < 2:
        return None
    best = present["mean"].idxmax() if better else present["mean"].idxmin()
    compared = pairs[pairs["metric"] == metric]
    for other in present.index.drop(best):
        low, high = ("ci_low", "ci_high") if better else ("ci_high", "ci_low")
        edges = present.loc[best, low], present.loc[other, high]
        if not np.isnan(edges).any():
            if (edges[0] > edges[1]) != better or edges[0] == edges[1]:
                return None
            continue
        both = compared[compared["run_a"].isin([best, other]) & compared["run_b"].isin([best, other])]
        if not ((both["better"] == best) & (both["p_holm"] < alpha)).any():
            return None
    return best


def pairwise(per_image: list[Path], contexts: list[dict], order: list[str], settings: dict) -> pd.DataFrame:
    """Mean differences run_a - run_b over the images that both saw, with bootstrap intervals, for every pair of runs.

    Each image counts with its mean over the seeds of a run, so that the interval tells of the images only, not of
    another training. Holm's correction is over all pairs of one metric.
    """
    columns = _per_image_means(per_image, contexts)
    metrics = [m for m in METRICS if METRICS[m].per_image and METRICS[m].higher_is_better is not None]
    rows = []
    for metric in metrics:
        measured = {run: frame[metric] for run, (frame, _) in columns.items() if metric in frame}
        if len(measured) < 2:
            continue
        table = pd.concat(measured, axis=1, join="inner")
        table = table[[run for run in order if run in table]].dropna()
        if len(table) < 2:
            continue
        rows += _compare_columns(metric, table, {run: seeds for run, (_, seeds) in columns.items()}, settings)
    return pd.DataFrame(rows, columns=list(PAIRWISE_COLUMNS))


def _compare_columns(metric: str, table: pd.DataFrame, seeds: dict[str, int], settings: dict) -> list[dict]:
    resampled = dict(
        zip(table, bootstrap_means(table.to_numpy(), settings["bootstrap"], settings["seed"]).T, strict=True)
    )
    means = table.mean()
    rows = []
    for a, b in combinations(table, 2):
        found = paired_comparison(means[a] - means[b], resampled[a] - resampled[b], settings["confidence"])
        lower, higher = (a, b) if found["difference"] < 0 else (b, a)
        better = higher if METRICS[metric].higher_is_better else lower
        rows.append(
            {"metric": metric, "run_a": a, "run_b": b, **found, "n_images": len(table)}
            | {"n_seeds_a": seeds[a], "n_seeds_b": seeds[b], "better": better if found["difference"] != 0 else ""}
            | {"against_baseline": any(_is_baseline(run, settings["baseline"]) for run in (a, b))}
        )
    for row, adjusted in zip(rows, holm([row["p_value"] for row in rows]), strict=True):
        row["p_holm"] = float(adjusted)
        if not adjusted < 1 - settings["confidence"]:
            row["better"] = ""
    return rows


def _is_baseline(run: str, baseline: str | None) -> bool:
    """Whether a run belongs to the baseline entry: its own name, or one run of its sweep."""
    return baseline is not None and (run == baseline or run.startswith(f"{baseline}-"))


def _per_image_means(per_image: list[Path], contexts: list[dict]) -> dict[str, tuple[pd.DataFrame, int]]:
    """By run: per-image values averaged over seeds, indexed by image, and the number of seeds."""
    frames: dict[str, list[pd.DataFrame]] = {}
    for path, context in zip(per_image, contexts, strict=True):
        frames.setdefault(context["run"], []).append(pd.read_parquet(path).set_index("image").drop(columns="index"))
    return {
        run: (pd.concat(parts).groupby(level=0, sort=False).mean() if len(parts) > 1 else parts[0], len(parts))
        for run, parts in frames.items()
    }


def mixture_notes(contexts: list[dict]) -> list[str]:
    """What the results do not share although a comparison needs it: data, images, protocol, environments."""
    aspects = {
        "data sets": lambda c: tuple(f"{split} {sha[:8]}" for split, sha in sorted(c["data"].items())),
        "held-out splits": lambda c: (f"{c['split']}, {c['images']} images",),
        "protocols": lambda c: (c["protocol"],),
        "training environments": lambda c: _environment(c["training_environment"]),
        "evaluation environments": lambda c: _environment(c["evaluation_environment"]),
    }
    notes = []
    for aspect, identity in aspects.items():
        groups: dict[tuple, list[str]] = {}
        for context in contexts:
            groups.setdefault(identity(context), []).append(f"{context['run']} (seed {context['seed']})")
        if len(groups) > 1:
            told = "; ".join(f"{', '.join(key)}: {', '.join(members)}" for key, members in groups.items())
            notes.append(f"These results mix {len(groups)} {aspect}. {told}.")
    return notes


def _environment(environment: dict) -> tuple[str, ...]:
    packages = environment.get("packages", {})
    names = [f"{name} {packages[name]}" for name in ("torch", "pythae", "lpips", "piq") if name in packages]
    device = environment.get("device", {})
    return (*names, str(device.get("name") or device.get("type") or "unknown device"))


def failure_notes(failures: list[dict], order: list[str], values: pd.DataFrame) -> list[str]:
    """One sentence for every training that failed, and for every run without any result."""
    notes = [
        f"{failure['run']} (seed {failure['seed']}) failed in {failure['stage']}: {failure['reason']}"
        for failure in failures
    ]
    explained = {failure["run"] for failure in failures} | set(values["run"])
    return notes + [f"{run} has no result." for run in order if run not in explained]


def _row_notes(order: list[str], failures: list[dict], mixed: list[str], values: pd.DataFrame) -> dict[str, str]:
    """By run: why it has no values, and the first sentence of what the results mix."""
    mixed = [f"{note.partition('.')[0]}." for note in mixed]
    own = {run: failure_notes([f for f in failures if f["run"] == run], [run], values) for run in order}
    return {run: " ".join([*own[run], *mixed]) for run in order}


def _empty_summary() -> dict[str, float]:
    return {"mean": np.nan, "sd": np.nan, "ci_low": np.nan, "ci_high": np.nan, "n_seeds": 0}


def _read_values(path: Path) -> pd.DataFrame:
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    missing = [column for column in COLUMNS if column not in frame]
    if missing:
        raise UserError(f"{path}: not a metrics file: it has no column {missing[0]!r}")
    return frame


def _write_csv(frame: pd.DataFrame, path: Path) -> None:
    with atomic_path(path) as temporary:
        frame.to_csv(temporary, index=False, lineterminator="\n")
