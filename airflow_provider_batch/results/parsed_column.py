"""
The answers of an endpoint, with the column `parsed` behind their own columns.

A row that succeeded and whose text is what was asked for keeps its success; any other whole answer becomes
`invalid_output`, keeps its text, and is never sent again. What was refused or cut off stays that. Of several choices
(`n` > 1) the first is parsed; `choices` keeps the texts of all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from airflow_provider_batch.results.extractors import NO_ANSWER, SUCCEEDED, Answer
from airflow_provider_batch.structured.column_type import ParsedColumn
from airflow_provider_batch.structured.validation import NO_TEXT, InvalidOutputError, judge

INVALID_OUTPUT = "invalid_output"


def parsing(read: Callable[[Any], Answer], column: ParsedColumn, text_at: int) -> Callable[[Any], Answer]:
    """
    Return an endpoint's reader of bodies that parses the text too.

    :param text_at: The place of `text` among the endpoint's columns.
    """
    parse = judge(column.model, column.shape)

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
        raise InvalidOutputError(NO_TEXT, "the answer holds no text; where it calls tools, see tool_calls")
    return text
