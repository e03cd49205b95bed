"""The table of every configuration key, made from the schema so that the two cannot disagree.

`python -m vaebench.reference SCHEMA README` writes it between the markers of config/README.md.
"""

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from vaebench.configuration import load_schema
from vaebench.files import atomic_path

BEGIN, END = "<!-- keys: begin (make docs) -->", "<!-- keys: end -->"


def key_table(schema: Mapping) -> str:
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


def with_table(text: str, table: str) -> str:
    """The README's text with the part between the markers replaced by the table."""
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    return f"{before}{BEGIN}\n\n{table}\n\n{END}{after}"


def _rows(node: Mapping, schema: Mapping, prefix: str) -> Iterator[tuple[str, str, str, str]]:
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


def _resolve(node: Mapping, schema: Mapping) -> Mapping:
    return schema["$defs"][node["$ref"].rsplit("/", 1)[-1]] if "$ref" in node else node


def _allowed(node: Mapping, schema: Mapping) -> str:
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


def _default(child: Mapping, described: Mapping) -> str:
    if "default" not in child and "default" not in described:
        return ""
    value = child.get("default", described.get("default"))
    return "" if value == {} and "properties" in described else f"`{json.dumps(value)}`"


if __name__ == "__main__":
    readme = Path(sys.argv[2])
    text = with_table(readme.read_text(), key_table(load_schema(sys.argv[1])))
    with atomic_path(readme) as temporary:
        temporary.write_text(text)
