"""What a fingerprint needs to know of a source text, kept on disk, since parsing 170 modules takes a second a start."""

import ast
import hashlib
import json
import re
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

from vaebench.base import canonical
from vaebench.base.files import atomic_path

RELATIVE_NAME = re.compile(r"\w[\w-]*([./][\w-]+)*")


@dataclass(frozen=True)
class SourceFacts:
    """Facts of one source text.

    meaning: SHA-256 of its canonical form; imports: dotted names, at any depth; names: strings in it that could name a
    file or folder beside the module.
    """

    meaning: str
    imports: tuple[str, ...]
    names: tuple[str, ...]


@cache
def facts_of(
    source: str,
    module: str = "",
    kept: Path | None = None,
    keep_messages: bool = False,
    uncalled: frozenset[str] = frozenset(),
) -> SourceFacts:
    """The facts of a source text, read from the folder `kept` if an earlier process wrote them there.

    `module` is its own dotted name, which relative imports start from; with `keep_messages` the words of errors belong
    to its meaning; functions that are named in `uncalled` do not. A file in `kept` is named by the SHA-256 of all
    these, the text and the code that works the facts out, so it is never out of date and may be deleted at any time.
    Raises `SyntaxError` for code that Python cannot parse.
    """
    if kept is None:
        return _work_out(source, module, keep_messages, uncalled)
    file = kept / _digest(f"{_code_of_facts()}\n{keep_messages}\n{module}\n{sorted(uncalled)}\n{source}")
    with suppress(OSError, ValueError, TypeError, KeyError):
        fields = json.loads(file.read_text())
        return SourceFacts(**fields | {name: tuple(fields[name]) for name in ("imports", "names")})
    facts = _work_out(source, module, keep_messages, uncalled)
    with suppress(OSError), atomic_path(file) as temporary:  # a folder that cannot be written costs time, nothing else
        temporary.write_text(json.dumps(asdict(facts)))
    return facts


def imported_modules(source: str, module: str = "") -> tuple[str, ...]:
    """The dotted names a source imports, at any depth; `module` is its own name, which relative imports start from."""
    names = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            parent = module.split(".")[: -node.level] if node.level else []
            base = ".".join([*parent, *([node.module] if node.module else [])])
            names += [base, *(f"{base}.{alias.name}" for alias in node.names)]
    return tuple(names)


def _work_out(source: str, module: str, keep_messages: bool, uncalled: frozenset[str]) -> SourceFacts:
    source = canonical.without_functions(source, uncalled) if uncalled else source
    return SourceFacts(
        meaning=_digest(canonical.canonical(source, keep_messages)),
        imports=imported_modules(source, module),
        names=_names_in_strings(source),
    )


def _names_in_strings(source: str) -> tuple[str, ...]:
    """The string constants that could be the name of a file or folder beside the module."""
    constants = (node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant))
    return tuple(text for text in constants if isinstance(text, str) and RELATIVE_NAME.fullmatch(text))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@cache
def _code_of_facts() -> str:
    return _digest("".join(Path(file).read_text() for file in (canonical.__file__, __file__)))
