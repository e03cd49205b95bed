"""Configuration files, read so that whatever is wrong with one is a line with its name and the line in it.

Snakemake reads the same files by itself and says less: profiles/default calls `check_command_line` before it does.
"""

import argparse
import json
from collections.abc import Hashable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from vaebench.base.errors import UserError

MAIN = Path("config/config.yaml")
HINTS = {
    "found character '\\t' that cannot start any token": "indent with spaces, not with tabs",
    "mapping values are not allowed here": "put a value that holds a colon in quotes, and see whether the key of the "
    "line before lacks its colon",
}


def read_configfile(path: Path | str) -> dict[str, Any]:
    """The content of one YAML (or JSON) file, with keys at top level.

    Raises UserError with the file and the line of what is wrong: a file that is not there or not UTF-8, a mistake in
    its syntax, a value that cannot be, a key that stands twice, or no keys at all.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such configuration file") from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise UserError(f"{path}, line {line}: no UTF-8 ({error.reason}); save the file in that encoding") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        content = _parse(text)
    except yaml.YAMLError as error:
        raise UserError(f"{path}{_explain(error, text)}") from error
    except RecursionError as error:
        raise UserError(f"{path}: nested too deeply") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: no configuration: it needs keys at top level, such as `models:`")
    return content


def check_command_line(arguments: Sequence[str]) -> None:
    """End the process with a line per mistake in the files of --configfile, or in the study's own file.

    `arguments` are those of Snakemake's command line.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--configfile", "--configfiles", nargs="+", action="extend", default=[], dest="files")
    parser.add_argument("rest", nargs="*")
    given = parser.parse_known_args(list(arguments))[0].files
    mistakes = []
    for path in dict.fromkeys([*filter(Path.exists, [MAIN]), *map(Path, given)]):
        try:
            read_configfile(path)
        except UserError as mistake:
            mistakes.append(f"error: {mistake}")
    if mistakes:
        raise SystemExit("\n".join(mistakes))


def read_as_yaml(config: dict[str, Any], texts: Mapping[str, Any], arguments: Iterable[str]) -> None:
    """Give lists and maps of --config, such as `seeds=[0]`, the types that a file would: for Snakemake all is text.

    `texts` is what Snakemake made of these `arguments`, each `key=value`, and merged into `config`, which is changed.
    """
    for argument in arguments:
        key, _, text = argument.partition("=")
        with suppress(yaml.YAMLError):
            value = _parse(text)
            if isinstance(value, dict | list):
                _read_value(config, texts, key, value)


def _read_value(config: dict[str, Any], texts: Mapping[str, Any], key: str, value: object) -> None:
    """Set a key that still has its text to the value that is meant; of a map the keys that it names."""
    inside, text = config.get(key), texts.get(key)
    if isinstance(value, dict) and isinstance(inside, dict) and isinstance(text, Mapping):
        for name, part in value.items():
            _read_value(inside, text, str(name), part)
    elif inside == text:
        config[key] = value


class _UniqueKeys(yaml.SafeLoader):
    """PyYAML's safe loader, which also refuses equal keys (PyYAML takes the last) and values that contain themselves.

    For a value that cannot be made its message says which one.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._open: list[str | None] = []  # the anchors whose values are being read

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent) and event.anchor in self._open:
            place: Any = event.start_mark
            problem = f"the alias *{event.anchor} stands within the value of its own anchor"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=place)
        self._open.append(event.anchor)
        node: yaml.Node | None = super().compose_node(parent, index)
        self._open.pop()
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ValueError, TypeError, AttributeError) as error:  # of a date in month 13, say
            place: Any = node.start_mark
            problem = f"{node.value} cannot be ({error}); put it in quotes if it is text"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=place) from error

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: dict[object, int] = {}
        for key, _ in node.value:
            name, line = key.value, key.start_mark.line + 1
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge" and name in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"the key {name} stands in line {seen[name]} already", problem_mark=key.start_mark
                )
            if isinstance(key, yaml.ScalarNode):
                seen[name] = line
        return super().construct_mapping(node, deep)


def _parse(text: str) -> object:
    try:
        return json.loads(text, object_pairs_hook=_unique)
    except ValueError:
        return yaml.load(text, Loader=_UniqueKeys)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A mapping of JSON; ValueError for equal keys, whose lines the reader of YAML tells."""
    mapping = dict(pairs)
    if len(mapping) < len(pairs):
        raise ValueError("equal keys")
    return mapping


def _explain(error: yaml.YAMLError, text: str) -> str:
    """`, line 3: what is wrong` of PyYAML's error in `text`, which takes up to eight lines to say so."""
    if isinstance(error, yaml.reader.ReaderError):
        return f", line {text.count(chr(10), 0, error.position) + 1}: {str(error).splitlines()[0]}"
    if not isinstance(error, yaml.MarkedYAMLError):
        return f": {' '.join(str(error).split())}"
    problem, line = error.problem or error.context, error.problem_mark.line if error.problem_mark else 0
    notes = []
    if error.context_mark and error.context and error.context_mark.line != line:
        notes.append(f"{error.context} that begins in line {error.context_mark.line + 1}")
    if problem in HINTS:
        notes.append(HINTS[problem])
    return f", line {line + 1}: {problem}" + "".join(f"; {note}" for note in notes)
