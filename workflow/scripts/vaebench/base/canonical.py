"""Python source as text without what cannot change a result, the same on every version of Python.

Gone are comments, formatting and docstrings, annotations, the words of messages, and the names of local variables.
Whatever might matter stays, so that two sources with the same text do the same.
"""

import ast
from collections.abc import Callable, Iterator
from functools import cache

IRRELEVANT = ("kind", "ctx")
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
SCOPES = (*FUNCTIONS, ast.Lambda, ast.ClassDef, *COMPREHENSIONS)
Function = ast.FunctionDef | ast.AsyncFunctionDef
Comprehension = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp
Scope = Function | ast.Lambda | ast.ClassDef | Comprehension
# Decorators that do not look at annotations, as functools.singledispatch does.
BLIND_TO_ANNOTATIONS = {
    "abstractmethod", "cache", "cached_property", "classmethod", "contextmanager", "inference_mode", "lru_cache",
    "no_grad", "override", "property", "setter", "staticmethod", "wraps",
}  # fmt: skip
TYPING = {"__future__", "collections.abc", "types", "typing"}  # importing from these does nothing else
REPORTERS = {"print", "tqdm.write", "warnings.warn"}
ERRORS = {"RuntimeError", "TypeError", "UserError", "ValueError"}
SEES_NAMES = {"dir", "eval", "exec", "globals", "locals", "vars"}


@cache
def canonical(source: str, keep_messages: bool = False) -> str:
    """The source as text; with `keep_messages` the words of errors count too.

    Empty and absent fields of the syntax tree are left out, since their number differs between Python versions.
    Raises `SyntaxError` for code that Python cannot parse.
    """
    tree = _Wordless(keep_messages).visit(_Unannotated().visit(ast.parse(source)))
    _drop_unused_imports(tree, TYPING.__contains__)
    for node in _outermost_functions(tree):
        rename_locals(node)
    return _text(tree)


def without_functions(source: str, names: frozenset[str]) -> str:
    """The source less functions of these names, at its first level and in its classes, and less unused imports."""
    tree = ast.parse(source)
    scopes: list[ast.Module | ast.ClassDef] = [tree, *(node for node in tree.body if isinstance(node, ast.ClassDef))]
    for scope in scopes:
        left = [part for part in scope.body if not (isinstance(part, FUNCTIONS) and part.name in names)]
        scope.body = left or [ast.Pass()]
    _drop_unused_imports(tree, lambda module: True)
    return ast.unparse(tree)


def rename_locals(function: Function, name: str = "${}.{}") -> None:
    """Number the local variables of a function and of all scopes in it, in place; arguments keep their names.

    `name` is filled with the depth of the scope and the variable's number, by first appearance.
    """
    names = {node.id for node in ast.walk(function) if isinstance(node, ast.Name)}
    if not names & SEES_NAMES:
        _Renaming(name).scope(function, {}, 0)


class _Unannotated(ast.NodeTransformer):
    """Without the annotations of functions and of variables in them; those of classes stay, for dataclasses."""

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        for index, statement in enumerate(node.body):
            if not isinstance(statement, ast.AnnAssign):
                node.body[index] = self.visit(statement)
        return node

    def visit_FunctionDef(self, node: Function) -> ast.AST:
        if all(_last_name(decorator) in BLIND_TO_ANNOTATIONS for decorator in node.decorator_list):
            node.returns = None
            for argument in ast.walk(node.args):
                if isinstance(argument, ast.arg):
                    argument.annotation = None
        return self.generic_visit(node)

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        if node.value is None or not node.simple:
            return node
        return ast.Assign([node.target], node.value)

    def visit_If(self, node: ast.If) -> ast.AST | None:
        if _last_name(node.test) == "TYPE_CHECKING" and not node.orelse:
            return None
        return self.generic_visit(node)


class _Wordless(ast.NodeTransformer):
    """Without the texts that are only shown to people: of errors that end a job, and of what is printed."""

    def __init__(self, keep_messages: bool) -> None:
        self.keep_messages = keep_messages

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        if isinstance(node.exc, ast.Call) and _last_name(node.exc.func) in ERRORS and not self.keep_messages:
            node.exc.args = [argument for argument in node.exc.args if not _is_words(argument)]
        return self.generic_visit(node)

    def visit_Expr(self, node: ast.Expr) -> ast.AST:
        call = node.value
        if isinstance(call, ast.Call) and _dotted(call.func) in REPORTERS and not _to_file(call):
            call.args = [value for argument in call.args for value in _values(argument)]
        return self.generic_visit(node)


class _Renaming:
    """Gives local variables numbers instead of names, scope by scope."""

    def __init__(self, name: str) -> None:
        self.name = name

    def scope(self, node: Scope, outer: dict[str, str], depth: int) -> None:
        """Rename in a function, lambda, comprehension or class; `outer` are the new names of the scopes around it."""
        inside = list(_inside(node))
        bound, fixed = _bound(node, inside)
        names = {name: new for name, new in outer.items() if name not in bound.keys() | fixed}
        own = [] if isinstance(node, ast.ClassDef) else [name for name in bound if name not in fixed]
        names |= {name: self.name.format(depth, number) for number, name in enumerate(own)}
        # What is bound in a class is its attribute, which the functions in it do not see.
        seen = outer if isinstance(node, ast.ClassDef) else names
        for part in inside:
            self._rename(part, names)
            if isinstance(part, SCOPES):
                self.scope(part, seen, depth + 1)

    def _rename(self, node: ast.AST, names: dict[str, str]) -> None:
        if isinstance(node, ast.Name):
            node.id = names.get(node.id, node.id)
        elif isinstance(node, ast.ExceptHandler) and node.name:
            node.name = names.get(node.name, node.name)
        elif isinstance(node, ast.Nonlocal):
            node.names = [names.get(name, name) for name in node.names]


def _inside(scope: Scope) -> Iterator[ast.AST]:
    """The nodes that are evaluated in a scope; of a scope in it, the node itself and what is evaluated outside it."""
    if isinstance(scope, COMPREHENSIONS):
        first = scope.generators[0]
        rest = [child for child in ast.iter_child_nodes(scope) if child is not first]
        parts: list[ast.AST] = [first.target, *first.ifs, *rest]
    elif isinstance(scope, ast.Lambda):
        parts = [scope.body]
    else:
        parts = [*scope.body]
    stack = parts[::-1]
    while stack:
        node = stack.pop()
        yield node
        stack += [*(_evaluated_outside(node) if isinstance(node, SCOPES) else ast.iter_child_nodes(node))][::-1]


def _evaluated_outside(scope: Scope) -> list[ast.AST]:
    """What is evaluated before a scope is entered: decorators, defaults, bases, the first iterable."""
    if isinstance(scope, COMPREHENSIONS):
        return [scope.generators[0].iter]
    outside = list(getattr(scope, "decorator_list", []))
    if isinstance(scope, ast.ClassDef):
        return [*outside, *scope.bases, *scope.keywords]
    arguments = [argument for argument in ast.walk(scope.args) if isinstance(argument, ast.arg)]
    annotations = [argument.annotation for argument in arguments] + [getattr(scope, "returns", None)]
    defaults = [*scope.args.defaults, *scope.args.kw_defaults]
    return [*outside, *(node for node in (*defaults, *annotations) if node is not None)]


def _bound(scope: Scope, inside: list[ast.AST]) -> tuple[dict[str, None], set[str]]:
    """The names that a scope binds, in the order of their appearance, and the names that must not be changed in it."""
    arguments = ast.walk(scope.args) if isinstance(scope, (*FUNCTIONS, ast.Lambda)) else ()
    fixed = {node.arg for node in arguments if isinstance(node, ast.arg)}.union(*map(_fixed, inside))
    elsewhere = {name for node in inside if isinstance(node, ast.Nonlocal) for name in node.names}
    if isinstance(scope, COMPREHENSIONS):
        elsewhere.update(_walrus_targets(scope))  # these are bound in the function around the comprehension
    names = [name for node in inside for name in _assigned(node, scope)]
    return dict.fromkeys(name for name in names if name not in elsewhere), fixed


def _assigned(node: ast.AST, scope: Scope) -> list[str]:
    """The names that a node in a scope assigns to; these may be changed."""
    if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
        return [node.id]
    if isinstance(node, ast.ExceptHandler) and node.name:
        return [node.name]
    if isinstance(node, COMPREHENSIONS) and not isinstance(scope, COMPREHENSIONS):
        return _walrus_targets(node)
    return []


def _fixed(node: ast.AST) -> list[str]:
    """The names that a node declares, defines, imports or matches; these must stay as they are."""
    match node:
        case ast.Global(names):
            return names
        case ast.FunctionDef(name) | ast.AsyncFunctionDef(name) | ast.ClassDef(name):
            return [name]
        case ast.Import(names) | ast.ImportFrom(names=names):
            return [(alias.asname or alias.name).partition(".")[0] for alias in names]
        case ast.MatchAs(name=str(name)) | ast.MatchStar(str(name)) | ast.MatchMapping(rest=str(name)):
            return [name]
    return []


def _walrus_targets(comprehension: ast.AST) -> list[str]:
    """The variables that := in a comprehension binds, which belong to the function around it."""
    return [node.target.id for node in ast.walk(comprehension) if isinstance(node, ast.NamedExpr)]


def _outermost_functions(tree: ast.AST) -> Iterator[Function]:
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, FUNCTIONS):
            yield child
        elif not isinstance(child, (ast.Lambda, *COMPREHENSIONS)):
            yield from _outermost_functions(child)


def _drop_unused_imports(tree: ast.Module, among: Callable[[str | None], bool]) -> None:
    """Remove what the first level imports from these modules and nothing uses, such as what only annotations needed."""
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and among(node.module):
            node.names = [alias for alias in node.names if (alias.asname or alias.name) in used]
    tree.body = [node for node in tree.body if not (isinstance(node, ast.ImportFrom) and not node.names)]


def _last_name(node: ast.AST) -> str | None:
    """`c` of `c`, of `a.b.c` and of a call of either."""
    node = node.func if isinstance(node, ast.Call) else node
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", None)


def _dotted(node: ast.AST) -> str | None:
    """`a.b` of that expression; None of one that is more than names and points."""
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    return getattr(node, "id", None)


def _values(node: ast.expr) -> list[ast.expr]:
    """What is evaluated for a printed text, or the expression itself when it is none."""
    if isinstance(node, ast.JoinedStr):
        return [part.value for part in node.values if isinstance(part, ast.FormattedValue)]
    return [] if isinstance(node, ast.Constant) and isinstance(node.value, str) else [node]


def _is_words(node: ast.AST) -> bool:
    """Whether an expression is a text, or texts joined."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _is_words(node.left) or _is_words(node.right)
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


def _to_file(call: ast.Call) -> bool:
    """Whether print's text goes into a file other than the log."""
    targets = [keyword.value for keyword in call.keywords if keyword.arg == "file"]
    return any(_dotted(target) not in ("sys.stderr", "sys.stdout") for target in targets)


def _text(node: object) -> str:
    """One node of a syntax tree as text."""
    if isinstance(node, ast.AST):
        fields = [(name, _body(node, name, value)) for name, value in ast.iter_fields(node) if name not in IRRELEVANT]
        inner = ",".join(f"{name}={_text(value)}" for name, value in fields if value not in (None, []))
        return f"{type(node).__name__}({inner})"
    if isinstance(node, list):
        return "[" + ",".join(_text(item) for item in node) + "]"
    return repr(node)


def _body(node: ast.AST, name: str, value: object) -> object:
    """The value of a field: a body without its docstring, an f-string without the empty parts that Python 3.12 adds."""
    if isinstance(node, ast.JoinedStr):
        return [part for part in node.values if not (isinstance(part, ast.Constant) and part.value == "")]
    if name == "body" and isinstance(node, (ast.Module, ast.ClassDef, *FUNCTIONS)):
        return node.body[1:] if ast.get_docstring(node, clean=False) is not None else node.body
    return value
