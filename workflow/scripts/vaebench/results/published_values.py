"""The YAML files of published values, checked."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from vaebench.base.errors import UserError
from vaebench.base.values import from_dict
from vaebench.config.published_names import published_file
from vaebench.config.schema import dotted, unknown, without_mistakes
from vaebench.config.yaml_files import read_configfile
from vaebench.metrics.registry import METRICS
from vaebench.models.run_spec import Named
from vaebench.results.protocol import Protocol, PublishedValue

SCHEMA = Path(__file__).with_name("published.schema.yaml")  # a link to workflow/schemas


def read_published(name: str) -> list[PublishedValue]:
    """The values of a source, by its name or the path of a file of one's own.

    Raises `UserError` with a line per mistake: the file, the key, what is wrong.
    """
    path = published_file(name)
    content = read_configfile(path)
    _, mistakes = without_mistakes(content, yaml.safe_load(SCHEMA.read_text()))
    lines = [f"{path}: {dotted(key)}: {text}" for key, text in mistakes.items()]
    lines = lines or [f"{path}: {text}" for text in _mistakes(content)]
    if lines:
        raise UserError("\n".join(lines))
    return [value for table in content["tables"] for value in _values(path.stem, content["citation"], table)]


def _values(source: str, citation: str, table: Mapping[str, Any]) -> Iterator[PublishedValue]:
    protocol = from_dict(Protocol, table["protocol"])
    for name, row in table["rows"].items():
        settings = {**table.get("settings", {}), **row.get("settings", {})}
        for heading, value in row["values"].items():
            column = table["columns"][heading]
            sampler = row.get("samplers", {}).get(heading) or column.get("sampler")
            notes = (*table.get("notes", ()), *column.get("notes", ()), *row.get("notes", ()))
            yield PublishedValue(
                source=source,
                citation=table.get("citation", citation),
                where=table["where"],
                row=str(name),
                column=str(heading),
                metric=column["metric"],
                value=float(value),
                protocol=protocol,
                models=row["models"],
                settings={key: setting for key, setting in settings.items() if setting is not None},
                sampler=from_dict(Named, sampler) if sampler else None,
                notes=notes,
            )


def _mistakes(content: Mapping[str, Any]) -> Iterator[str]:
    """What the schema cannot know: metrics, and columns that the table does not have."""
    for number, table in enumerate(content["tables"]):
        columns = table["columns"]
        for heading, column in columns.items():
            if column["metric"] not in METRICS:
                named = unknown(column["metric"], list(METRICS), "metric").partition("; allowed")[0]
                yield f"tables.{number}.columns.{heading}.metric: {named}; docs/metrics.md lists them"
        for name, row in table["rows"].items():
            for part in ("values", "samplers"):
                for heading in row.get(part, {}):
                    if heading not in columns:
                        yield f"tables.{number}.rows.{name}.{part}: {unknown(heading, list(columns), 'column')}"
