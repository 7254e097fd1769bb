"""
The fast path: read usual result lines as columns. A usual line is a success with one complete answer.

The types of `lines/usual_lines.py` define the usual line. The decoder rejects a line that differs in any field; such a
line is read by itself (`line_reader.py`). From the accepted lines, each column is built in one pass, without decisions
for single lines. Both ways give the same values, which a differential test checks.

For endpoints without such types, all lines are read one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import compress
from operator import attrgetter
from typing import Any

import msgspec

from airflow_provider_batch.api.endpoints import Endpoint
from airflow_provider_batch.arrow.builders import Same, same
from airflow_provider_batch.pricing.prices import TokenUsage, price_list
from airflow_provider_batch.results.extractors.answer import SUCCEEDED
from airflow_provider_batch.results.extractors.chat import tool_calls
from airflow_provider_batch.results.extractors.embeddings import vector_bytes
from airflow_provider_batch.results.extractors.responses import final_message
from airflow_provider_batch.results.line_reader import ANSWERED, COST_LIMIT, OWN_FAILURE, Columns, cost
from airflow_provider_batch.results.lines.cutting import ResultLine
from airflow_provider_batch.results.lines.raw_body import read_raw_body
from airflow_provider_batch.results.lines.typed_lines import TokenDetails
from airflow_provider_batch.results.lines.usual_lines import (
    ChatBody,
    EmbeddingsBody,
    Line,
    OutputMessage,
    Reasoning,
    ResponsesBody,
)
from airflow_provider_batch.results.lines.vectors import NumberLineDecoder
from airflow_provider_batch.structured.validation import InvalidOutputError, answer_parser
from airflow_provider_batch.table.columns import COST_COLUMN, PARSED_COLUMN, RESPONSE_COLUMN, USAGE_COLUMNS
from airflow_provider_batch.table.schema import TableSpec

_NO_DETAILS = TokenDetails()
_INVALID = object()
#: Token counts that the price of a text request depends on; the counts of audio and images have other prices.
_PRICED = ("input_tokens", "output_tokens", "cached_tokens", "cache_write_tokens")
_NOT_TEXT = ("input_audio_tokens", "output_audio_tokens", "input_image_tokens", "output_image_tokens")


# Chat completions


def chat(bodies: Sequence[ChatBody]) -> Columns:
    """
    Return the columns of `/v1/chat/completions`.

    :param bodies: The usual bodies, in order.
    """
    choices = [choice for (choice,) in _each("choices", bodies)]
    messages = _each("message", choices)
    columns: Columns = {"text": _each("content", messages), "finish_reason": same(_each("finish_reason", choices))}
    calls = _each("tool_calls", messages)
    if any(calls):
        columns["tool_calls"] = list(map(tool_calls, calls))
    return columns


# Responses


def responses(bodies: Sequence[ResponsesBody]) -> Columns:
    """
    Return the columns of `/v1/responses`.

    :param bodies: The usual bodies, in order.
    """
    return {
        "text": [_text(output) for output in _each("output", bodies)],
        "finish_reason": Same("completed", len(bodies)),
        "response_id": _each("id", bodies),
    }


def _text(output: Sequence[OutputMessage | Reasoning]) -> str | None:
    first = output[0]
    if len(output) == 1 and first.__class__ is OutputMessage:
        return first.content[0].text
    final = final_message([item for item in output if item.__class__ is OutputMessage])
    return None if final is None else final.content[0].text


# Embeddings


def embeddings(bodies: Sequence[EmbeddingsBody]) -> Columns:
    """
    Return the columns of `/v1/embeddings`.

    :param bodies: The usual bodies, in order, with embeddings as bytes.
    """
    return {"embedding": [item.embedding for (item,) in _each("data", bodies)]}


class _VectorLines:
    """Decode lines with embeddings to bytes; reject an embedding of another size than the table's."""

    def __init__(self, decode: Callable[[ResultLine], Any], size: int) -> None:
        self._decode, self._bytes = NumberLineDecoder(decode).decode, 4 * size

    def decode(self, raw: ResultLine) -> Any:
        line = self._decode(raw)
        (item,) = line.response.body.data
        item.embedding = vector_bytes(item.embedding)
        if item.embedding is None or len(item.embedding) != self._bytes:
            raise msgspec.ValidationError("The embedding has another size than the table's.")
        return line


# By endpoint

#: Endpoint → type of its usual bodies, and function that returns their columns.
_FAST_PATHS: Mapping[Endpoint, tuple[Any, Callable[[Sequence[Any]], Columns]]] = {
    Endpoint.CHAT_COMPLETIONS: (ChatBody, chat),
    Endpoint.RESPONSES: (ResponsesBody, responses),
    Endpoint.EMBEDDINGS: (EmbeddingsBody, embeddings),
}


class FastPathReader:
    """
    Read the usual result lines of one table as columns.

    :param spec: Endpoint and options of the table.
    """

    def __init__(self, spec: TableSpec) -> None:
        body, self._own = _FAST_PATHS[spec.endpoint]
        line: Any = Line[body]  # type: ignore[valid-type]
        self._decode: Callable[[ResultLine], Any] = msgspec.json.Decoder(line).decode
        if spec.endpoint is Endpoint.EMBEDDINGS:
            self._decode = _VectorLines(self._decode, spec.embedding_size or 0).decode
        self._endpoint = spec.endpoint
        self._keep_raw = spec.raw == "all"
        self._parse = None if spec.parsed is None else answer_parser(spec.parsed.model, spec.parsed.shape)

    @classmethod
    def for_table(cls, spec: TableSpec) -> FastPathReader | None:
        """
        Return the reader for a table, or None where its lines must be read one by one.

        :param spec: Endpoint and options of the table.
        """
        if spec.endpoint not in _FAST_PATHS or (spec.endpoint is Endpoint.EMBEDDINGS and spec.embedding_size is None):
            return None
        return cls(spec)

    def read(self, lines: Sequence[ResultLine]) -> tuple[Columns, list[int]]:
        """
        Return the columns of the usual lines, in order, and the positions of all other lines.

        :param lines: Result lines of a chunk; empty for a row without a line.
        """
        read: list[Any] = []
        others: list[int] = []
        remaining = iter(lines)
        while len(read) + len(others) < len(lines):
            try:
                # After a rejected line the list has the lines before it, and the iterator continues after it.
                read.extend(map(self._decode, remaining))
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                others.append(len(read) + len(others))
        if not read:
            return {}, others
        columns = self._columns(read)
        skipped = set(others)
        places = [at for at in range(len(lines)) if at not in skipped] if skipped else range(len(lines))
        if self._keep_raw:
            columns[RESPONSE_COLUMN] = [read_raw_body(lines[at]) for at in places]
        if self._parse is not None:
            columns[PARSED_COLUMN] = list(map(self._parsed, columns["text"]))
            fit = [value is not _INVALID for value in columns[PARSED_COLUMN]]
        elif None in columns.get("text", ()):  # null is an answer only beside a tool call
            calls = columns.get("tool_calls") or columns["text"]
            fit = [text is not None or call is not None for text, call in zip(columns["text"], calls, strict=True)]
        else:
            return columns, others
        if all(fit):
            return columns, others
        others = sorted((*others, *(at for at, fits in zip(places, fit, strict=True) if not fits)))
        return {name: list(compress(values, fit)) for name, values in columns.items()} if any(fit) else {}, others

    def _parsed(self, text: str | None) -> Any:
        """Return the value of `parsed`, or `_INVALID` where the text does not validate."""
        try:
            return _INVALID if text is None or self._parse is None else self._parse(text)
        except InvalidOutputError:
            return _INVALID

    def _columns(self, lines: Sequence[Any]) -> Columns:
        responses = _each("response", lines)
        bodies = _each("body", responses)
        models = same(_each("model", bodies))
        tokens = _tokens(_each("usage", bodies))
        return {
            "status": Same(SUCCEEDED, len(lines)),
            "status_code": Same(200, len(lines)),
            "request_id": _each("request_id", responses),
            "model": models,
            **tokens,
            COST_COLUMN: self._costs(models, tokens),
            **self._own(bodies),
            OWN_FAILURE: Same(False, len(lines)),
            ANSWERED: Same(True, len(lines)),
        }

    def _costs(self, models: Sequence[str], tokens: Columns) -> Sequence[int | None]:
        """Return the costs in picodollars; for text requests to one model they are computed by column."""
        prices = price_list(models[0], self._endpoint) if isinstance(models, Same) else None
        if prices is None or not prices.tiers or any(any(tokens[name]) for name in _NOT_TEXT):
            requests = zip(*(tokens[name] for name in USAGE_COLUMNS), strict=True)
            return [
                cost(model, self._endpoint, TokenUsage(*counts)) for model, counts in zip(models, requests, strict=True)
            ]
        costs = prices.text_costs(*(tokens[name] for name in _PRICED))
        if max(filter(None, costs), default=0) < COST_LIMIT:
            return costs
        return [one if one is None or one < COST_LIMIT else None for one in costs]


#: Column → the details of `usage` that contain it, and its name there.
_DETAILS = {
    "cached_tokens": ("input_details", "cached_tokens"),
    "cache_write_tokens": ("input_details", "cache_write_tokens"),
    "reasoning_tokens": ("output_details", "reasoning_tokens"),
    "input_audio_tokens": ("input_details", "audio_tokens"),
    "output_audio_tokens": ("output_details", "audio_tokens"),
    "input_image_tokens": ("input_details", "image_tokens"),
    "output_image_tokens": ("output_details", "image_tokens"),
}


def _tokens(usages: Sequence[Any]) -> Columns:
    details = {name: same(_each(name, usages)) for name in ("input_details", "output_details")}
    columns: Columns = {name: _each(name, usages) for name in ("input_tokens", "output_tokens", "total_tokens")}
    return columns | {column: _detail(name, details[of]) for column, (of, name) in _DETAILS.items()}


def _detail(name: str, details: Sequence[TokenDetails | None]) -> Sequence[int | None]:
    if isinstance(details, Same):
        return Same(getattr(details.value or _NO_DETAILS, name), len(details))
    return same([getattr(one, name) if one else None for one in details])


def _each(name: str, values: Sequence[Any]) -> list[Any]:
    return list(map(attrgetter(name), values))
