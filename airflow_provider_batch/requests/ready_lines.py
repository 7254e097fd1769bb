"""
Rows that are already request lines: ``custom_id``, ``method``, ``url``, ``body``.

A JSONL line with these four members is copied byte by byte, without its line break. A line with more members is written
anew from the four, its body byte by byte, and the other members are columns to carry. From other sources ``body`` is a
struct or JSON text. An Arrow struct has every field in every row, so null fields are left out of the body.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pyarrow as pa

from airflow_provider_batch.api.endpoints import Endpoint
from airflow_provider_batch.arrow.arrays import string_array
from airflow_provider_batch.arrow.utf8 import shortened
from airflow_provider_batch.arrow.values import is_number_without_json, to_json
from airflow_provider_batch.exceptions import RequestError
from airflow_provider_batch.requests.accepted_values import accepted, misfit
from airflow_provider_batch.requests.request_lines import Lines
from airflow_provider_batch.requests.templates.rendering import Rendered, check_identifiers
from airflow_provider_batch.requests.validation import body_problem, count_inputs
from airflow_provider_batch.sources.row_chunk import BATCH_ROWS, SourceBatch

#: The members of a request line.
MEMBERS = ("custom_id", "method", "url", "body")
_decode = msgspec.json.Decoder().decode


class _RawLine(msgspec.Struct):
    custom_id: msgspec.Raw
    method: msgspec.Raw
    url: msgspec.Raw
    body: msgspec.Raw


_decode_raw = msgspec.json.Decoder(_RawLine).decode


class ReadyRenderer:
    """
    Checks and copies ready-made request lines.

    :param endpoint: The endpoint of the job.
    :param names: Columns of the source; None where they are not known.
    :param url: The ``url`` of the lines; None means the endpoint's own path.
    :param by_any: Whether values that other services accept are accepted, not only those of OpenAI and Azure.
    :param check_bodies: Whether the kinds of values are checked against what the endpoint accepts.
    :raises RequestError: The source lacks a member of a request line.
    """

    columns: list[str]
    identifier_columns: list[str] | None
    varies, rows_at_once = True, BATCH_ROWS

    def __init__(
        self,
        endpoint: Endpoint,
        names: Sequence[str] | None,
        *,
        url: str | None = None,
        by_any: bool = False,
        check_bodies: bool = True,
    ) -> None:
        self._endpoint = endpoint
        self._url = url or endpoint.value
        self._accepts = accepted(endpoint, by_any=by_any) if check_bodies else None
        self.columns, self.identifier_columns = list(MEMBERS), ["custom_id"]
        if names is None:
            self.columns, self.identifier_columns = [], []
            return
        if missing := [name for name in MEMBERS if name not in names]:
            raise RequestError(
                f"without a body template rows are request lines with {', '.join(MEMBERS)}; "
                f"missing: {', '.join(missing)}. Give body=… to make requests from the rows. "
                f"The columns are: {', '.join(names)}."
            )

    def render(self, batch: SourceBatch) -> Rendered:
        """
        Return the request lines of a batch.

        :param batch: Rows of the source.
        :raises RequestError: A row is not a valid request line for the job's endpoint.
        """
        identifiers, names = self.identifiers(batch), batch.values(("custom_id",))
        bodies = batch.values(("body",))
        parsed: list[dict[str, Any]] = []
        lines: list[bytes] = []
        for index, given in enumerate(zip(batch.values(("method",)), batch.values(("url",)), bodies, strict=True)):
            body = self._checked(*given, batch, index)
            parsed.append(body)
            if batch.raw is not None:
                lines.append(_copied(batch, index))
            else:
                lines.append(self._built(names[index], given[2], body, batch, index))
        return Rendered(
            Lines.of(lines),
            identifiers,
            [body.get("model") for body in parsed],
            [count_inputs(self._endpoint, body.get("input")) for body in parsed],
        )

    def identifiers(self, batch: SourceBatch) -> pa.Array:
        """
        Return the ``custom_id`` of each row, as strings.

        :param batch: Rows of the source.
        :raises RequestError: An id is not text, or is empty or too long.
        """
        names = batch.values(("custom_id",))
        if set(map(type, names)) != {str}:
            index = next(number for number, name in enumerate(names) if type(name) is not str)
            found = "none" if names[index] is None else f"{type(names[index]).__name__} {names[index]}"
            raise RequestError(f"expected a text, found {found}.", **batch.place(index), column="custom_id")
        identifiers = string_array(names)
        check_identifiers(identifiers, batch)
        return identifiers

    def _checked(self, method: Any, url: Any, body: Any, batch: SourceBatch, index: int) -> dict[str, Any]:
        """Return the body as a dict; raise RequestError for what the API would refuse."""
        place = batch.place
        if method != "POST":
            raise RequestError(f"expected 'POST', found {_shown(method)}.", **place(index), column="method")
        if url != self._url:
            expected = f"expected '{self._url}', the endpoint of the job"
            raise RequestError(f"{expected}, found {_shown(url)}.", **place(index), column="url")
        if type(body) is str and batch.raw is None:
            try:
                body = _decode(body)
            except (msgspec.MsgspecError, RecursionError) as error:
                raise RequestError(
                    f"expected a JSON object, found invalid JSON ({error}).", **place(index), column="body"
                ) from error
        if type(body) is not dict:
            raise RequestError(f"expected an object, found {_shown(body)}.", **place(index), column="body")
        if (problem := body_problem(self._endpoint, body)) is not None:
            raise RequestError(problem, **place(index), column="body")
        # An Arrow struct has every field in every row: null fields are left out of the line.
        sent = _without_nulls(body) if batch.objects is None else body
        if self._accepts is not None and (found := misfit(self._accepts, sent)) is not None:
            raise RequestError(found.problem("body"), **place(index), column="body")
        return body

    def _built(self, identifier: str, given: Any, body: dict[str, Any], batch: SourceBatch, index: int) -> bytes:
        if type(given) is str:  # in valid JSON, line breaks are only between values
            encoded = given.encode("utf-8").replace(b"\n", b" ").replace(b"\r", b" ")
        elif is_number_without_json(body):
            raise RequestError("expected JSON values, found NaN or an infinity.", **batch.place(index), column="body")
        else:
            encoded = to_json(body if batch.objects is not None else _without_nulls(body))
        head = b'{"custom_id":' + to_json(identifier) + b',"method":"POST","url":' + to_json(self._url)
        return head + b',"body":' + encoded + b"}"


def _copied(batch: SourceBatch, index: int) -> bytes:
    assert batch.raw is not None
    assert batch.objects is not None
    line = batch.raw[index]
    if len(batch.objects[index]) == len(MEMBERS):
        return line
    raw = _decode_raw(line)
    members = [b'"%b":%b' % (name.encode("ascii"), bytes(getattr(raw, name))) for name in MEMBERS]
    return b"{" + b",".join(members) + b"}"


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nulls(item) for name, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value


def _shown(value: Any) -> str:
    if value is None:
        return "none"
    return shortened(repr(value))
