"""What a function may return as a table: read, or refused by name with what to write instead."""

from __future__ import annotations

import collections
import dataclasses
import enum
import importlib
import os
import sqlite3
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import attr
import duckdb
import msgspec
import polars as pl
import pyarrow as pa
import pyarrow.dataset
import pydantic
import pytest

from airflow_provider_batch.exceptions import SourceError
from airflow_provider_batch.sources.open_source import open_source
from airflow_provider_batch.sources.python_tables import table_of

ROWS = [{"key": "k0", "text": "first"}, {"key": "k1", "text": "second"}]
TABLE = pa.Table.from_pylist(ROWS)


class Named(NamedTuple):
    key: str
    text: str


@dataclasses.dataclass(frozen=True)
class Plain:
    key: str
    text: str


class Model(pydantic.BaseModel):
    key: str
    text: str


@attr.define
class Attrs:
    key: str
    text: str


class Struct(msgspec.Struct):
    key: str
    text: str


class Period(pa.ExtensionType):  # type: ignore[misc]
    """How pandas hands over a period: a number."""

    def __init__(self) -> None:
        super().__init__(pa.int64(), "pandas.period")

    def __arrow_ext_serialize__(self) -> bytes:
        return b""

    @classmethod
    def __arrow_ext_deserialize__(cls, storage_type: pa.DataType, serialized: bytes) -> Period:
        return cls()


class OneRow:
    """A row of a frame of pandas: a series of values of several kinds, which Arrow does not take."""

    def __init__(self) -> None:
        self.to_dict = dict

    def tolist(self) -> list[Any]:
        return [1, "a", float("nan"), None]


OneRow.__module__ = "pandas.core.series"


class OlderPandas:
    """A frame without Arrow's interface, or with columns that Arrow does not take."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self.rows, self.columns = rows, list(rows[0])
        self.iloc = self

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, part: slice) -> OlderPandas:
        return OlderPandas(self.rows[part])

    def to_dict(self, orient: str) -> list[dict[str, Any]]:
        assert orient == "records"
        return self.rows


class MixedPandas(OlderPandas):
    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        raise pa.ArrowTypeError("Expected bytes, got a 'int' object")


OlderPandas.__module__ = MixedPandas.__module__ = "pandas.core.frame"


class ObjectPath(os.PathLike[str]):
    """A path on an object store, as Airflow has them."""

    def __init__(self, uri: str) -> None:
        self.uri = uri

    def __fspath__(self) -> str:
        return self.uri

    def __str__(self) -> str:
        return self.uri


def of(value: Any, **options: Any) -> Any:
    return table_of(value, "the function returned", 10_000_000, **options)


def pages() -> Iterator[list[dict[str, Any]]]:
    yield from ([row] for row in ROWS)
    yield []


def sqlite_rows() -> sqlite3.Cursor:
    connection = sqlite3.connect(":memory:")
    connection.row_factory = sqlite3.Row
    return connection.execute("SELECT 'k0' AS key, 'first' AS text UNION SELECT 'k1', 'second'")


TABLES: dict[str, Any] = {
    "list": lambda: ROWS,
    "tuple": lambda: tuple(ROWS),
    "deque": lambda: collections.deque(ROWS),
    "generator": lambda: (row for row in ROWS),
    "values of a dict": lambda: {"a": ROWS[0], "b": ROWS[1]}.values(),
    "mappings": lambda: [collections.UserDict(row) for row in ROWS],
    "read-only mappings": lambda: [types.MappingProxyType(row) for row in ROWS],
    "pages of rows": pages,
    "dataclasses": lambda: [Plain(**row) for row in ROWS],
    "named tuples": lambda: [Named(**row) for row in ROWS],
    "pydantic": lambda: [Model(**row) for row in ROWS],
    "attrs": lambda: [Attrs(**row) for row in ROWS],
    "msgspec": lambda: [Struct(**row) for row in ROWS],
    "sqlite3": sqlite_rows,
    "set": lambda: {Plain(**row) for row in ROWS},
    "frozen set": lambda: frozenset(Named(**row) for row in reversed(ROWS)),
    "dict of columns": lambda: {"key": ["k0", "k1"], "text": ("first", "second")},
    "dict of arrays": lambda: {"key": TABLE["key"], "text": pl.Series(["first", "second"])},
    "polars": lambda: pl.DataFrame(ROWS),
    "duckdb": lambda: duckdb.sql("SELECT 'k0' AS key, 'first' AS text UNION ALL SELECT 'k1', 'second'"),
    "table": lambda: TABLE,
    "record batch": lambda: TABLE.to_batches()[0],
    "reader": TABLE.to_reader,
    "array of structs": lambda: pa.array(ROWS),
    "chunks": lambda: (TABLE.slice(at, 1) for at in range(2)),
    "index of a frame": lambda: TABLE.append_column("__index_level_0__", pa.array([5, 7])),
    "older pandas": lambda: OlderPandas(ROWS),
    "pandas that Arrow does not take": lambda: MixedPandas(ROWS),
}


@pytest.mark.parametrize("name", TABLES)
def test_whatever_is_tabular_is_read(name: str) -> None:
    assert [dict(row) for row in of(TABLES[name]())] == ROWS


@pytest.mark.parametrize("texts", [list, tuple, iter, pa.array, pl.Series, frozenset])
def test_texts_are_one_column(texts: Any) -> None:
    assert of(texts(["hallo", "how are you?"])) == [{"text": "hallo"}, {"text": "how are you?"}]


@pytest.mark.parametrize(
    "addresses",
    [
        ["s3://bucket/rows.parquet", "gs://bucket/folder/", "abfs://c/day=*/part-*"],
        ["/data/rows", "./more"],
        ["a.csv", "b with space.jsonl.gz"],
    ],
)
def test_texts_that_are_addresses_are_files(addresses: list[str]) -> None:
    assert of(addresses) == addresses
    assert of([Path("/data/rows.csv")]) == ["/data/rows.csv"]
    assert of(Path("/data")) == "/data"
    assert of([ObjectPath("s3://bucket/folder")]) == ["s3://bucket/folder"]
    assert of("folder") == "folder"


@pytest.mark.parametrize(
    "texts",
    [["https://example.com/a", "https://example.com/b"], ["https://example.com/"], ["s3://bucket/folder"], ["/ask me"]],
)
def test_texts_that_may_be_web_pages_or_files_are_refused_with_both_ways_to_write_them(texts: list[str]) -> None:
    both = r"may be files or prompts\. For prompts give \[{'text': …}, …\]\. For files name each with the ending"
    with pytest.raises(SourceError, match=both):
        of(texts)
    with pytest.raises(SourceError, match=both):
        of(["https://example.com/rows.csv", *texts])
    assert of([{"text": text} for text in texts]) == [{"text": text} for text in texts]
    assert of(texts, addresses_are_files=True) == texts
    assert of(texts, words_are_addresses=True) == texts


@pytest.mark.parametrize("empty", [[], (), iter([]), pl.DataFrame(ROWS).clear(), TABLE.slice(0, 0), {"key": []}, set()])
def test_a_table_without_rows_is_one(empty: Any) -> None:
    assert of(empty) == []


REFUSED: dict[str, tuple[Any, str]] = {
    "nothing": (None, r"None, or nothing at all\. .*A table without rows is \[\]"),
    "number": (5, "returned an int"),
    "bytes": (b"rows", "returned a bytes"),
    "prompt": ("Say hello", r"the text 'Say hello'\. Give the address of a file, or \[{'text'"),
    "empty text": ("", "the text ''"),
    "nested lists": ([["a", "b"]], "a list as row 0. Name the columns"),
    "tuples": ([("a", "b")], "a tuple as row 0. Name the columns"),
    "null among rows": ([ROWS[0], None], "None as row 1"),
    "numbers": ([1, 2], "an int as row 0. A row is a mapping"),
    "rows and texts": ([ROWS[0], "a text"], "rows and texts in one list"),
    "addresses and texts": (["/a.csv", "a text"], r"addresses \('/a.csv'\) and other texts \('a text'\)"),
    "words": (["refund", "cancel"], "single words .* may be files or prompts"),
    "single row": ({"key": "k0"}, r"whose value 'key' is no list\. .* \[row\] for a single row"),
    "single object": (Plain("a", "b"), r"a single row \(a Plain\)\. Give a list of rows: \[row\]"),
    "single named tuple": (Named("a", "b"), "a single row"),
    "dict of dicts": ({"key": {0: "k0"}}, r"a dict of dicts\. .*to_dict\('records'\)"),
    "empty dict": ({}, "an empty dict"),
    "columns of different lengths": ({"a": [1], "b": [1, 2]}, r"differ in length \(a 1, b 2\)"),
    "summary": ({"destination": "s3://b/t", "statuses": {}}, r"summary of a job\. .*summary\['destination'\]"),
    "rows as JSON": ('[{"text":"a"}]', r"For rows as JSON give what json\.loads gives"),
    "single root model": (pydantic.RootModel[dict[str, int]]({"a": 1}), "a single row"),
    "objects in Polars": (pl.DataFrame({"a": [object()]}, schema={"a": pl.Object}), "objects of Python"),
    "lazy frame": (
        pl.DataFrame(ROWS).lazy(),
        r"a LazyFrame, which is not read yet\. Return the result of its collect\(\)",
    ),
    "dataset": (pyarrow.dataset.dataset(TABLE), r"not read yet\. Return the result of its to_table\(\)"),
    "class": (Plain, "the class Plain"),
    "function": (len, "a builtin_function_or_method"),
    "object": (object(), "an object"),
    "a row of a frame": (OneRow(), r"such as one row of a frame, is not a table\. Give a frame"),
    "doubled columns": (pa.Table.from_arrays([pa.array([1])] * 2, names=["a", "a"]), "two columns have the name 'a'"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_whatever_is_no_table_is_refused_by_name_with_what_to_write(name: str) -> None:
    value, message = REFUSED[name]
    with pytest.raises(SourceError, match=message):
        of(value)


def test_a_coroutine_is_refused() -> None:
    async def rows() -> list[dict[str, Any]]:
        return ROWS

    made = rows()
    with pytest.raises(SourceError, match="a coroutine, which was not awaited"):
        of(made)
    made.close()


def test_a_generator_without_an_end_is_stopped_at_the_limit() -> None:
    def rows() -> Iterator[dict[str, Any]]:
        while True:
            yield ROWS[0]

    with pytest.raises(SourceError, match="more than 1 MB of rows"):
        table_of(rows(), "the function returned", 1_000_000)


def test_categories_of_polars_are_text() -> None:
    kinds: list[Any] = [pl.Categorical, pl.Enum(["a", "b"])]
    assert of(pl.DataFrame([pl.Series(str(place), ["a", None], kind) for place, kind in enumerate(kinds)])) == [
        {"0": "a", "1": "a"},
        {"0": None, "1": None},
    ]


def test_periods_of_pandas_are_refused_as_arrow_has_them_as_numbers() -> None:
    pa.register_extension_type(Period())
    try:
        with pytest.raises(SourceError, match=r"column 'a': .*holds periods of pandas.*astype\(str\)"):
            of(pa.table({"a": pa.ExtensionArray.from_storage(Period(), pa.array([1]))}))
    finally:
        pa.unregister_extension_type("pandas.period")


def test_a_root_model_of_a_list_is_its_rows() -> None:
    assert of(pydantic.RootModel[list[Model]]([Model(**row) for row in ROWS])) == ROWS


def test_values_keep_their_types() -> None:
    kinds = {
        "when": pa.array([1], pa.timestamp("us")),
        "picture": pa.array([b"\x00"]),
        "map": pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64())),
        "category": pa.array(["a"]).dictionary_encode(),
    }
    (row,) = of(pa.table(kinds))
    assert (row["when"].year, row["picture"], row["map"], row["category"]) == (1970, b"\x00", {"k": 1}, "a")


@pytest.mark.skipif(importlib.util.find_spec("pandas") is None, reason="pandas is not installed")
def test_frames_of_pandas_are_read() -> None:
    pandas = importlib.import_module("pandas")
    frame = pandas.DataFrame([*ROWS, {"key": "k2", "text": "third"}])
    assert of(frame[frame.key != "k2"]) == ROWS
    assert of(frame.set_index("key"))[0] == ROWS[0]
    assert of(pandas.DataFrame({"a": [1, "x"]})) == [{"a": 1}, {"a": "x"}]
    assert of(frame.text) == [{"text": row["text"]} for row in [*ROWS, {"text": "third"}]]
    assert of({"key": frame.key, "text": frame.text.to_numpy()})[:2] == ROWS
    assert of(frame.text.to_numpy(dtype=object))[0] == {"text": "first"}
    assert of(frame.to_records(index=False))[0] == ROWS[0]


class Color(enum.Enum):
    RED = "red"
    SIX = 6


def test_members_of_an_enum_are_their_values() -> None:
    (row,) = next(open_source(of([{"a": Color.RED, "b": [Color.SIX]}])).batches()).rows.to_pylist()
    assert row == {"a": "red", "b": [6]}


def test_a_row_that_holds_itself_is_an_error() -> None:
    rows: list[dict[str, Any]] = [{}]
    rows[0]["a"] = rows
    with pytest.raises(SourceError, match=r"row 0, column 'a': .* contains itself"):
        open_source(of(rows))
