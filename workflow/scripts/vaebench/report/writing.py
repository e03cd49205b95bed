"""Write the report: one HTML file with everything inside, from the tables, the figures and the stored samples."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, select_autoescape
from markupsafe import Markup

from vaebench.base.files import atomic_path
from vaebench.base.formats import read_json
from vaebench.data.demo.generators import GENERATORS
from vaebench.figures.listing import FIGURES, FigureInfo
from vaebench.figures.style import arrow, looks
from vaebench.metrics.registry import METRICS, describe
from vaebench.report.data_uris import comment, embedded
from vaebench.report.findings import GRADES, SUITE_TITLES, inside_note, sentences, verdicts
from vaebench.report.pages import RunPage, Strip, facts_html, originals, run_pages
from vaebench.report.rulegraph import draw
from vaebench.results.budget import cells, in_words
from vaebench.results.frame_pages import frame_cells
from vaebench.results.published_pages import cells as published_cells
from vaebench.results.sampler_table import NATS, common_words
from vaebench.results.study import Study
from vaebench.results.table_names import TABLES
from vaebench.results.tables import ALL_TRAINED_IN, FAILURE_NOTE
from vaebench.results.words import ends, interval, number, precision

TEXTS = Path(__file__).with_name("texts")  # captions of the figures, which Snakemake's own report shows too
NOT_EVALUATED = "trained, but not evaluated"
IN_PAGE = ("reconstructions", "generations")  # shown as live sheets instead of as figures
OF_SEVERAL = re.compile(r" Of a run with several seeds [^.]*\.")
HOW_MADE = ("crop", "size", "filter", "channels", "sources", "versions")
CELEBA = (
    "The pictures on this page are CelebA images or derived from them. CelebA is available for non-commercial research "
    "purposes only, and its agreement forbids to copy, publish or distribute any portion of it, derived data included, "
    "outside of your organisation: do not publish this page."
)
UNKNOWN = (
    "The pictures on this page are images of {dataset} or derived from them: the licence of that data set holds here."
)


@dataclass(frozen=True)
class ReportSources:
    """What the report shows beside the study's tables and trainings.

    `figures` is the folder of the drawn figures; `manifests` are the JSON files beside the data, `validation` the
    summary of the image check; `generator` names what made the images, None where they are the user's own; `confidence`
    is that of the intervals; `captions` is the folder of the figures' captions (*.rst) and of the graph of rules.
    """

    figures: Path
    manifests: Sequence[Path]
    validation: Path
    generator: str | None
    confidence: float
    captions: Path = TEXTS


def write_report(study: Study, sources: ReportSources, output: Path) -> None:
    """Write the study's report to the one file `output`; it refers to no other file and to no network."""
    look = looks(study.runs)
    pages = run_pages(study, look)
    shown = originals(study)
    recorded = next((page.run for page in pages if page.run.provenance), None)
    data = [read_json("array", Path(path)) for path in sources.manifests]
    measured = list(study.values["metric"].unique()) if "metric" in study.values else []
    confidence = sources.confidence
    found = verdicts(study, confidence)
    context = {
        "study": study,
        "pages": pages,
        "page_of": {page.run.name: page for page in pages},
        "originals": shown,
        "strips": [strip for strip in (shown, *(strip for page in pages for strip in page.strips)) if strip],
        "subtitle": subtitle(study),
        "planned": sum(len(run.seeds) for run in study.runs),
        "notice": notice(study.dataset, sources.generator),
        "percent": f"{100 * confidence:g}",
        "n_words": counts(study),
        "sentences": sentences(study, found),
        "verdicts": found,
        "notes": notes(study),
        "inside": inside_note(study),
        "failures": failures(study),
        "columns": comparison_columns(study),
        "rows": comparison_rows(study, pages),
        **budget_section(study),
        **sampler_section(study, pages),
        **published_section(study),
        "added_tables": added_sections(study),
        "figures": figure_sections(sources.figures, sources.captions, study.several_seeds),
        "captions": {
            name: caption(sources.captions, name, study.several_seeds)
            for name in (*IN_PAGE, "table", "budget", "samplers", "published")
        },
        "manifests": data,
        "manifest_facts": lambda manifest: {key: manifest[key] for key in HOW_MADE if key in manifest},
        "skipped": [image | {"split": manifest["split"]} for manifest in data for image in manifest["skipped"]],
        "validation": read_json("validation", sources.validation) if sources.validation.exists() else {},
        "provenance": recorded.provenance if recorded else {},
        "provenance_run": recorded.name if recorded else "",
        "provenance_words": provenance_words(study),
        "rulegraph": Markup(draw((sources.captions / "rulegraph.mmd").read_text())),
        "defined": [describe(str(name)) for name in measured],
        "metrics": METRICS,
        "suites": SUITE_TITLES,
        "grades": GRADES,
    }
    html = make_environment().get_template("report.html.j2").render(context)
    with atomic_path(output) as temporary:
        temporary.write_text(html, encoding="utf-8")
    print(f"Wrote the report of {len(pages)} runs, {len(html) / 1e6:.1f} MB, to {output}")


def notice(dataset: str, generator: str | None) -> str:
    """What the reader must know about where the pictures come from and what may be done with them."""
    if generator and (told := GENERATORS[generator].notice):
        return told
    return CELEBA if "celeba" in dataset.lower() else UNKNOWN.format(dataset=dataset)


def subtitle(study: Study) -> str:
    """How many trainings and pretrained models there are, and their seeds."""
    given = sum(len(run.trained) for run in study.runs if run.spec.get("pretrained"))
    counted = ((sum(len(run.trained) for run in study.runs) - given, "training"), (given, "pretrained model"))
    told = [f"{count} {words}{'' if count == 1 else 's'}" for count, words in counted if count] or ["0 trainings"]
    seeds = sorted({seed for run in study.runs for seed in run.seeds})
    return f"{', '.join(told)}, {'seed' if len(seeds) == 1 else 'seeds'} {', '.join(map(str, seeds))}"


def counts(study: Study) -> str:
    """On how many images the reconstructions were judged, in words."""
    values = study.values
    if "metric" not in values:
        return ""
    rows = values[(values["metric"] == "mse") & values["n"].notna()]
    sizes = sorted({(str(split), int(n)) for split, n in zip(rows["split"], rows["n"], strict=True)})
    return "Judged on " + ", ".join(f"{n:,} images of the split {split}" for split, n in sizes) + "." if sizes else ""


def provenance_words(study: Study) -> str:
    """Commits, devices and days of all trainings, in one sentence; differences between trainings are listed."""
    records = [run.provenance.get("environment", run.provenance) for run in study.runs if run.provenance]
    commits = {_commit(record.get("git") or {}) for record in records}
    devices = {str((record.get("device") or {}).get("name", "")) for record in records} - {""}
    days = sorted({str(record.get("time", ""))[:10] for record in records} - {""})
    parts = [
        f"Code: {', '.join(sorted(commits))}",
        f"device: {', '.join(sorted(devices))}" if devices else "",
        f"trained {' to '.join(dict.fromkeys((days[0], days[-1])))}" if days else "",
    ]
    return "; ".join(part for part in parts if part) + "."


def _commit(git: Mapping[str, Any]) -> str:
    if not git.get("commit"):
        return "no git commit recorded"
    return f"commit {git['commit'][:12]}" + (" with uncommitted changes" if git.get("dirty") else "")


def failures(study: Study) -> list[dict[str, str | int]]:
    """Every planned training without a result, or without an evaluation: run, seed and reason."""
    return [
        {"run": run.name, "seed": seed, "reason": reason}
        for run in study.runs
        for seed, reason in {**run.failures, **dict.fromkeys(run.unmeasured, NOT_EVALUATED)}.items()
    ]


def notes(study: Study) -> list[str]:
    """What the tables say of all results: what they mix, and what their tests can and cannot tell.

    Left out are failures, which have their own list on the page, and the precision of all, which the budget tells.
    """
    path = study.tables / "notes.json"
    every = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    return [note for note in every if not FAILURE_NOTE.search(note) and not note.startswith(ALL_TRAINED_IN)]


def comparison_columns(study: Study) -> list[dict[str, object]]:
    """The headline metrics that any run has, each with its direction and the run that is bold, if there is one."""
    return [
        {"metric": metric, "arrow": arrow(metric), "winner": study.winner(name)}
        for name, metric in METRICS.items()
        if metric.headline and study.has(name)
    ]


def comparison_rows(study: Study, pages: Sequence[RunPage]) -> list[dict[str, object]]:
    """A row per planned run: its page and its values by metric; a value is None where the metric does not apply."""
    names = [name for name, metric in METRICS.items() if metric.headline]
    return [{"page": page, "values": {name: study.interval(page.run.name, name) for name in names}} for page in pages]


def budget_section(study: Study) -> dict[str, object]:
    """What each run was given: sentences, the header, and the rows of (text, whether it is marked); empty without."""
    table = study.table("budget")
    header, rows = cells(table) if len(table) else ([], [])
    return {"budget_words": in_words(table) if len(table) else [], "budget_header": header, "budget_rows": rows}


def sampler_section(study: Study, pages: Sequence[RunPage]) -> dict[str, object]:
    """What each sampler of each run draws: the sentence on the common ones, columns and rows; empty with one a run."""
    table = study.by_sampler
    if table.empty:
        return {"sampler_words": "", "sampler_columns": [], "sampler_rows": []}
    shown = [name for name, metric in METRICS.items() if metric.headline or name in NATS]
    shown = [name for name in shown if table.get(f"{name}_mean", pd.Series(dtype=float)).notna().any()]
    columns = [{"metric": METRICS[name], "arrow": arrow(METRICS[name])} for name in shown]
    common = dict(zip(table.index, table["common"], strict=True))
    rows = [
        {
            "page": page,
            "sampler": label,
            "common": common[f"{page.run.name} {label}"],
            "values": [study.interval_by(page.run, label, name) for name in shown],
        }
        for page in pages
        for label in page.run.samplers
        if f"{page.run.name} {label}" in common
    ]
    words = common_words(table)
    return {"sampler_words": words, "sampler_columns": columns, "sampler_rows": rows}


def published_section(study: Study) -> dict[str, object]:
    """The study beside the literature: header and rows of text; empty where it names no source."""
    table = study.table("published")
    header, rows = published_cells(table) if len(table) else ([], [])
    return {"published_header": header, "published_rows": rows}


def added_sections(study: Study) -> list[dict[str, object]]:
    """The tables that plugins add: title, header and rows of text, as far as they were written."""
    frames = ((info.title, study.table(info.name)) for info in TABLES.values() if info.added)
    written = ((title, *frame_cells(frame)) for title, frame in frames if len(frame.columns))
    return [{"title": title, "header": header, "rows": rows} for title, header, rows in written]


def figure_sections(folder: Path, captions: Path, several: bool = True) -> dict[str, list[dict[str, object]]]:
    """The figures by category, each with its title and, where it has data, caption and file as a data address.

    Charts are vectors. `no_data` is why a figure has none, and empty where it has. `several` is as in `caption_text`.
    """
    sections: dict[str, list[dict[str, object]]] = {}
    for info in FIGURES.values():
        if info.name not in IN_PAGE:
            figure: dict[str, object] = {"info": info, "no_data": comment(Path(folder) / f"{info.name}.png")}
            if not figure["no_data"]:
                figure["address"] = embedded(Path(folder) / f"{info.name}.{'png' if info.images else 'svg'}")
                figure["caption"] = figure_caption(captions, info, several)
            sections.setdefault(info.category, []).append(figure)
    return sections


def figure_caption(folder: Path, info: FigureInfo, several: bool) -> Markup:
    """The caption of a figure: of its .rst file, or of the plugin that adds it."""
    return marked_up(info.added.options["caption"]) if info.added else caption(folder, info.name, several)


def caption(folder: Path, name: str, several: bool = True) -> Markup:
    """A caption as HTML, from its .rst file."""
    return marked_up(caption_text(folder, name, several))


def caption_text(folder: Path, name: str, several: bool) -> str:
    """The text of a caption; what it says of runs with several seeds only where the study has such (`several`)."""
    text = (Path(folder) / f"{name}.rst").read_text()
    return text if several else OF_SEVERAL.sub("", text)


def marked_up(text: str) -> Markup:
    """Paragraphs, ``literals`` and *emphasis* as HTML."""
    text = escape(text.strip())
    text = re.sub(r"``(.+?)``", r"<code>\1</code>", text)
    text = re.sub(r"\*(.+?)\*", r"<em>\1</em>", text)
    return Markup("".join(f"<p>{paragraph}</p>" for paragraph in re.split(r"\n\s*\n", text)))


def make_environment() -> Environment:
    """jinja2 with the report's templates and filters."""
    environment = Environment(
        loader=PackageLoader("vaebench.report", "templates"),
        autoescape=select_autoescape(["html", "j2"]),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": number,
        "interval": interval,
        "ends": ends,
        "precision": precision,
        "facts": lambda value: Markup(facts_html(value)),
        "cells": _cells,
    }
    return environment


def _cells(strip: Strip, sheet: str, limit: int | None = None) -> Markup:
    """The first images of a strip as buttons; each opens its column of the sheet: the same place in all its strips."""
    return Markup(
        "".join(
            f'<button type="button" class="cell {strip.name}" data-sheet="{sheet}" data-column="{index}"'
            f' style="--at:{100 * index / max(1, strip.count - 1):.4g}%"'
            f' aria-label="{escape(strip.alt)} {index + 1}, enlarge"></button>'
            for index in range(min(strip.count, limit or strip.count))
        )
    )
