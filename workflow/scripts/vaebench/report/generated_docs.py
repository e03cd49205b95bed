"""The parts of the documentation that are made from the code, so that the two cannot disagree (`make docs`).

`python -m vaebench.report.generated_docs` writes the table of configuration keys into config/README.md, from the
schema, the tables of metrics into docs/metrics.md, from the registry, the table of models into docs/models.md, from the
catalogs and `model_notes`, and the rule graph into README.md, from workflow/report/rulegraph.mmd. With the demo's
comparison.md as argument (`make readme`) it writes columns of that table into README.md as well.
"""

import csv
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from vaebench.base.files import atomic_path
from vaebench.config.completion import load_schema
from vaebench.metrics.registry import METRICS, SUITES
from vaebench.models.lookup import MODELS, provider_of
from vaebench.report.model_notes import NOTES


def key_table(schema: Mapping[str, Any]) -> str:
    """Markdown: a heading and a table (key, allowed, default, meaning) for each section of the configuration."""
    parts = []
    for section, node in schema["properties"].items():
        described = _resolve(node, schema)
        rows = list(_rows(described, schema, f"{section}."))
        if not rows:
            rows = [(section, _allowed(described, schema), _default(node, described), described["description"])]
        lines = [f"### {section}", "", described["description"], ""]
        lines += ["| key | allowed | default | meaning |", "| --- | --- | --- | --- |"]
        lines += [f"| `{key}` | {allowed} | {default} | {meaning} |" for key, allowed, default, meaning in rows]
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def metric_table(suite: str) -> str:
    """Markdown: a row for each registered metric of a suite; those of several feature networks share a row.

    Left out are the metrics that docs/metrics.md defines from others: sampled_*, self_* and legacy_*.
    """
    rows: dict[tuple[str, ...], list[str]] = {}
    for name, metric in METRICS.items():
        if metric.suite == suite and not name.startswith(("sampled_", "self_", "legacy_")):
            better = {True: "higher", False: "lower", None: "-"}[metric.higher_is_better]
            meaning = (
                metric.formula.removesuffix(f"; {metric.features} features") if metric.features else metric.formula
            )
            rest: tuple[str, ...] = (metric.unit or "-", metric.range, better, metric.applies_to, meaning)
            rows.setdefault(rest, []).append(f"`{name}`")
    lines = ["| metric | unit | range | better | models | definition |", "|---|---|---|---|---|---|"]
    for rest, names in rows.items():
        cells = [cell.replace("|", "\\|") for cell in rest]
        lines.append(f"| {', '.join(names)} | {' | '.join(cells)} |")
    return "\n".join(lines)


FIRST_LOOK = ("Run", "MSE", "LPIPS", "SSIM", "rate", "Fréchet distance", "density", "coverage")  # headings begin so
LATENTS = {
    "codes": "grid of codes",
    "vq": "grid of codes",
    "flow": "vector, Gaussian through a flow",
    "gaussian": "vector, Gaussian",
    "hamiltonian": "vector, Gaussian through Hamiltonian steps",
    "none": "vector, a point",
    "von_mises_fisher": "vector on a sphere, von Mises-Fisher",
    "wrapped_normal": "vector in the Poincaré disk, wrapped normal",
}
MODEL_COLUMNS = (
    *("model", "provider", "paper", "latent", "objective", "likelihood", "default sampler", "optimizers"),
    *("cost of a step", "to be known"),
)


def model_table(steps: Mapping[str, str]) -> str:
    """Markdown: a row for each model, and for each quantiser of `QuantizedAE`.

    steps: the cost of a step by model, `QuantizedAE: vq` for one of several.
    """
    lines = [f"| {' | '.join(MODEL_COLUMNS)} |", "|" + "---|" * len(MODEL_COLUMNS)]
    for name, note in NOTES.items():
        model, _, quantizer = name.partition(": ")
        info = MODELS[model]
        sampler = info.sampler_of({"quantizer": {quantizer: {}}} if quantizer else {})
        chosen = "Gaussian, variance 1, or Bernoulli" if "reconstruction_loss" in info.fields else ""
        chosen += "; or by `likelihood`" if chosen and "likelihood" in info.fields else ""
        cells = (
            *(f"`{model}`" + (f", `{quantizer}`" if quantizer else ""), type(provider_of(model)).__name__.lower()),
            *(note.paper, LATENTS[info.posterior], note.objective, note.likelihood or chosen, f"`{sampler}`"),
            *(", ".join(info.components) or "one", steps.get(name, ""), note.trap),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def read_steps(path: Path) -> dict[str, str]:
    """The cost of a step in that of the VAE, by model and by `model: run`, that benchmarks/measure_steps.py wrote."""
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    return {name: row["of_vae"] for row in rows for name in (row["model"], f"{row['model']}: {row['run']}")}


def mermaid(rulegraph: str) -> str:
    """The rule graph that Snakemake prints as a Markdown block; colours and title are left out."""
    lines = [line for line in rulegraph.splitlines() if line.startswith(("flowchart", "\t")) and "\tstyle" not in line]
    return "\n".join(["```mermaid", *lines, "```"])


def with_part(text: str, name: str, part: str) -> str:
    """The text with what lies between the markers called `name` replaced by `part`."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, rest = text.split(begin)
    after = rest.split(end)[1]
    return f"{before}{begin}\n\n{part}\n\n{end}{after}"


def chosen_columns(comparison: str) -> str:
    """The table of a comparison.md, of the columns in FIRST_LOOK alone."""
    rows = [line.strip("|").split("|") for line in comparison.splitlines() if line.startswith("|")]
    places = [place for place, heading in enumerate(rows[0]) if heading.strip().startswith(FIRST_LOOK)]
    return "\n".join(f"|{'|'.join(row[place] for place in places)}|" for row in rows)


def documents(root: Path) -> dict[Path, str]:
    """The documents with made parts below the project's folder, and what they must say."""
    keys = key_table(load_schema(root / "workflow/schemas/config.schema.yaml"))
    graph = mermaid((root / "workflow/report/rulegraph.mmd").read_text())
    parts = {root / "config/README.md": {"keys": keys}, root / "README.md": {"rulegraph": graph}}
    steps = read_steps(root / "benchmarks/results/steps.csv")
    parts[root / "docs/models.md"] = {"models": model_table(steps)}
    parts[root / "docs/metrics.md"] = {suite: metric_table(suite) for suite in SUITES}
    return {path: _with_parts(path.read_text(), made) for path, made in parts.items()}


def _with_parts(text: str, parts: Mapping[str, str]) -> str:
    for name, part in parts.items():
        text = with_part(text, name, part)
    return text


def _rows(node: Mapping[str, Any], schema: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, str, str, str]]:
    if "additionalProperties" in node and isinstance(node["additionalProperties"], dict) and "properties" not in node:
        branches = [_resolve(branch, schema) for branch in node["additionalProperties"].get("oneOf", [])]
        for branch in branches:
            if "properties" in branch:
                yield from _rows(branch, schema, f"{prefix}NAME.")
    for key, child in node.get("properties", {}).items():
        described = _resolve(child, schema)
        meaning = child.get("description", described.get("description", "")).replace("|", "\\|")
        deeper = "properties" in described and (prefix, key) != ("models.NAME.", "training")
        yield f"{prefix}{key}", _allowed(described, schema), _default(child, described), meaning
        if deeper:
            yield from _rows(described, schema, f"{prefix}{key}.")


def _resolve(node: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = schema["$defs"][node["$ref"].rsplit("/", 1)[-1]] if "$ref" in node else node
    return found


def _allowed(node: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    if "enum" in node:
        return ", ".join("null" if value is None else str(value) for value in node["enum"])
    if "oneOf" in node:
        return " or ".join(dict.fromkeys(_allowed(_resolve(branch, schema), schema) for branch in node["oneOf"]))
    kinds = node.get("type", "anything")
    kinds = [kinds] if isinstance(kinds, str) else kinds
    text = " or ".join({"object": "map", "array": "list", "string": "text"}.get(kind, kind) for kind in kinds)
    if "items" in node and "enum" in node["items"]:
        text += f" of {', '.join(node['items']['enum'])}"
    bounds = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    return " ".join([text, *(f"{sign} {node[name]}" for name, sign in bounds.items() if name in node)])


def _default(child: Mapping[str, Any], described: Mapping[str, Any]) -> str:
    if "default" not in child and "default" not in described:
        return ""
    value = child.get("default", described.get("default"))
    return "" if value == {} and "properties" in described else f"`{json.dumps(value)}`"


if __name__ == "__main__":
    project = Path()  # of the checkout that make runs in
    made = documents(project)
    for comparison in sys.argv[1:]:
        table = chosen_columns(Path(comparison).read_text(encoding="utf-8"))
        made[project / "README.md"] = with_part(made[project / "README.md"], "demo", table)
    for document, content in made.items():
        with atomic_path(document) as temporary:
            temporary.write_text(content)
