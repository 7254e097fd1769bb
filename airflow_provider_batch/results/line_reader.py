"""
From a result line to the values of one row, and from the absence of a line to the same.

Every input row gets exactly one: judged by the HTTP status in the line whatever file it stood in, by the line's own
error where the request never ran, and by the batch's status where there is no line. What cannot be read is a failed row
that says what it was; nothing here raises for what a server may have written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import attrgetter, itemgetter
from typing import Any, TypeAlias

import msgspec
from msgspec import Struct

from airflow_provider_batch.api import statuses
from airflow_provider_batch.api.endpoints import Endpoint
from airflow_provider_batch.api.objects import FileError
from airflow_provider_batch.pricing.prices import PICODOLLARS, TokenUsage, price_list
from airflow_provider_batch.results.extractors import FAILED, SUCCEEDED, UNREADABLE, reader
from airflow_provider_batch.results.lines import typed_lines
from airflow_provider_batch.results.lines.lenient_path import read_as
from airflow_provider_batch.results.lines.never_run import says_nothing
from airflow_provider_batch.results.lines.raw_body import read_raw_body
from airflow_provider_batch.results.lines.vectors import NumberLines
from airflow_provider_batch.results.parsed_column import parsing
from airflow_provider_batch.table.columns import COST_COLUMN, USAGE_COLUMNS
from airflow_provider_batch.table.schema import TableSpec, own_columns

EXPIRED, CANCELLED, MISSING = "expired", "cancelled", "missing"
#: The error code of a row that failed without having been run.
NOT_RUN = "not_run"

#: `error.code` of a line whose request never ran because its batch ended. The set of codes is open; any other is a
#: failure.
ENDED_WITH_BATCH: Mapping[str, str] = {
    "batch_expired": EXPIRED,
    "batch_cancelled": CANCELLED,
    "batch_canceled": CANCELLED,
}
#: More than this is no price of one request but a wrong count; it would not fit the column either.
COST_LIMIT = 10 ** (6 + PICODOLLARS)
#: Characters of an unreadable line, or of a page in place of a body, that an error message shows.
_SHOWN = 500

#: Values of rows by column; a column that is not there is null in all of them.
Columns: TypeAlias = dict[str, Sequence[Any]]
#: Beside the columns: whether a request ran and failed by itself, which counts against its row's attempts, and whether
#: the API answered it, which is what is priced.
OWN_FAILURE, ANSWERED = "own_failure", "answered"

_NO_TOKENS = TokenUsage()
_NO_DETAILS = typed_lines.TokenDetails()


class Row(Struct, gc=False):
    """
    The values of one row, but its keys, its batch and its round.

    Not tracked by the garbage collector: thousands of rows live at once and would set it off again and again.
    """

    status: str
    error_code: str | None
    error_message: str | None
    status_code: int | None
    request_id: str | None
    model: str | None
    tokens: TokenUsage
    cost: int | None
    values: tuple[Any, ...] | None
    response: str | None
    own_failure: bool
    answered: bool


#: What a row holds under its column's name.
_PLAIN = tuple(name for name in Row.__struct_fields__ if name not in ("tokens", "cost", "values"))


class LineReader:
    """
    Reads the result lines of one table.

    :param model: The model that was asked: images do not say which one made them.
    """

    def __init__(self, spec: TableSpec, model: str | None = None) -> None:
        self._model = model
        body, self._answer = reader(spec.endpoint, spec.embedding_size)
        self._endpoint = spec.endpoint
        self._line: Any = typed_lines.Line[body]  # type: ignore[valid-type]
        decode = msgspec.json.Decoder(self._line).decode
        self._decode = NumberLines(decode).decode if spec.endpoint is Endpoint.EMBEDDINGS else decode
        self._keep_all = spec.raw == "all"
        self._keep_errors = spec.raw != "none"
        own = own_columns(spec)
        self._width = len(own)
        if spec.parsed is not None:
            self._answer = parsing(self._answer, spec.parsed, text_at=list(own).index("text"))

    @property
    def width(self) -> int:
        """Number of the endpoint's own columns."""
        return self._width

    def read(self, raw: bytes) -> Row:
        """Return the row that a result line is."""
        try:
            line = self._decode(raw)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return self.read_leniently(raw)
        return self._row(line, raw)

    def read_leniently(self, raw: bytes) -> Row:
        """Return the row that a result line is, read by the slow path whatever it holds."""
        try:
            line = read_as(raw, self._line)
        except ValueError as error:
            return _unreadable(raw, error)
        return self._row(line, raw)

    def _row(self, line: Any, raw: bytes) -> Row:
        response = line.response
        if response is None or (response.status_code is None and response.body is None):
            return _not_run(line, raw)
        status_code, body = response.status_code, response.body
        if body is None or not (status_code is None or 200 <= status_code < 300):
            return self._failed(line, raw)
        answer = self._answer(body)
        if status_code is None and answer.values is None:
            return self._failed(line, raw)
        tokens = _NO_TOKENS if body.usage is None else count_tokens(body.usage)
        model = body.model or self._model
        price = cost(model, self._endpoint, tokens)
        keep = self._keep_all or (self._keep_errors and answer.status != SUCCEEDED)
        return Row(
            answer.status,
            answer.error_code,
            answer.error_message,
            status_code,
            response.request_id,
            model,
            tokens,
            price,
            answer.values,
            read_raw_body(raw) if keep else None,
            answer.status == FAILED,
            answer.status != FAILED or price is not None,
        )

    def _failed(self, line: Any, raw: bytes) -> Row:
        response = line.response
        if not response.status_code and says_nothing(raw):
            return _never_run()
        body = response.body or typed_lines.Body()
        error = body.error or line.error or typed_lines.ErrorInfo()
        status_code = response.status_code
        code = error.code or error.type or ("no_body" if status_code == 200 else f"http_{status_code}")
        message = error.message or f"The request ended with HTTP status {status_code} and no error message."
        row = unanswered(FAILED, code, message[: 8 * _SHOWN], status_code=status_code, own_failure=True)
        row.request_id, row.model = response.request_id, body.model
        row.response = read_raw_body(raw) if self._keep_errors else None
        return row


def cost(model: str | None, endpoint: Endpoint, tokens: TokenUsage) -> int | None:
    """Return what an answer cost in picodollars, None where that is unknown."""
    prices = price_list(model, endpoint)
    known = None if prices is None else prices.picodollars(tokens)
    return known if known is None or known < COST_LIMIT else None


def columns_of(rows: Sequence[Row], own: Sequence[str]) -> Columns:
    """
    Return the values of rows by column.

    :param own: The endpoint's own columns.
    """
    columns: Columns = {name: _each(name, rows) for name in _PLAIN}
    tokens = _each("tokens", rows)
    columns |= {name: _each(name, tokens) for name in USAGE_COLUMNS}
    columns[COST_COLUMN] = _each("cost", rows)
    nothing = (None,) * len(own)
    values = [row.values or nothing for row in rows]
    return columns | {name: list(map(itemgetter(at), values)) for at, name in enumerate(own)}


def _each(name: str, values: Sequence[Any]) -> list[Any]:
    return list(map(attrgetter(name), values))


def unanswered(
    status: str, code: str | None, message: str | None, *, status_code: int | None = None, own_failure: bool = False
) -> Row:
    """Return the row of a request that has no answer."""
    return Row(status, code, message, status_code, None, None, _NO_TOKENS, None, None, None, own_failure, False)


def absent(batch_status: str, refused: Mapping[int, FileError], position: int, state: Mapping[str, Any] | None) -> Row:
    """
    Return the row of a request that has no result line.

    :param batch_status: The batch's last status; empty where none was made.
    :param refused: Why the API refused lines of the file, by their place.
    :param position: The row's place in the shard, from 0.
    :param state: What the row's last round ended as, where there was one.
    """
    if batch_status == "":
        return _never_submitted(state)
    if batch_status == statuses.FAILED:
        return _file_refused(position, refused)
    if batch_status == statuses.EXPIRED:
        return unanswered(EXPIRED, "batch_expired", "The batch expired before this request was run.")
    if batch_status == statuses.CANCELLED:
        return unanswered(CANCELLED, "batch_cancelled", "The batch was cancelled before this request was run.")
    return unanswered(MISSING, "missing_result", "The batch has ended, and neither of its files has this request.")


def _never_submitted(state: Mapping[str, Any] | None) -> Row:
    if state and state.get("status"):
        code, message = state.get("error_code"), state.get("error_message")
        return unanswered(state["status"], code, message, status_code=state.get("status_code"))
    return unanswered(CANCELLED, "not_submitted", "The job ended before this request was submitted.")


def _file_refused(position: int, refused: Mapping[int, FileError]) -> Row:
    if error := refused.get(position):
        about = f" (param {error.param})" if error.param else ""
        return unanswered(FAILED, error.code or "invalid_request", f"{error.message}{about}")
    if refused:
        return unanswered(FAILED, NOT_RUN, "The API refused the file for other lines; this request was not run.")
    return unanswered(FAILED, "batch_failed", "The API refused the batch as a whole; this request was not run.")


def _not_run(line: Any, raw: bytes) -> Row:
    error = line.error or typed_lines.ErrorInfo()
    if (status := ENDED_WITH_BATCH.get(error.code or "")) is not None:
        return unanswered(status, error.code, error.message)
    if error.code or error.message or error.type:
        return unanswered(FAILED, error.code or error.type or "unknown_error", error.message, own_failure=True)
    return _never_run() if says_nothing(raw) else _unreadable(raw, "it holds neither a response nor an error")


def _never_run() -> Row:
    """Return the row of a request that its line says nothing of: it goes again, and that was no attempt of its own."""
    message = "The result line holds neither a response nor an error: this request was not run."
    return unanswered(FAILED, NOT_RUN, message)


def _unreadable(raw: bytes, why: object) -> Row:
    shown = raw[:_SHOWN].decode("utf-8", "replace")
    return unanswered(FAILED, UNREADABLE, f"The result line cannot be read ({why}): {shown}", own_failure=True)


def count_tokens(usage: typed_lines.Usage) -> TokenUsage:
    """Return the tokens of an answer, whichever names its endpoint gives them."""
    asked = usage.prompt_tokens_details or usage.input_tokens_details or _NO_DETAILS
    given = usage.completion_tokens_details or usage.output_tokens_details or _NO_DETAILS
    return TokenUsage(
        usage.input_tokens if usage.prompt_tokens is None else usage.prompt_tokens,
        usage.output_tokens if usage.completion_tokens is None else usage.completion_tokens,
        usage.total_tokens,
        asked.cached_tokens,
        asked.cache_write_tokens,
        given.reasoning_tokens,
        asked.audio_tokens,
        given.audio_tokens,
        asked.image_tokens,
        given.image_tokens,
    )
