"""
The fast path: read usual result lines as columns. A usual line is a success with one complete answer.

Each endpoint declares the type of its usual bodies (`UsualAnswers`). The decoder rejects a line that differs in any
field; such a line is read by itself (`line_reader.py`). From the accepted lines, each column is built in one pass,
without decisions for single lines. Both ways give the same values, which a differential test checks.

For endpoints without such a type, all lines are read one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import compress
from typing import Any

import msgspec

from airflow_provider_batch.answers.answer import SUCCEEDED
from airflow_provider_batch.answers.answer_format import Columns, Decode, ResultLine, UsualAnswers, each
from airflow_provider_batch.answers.body import TokenDetails
from airflow_provider_batch.answers.by_endpoint import answer_format
from airflow_provider_batch.arrow.builders import Same, same
from airflow_provider_batch.pricing.prices import TokenUsage, price_list
from airflow_provider_batch.results.line_reader import ANSWERED, COST_LIMIT, OWN_FAILURE, cost
from airflow_provider_batch.results.lines.raw_body import read_raw_body
from airflow_provider_batch.results.lines.typed_lines import UsualLine
from airflow_provider_batch.structured.validation import InvalidOutputError, answer_parser
from airflow_provider_batch.table.columns import COST_COLUMN, PARSED_COLUMN, RESPONSE_COLUMN, USAGE_COLUMNS
from airflow_provider_batch.table.schema import TableSpec

_NO_DETAILS = TokenDetails()
_INVALID = object()
#: Token counts that the price of a text request depends on; the counts of audio and images have other prices.
_PRICED = ("input_tokens", "output_tokens", "cached_tokens", "cache_write_tokens")
_NOT_TEXT = ("input_audio_tokens", "output_audio_tokens", "input_image_tokens", "output_image_tokens")


class FastPathReader:
    """
    Read the usual result lines of one table as columns.

    :param spec: Endpoint and options of the table.
    :param usual: The fast path of the endpoint.
    """

    def __init__(self, spec: TableSpec, usual: UsualAnswers) -> None:
        line: Any = UsualLine[usual.body]  # type: ignore[name-defined]
        self._decode: Decode = usual.decoder(msgspec.json.Decoder(line).decode)
        self._own = usual.columns
        self._endpoint, self._tariff = spec.endpoint, spec.tariff
        self._keep_raw = spec.raw == "all"
        self._parse = None if spec.parsed is None else answer_parser(spec.parsed.model, spec.parsed.shape)

    @classmethod
    def for_table(cls, spec: TableSpec) -> FastPathReader | None:
        """
        Return the reader for a table, or None where its lines must be read one by one.

        :param spec: Endpoint and options of the table.
        """
        usual = answer_format(spec.endpoint, spec.embedding_size).usual
        return None if usual is None else cls(spec, usual)

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
        responses = each("response", lines)
        bodies = each("body", responses)
        models = same(each("model", bodies))
        tokens = _tokens(each("usage", bodies))
        return {
            "status": Same(SUCCEEDED, len(lines)),
            "status_code": Same(200, len(lines)),
            "request_id": each("request_id", responses),
            "model": models,
            **tokens,
            COST_COLUMN: self._costs(models, tokens),
            **self._own(bodies),
            OWN_FAILURE: Same(False, len(lines)),
            ANSWERED: Same(True, len(lines)),
        }

    def _costs(self, models: Sequence[str], tokens: Columns) -> Sequence[int | None]:
        """Return the costs in picodollars; for text requests to one model they are computed by column."""
        prices = price_list(models[0], self._endpoint, self._tariff) if isinstance(models, Same) else None
        if prices is None or not prices.tiers or any(any(tokens[name]) for name in _NOT_TEXT):
            requests = zip(*(tokens[name] for name in USAGE_COLUMNS), strict=True)
            return [
                cost(model, self._endpoint, TokenUsage(*counts), self._tariff)
                for model, counts in zip(models, requests, strict=True)
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
    details = {name: same(each(name, usages)) for name in ("input_details", "output_details")}
    columns: Columns = {name: each(name, usages) for name in ("input_tokens", "output_tokens", "total_tokens")}
    return columns | {column: _detail(name, details[of]) for column, (of, name) in _DETAILS.items()}


def _detail(name: str, details: Sequence[TokenDetails | None]) -> Sequence[int | None]:
    if isinstance(details, Same):
        return Same(getattr(details.value or _NO_DETAILS, name), len(details))
    return same([getattr(one, name) if one else None for one in details])
