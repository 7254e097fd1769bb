"""
Python values as tables: rows, or addresses of files, or an error that names the type and what to write instead.

Frames and Arrow tables are read through Arrow's interface (`__arrow_c_stream__`), so that neither pandas nor Polars is
imported here. Rows may be mappings, dataclasses, named tuples, or models of Pydantic, attrs or msgspec. Texts are one
column, `TEXT_COLUMN`, or addresses of files where they look like these. A set is sorted, so that every attempt reads
the same order.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
import pyarrow as pa

from airflow_provider_batch.arrow.utf8 import shortened
from airflow_provider_batch.arrow.values import python_values
from airflow_provider_batch.exceptions import SourceError

#: Name of the column that a list of texts becomes: `{text}` in a body.
TEXT_COLUMN = "text"

#: Rows of a frame that are converted to Python objects at a time.
_ROWS_AT_ONCE = 1_000
#: An address of a file: a URI, an absolute or relative path, or a name with the ending of a readable format.
_ADDRESS = re.compile(
    r"[A-Za-z][A-Za-z0-9+.-]*://\S|[/~]|\.{1,2}/|[A-Za-z]:\\"
    r"|[^\n]*\.(parquet|pq|jsonl|ndjson|json|csv|tsv)(\.(gz|zst|bz2|xz))?$",
    re.IGNORECASE,
)
#: An address that can only be a file: with the ending of a readable format, a local path, or, except for web
#: addresses, a glob or a name with a slash at its end.
_FILE = re.compile(
    r"[^\n]*\.(parquet|pq|jsonl|ndjson|json|csv|tsv)(\.(gz|zst|bz2|xz))?$"
    r"|([/~]|\.{1,2}/|[A-Za-z]:\\)\S*$|(?!https?://)\S*(\*\S*|/)$",
    re.IGNORECASE,
)
#: Name of the column for the unnamed index of a pandas frame.
_INDEX = re.compile(r"__index_level_\d+__")
_READ = (
    "Give a list of mappings, a frame of pandas or Polars, an Arrow table, a dict of columns, a list of texts, or the "
    "address of a file."
)

Row = Mapping[str, Any]


class _Path(str):
    """A path as text; it always names a file."""

    __slots__ = ()


def table_of(
    value: Any, giver: str, max_bytes: int, *, words_are_addresses: bool = False, addresses_are_files: bool = False
) -> list[Row] | list[str] | str:
    """
    Return the rows of a Python value, or the addresses of files that it names.

    :param value: What a function or an XCom has given.
    :param giver: Subject and verb of error messages, such as "the function returned".
    :param max_bytes: Highest size of all rows as JSON, in bytes.
    :param words_are_addresses: Whether a list of single words, or a single text, is read as addresses; if not, it is an
        error.
    :param addresses_are_files: Whether a list of addresses is always read as files, for example because their format is
        stated. If not, addresses without the ending of a file are an error, because they may be prompts (such as web
        pages to write about).
    :raises SourceError: The value is not a table, or is larger than `max_bytes`.
    """
    if isinstance(value, str):
        return value if words_are_addresses else _one_address(value, giver)
    if _is_path(value):
        return str(value)
    rows: list[Row] = []
    texts: list[str] = []
    size = 0
    for item in _items(value, giver):
        size += _bytes_of(item)
        if size > max_bytes:
            raise SourceError(
                f"source: {giver} more than {max_bytes // 1_000_000} MB of rows. Let the task that makes them write a "
                "Parquet, JSONL or CSV file and return its address: every attempt of this task reads the whole XCom."
            )
        if isinstance(item, str):
            texts.append(item)
        else:
            rows.append(item)
        if rows and texts:
            raise _refusal(giver, "rows and texts in one list", "Give one or the other.")
    return _texts(texts, giver, words_are_addresses, words_are_addresses or addresses_are_files) if texts else rows


def _texts(texts: list[str], giver: str, words_are_addresses: bool, addresses_are_files: bool) -> list[Row] | list[str]:
    """Return texts as addresses where all look like addresses, else as rows of one column."""
    addresses = [text for text in texts if _ADDRESS.match(text)]
    as_rows = f"For prompts give [{{'{TEXT_COLUMN}': …}}, …], for files their whole addresses."
    if len(addresses) == len(texts):
        in_doubt = [text for text in texts if not isinstance(text, _Path) and not _FILE.match(text)]
        unclear = None if addresses_are_files else next(iter(in_doubt), None)
        if unclear is None:
            return [str(text) for text in texts]
        raise _refusal(
            giver,
            f"a list of texts that look like addresses ({_shown(unclear)}, …), which may be files or prompts",
            f"For prompts give [{{'{TEXT_COLUMN}': …}}, …]. For files name each with the ending of its format "
            "(.parquet, .jsonl, .csv …), a folder with a '/' at its end, or say format=… in the task.",
        )
    if addresses:
        other = next(text for text in texts if not _ADDRESS.match(text))
        raise _refusal(
            giver, f"addresses ({_shown(addresses[0])}) and other texts ({_shown(other)}) in one list", as_rows
        )
    if not any(len(text.split()) > 1 for text in texts):
        if words_are_addresses:
            return texts
        found = f"a list of single words ({_shown(texts[0])}, …), which may be files or prompts"
        raise _refusal(giver, found, as_rows)
    rows: list[Row] = [{TEXT_COLUMN: text} for text in texts]
    return rows


def _one_address(text: str, giver: str) -> str:
    is_json = text.lstrip().startswith(("[{", "[[", '["', '{"', "[]", "{}"))
    if text.strip() and not is_json and (_ADDRESS.match(text) or len(text.split()) == 1):
        return text
    advice = f"Give the address of a file, or [{{'{TEXT_COLUMN}': …}}] for one prompt."
    if is_json:
        advice = "For rows as JSON give what json.loads gives, or write them to a file and give its address."
    raise _refusal(giver, f"the text {_shown(text)}", advice)


def _items(value: Any, giver: str) -> Iterator[Row | str]:
    """Yield the rows or texts of a value that holds several."""
    value = _unwrapped(value)
    frame = _frame(value)
    if frame is not None:
        yield from frame
    elif isinstance(value, Mapping):
        yield from _columns(value, giver)
    elif (problem := _no_table(value)) is not None:
        raise _refusal(giver, *problem)
    elif isinstance(value, set | frozenset):
        yield from sorted((one for item in value for one in _item(item, 0, giver)), key=_sorted_by)
    else:
        for number, item in enumerate(value):
            yield from _item(item, number, giver)


def _unwrapped(value: Any) -> Any:
    """Return the list of a Pydantic root model; anything else unchanged."""
    is_root = hasattr(type(value), "model_fields") and isinstance(getattr(value, "root", None), list)
    return value.root if is_root else value


def _no_table(value: Any) -> tuple[str, str] | None:
    """Return what is wrong with a value as a whole and what to write instead; None for a value that can be read."""
    name = _type_name(value)
    if value is None:
        return "None, or nothing at all", f"{_READ} A table without rows is []."
    if isinstance(value, type):
        return f"the class {value.__name__}", _READ
    if callable(getattr(value, "collect", None)):
        return f"{name}, which is not read yet", "Return the result of its collect()."
    if callable(getattr(value, "to_table", None)):
        return f"{name}, which is not read yet", "Return the result of its to_table()."
    if hasattr(value, "__await__") or hasattr(value, "__aiter__"):
        return f"{name}, which was not awaited", "Write a function that is not async."
    if _record(value) is not None:
        return f"a single row ({name})", "Give a list of rows: [row]."
    is_scalar = isinstance(value, bytes | bytearray | memoryview) or getattr(value, "ndim", None) == 0
    if is_scalar or not isinstance(value, Iterable):
        return name, _READ
    return None


def _item(item: Any, number: int, giver: str, depth: int = 0) -> Iterator[Row | str]:
    """Yield what one item of a list is: a row, a text, or the rows of a chunk."""
    if isinstance(item, str | Mapping):
        yield item
    elif _is_path(item):
        yield _Path(item)
    elif (frame := _frame(item)) is not None:
        yield from frame
    elif (record := _record(item)) is not None:
        yield record
    elif depth == 0 and isinstance(item, list) and all(_is_row(one) for one in item):
        for one in item:  # a page of rows, or what one of several mapped tasks returned
            yield from _item(one, number, giver, depth + 1)
    elif isinstance(item, list | tuple):
        advice = f"Name the columns: {{'{TEXT_COLUMN}': …}}."
        raise _refusal(giver, f"{_type_name(item)} as row {number}", advice)
    else:
        found = "None" if item is None else _type_name(item)
        raise _refusal(giver, f"{found} as row {number}", f"A row is a mapping: {{'{TEXT_COLUMN}': …}}.")


def _columns(value: Mapping[Any, Any], giver: str) -> Iterator[Row]:
    """Yield the rows of a dict of columns."""
    if not value:
        raise _refusal(giver, "an empty dict", f"{_READ} A table without rows is [].")
    if "destination" in value and "statuses" in value:
        raise _refusal(giver, "the summary of a job", "Its table is a source: give summary['destination'].")
    columns = {name: _values(column) for name, column in value.items()}
    if any(isinstance(column, Mapping) for column in value.values()):
        raise _refusal(giver, "a dict of dicts", "Give a list of mappings; pandas gives it with to_dict('records').")
    if single := [name for name, column in columns.items() if column is None]:
        found = f"a dict whose value {_shown(single[0])} is no list"
        raise _refusal(giver, found, "Give a list of mappings, [row] for a single row, or a dict of lists.")
    lists = {name: column for name, column in columns.items() if column is not None}
    lengths = {name: len(column) for name, column in lists.items()}
    if len(set(lengths.values())) > 1:
        shown = ", ".join(f"{name} {length:,}" for name, length in list(lengths.items())[:5])
        raise _refusal(giver, f"a dict of columns that differ in length ({shown})", "Make them equally long.")
    for row in zip(*lists.values(), strict=True):
        yield dict(zip(lists, row, strict=True))


def _values(column: Any) -> Sequence[Any] | None:
    """Return the values of a column, or None where it is not a column."""
    if isinstance(column, list | tuple | range):
        return None if hasattr(column, "_fields") else column
    if isinstance(column, str | bytes | bytearray | Mapping):
        return None
    if hasattr(column, "__arrow_c_stream__") or hasattr(column, "__arrow_c_array__"):
        return _python(pa.chunked_array(column) if hasattr(column, "__arrow_c_stream__") else pa.array(column))
    for name in ("tolist", "to_list"):  # numpy, pandas
        listed: Any = getattr(column, name, None)
        if callable(listed):
            found = listed()
            return found if isinstance(found, list) else None
    return None


def _frame(value: Any) -> Iterator[Row | str] | None:
    """Return the rows of a frame, an Arrow table or an array; None for any other value."""
    if isinstance(value, type):
        return None
    if hasattr(value, "__arrow_c_stream__") or hasattr(value, "__arrow_c_array__"):
        return _arrow_rows(value)
    kind = type(value).__module__.partition(".")[0]
    if kind == "pandas" and callable(getattr(value, "to_dict", None)):
        return _pandas_rows(value)
    if kind == "numpy" and getattr(value, "ndim", None):
        return _array_rows(value)
    return None


def _arrow_rows(value: Any) -> Iterator[Row | str]:
    try:
        if hasattr(value, "__arrow_c_stream__"):
            reader = _stream(value)
        else:
            array = pa.array(value)
            is_table = pa.types.is_struct(array.type)
            reader = [pa.RecordBatch.from_struct_array(array)] if is_table else [_one_column(array)]
    except (pa.ArrowException, TypeError, ValueError, NotImplementedError) as error:
        if type(value).__module__.partition(".")[0] == "pandas":
            yield from _pandas_rows(value)  # a column of several types has no Arrow form
            return
        problem = " ".join(str(error).split())
        raise SourceError(f"source: {_type_name(value)} cannot be read as a table ({problem}). {_READ}") from error
    for batch in reader:
        names = [name for name in batch.schema.names if not _INDEX.fullmatch(name)]
        _check_names(names)
        _check_types(value, batch.schema)
        for start in range(0, batch.num_rows, _ROWS_AT_ONCE):
            part = batch.slice(start, _ROWS_AT_ONCE)
            columns = [_python(part.column(part.schema.get_field_index(name))) for name in names]
            for row in zip(*columns, strict=True):
                yield dict(zip(names, row, strict=True))


def _stream(value: Any) -> Iterable[pa.RecordBatch]:
    try:
        reader: Iterable[pa.RecordBatch] = pa.RecordBatchReader.from_stream(value)
        return reader
    except pa.ArrowInvalid:  # a series, or a chunked array
        return [_one_column(chunk) for chunk in pa.chunked_array(value).chunks]


def _one_column(array: pa.Array) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([array], names=[TEXT_COLUMN])


def _python(array: pa.Array | pa.ChunkedArray) -> list[Any]:
    if isinstance(array, pa.ChunkedArray):
        return [value for chunk in array.chunks for value in python_values(chunk)]
    return python_values(array)


def _pandas_rows(value: Any) -> Iterator[Row]:
    """Yield the rows of a frame of an older pandas, or of a frame that Arrow cannot convert."""
    if not hasattr(value, "columns"):
        values = value.tolist()
        if len({type(one) for one in values if one is not None and one == one}) > 1:
            problem = "a series of values of several kinds, such as one row of a frame, is not a table"
            raise SourceError(f"source: {problem}. Give a frame, such as frame.iloc[[0]].")
        yield from ({TEXT_COLUMN: one} for one in values)
        return
    _check_names(list(value.columns))
    for start in range(0, len(value), _ROWS_AT_ONCE):
        yield from value.iloc[start : start + _ROWS_AT_ONCE].to_dict("records")


def _array_rows(value: Any) -> Iterator[Row | str]:
    """Yield the rows of a NumPy array with named fields or with texts."""
    names = value.dtype.names
    if names:
        for row in value.tolist():
            yield dict(zip(names, row, strict=True))
        return
    for number, item in enumerate(value.tolist()):
        yield from [{TEXT_COLUMN: item}] if isinstance(item, str) else _item(item, number, "the array holds")


def _check_names(names: list[Any]) -> None:
    if repeated := next((name for name in names if names.count(name) > 1), None):
        raise SourceError(f"source: two columns have the name {_shown(repeated)}. Give each column a different name.")


def _check_types(value: Any, schema: pa.Schema) -> None:
    """Raise SourceError where Arrow has numbers or addresses for values that a frame shows as something else."""
    library = type(value).__module__.partition(".")[0]
    for field in schema:
        name = str(getattr(field.type, "extension_name", ""))
        if name.startswith("pandas."):
            what, advice = f"{name.removeprefix('pandas.')}s of pandas", "Make it text, with astype(str)."
        elif library == "polars" and pa.types.is_fixed_size_binary(field.type):
            what, advice = "objects of Python", "Make it a column of Polars' own types."
        else:
            continue
        raise SourceError(f"source: the column holds {what}, which cannot be read. {advice}", column=field.name)


def _record(value: Any) -> Row | None:
    """Return an object with named fields as a mapping; None for any other value."""
    kind = type(value)
    if isinstance(value, type | str | list):
        return None
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if hasattr(kind, "model_fields") and callable(getattr(value, "model_dump", None)):
        dumped = value.model_dump()
        return dict(dumped) if isinstance(dumped, Mapping) else None  # a root model may be a list
    if isinstance(value, msgspec.Struct):
        return msgspec.structs.asdict(value)
    if hasattr(kind, "__attrs_attrs__"):
        return {field.name: getattr(value, field.name) for field in kind.__attrs_attrs__}
    if hasattr(value, "_fields") and callable(getattr(value, "_asdict", None)):
        return dict(value._asdict())
    if callable(getattr(value, "keys", None)) and hasattr(value, "__getitem__"):
        return {name: value[name] for name in value.keys()}  # noqa: SIM118 - a row of sqlite3 is no mapping
    return None


def _is_row(value: Any) -> bool:
    return isinstance(value, Mapping) or _record(value) is not None


def _is_path(value: Any) -> bool:
    """Return whether a value is a path, such as Airflow's `ObjectStoragePath`."""
    return isinstance(value, os.PathLike) or (hasattr(value, "as_uri") and hasattr(value, "joinpath"))


def _bytes_of(item: Row | str) -> int:
    try:
        return len(msgspec.json.encode(item, enc_hook=str))
    except (TypeError, ValueError, RecursionError):  # the error with row and column is raised later
        return len(str(item))


def _sorted_by(item: Row | str) -> bytes:
    return repr(item).encode("utf-8", "surrogatepass")


def _refusal(giver: str, found: str, advice: str) -> SourceError:
    return SourceError(f"source: {giver} {found}. {advice}")


def _type_name(value: Any) -> str:
    name = type(value).__qualname__
    return f"{'an' if name[0] in 'aeio' else 'a'} {name}"


def _shown(value: Any) -> str:
    return shortened(repr(value))
