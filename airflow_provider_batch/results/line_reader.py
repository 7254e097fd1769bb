"""
Convert one result line, or a missing one, to the values of one row.

The row's status follows from the HTTP status in the line, whichever file contains it; from the error in the line where
the request did not run; and from the status of the batch where there is no line. An unreadable line becomes a failed
row with the beginning of the line as error message. No content of a result file raises an error here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any

import msgspec
from msgspec import Struct

from airflow_provider_batch.answers.answer import FAILED, SUCCEEDED, UNREADABLE
from airflow_provider_batch.answers.answer_format import Columns, each
from airflow_provider_batch.answers.body import Body, ErrorInfo, TokenDetails, Usage
from airflow_provider_batch.answers.by_endpoint import answer_format
from airflow_provider_batch.api import statuses
from airflow_provider_batch.api.endpoints import Endpoint
from airflow_provider_batch.api.objects import FileError
from airflow_provider_batch.pricing.prices import PICODOLLARS, Tariff, TokenUsage, price_list
from airflow_provider_batch.results.lines.lenient_path import read_as
from airflow_provider_batch.results.lines.never_run import has_no_result
from airflow_provider_batch.results.lines.raw_body import read_raw_body
from airflow_provider_batch.results.lines.typed_lines import Line
from airflow_provider_batch.results.parsed_column import with_parsed_column
from airflow_provider_batch.table.columns import COST_COLUMN, USAGE_COLUMNS
from airflow_provider_batch.table.schema import SIZE_REASONS, TableSpec, own_columns

EXPIRED, CANCELLED, MISSING = "expired", "cancelled", "missing"
#: Error code of a failed row whose request did not run.
NOT_RUN = "not_run"

#: Row status by the `error.code` of a line whose request did not run because its batch ended. Every other code means a
#: failed request.
ENDED_WITH_BATCH: Mapping[str, str] = {
    "batch_expired": EXPIRED,
    "batch_cancelled": CANCELLED,
    "batch_canceled": CANCELLED,
}
#: Limit for the cost of one request, in picodollars; a higher cost means wrong token counts, and does not fit the
#: column.
COST_LIMIT = 10 ** (6 + PICODOLLARS)
#: Characters of an unreadable line in an error message.
_SHOWN = 500

#: Additional values that are no columns of the table: whether the request ran and failed, which counts as an attempt of
#: the row; and whether the API answered it, which is charged.
OWN_FAILURE, ANSWERED = "own_failure", "answered"

_NO_TOKENS = TokenUsage()
_NO_DETAILS = TokenDetails()


class Row(Struct, gc=False):
    """
    The values of one row, except its keys, batch and round.

    The garbage collector does not track rows: thousands exist at the same time and would start many collections.

    :param status: Status of the row, such as "succeeded".
    :param error_code: Error code; None for a success.
    :param error_message: Error message; None for a success.
    :param status_code: HTTP status of the request; None where there is none.
    :param request_id: The API's id of the request; None where there is none.
    :param model: The model that answered; None where unknown.
    :param tokens: Token counts of the answer.
    :param cost: Cost in picodollars; None where unknown.
    :param values: Values of the endpoint's columns, in order; None where there is no answer.
    :param response: The response body as JSON text; None where it is not kept.
    :param own_failure: Whether the request ran and failed, which counts as an attempt of the row.
    :param answered: Whether the API answered the request, which is charged.
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


#: Fields of `Row` that are columns with the same name.
_PLAIN = tuple(name for name in Row.__struct_fields__ if name not in ("tokens", "cost", "values"))


class LineReader:
    """
    Read the result lines of one table, one by one.

    :param spec: Endpoint and options of the table.
    :param model: Model of the requests, for answers that do not name one, such as images; None where it is unknown.
    """

    def __init__(self, spec: TableSpec, model: str | None = None) -> None:
        self._model = model
        form = answer_format(spec.endpoint, spec.embedding_size, SIZE_REASONS[spec.size_from])
        self._endpoint, self._tariff = spec.endpoint, spec.tariff
        self._line: Any = Line[form.body]  # type: ignore[name-defined]
        self._decode, self._answer = form.decoder(msgspec.json.Decoder(self._line).decode), form.extract
        self._keep_all = spec.raw == "all"
        self._keep_errors = spec.raw != "none"
        own = own_columns(spec)
        #: Number of values of a row beside the columns that every table has.
        self.width = len(own)
        if spec.parsed is not None:
            self._answer = with_parsed_column(self._answer, spec.parsed, text_at=list(own).index("text"))

    def read(self, raw: bytes) -> Row:
        """
        Return the row of a result line.

        :param raw: The result line.
        """
        try:
            line = self._decode(raw)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return self.read_leniently(raw)
        return self._row(line, raw)

    def read_leniently(self, raw: bytes) -> Row:
        """
        Return the row of a result line, read on the lenient path.

        :param raw: The result line.
        """
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
        price = cost(model, self._endpoint, tokens, self._tariff)
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
        if not response.status_code and has_no_result(raw):
            return _never_run()
        body = response.body or Body()
        error = body.error or line.error or ErrorInfo()
        status_code = response.status_code
        code = error.code or error.type or ("no_body" if status_code == 200 else f"http_{status_code}")
        message = error.message or f"The request ended with HTTP status {status_code} and no error message."
        row = row_without_answer(FAILED, code, message[: 8 * _SHOWN], status_code=status_code, own_failure=True)
        row.request_id, row.model = response.request_id, body.model
        row.response = read_raw_body(raw) if self._keep_errors else None
        return row


def cost(model: str | None, endpoint: Endpoint, tokens: TokenUsage, tariff: Tariff) -> int | None:
    """
    Return the cost of an answer at the batch price, in picodollars; None where unknown.

    :param model: The model that answered.
    :param endpoint: Endpoint of the request.
    :param tokens: Token counts of the answer.
    :param tariff: Whose prices apply.
    """
    prices = price_list(model, endpoint, tariff)
    known = None if prices is None else prices.picodollars(tokens)
    return known if known is None or known < COST_LIMIT else None


def columns_of(rows: Sequence[Row], own: Sequence[str]) -> Columns:
    """
    Return the columns of rows.

    :param rows: The rows, in order.
    :param own: Names of the columns that the endpoint and the response model add, in order.
    """
    columns: Columns = {name: each(name, rows) for name in _PLAIN}
    tokens = each("tokens", rows)
    columns |= {name: each(name, tokens) for name in USAGE_COLUMNS}
    columns[COST_COLUMN] = each("cost", rows)
    nulls = (None,) * len(own)
    values = [row.values or nulls for row in rows]
    return columns | {name: list(map(itemgetter(at), values)) for at, name in enumerate(own)}


def row_without_answer(
    status: str, code: str | None, message: str | None, *, status_code: int | None = None, own_failure: bool = False
) -> Row:
    """
    Return the row of a request without an answer.

    :param status: Status of the row.
    :param code: Error code.
    :param message: Error message.
    :param status_code: HTTP status of the request; None where it did not run.
    :param own_failure: Whether the request ran and failed, which counts as an attempt of the row.
    """
    return Row(status, code, message, status_code, None, None, _NO_TOKENS, None, None, None, own_failure, False)


def row_without_line(
    batch_status: str, refused: Mapping[int, FileError], position: int, state: Mapping[str, Any] | None
) -> Row:
    """
    Return the row of a request without a result line.

    :param batch_status: Final status of the batch; empty where none was created.
    :param refused: Errors of the API about lines of the input file, by position of the row in the shard, from 0.
    :param position: Position of the row in the shard, from 0.
    :param state: State of the row after its last round; None in the first round.
    """
    if batch_status == "":
        return _never_submitted(state)
    if batch_status == statuses.FAILED:
        return _file_refused(position, refused)
    if batch_status == statuses.EXPIRED:
        return row_without_answer(EXPIRED, "batch_expired", "The batch expired before this request ran.")
    if batch_status == statuses.CANCELLED:
        return row_without_answer(CANCELLED, "batch_cancelled", "The batch was cancelled before this request ran.")
    return row_without_answer(
        MISSING, "missing_result", "The batch ended, and neither of its result files contains this request."
    )


def _never_submitted(state: Mapping[str, Any] | None) -> Row:
    if state and state.get("status"):
        code, message = state.get("error_code"), state.get("error_message")
        return row_without_answer(state["status"], code, message, status_code=state.get("status_code"))
    return row_without_answer(CANCELLED, "not_submitted", "The job ended before this request was submitted.")


def _file_refused(position: int, refused: Mapping[int, FileError]) -> Row:
    if error := refused.get(position):
        about = f" (param {error.param})" if error.param else ""
        return row_without_answer(FAILED, error.code or "invalid_request", f"{error.message}{about}")
    if refused:
        return row_without_answer(
            FAILED, NOT_RUN, "The API refused the input file because of other lines; this request did not run."
        )
    return row_without_answer(FAILED, "batch_failed", "The API refused the whole batch; this request did not run.")


def _not_run(line: Any, raw: bytes) -> Row:
    error = line.error or ErrorInfo()
    if (status := ENDED_WITH_BATCH.get(error.code or "")) is not None:
        return row_without_answer(status, error.code, error.message)
    if error.code or error.message or error.type:
        return row_without_answer(FAILED, error.code or error.type or "unknown_error", error.message, own_failure=True)
    return _never_run() if has_no_result(raw) else _unreadable(raw, "it contains neither a response nor an error")


def _never_run() -> Row:
    """Return the row of a request that did not run: it is sent again, and this does not count as an attempt."""
    message = "The result line contains neither a response nor an error: this request did not run."
    return row_without_answer(FAILED, NOT_RUN, message)


def _unreadable(raw: bytes, why: object) -> Row:
    shown = raw[:_SHOWN].decode("utf-8", "replace")
    return row_without_answer(FAILED, UNREADABLE, f"The result line cannot be read ({why}): {shown}", own_failure=True)


def count_tokens(usage: Usage) -> TokenUsage:
    """
    Return the token counts of an answer, from the field names of any endpoint.

    :param usage: The field `usage` of the response body.
    """
    of_input = usage.prompt_tokens_details or usage.input_tokens_details or _NO_DETAILS
    of_output = usage.completion_tokens_details or usage.output_tokens_details or _NO_DETAILS
    return TokenUsage(
        usage.input_tokens if usage.prompt_tokens is None else usage.prompt_tokens,
        usage.output_tokens if usage.completion_tokens is None else usage.completion_tokens,
        usage.total_tokens,
        of_input.cached_tokens,
        of_input.cache_write_tokens,
        of_output.reasoning_tokens,
        of_input.audio_tokens,
        of_output.audio_tokens,
        of_input.image_tokens,
        of_output.image_tokens,
    )
