"""The demo's table holds the public names of the standard library that have a docstring."""

from __future__ import annotations

import inspect
import json
import sys
from pathlib import Path

import pyarrow.parquet as pq

from demo.stdlib_docstrings import SCHEMA, Documented, collect, from_source, is_public, write_table


def test_the_table_holds_thousands_of_rows_each_with_a_docstring_and_a_name_of_its_own(tmp_path: Path) -> None:
    count = write_table(tmp_path / "table.parquet")
    table = pq.read_table(tmp_path / "table.parquet")
    assert table.schema.equals(SCHEMA)
    assert count == len(table) > 4_000
    assert len(set(table["name"].to_pylist())) == count
    assert min(len(text) for text in table["docstring"].to_pylist()) > 0


def test_the_text_is_the_docstring_that_python_shows() -> None:
    rows = {row.name: row for row in collect()}
    assert rows["json.dumps"] == Documented(
        "json", "json.dumps", "function", str(rows["json.dumps"].signature), str(inspect.getdoc(json.dumps))
    )
    assert rows["json"].kind == "module"
    assert rows["json.encoder.JSONEncoder"].kind == "class"
    assert rows["json.encoder.JSONEncoder.encode"].kind == "method"
    assert rows["math.sqrt"].kind == "function", "modules written in C belong to the library too"


def test_private_names_and_tests_are_left_out() -> None:
    assert is_public("email.mime.text")
    assert not is_public("_collections_abc")
    assert not is_public("unittest.test.support")
    assert not is_public("json._private")


def test_a_source_is_read_without_running_it(tmp_path: Path) -> None:
    source = tmp_path / "danger.py"
    source.write_text(
        '"""Module."""\nraise SystemExit("imported")\n'
        'def public(a, *, b: int = 1) -> str:\n    """Does."""\n'
        'def _private():\n    """Hidden."""\n'
        'class Thing:\n    """A thing."""\n    async def act(self):\n        """Acts."""\n    def silent(self): ...\n'
    )
    assert [(row.name, row.kind, row.signature) for row in from_source("danger", source)] == [
        ("danger", "module", None),
        ("danger.public", "function", "(a, *, b: int=1) -> str"),
        ("danger.Thing", "class", None),
        ("danger.Thing.act", "method", "(self)"),
    ]
    assert "danger" not in sys.modules


def test_the_first_rows_can_be_had_alone(tmp_path: Path) -> None:
    assert write_table(tmp_path / "table.parquet", 10) == 10
