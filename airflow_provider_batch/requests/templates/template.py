"""
Templates of a request body or a ``custom_id``, with ``{column}`` in their texts.

``{name}`` is replaced by a row's value where ``name`` is exactly a column, or a dotted path into a struct: inside a
longer text by the value as text, alone by the value itself. Values are never searched for placeholders again, and keys
are never searched. ``{name:number}`` converts the value, see `conversions`. A ``{name}`` that looks like a name and is
not a column is an error; any other braces are text. ``{!name}`` writes ``{name}``. A value that the endpoint does not
accept in its place is an error: at once for a value of the template, else for the first row that has it.

A template is compiled once (see `compilation`) into bytes that are already encoded as JSON, with slots between them;
per row only the values are encoded.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

import pyarrow as pa

from airflow_provider_batch.arrow.arrays import binary_array, joined, string_array
from airflow_provider_batch.arrow.values import is_number_without_json, to_json, to_text
from airflow_provider_batch.exceptions import RequestError, TemplateError
from airflow_provider_batch.requests.accepted_values import KINDS, Accepted, misfit
from airflow_provider_batch.requests.templates.conversions import converted
from airflow_provider_batch.requests.templates.json_escaping import escaped, escaped_column
from airflow_provider_batch.sources.row_chunk import SourceBatch


@dataclass(frozen=True)
class Slot:
    """
    A place of a template for a row's value.

    :param path: Column name, then the names of fields within its struct.
    :param alone: Whether the value is a JSON value of its own, or part of a longer text.
    :param member: Top-level member of the body whose whole value this is; None for any other place.
    :param form: What the value is converted to, a key of `FORMS`; None leaves it as it is.
    :param where: Place in the body, for messages.
    :param accepts: Values that are accepted in this place; None where that is not known.
    """

    path: tuple[str, ...]
    alone: bool
    member: str | None = None
    form: str | None = None
    where: str = ""
    accepts: Accepted | None = None

    @property
    def name(self) -> str:
        """The path as a template writes it."""
        return ".".join(self.path)


Part = bytes | Slot
_Other = TypeVar("_Other")


class Template:
    """
    A compiled template: JSON with slots, or a text with slots.

    :param parts: Bytes and slots, in order.
    :param null_text: Text for a null inside a longer text; None makes it an error.
    """

    def __init__(self, parts: Iterable[Part], null_text: str | None = None) -> None:
        self.parts = with_joined_bytes(parts)
        self.slots = [part for part in self.parts if isinstance(part, Slot)]
        self._null_text = null_text

    @property
    def columns(self) -> list[str]:
        """The columns that the template uses, each once."""
        return list(dict.fromkeys(slot.path[0] for slot in self.slots))

    def pieces(self, batch: SourceBatch) -> list[bytes | pa.Array]:
        """
        Return the parts for a batch: bytes, or an array with one encoded value for each row.

        :param batch: Rows of the source.
        :raises TemplateError: A value is null inside a text, or has no JSON form.
        """
        return [part if isinstance(part, bytes) else encoded(part, batch, self._null_text) for part in self.parts]

    def texts(self, batch: SourceBatch) -> pa.Array:
        """
        Return one text for each row as large_string, for a template from `compile_text`.

        :param batch: Rows of the source.
        :raises TemplateError: A value is null inside a text, or has no form as text.
        """
        pieces = [part if isinstance(part, bytes) else _texts(part, batch, self._null_text) for part in self.parts]
        return joined(pieces, len(batch)).cast(pa.large_string())


def encoded(slot: Slot, batch: SourceBatch, null_text: str | None) -> pa.Array:
    """
    Return the encoded value for each row: whole JSON where the slot is alone, else escaped text without quotes.

    :param slot: Place in the template.
    :param batch: Rows of the source.
    :param null_text: Text for a null inside a longer text; None makes it an error.
    :raises TemplateError: A value is null inside a text, or has no JSON form.
    """
    column = _plain(slot, batch, null_text)
    if column is None:
        return binary_array(_encoded_values(slot, batch, null_text))
    if pa.types.is_integer(column.type):
        if slot.form != "text" or not slot.alone:
            return column.cast(pa.string())
        column = column.cast(pa.large_string())
    inside = escaped_column(column)
    return joined([b'"', inside, b'"'], len(batch)) if slot.alone else inside


def _plain(slot: Slot, batch: SourceBatch, null_text: str | None) -> pa.Array | None:
    """Return a slot's values as strings or whole numbers without nulls; None where they have to be read one by one."""
    column = plain_of(slot, batch)
    if column is None or not column.null_count:
        return column
    if slot.alone or null_text is None:
        return None
    try:
        filling = string_array([null_text]).cast(pa.large_string())[0]
    except UnicodeEncodeError:
        return None
    return column.cast(pa.large_string()).fill_null(filling)


def plain_of(slot: Slot, batch: SourceBatch) -> pa.Array | None:
    """
    Return a slot's values as a column of valid strings or whole numbers; None where the column is of another kind.

    :param slot: Place in the template.
    :param batch: Rows of the source.
    """
    return batch.plain(slot.path) if slot.form in (None, "text") else None


def values_of(slot: Slot, batch: SourceBatch, null_text: str | None = None) -> list[Any]:
    """
    Return a slot's values for all rows, converted to the slot's form.

    :param slot: Place in the template.
    :param batch: Rows of the source.
    :param null_text: Text for a null of form ``text``; None leaves it null.
    :raises TemplateError: A value cannot be converted to the form.
    """
    if slot.form is None:
        return batch.values(slot.path)
    values = converted(batch, slot.path, slot.form)
    if slot.form == "text" and null_text is not None:
        return [null_text if value is None else value for value in values]
    return values


def check_slot(slot: Slot, batch: SourceBatch, null_text: str | None) -> None:
    """
    Check that the endpoint accepts every row's value in the slot's place.

    :param slot: Place in the template.
    :param batch: Rows of the source.
    :param null_text: Text for a null of form ``text``; None leaves it null.
    :raises RequestError: A value is not accepted; names the first such row.
    """
    expected = slot.accepts
    if expected is None or not slot.alone:
        return
    column = plain_of(slot, batch)
    if column is not None and (not column.null_count or expected.takes("z")):
        kind = "i" if pa.types.is_integer(column.type) and slot.form is None else "s"
        if expected.takes(kind):
            return
    values = values_of(slot, batch, null_text)
    kinds = {KINDS.get(kind, "") for kind in set(map(type, values))}
    if all(kind and expected.takes(kind) for kind in kinds) and not (expected.looks_inside and kinds & {"a", "o"}):
        return
    for index, value in enumerate(values):
        found = misfit(expected, value)
        if found is not None:
            problem = f"{found.problem(slot.where)} {found.advice(slot.name)}".rstrip()
            raise RequestError(problem, **batch.place(index), column=slot.name)


def _texts(slot: Slot, batch: SourceBatch, null_text: str | None) -> pa.Array:
    """Return one text for each row."""
    column = _plain(slot, batch, null_text)
    if column is not None:
        return column.cast(pa.large_string())
    try:
        return binary_array([text.encode() for text in _slot_texts(slot, batch, null_text)])
    except UnicodeEncodeError as error:
        raise _surrogate(slot, batch, error) from error


def _encoded_values(slot: Slot, batch: SourceBatch, null_text: str | None) -> list[bytes]:
    """Return the same as `encoded`, value by value, for columns of any type."""
    if not slot.alone:
        try:
            return escaped(_slot_texts(slot, batch, null_text))
        except UnicodeEncodeError as error:
            raise _surrogate(slot, batch, error) from error
    values = values_of(slot, batch, null_text)
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
    values = values_of(slot, batch)
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
    """
    A null or a NaN inside a text.

    :param slot: Place in the template.
    :param batch: Rows of the source.
    :param index: Index of the row in the batch.
    :param more: Part of the message about further rows with the same error.
    """

    def __init__(self, slot: Slot, batch: SourceBatch, index: int, more: str = "") -> None:
        self.slot, self.batch, self.index = slot, batch, index
        problem = f"expected a value for {{{slot.name}}} inside a text, found null{more}."
        super().__init__(f"{problem} Give null_text=… or leave the rows out.", **batch.place(index), column=slot.name)


def with_joined_bytes(parts: Iterable[bytes | _Other]) -> list[bytes | _Other]:
    """
    Return parts with neighbouring bytes joined; at least one part.

    :param parts: Bytes, and slots or columns between them.
    """
    joined: list[bytes | _Other] = []
    for part in parts:
        last = joined[-1] if joined else None
        if isinstance(part, bytes) and isinstance(last, bytes):
            joined[-1] = last + part
        elif not isinstance(part, bytes) or part:
            joined.append(part)
    return joined or [b""]


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
