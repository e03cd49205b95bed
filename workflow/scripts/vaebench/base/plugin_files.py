"""What the files under `plugins:` in the configuration add, read off their source and imported only where it is used.

The Snakefile reads this module on every start: a plugin may import PyTorch, so it is parsed, not executed.
"""

import ast
import hashlib
import importlib
import inspect
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType, UnionType
from typing import Any, Generic, TypeVar, Unpack, get_args, get_origin, get_type_hints

from vaebench.base.errors import UserError
from vaebench.base.importable import source_file
from vaebench.base.own_code import place_of, remember
from vaebench.base.plugins import KINDS, SHOWN

DECORATORS = "vaebench.base.plugins"
NAME = re.compile(r"[a-z][a-z0-9_]*")

Entry = TypeVar("Entry")
Definition = ast.FunctionDef | ast.ClassDef


class PluginError(UserError):
    """The code of a plugin failed, or gave what it must not."""


@dataclass(frozen=True)
class Added:
    """One entry that a plugin adds: what its decorator says, and where its code is.

    plugin: as the configuration names it; file: its source; attribute: the decorated function or class.
    """

    kind: str
    name: str
    options: Mapping[str, Any]
    plugin: str
    file: Path
    line: int
    attribute: str

    @property
    def place(self) -> str:
        """File and line, for messages."""
        return f"{self.file}, line {self.line}"

    def load(self) -> Any:
        """The function or class itself; its module is imported once. Raises `UserError` where that fails."""
        return getattr(_imported(self.plugin, self.file), self.attribute)


@dataclass
class _Use:
    """Which plugins this process uses."""

    added: tuple[Added, ...] = ()


_IN_USE = _Use()


def use_plugins(plugins: Iterable[str]) -> None:
    """From now on the registries of this process hold what these plugins add, and nothing from other plugins.

    A plugin is a Python file, or the dotted path of an installed module. Raises `UserError` with a line per mistake.
    """
    found: dict[tuple[str, str, str], Added] = {}
    mistakes = []
    for plugin in dict.fromkeys(plugins):
        try:
            for added in read_plugin(plugin):
                key = (added.kind, added.name, added.options.get("role", ""))
                if key in found:
                    mistakes.append(f"{added.place}: {found[key].place} adds the {_words(added)} already")
                found.setdefault(key, added)
        except UserError as mistake:
            mistakes.append(str(mistake))
    _IN_USE.added = tuple(found.values())
    if mistakes:
        raise UserError("\n".join(mistakes))


def plugins_in_use() -> tuple[str, ...]:
    """The plugins that this process uses, for another process to use them too."""
    return tuple(dict.fromkeys(entry.plugin for entry in _IN_USE.added))


def added(*kinds: str) -> tuple[Added, ...]:
    """The entries of these kinds that the plugins in use add, in their order."""
    return tuple(entry for entry in _IN_USE.added if entry.kind in kinds)


def files_that_add(kind: str, names: Iterable[str] | None = None) -> frozenset[Path]:
    """The source files of the plugins in use that add an entry of the kind, one of `names` when they are given."""
    chosen = None if names is None else set(names)
    return frozenset(entry.file for entry in added(kind) if chosen is None or entry.name in chosen)


def not_importable() -> list[str]:
    """Import all that the plugins in use add; a line for each file where that fails."""
    mistakes = {}
    for entry in _IN_USE.added:
        try:
            entry.load()
        except UserError as mistake:
            mistakes[entry.file] = str(mistake)
    return list(mistakes.values())


class Registry(Mapping[str, Entry], Generic[Entry]):
    """Entries by name: those of the package, then those of the plugins in use.

    own: the package's entries; kinds: of plugins' additions that belong here; entries_of: makes entries, by name, of
    these.
    """

    def __init__(
        self,
        own: Mapping[str, Entry],
        kinds: Sequence[str],
        entries_of: Callable[[tuple[Added, ...]], Mapping[str, Entry]],
    ) -> None:
        self.own = dict(own)
        self._kinds, self._entries_of = kinds, entries_of
        self._known: tuple[tuple[Added, ...], dict[str, Entry]] = ((), self.own)

    def __getitem__(self, name: str) -> Entry:
        return self._entries()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries())

    def __len__(self) -> int:
        return len(self._entries())

    def _entries(self) -> dict[str, Entry]:
        present = added(*self._kinds)
        if present != self._known[0]:
            new = self._entries_of(present)
            for name in new:
                if name in self.own:
                    places = [entry.place for entry in present if entry.name == name] or [present[-1].place]
                    kind = self._kinds[0].replace("_", " ")
                    raise UserError(f"{places[0]}: there is a {kind} {name!r} already; choose another name")
            self._known = (present, self.own | dict(new))
        return self._known[1]


def read_plugin(plugin: str) -> tuple[Added, ...]:
    """What one plugin adds, in the order of its lines; raises `UserError` for a mistake in it."""
    is_file = plugin.endswith(".py")
    file = Path(os.path.expandvars(plugin)).expanduser() if is_file else _module_file(plugin)
    try:
        tree = ast.parse(file.read_bytes())
    except OSError as error:
        raise UserError(f"{plugin}: cannot be read: {error.strerror}") from None
    except (SyntaxError, ValueError) as error:
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) else ""
        raise UserError(f"{file}{line}: {getattr(error, 'msg', error)}") from None
    found = tuple(_added_by(tree, plugin, file))
    if not found:
        raise UserError(
            f"{file}: adds nothing: mark a function with one of {', '.join(KINDS)} of {DECORATORS} (docs/adding-*.md)"
        )
    return found


def without_presentation(source: str) -> str:
    """A plugin's source less the options of its decorators that only say how something is shown."""
    tree = ast.parse(source)
    names = _decorator_names(tree)
    for node in ast.walk(tree):
        for decorator in getattr(node, "decorator_list", ()):
            if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) in names:
                decorator.keywords = [keyword for keyword in decorator.keywords if keyword.arg not in SHOWN]
    return ast.unparse(tree)


@contextmanager
def blamed(entry: Added) -> Iterator[None]:
    """Turn what a plugin's code raises in the block into a `PluginError` with file and line; a `UserError` stays."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # somebody else's code: whatever it raises is the answer
        place = place_of(error) or entry.place  # without a line of the plugin: its arguments do not fit
        raise PluginError(f"{place}: the {_words(entry)} failed: {type(error).__name__}: {error}") from error


def _added_by(tree: ast.Module, plugin: str, file: Path) -> Iterator[Added]:
    names = _decorator_names(tree)
    for node in tree.body:
        for decorator in getattr(node, "decorator_list", ()):
            call = decorator.func if isinstance(decorator, ast.Call) else decorator
            kind = names.get(ast.unparse(call))
            if kind is not None and isinstance(node, Definition):
                options = _options(kind, decorator, f"{file}, line {decorator.lineno}: @{kind}")
                name = options.pop("name")
                line, attribute = decorator.lineno, node.name
                yield Added(kind, name, options, plugin=plugin, file=file, line=line, attribute=attribute)


def _decorator_names(tree: ast.Module) -> dict[str, str]:
    """What the source calls each decorator: `metric`, `plugins.metric`, or another name that it imports one as."""
    package, _, module = DECORATORS.rpartition(".")
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == DECORATORS:
            names |= {alias.asname or alias.name: alias.name for alias in node.names if alias.name in KINDS}
        elif isinstance(node, ast.ImportFrom) and node.module == package:
            modules = [alias.asname or alias.name for alias in node.names if alias.name == module]
            names |= {f"{called}.{kind}": kind for called in modules for kind in KINDS}
        elif isinstance(node, ast.Import):
            modules = [alias.asname or alias.name for alias in node.names if alias.name == DECORATORS]
            names |= {f"{called}.{kind}": kind for called in modules for kind in KINDS}
    return names


def _options(kind: str, decorator: ast.expr, place: str) -> dict[str, Any]:
    """The decorator's arguments by name, defaults among them."""
    if not isinstance(decorator, ast.Call):
        raise UserError(f"{place}: it needs a name: @{kind}(...)")
    try:
        positional = [ast.literal_eval(argument) for argument in decorator.args]
        named = {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in decorator.keywords}
        bound = inspect.signature(KINDS[kind]).bind(*positional, **named)
    except ValueError:
        raise UserError(f"{place}: its arguments must be written out, since they are read and not computed") from None
    except TypeError as error:
        raise UserError(f"{place}: {error}") from None
    bound.apply_defaults()
    options, hints = dict(bound.arguments), get_type_hints(KINDS[kind])
    for group in [option for option in options if get_origin(hints[option]) is Unpack]:  # a `**group` of options
        options |= options.pop(group)
        hints |= get_type_hints(*get_args(hints.pop(group)))
    for option, value in options.items():
        if option not in hints:
            raise UserError(f"{place}: got an unexpected keyword argument {option!r}")
        if not _is_of(value, hints[option]):
            wanted = getattr(hints[option], "__name__", str(hints[option]))
            raise UserError(f"{place}: {option}: {value!r} is not of the type {wanted}")
    name = options["name"]
    if not NAME.fullmatch(name):
        raise UserError(f"{place}: {name!r}: a name has lower-case letters, digits and underscores, a letter first")
    return options


def _module_file(plugin: str) -> Path:
    """The source of an installed module."""
    try:
        file = source_file(plugin)
    except UserError as reason:
        raise UserError(f"{plugin}: {reason}; a file is named with its ending .py") from None
    if file is None:
        raise UserError(f"{plugin}: it has no Python source to read")
    return file


def _is_of(value: object, hint: Any) -> bool:
    """Whether the value is of the type that a parameter of a decorator has; what a container holds is not looked at."""
    if isinstance(hint, UnionType):
        return any(_is_of(value, part) for part in get_args(hint))
    return isinstance(value, get_origin(hint) or hint)


def _words(entry: Added) -> str:
    return f"{entry.kind.replace('_', ' ')} {entry.name!r}"


def _imported(plugin: str, file: Path) -> ModuleType:
    """The plugin's module."""
    try:
        if not plugin.endswith(".py"):
            remember(plugin)
            return importlib.import_module(plugin)
        name = f"vaebench_plugin_{file.stem}_{hashlib.sha256(str(file.resolve()).encode()).hexdigest()[:8]}"
        if name not in sys.modules:
            spec = spec_from_file_location(name, file)
            assert spec is not None
            assert spec.loader is not None
            sys.modules[name] = module_from_spec(spec)
            remember(name)
            try:
                spec.loader.exec_module(sys.modules[name])
            except BaseException:
                del sys.modules[name]
                raise
        return sys.modules[name]
    except Exception as error:  # somebody else's code: whatever it raises is the answer
        raise UserError(f"{file}: cannot be imported: {type(error).__name__}: {error}") from error
