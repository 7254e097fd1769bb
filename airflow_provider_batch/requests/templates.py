"""
Templates: a request body, or a ``custom_id``, with ``{column}`` in its texts.

Rules. ``{name}`` stands for a row's value where ``name`` is exactly a column, or a dotted path into a struct; inside
a longer text as text, alone as the value itself. It is one pass: values are never scanned again, and keys never at
all. A ``{name}`` that looks like a name and is no column is an error; any other braces are text. ``{!name}`` writes
``{name}``.

A template is compiled once into the bytes between its values, already encoded as JSON; per row only the values are
encoded.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from airflow_provider_batch.exceptions import TemplateError
from airflow_provider_batch.requests.arrays import binary_array, joined, string_array
from airflow_provider_batch.requests.batches import SourceBatch
from airflow_provider_batch.requests.columns import NAME, Columns, columns_hint
from airflow_provider_batch.requests.escaping import encode, escaped, escaped_column
from airflow_provider_batch.requests.values import is_number_without_json, to_json, to_text, unsupported_type

_BRACES = re.compile(r"\{([^{}]+)\}")


@dataclass(frozen=True)
class Slot:
    """
    A place for a row's value.

    :param path: Column, and the way into it.
    :param alone: Whether the value stands for itself, or within a text.
    :param member: Top-level member of the body whose whole value this is, if it is one.
    """

    path: tuple[str, ...]
    alone: bool
    member: str | None = None

    @property
    def name(self) -> str:
        """The path as a template writes it."""
        return ".".join(self.path)


Part = bytes | Slot


class Template:
    """
    A compiled template: JSON with slots, or a text with slots.

    :param parts: Bytes and slots, in order.
    :param null_text: What stands for null inside a text; None makes it an error.
    """

    def __init__(self, parts: Iterable[Part], null_text: str | None = None) -> None:
        self.parts = _joined(parts)
        self.slots = [part for part in self.parts if isinstance(part, Slot)]
        self._null_text = null_text

    @property
    def columns(self) -> list[str]:
        """The columns that are read, each once."""
        return list(dict.fromkeys(slot.path[0] for slot in self.slots))

    def pieces(self, batch: SourceBatch) -> list[bytes | pa.Array]:
        """Return for each part its bytes, or one encoded value a row; raise TemplateError where a value has none."""
        return [part if isinstance(part, bytes) else encoded(part, batch, self._null_text) for part in self.parts]

    def texts(self, batch: SourceBatch) -> pa.Array:
        """Return one text a row as large_string, for a template that was compiled by `compile_text`."""
        pieces = [part if isinstance(part, bytes) else _texts(part, batch, self._null_text) for part in self.parts]
        return joined(pieces, len(batch)).cast(pa.large_string())


def compile_body(
    body: Mapping[str, Any],
    columns: Columns,
    *,
    null_text: str | None = None,
    verbatim: Mapping[str, Any] | None = None,
) -> Template:
    """
    Compile a request body.

    :param verbatim: Members that are added, or replace the body's, as they are: their texts are no templates. Where
        both have an object, its members are joined.
    :raises TemplateError: A name that is no column, or a value that has no JSON form; names the place in the body.
    """
    return Template(_joined_members(body, verbatim or {}, columns, "body", is_top=True), null_text)


def _joined_members(
    body: Mapping[str, Any], fixed: Mapping[str, Any], columns: Columns, where: str, *, is_top: bool
) -> list[Part]:
    parts: list[Part] = [b"{"]
    for index, key in enumerate({**body, **fixed}):
        place, given, added = f"{where}.{key}", body.get(key), fixed.get(key)
        parts.append((b"," if index else b"") + _key(key, where) + b":")
        if isinstance(given, Mapping) and isinstance(added, Mapping):
            parts.extend(_joined_members(given, added, columns, place, is_top=False))
        elif key in fixed:
            parts.append(_static(added, place))
        else:
            parts.extend(_node(given, columns, place, key if is_top else None))
    return [*parts, b"}"]


def compile_text(text: str, columns: Columns, where: str, *, null_text: str | None = None) -> Template:
    """Compile a template whose result is a text, such as ``custom_id``; the parts are UTF-8, not JSON."""
    if not isinstance(text, str):
        raise TemplateError(f"{where}: expected a text, found {type(text).__name__}.")
    found = scan(text, columns, where)
    parts = [_utf8(piece, where) if isinstance(piece, str) else Slot(piece, alone=False) for piece in found]
    return Template(parts or [b""], null_text)


def scan(text: str, columns: Columns, where: str) -> list[str | tuple[str, ...]]:
    """
    Return the pieces of a text: literal text, and the paths of its placeholders.

    :param where: The place in the template, for messages.
    :raises TemplateError: A name that is no column.
    """
    pieces: list[str | tuple[str, ...]] = []
    end = 0
    for match in _BRACES.finditer(text):
        inner = match[1]
        path = columns.find(inner)
        if text[: match.start()].endswith("{") and text[match.end() :].startswith("}"):
            _refuse_doubled(inner, columns, where)
        if path is not None:
            pieces += [text[end : match.start()], path]
        elif inner[0] == "!" and (NAME.fullmatch(inner[1:]) or columns.find(inner[1:]) or _spaced(inner[1:], columns)):
            pieces += [text[end : match.start()], f"{{{inner[1:]}}}"]
        elif NAME.fullmatch(inner):
            raise TemplateError(f"{where}: {{{inner}}} {_no_such(inner, columns)}")
        elif _spaced(inner, columns):
            raise TemplateError(f"{where}: write {{{inner.strip()}}} for the column, found {{{inner}}}.")
        else:
            continue
        end = match.end()
    pieces.append(text[end:])
    return [piece for piece in pieces if piece]


def encoded(slot: Slot, batch: SourceBatch, null_text: str | None) -> pa.Array:
    """Return one encoded value a row: whole JSON where it stands alone, else escaped without quotes."""
    column = _plain(slot, batch, null_text)
    if column is None:
        return binary_array(_encoded_values(slot, batch, null_text))
    if pa.types.is_integer(column.type):
        return column.cast(pa.string())
    inside = escaped_column(column)
    return joined([b'"', inside, b'"'], len(batch)) if slot.alone else inside


def _plain(slot: Slot, batch: SourceBatch, null_text: str | None) -> pa.Array | None:
    """Return a slot's values as texts or whole numbers without nulls; None where they are to be read one by one."""
    column = batch.plain(slot.path)
    if column is None or not column.null_count:
        return column
    if slot.alone or null_text is None:
        return None
    try:
        filling = string_array([null_text]).cast(pa.large_string())[0]
    except UnicodeEncodeError:
        return None
    return column.cast(pa.large_string()).fill_null(filling)


def _texts(slot: Slot, batch: SourceBatch, null_text: str | None) -> pa.Array:
    """Return one text a row."""
    column = _plain(slot, batch, null_text)
    if column is not None:
        return column.cast(pa.large_string())
    try:
        return binary_array([text.encode() for text in _slot_texts(slot, batch, null_text)])
    except UnicodeEncodeError as error:
        raise _surrogate(slot, batch, error) from error


def _encoded_values(slot: Slot, batch: SourceBatch, null_text: str | None) -> list[bytes]:
    """Return the same as `encoded`, value by value: whatever their types."""
    if not slot.alone:
        try:
            return escaped(_slot_texts(slot, batch, null_text))
        except UnicodeEncodeError as error:
            raise _surrogate(slot, batch, error) from error
    values = batch.values(slot.path)
    try:
        if set(map(type, values)) == {str}:
            return [b'"%b"' % text for text in escaped(values)]
        lines = list(map(to_json, values))
    except UnicodeEncodeError as error:
        raise _surrogate(slot, batch, error) from error
    for index, line in enumerate(lines):
        if (b"null" in line or b"N" in line or b"I" in line) and is_number_without_json(values[index]):
            raise _unencodable(slot, batch, index)
    return lines


def _slot_texts(slot: Slot, batch: SourceBatch, null_text: str | None) -> list[str]:
    values = batch.values(slot.path)
    if set(map(type, values)) == {str}:
        return values
    texts = []
    for index, value in enumerate(values):
        if value is None or value != value:
            if null_text is None:
                raise NullInTextError(slot, batch, index)
            texts.append(null_text)
        elif type(value) is not str and is_number_without_json(value):
            raise _unencodable(slot, batch, index)
        else:
            texts.append(to_text(value))
    return texts


class NullInTextError(TemplateError):
    """A null, or a NaN, inside a text; ``slot`` says which, so that others of its kind can be counted."""

    def __init__(self, slot: Slot, batch: SourceBatch, index: int, more: str = "") -> None:
        self.slot, self.batch, self.index = slot, batch, index
        problem = f"expected a value for {{{slot.name}}} inside a text, found null{more}."
        super().__init__(f"{problem} Give null_text=… or leave the rows out.", **batch.place(index), column=slot.name)


def _node(value: Any, columns: Columns, where: str, member: str | None) -> Iterable[Part]:
    """Give the parts of a value of the body, at any depth."""
    if isinstance(value, str):
        yield from _text(value, columns, where, member)
    elif isinstance(value, Mapping):
        yield b"{"
        for index, (key, item) in enumerate(value.items()):
            yield (b"," if index else b"") + _key(key, where) + b":"
            yield from _node(item, columns, f"{where}.{key}", None)
        yield b"}"
    elif isinstance(value, list | tuple):
        yield b"["
        for index, item in enumerate(value):
            yield b"," if index else b""
            yield from _node(item, columns, f"{where}[{index}]", None)
        yield b"]"
    else:
        yield _static(value, where)


def _text(text: str, columns: Columns, where: str, member: str | None) -> Iterable[Part]:
    pieces = scan(text, columns, where)
    slots = [_checked(piece, columns, where) for piece in pieces if not isinstance(piece, str)]
    if len(pieces) == 1 and slots:
        yield Slot(slots[0], alone=True, member=member)
        return
    yield b'"'
    for piece in pieces:
        yield _utf8(piece, where, encode)[1:-1] if isinstance(piece, str) else Slot(piece, alone=False)
    yield b'"'


def _checked(path: tuple[str, ...], columns: Columns, where: str) -> tuple[str, ...]:
    if (kind := unsupported_type(columns.type_of(path))) is not None:
        raise TemplateError(f"{where}: a value of type {kind} has no JSON form.", column=".".join(path))
    return path


def _static(value: Any, where: str) -> bytes:
    if is_number_without_json(value):
        raise TemplateError(f"{where}: expected a JSON value, found {value}.")
    try:
        return to_json(value)
    except (TypeError, UnicodeEncodeError) as error:
        raise TemplateError(f"{where}: expected a JSON value, found {type(value).__name__} ({error}).") from error


def _key(key: Any, where: str) -> bytes:
    if not isinstance(key, str):
        raise TemplateError(f"{where}: expected text as a key, found {key!r}.")
    return _utf8(key, where, encode)


def _utf8(text: str, where: str, form: Callable[[str], bytes] = str.encode) -> bytes:
    try:
        return form(text)
    except UnicodeEncodeError as error:
        raise TemplateError(f"{where}: expected text, found half of a surrogate pair ({error}).") from error


def _joined(parts: Iterable[Part]) -> list[Part]:
    """Return the parts with neighbouring bytes made one."""
    joined: list[Part] = []
    for part in parts:
        last = joined[-1] if joined else None
        if isinstance(part, bytes) and isinstance(last, bytes):
            joined[-1] = last + part
        elif part != b"":
            joined.append(part)
    return joined or [b""]


def _spaced(inner: str, columns: Columns) -> bool:
    """Return whether this is a column with white space around its name, which nobody means as a text."""
    stripped = inner.strip()
    return columns.known and stripped != inner and columns.find(stripped) is not None


def _refuse_doubled(inner: str, columns: Columns, where: str) -> None:
    name = inner.strip()
    if columns.known and columns.find(name) is not None:
        raise TemplateError(
            f"{where}: write {{{name}}} for the column, found {{{{{inner}}}}}. "
            f"Double braces are Airflow's, which knows no columns; for the literal text write {{{{!{inner}}}}}."
        )


def _no_such(name: str, columns: Columns) -> str:
    literal = f"For the literal text write {{!{name}}}."
    head, dot, _ = name.partition(".")
    index = columns.schema.get_field_index(head)
    if dot and index >= 0:
        kind = columns.schema.field(index).type
        if not pa.types.is_struct(kind):
            return f"names a field of column '{head}', which is {kind} and no struct. {literal}"
        fields = [field.name for field in kind]
        return f"is no field of column '{head}'. Its fields are: {', '.join(fields)}. {literal}"
    return f"is no column. {columns_hint(name, columns.schema.names)} {literal}"


def _unencodable(slot: Slot, batch: SourceBatch, index: int) -> TemplateError:
    problem = (
        f"expected a value with a JSON form for {{{slot.name}}}, found NaN or an infinity. Replace it in the source."
    )
    return TemplateError(problem, **batch.place(index), column=slot.name)


def _surrogate(slot: Slot, batch: SourceBatch, error: UnicodeEncodeError) -> TemplateError:
    values = batch.values(slot.path)
    index = next((number for number, value in enumerate(values) if _has_surrogate(value)), 0)
    problem = f"expected text, found half of a surrogate pair ({error.reason}). Repair the text in the source."
    return TemplateError(problem, **batch.place(index), column=slot.name)


def _has_surrogate(value: Any) -> bool:
    try:
        to_json(value)
    except UnicodeEncodeError:
        return True
    return False
