"""Rows as request lines by a template: bytes that all lines share are encoded once, per row only the values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from airflow_provider_batch.api.endpoints import MAX_CUSTOM_ID_LENGTH, Endpoint
from airflow_provider_batch.arrow.arrays import joined
from airflow_provider_batch.arrow.values import to_json
from airflow_provider_batch.exceptions import RequestError
from airflow_provider_batch.requests import validation
from airflow_provider_batch.requests.accepted_values import accepted
from airflow_provider_batch.requests.request_lines import Lines
from airflow_provider_batch.requests.templates.compilation import compile_body, compile_text
from airflow_provider_batch.requests.templates.json_escaping import escaped_column
from airflow_provider_batch.requests.templates.template import Slot, check_slot, plain_of, values_of, with_joined_bytes
from airflow_provider_batch.sources.column_paths import Columns
from airflow_provider_batch.sources.filters import is_text
from airflow_provider_batch.sources.row_chunk import BATCH_BYTES, SourceBatch


@dataclass(frozen=True)
class Rendered:
    """
    The request lines of a batch of rows.

    :param lines: One request line for each row.
    :param identifiers: The ``custom_id`` of each line, an array of strings.
    :param models: The model of each line; None where the API has a default.
    :param inputs: Number of inputs of each line: the length of an array for embeddings, else 1.
    """

    lines: Lines
    identifiers: pa.Array
    models: Sequence[str | None]
    inputs: Sequence[int]


class TemplateRenderer:
    """
    Renders request lines from a body template.

    :param endpoint: The endpoint of the job.
    :param body: Template of the request body.
    :param columns: Columns of the source.
    :param custom_id: Template of the id; None means the row number.
    :param null_text: Text for a null inside a longer text; None makes it an error.
    :param verbatim: Members of the body that are not templates; None means none.
    :param url: The ``url`` of the lines; None means the endpoint's own path.
    :param base64_vectors: Whether embeddings are requested as base64 where the body does not say how.
    :param by_any: Whether values that other services accept are accepted, not only those of OpenAI and Azure.
    :param check_bodies: Whether the kinds of values are checked against what the endpoint accepts.
    :raises TemplateError: A placeholder names no column.
    :raises RequestError: The body lacks a member that the endpoint needs.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        body: Mapping[str, Any],
        columns: Columns,
        *,
        custom_id: str | None = None,
        null_text: str | None = None,
        verbatim: Mapping[str, Any] | None = None,
        url: str | None = None,
        base64_vectors: bool = True,
        by_any: bool = False,
        check_bodies: bool = True,
    ) -> None:
        fixed = dict(verbatim or {})
        if endpoint is Endpoint.EMBEDDINGS and base64_vectors and "encoding_format" not in body:
            fixed.setdefault("encoding_format", "base64")  # a quarter of the bytes of numbers as text
        members = {**body, **fixed}
        self._endpoint = endpoint
        self._null_text = null_text
        accepts = accepted(endpoint, by_any=by_any) if check_bodies else None
        self._body = compile_body(body, columns, null_text=null_text, verbatim=fixed, accepts=accepts)
        self._slots = {slot.member: slot for slot in self._body.slots if slot.member is not None}
        self._needed = validation.needed_members(endpoint, members)
        self._custom_id = (
            None if custom_id is None else compile_text(custom_id, columns, "custom_id", null_text=null_text)
        )
        model = members.get("model")
        self._model = (
            compile_text(model, columns, "body.model", null_text=null_text) if isinstance(model, str) else None
        )
        self._inputs = validation.count_inputs(endpoint, members.get("input"))
        known = {name: value for name, value in members.items() if name not in self._slots}
        stand_ins = {name: _STAND_INS.get(name, "") for name in self._slots}
        if (problem := validation.body_problem(endpoint, {**known, **stand_ins})) is not None:
            raise RequestError(problem)
        self._head = b'{"custom_id":"'
        self._middle = b'","method":"POST","url":' + to_json(url or endpoint.value) + b',"body":'

    @property
    def columns(self) -> list[str]:
        """The columns that the lines need."""
        return list(dict.fromkeys([*self._body.columns, *(self.identifier_columns or ())]))

    @property
    def identifier_columns(self) -> list[str] | None:
        """The columns that a ``custom_id`` needs; None where it is the row number."""
        return None if self._custom_id is None else self._custom_id.columns

    @property
    def varies(self) -> bool:
        """Whether the template has placeholders."""
        return bool(self._body.slots)

    @property
    def rows_at_once(self) -> int:
        """Number of rows to render at a time, by the bytes that all lines share."""
        shared = sum(len(part) for part in self._body.parts if isinstance(part, bytes))
        return max(1, BATCH_BYTES // max(1, shared))

    def render(self, batch: SourceBatch) -> Rendered:
        """
        Return the request lines of a batch.

        :param batch: Rows of the source.
        :raises RequestError: A value is not accepted by the endpoint in its place.
        :raises TemplateError: A value is null inside a text, or has no JSON form.
        """
        self._check_members(batch)
        for slot in self._body.slots:
            check_slot(slot, batch, self._null_text)
        identifiers = self.identifiers(batch)
        body = self._body.pieces(batch)
        inside = escaped_column(identifiers.cast(pa.large_string()))
        lines = joined(with_joined_bytes([self._head, inside, self._middle, *body, b"}\n"]), len(batch))
        return Rendered(Lines(lines), identifiers, self._models(batch), self._input_counts(batch))

    def identifiers(self, batch: SourceBatch) -> pa.Array:
        """
        Return the ``custom_id`` of each row, as strings.

        :param batch: Rows of the source.
        :raises RequestError: An id is empty or too long.
        """
        if self._custom_id is None:
            return batch.number_column.cast(pa.string())
        identifiers = self._custom_id.texts(batch.as_read())
        check_identifiers(identifiers, batch)
        return identifiers.cast(pa.string())

    def _check_members(self, batch: SourceBatch) -> None:
        for member, slot in self._slots.items():
            if (member not in validation.CHECKED or member in validation.TEXTS) and _is_plain(
                plain_of(slot, batch), slot, member
            ):
                continue
            values = values_of(slot, batch, self._null_text)
            if member in self._needed and None in values:
                raise _member_error(f"expected a value for '{member}', found null.", batch, values.index(None), slot)
            if member not in validation.CHECKED or (
                member == "model" and all(values) and set(map(type, values)) == {str}
            ):
                continue
            for index, value in enumerate(values):
                if (problem := validation.member_problem(member, value)) is not None:
                    raise _member_error(problem, batch, index, slot)

    def _models(self, batch: SourceBatch) -> Sequence[str | None]:
        if self._model is None:
            return [None] * len(batch)
        if not self._model.slots:
            return list(self._model.texts(batch.part(0, 1)).to_pylist() * len(batch))
        models: list[str] = self._model.texts(batch).to_pylist()
        if "" in models:
            raise RequestError("expected the name of a model as 'model', found ''.", **batch.place(models.index("")))
        return models

    def _input_counts(self, batch: SourceBatch) -> Sequence[int]:
        slot = self._slots.get("input")
        if slot is None or self._endpoint is not Endpoint.EMBEDDINGS:
            return [self._inputs] * len(batch)
        if plain_of(slot, batch) is not None:
            return [1] * len(batch)
        return [validation.count_inputs(self._endpoint, value) for value in values_of(slot, batch)]


#: Member → valid value in place of a row's value, while the rest of the body is checked.
_STAND_INS: Mapping[str, Any] = {"messages": [""], "stream": False, "model": "model"}


def check_identifiers(identifiers: pa.Array, batch: SourceBatch) -> None:
    """
    Check that every ``custom_id`` has a valid length.

    :param identifiers: One id for each row.
    :param batch: The rows, for the message.
    :raises RequestError: An id is empty or too long; names the first such row.
    """
    lengths = pc.utf8_length(identifiers)
    bounds = pc.min_max(lengths).as_py()
    if not len(identifiers) or (bounds["min"] and bounds["max"] <= MAX_CUSTOM_ID_LENGTH):
        return
    bad = [index for index, length in enumerate(lengths.to_pylist()) if not 0 < length <= MAX_CUSTOM_ID_LENGTH]
    length, text = lengths[bad[0]].as_py(), identifiers[bad[0]].as_py()
    found = f"{length} ('{text[:40]}…')" if length else "none"
    problem = f"expected a custom_id of 1 to {MAX_CUSTOM_ID_LENGTH} characters, found {found}. Shorten its template."
    raise RequestError(problem, **batch.place(bad[0]))


def _is_plain(column: pa.Array | None, slot: Slot, member: str) -> bool:
    """Return whether all values of a column are certainly valid: no null, and text where the member has to be text."""
    if column is None or column.null_count:
        return False
    return member not in validation.TEXTS or slot.form == "text" or is_text(column.type)


def _member_error(problem: str, batch: SourceBatch, index: int, slot: Slot) -> RequestError:
    return RequestError(problem, **batch.place(index), column=slot.name)
