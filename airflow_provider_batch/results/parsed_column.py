"""
Add the column `parsed`, after the columns of the endpoint.

A succeeded row whose text validates stays `succeeded`. A complete answer whose text does not validate becomes
`invalid_output`, keeps its text, and is never sent again. Refused and truncated answers keep their status. Of several
choices (`n` > 1) the first is parsed; the column `choices` has the texts of all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from airflow_provider_batch.answers.answer import NO_ANSWER, SUCCEEDED, Answer
from airflow_provider_batch.structured.column_type import ParsedColumn
from airflow_provider_batch.structured.validation import NO_TEXT, InvalidOutputError, answer_parser

INVALID_OUTPUT = "invalid_output"


def with_parsed_column(read: Callable[[Any], Answer], column: ParsedColumn, text_at: int) -> Callable[[Any], Answer]:
    """
    Return an extractor that also validates the text and adds the value of `parsed`.

    :param read: Extractor of the endpoint.
    :param column: The column `parsed`, with its response model.
    :param text_at: Index of `text` in the endpoint's columns.
    """
    parse = answer_parser(column.model, column.shape)

    def read_and_parse(body: Any) -> Answer:
        answer = read(body)
        if answer.values is None:
            return answer
        parsed = None
        if answer.status == SUCCEEDED or answer.error_code == NO_ANSWER:
            try:
                parsed = parse(_text(answer.values[text_at]))
            except InvalidOutputError as error:
                answer.status, answer.error_code, answer.error_message = INVALID_OUTPUT, error.code, str(error)
        answer.values = (*answer.values, parsed)
        return answer

    return read_and_parse


def _text(text: str | None) -> str:
    if text is None:
        raise InvalidOutputError(NO_TEXT, "the answer has no text; for tool calls see the column tool_calls")
    return text
