"""
Print each public module, class, function and argument of the package that has no docstring: part of `make lint`.

    python .ci/docstrings.py [FOLDER ...]     default: airflow_provider_batch

Public is what has no leading underscore in its name or in the name of what it is in. An argument is documented by
``:param name:``, those of ``__init__`` and the fields of a dataclass or struct in the docstring of the class.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

_Function = ast.FunctionDef | ast.AsyncFunctionDef
#: Base classes and decorators that make annotated names of a class its arguments.
_RECORDS = {"Struct", "dataclass", "NamedTuple"}


def main(folders: list[str]) -> int:
    """Check the modules of folders, print what is missing, and return the exit code."""
    paths = [path for folder in folders for path in sorted(Path(folder).rglob("*.py"))]
    missing = [f"{path}:{problem}" for path in paths for problem in problems(ast.parse(path.read_text("utf-8")))]
    for line in missing:
        print(line)
    print(f"{len(paths)} modules, {len(missing)} docstrings or arguments missing.")
    return 1 if missing else 0


def problems(module: ast.Module) -> Iterator[str]:
    """Yield what a module lacks, each with its line."""
    if not ast.get_docstring(module):
        yield "1: the module has no docstring"
    for node in module.body:
        yield from _of(node, "")


def _of(node: ast.stmt, prefix: str) -> Iterator[str]:
    if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
        yield from _of_class(node, prefix)
    elif isinstance(node, _Function) and not node.name.startswith("_") and not _is_exempt(node):
        yield from _of_function(node, f"{prefix}{node.name}", ast.get_docstring(node) or "")


def _of_class(node: ast.ClassDef, prefix: str) -> Iterator[str]:
    name, text = f"{prefix}{node.name}", ast.get_docstring(node) or ""
    if not text:
        yield f"{node.lineno}: {name} has no docstring"
    if _is_record(node):
        fields = [item.target for item in node.body if isinstance(item, ast.AnnAssign) and not _is_class_variable(item)]
        names = [field.id for field in fields if isinstance(field, ast.Name)]
        yield from _without(names, node.lineno, name, text)
    for item in node.body:
        if isinstance(item, _Function) and item.name == "__init__":
            yield from _without(_arguments(item), item.lineno, name, text + (ast.get_docstring(item) or ""))
        yield from _of(item, f"{name}.")


def _of_function(node: _Function, name: str, text: str) -> Iterator[str]:
    if not text:
        yield f"{node.lineno}: {name} has no docstring"
    yield from _without(_arguments(node), node.lineno, name, text)


def _without(names: list[str], line: int, owner: str, text: str) -> Iterator[str]:
    for name in names:
        if not name.startswith("_") and f":param {name}:" not in text:
            yield f"{line}: {owner} does not say what {name} is"


def _arguments(node: _Function) -> list[str]:
    given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    return [argument.arg for argument in given if argument.arg not in ("self", "cls")]


def _is_record(node: ast.ClassDef) -> bool:
    named = [*node.bases, *node.decorator_list]
    return any(part in ast.unparse(one) for one in named for part in _RECORDS)


def _is_class_variable(item: ast.AnnAssign) -> bool:
    return "ClassVar" in ast.unparse(item.annotation)


def _is_exempt(node: _Function) -> bool:
    """Overloads, setters and overrides are documented elsewhere; the options of a command have their help texts."""
    names = (ast.unparse(one).partition("(")[0].split(".")[-1] for one in node.decorator_list)
    return any(name in ("overload", "override", "setter", "command") for name in names)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:] or ["airflow_provider_batch"]))
