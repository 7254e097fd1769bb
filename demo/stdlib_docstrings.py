"""
Write the demo's table: every public module, class and function of Python's standard library with its docstring.

The text is real, and every machine has it. Sources are parsed and not imported, so that no code of them runs. Only
modules written in C, which have no Python source, are imported.
"""

from __future__ import annotations

import ast
import importlib
import importlib.machinery
import importlib.util
import inspect
import pkgutil
import sys
import sysconfig
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

#: Modules of the standard library that are tests, demos or parts of a program, or change the terminal when imported.
NOT_A_LIBRARY = frozenset(
    {"antigravity", "idlelib", "lib2to3", "readline", "test", "this", "turtledemo", "xxlimited", "xxlimited_35"}
)

SCHEMA = pa.schema(
    [
        pa.field("module", pa.string(), nullable=False),
        pa.field("name", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("signature", pa.string()),
        pa.field("docstring", pa.string(), nullable=False),
    ]
)

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@dataclass(frozen=True)
class Documented:
    """
    One row: a public module, class, function or method with a docstring.

    :param module: Dotted name of the module.
    :param name: Dotted name of the object.
    :param kind: ``module``, ``class``, ``function`` or ``method``.
    :param signature: Signature as text; None for modules and classes, and where it is unknown.
    :param docstring: The docstring.
    """

    module: str
    name: str
    kind: str
    signature: str | None
    docstring: str


def collect() -> list[Documented]:
    """Return all rows, ordered by name; the same Python gives the same rows."""
    rows: dict[str, Documented] = {}
    for module, path in public_sources():
        for row in from_source(module, path):
            rows.setdefault(row.name, row)
    for module in compiled_modules():
        for row in from_compiled(module):
            rows.setdefault(row.name, row)
    return sorted(rows.values(), key=lambda row: row.name)


def write_table(path: Path, limit: int | None = None) -> int:
    """
    Write the rows to a Parquet file, and return their number.

    :param path: File to write.
    :param limit: Number of rows; None for all.
    """
    rows = collect()[:limit]
    pq.write_table(pa.Table.from_pylist([asdict(row) for row in rows], schema=SCHEMA), path, compression="zstd")
    return len(rows)


def is_public(module: str) -> bool:
    """
    Say whether a module belongs to the library that users import.

    :param module: Dotted name of the module.
    """
    parts = module.split(".")
    return parts[0] not in NOT_A_LIBRARY and not any(
        part.startswith("_") or part in {"test", "tests"} for part in parts
    )


def public_sources() -> Iterator[tuple[str, Path]]:
    """Yield the dotted name and the source file of every public module."""
    library = Path(sysconfig.get_path("stdlib"))
    for name in sorted(sys.stdlib_module_names):
        if not is_public(name):
            continue
        if (file := library / f"{name}.py").is_file():
            yield name, file
        elif (library / name / "__init__.py").is_file():
            yield name, library / name / "__init__.py"
            yield from _submodules(name, library / name)


def compiled_modules() -> Iterator[str]:
    """Yield the names of the public modules that are written in C."""
    for name in sorted(sys.stdlib_module_names):
        loader: Any = spec.loader if is_public(name) and (spec := importlib.util.find_spec(name)) else None
        if loader is importlib.machinery.BuiltinImporter or isinstance(loader, importlib.machinery.ExtensionFileLoader):
            yield name


def from_source(module: str, path: Path) -> Iterator[Documented]:
    """
    Yield the rows of one source file.

    :param module: Dotted name of the module.
    :param path: Source file.
    """
    tree = ast.parse(path.read_bytes())
    if docstring := ast.get_docstring(tree):
        yield Documented(module, module, "module", None, docstring)
    yield from _from_body(module, module, tree.body)


def from_compiled(module: str) -> Iterator[Documented]:
    """
    Yield the rows of a module without Python source.

    :param module: Dotted name of the module; it is imported.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        imported = importlib.import_module(module)
    if docstring := inspect.getdoc(imported):
        yield Documented(module, module, "module", None, docstring)
    for name, value in sorted(vars(imported).items()):
        documented = (inspect.isclass(value) or inspect.isroutine(value)) and value.__module__ == module
        if documented and not name.startswith("_") and (docstring := inspect.getdoc(value)):
            kind = "class" if inspect.isclass(value) else "function"
            yield Documented(module, f"{module}.{name}", kind, _signature_of(value), docstring)


def _submodules(package: str, folder: Path) -> Iterator[tuple[str, Path]]:
    for found in sorted(pkgutil.iter_modules([str(folder)]), key=lambda info: info.name):
        name = f"{package}.{found.name}"
        path = folder / found.name / "__init__.py" if found.ispkg else folder / f"{found.name}.py"
        if is_public(name) and path.is_file():
            yield name, path
            if found.ispkg:
                yield from _submodules(name, path.parent)


def _from_body(module: str, prefix: str, body: list[ast.stmt], *, in_class: bool = False) -> Iterator[Documented]:
    for node in body:
        if not isinstance(node, Definition) or node.name.startswith("_"):
            continue
        name = f"{prefix}.{node.name}"
        if docstring := ast.get_docstring(node):
            kind = "class" if isinstance(node, ast.ClassDef) else "method" if in_class else "function"
            yield Documented(module, name, kind, _signature(node), docstring)
        if isinstance(node, ast.ClassDef):
            yield from _from_body(module, name, node.body, in_class=True)


def _signature(node: Definition) -> str | None:
    if isinstance(node, ast.ClassDef):
        return None
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    return f"({ast.unparse(node.args)}){returns}"


def _signature_of(value: object) -> str | None:
    try:
        return str(inspect.signature(value))  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
