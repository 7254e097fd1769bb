"""
Validation of an answer's text by a response model, and its value for the column `parsed`.

A Pydantic class validates by itself, and its instance is the value: with defaults and the results of validators. Where
only the schema is available (an edited DAG, a loader without the class), `jsonschema` validates, and the value is that
of the text. Then the formats `date`, `date-time`, `time`, `uuid` and `decimal` are checked, and no others.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from itertools import islice
from typing import Any

import msgspec

from airflow_provider_batch.arrow.utf8 import scrub
from airflow_provider_batch.exceptions import ConfigurationError
from airflow_provider_batch.structured import conversion
from airflow_provider_batch.structured.column_type import Shape, shape_of
from airflow_provider_batch.structured.fast_validation import UUID_PATTERN, fast_validator
from airflow_provider_batch.structured.response_model import ResponseModel, pydantic_schema

#: Error codes of rows whose text is not a valid answer.
NO_TEXT, NOT_JSON, MISMATCH, UNFIT = "no_text", "not_json", "schema_mismatch", "value_out_of_range"
_MAX_MESSAGE = 500
_MAX_REASONS = 3
_TOO_DEEP = "nested too deeply"


class InvalidOutputError(Exception):
    """
    A text that is not a valid answer.

    :param code: Error code of the row.
    :param reason: What is wrong, with the place in the answer; cut to 500 characters.
    """

    def __init__(self, code: str, reason: str) -> None:
        self.code = code
        super().__init__(scrub(reason if len(reason) <= _MAX_MESSAGE else reason[:_MAX_MESSAGE] + "…"))


def answer_parser(model: ResponseModel, shape: Shape) -> Callable[[str], Any]:
    """
    Return the function that returns a text's value for the column, or raises InvalidOutputError.

    :param model: The response model.
    :param shape: Shape of its answers.
    """
    convert = _fitting(conversion.converter(shape))
    if model.model is not None:
        return _by_class(model, shape, convert)
    return _by_schema(model, convert)


def _fitting(convert: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def fit(value: Any) -> Any:
        try:
            return convert(value)
        except conversion.UnfitError as error:
            where = error.path.removeprefix(".")
            raise InvalidOutputError(UNFIT, f"{where}: {error}" if where else str(error)) from None
        except RecursionError:
            raise InvalidOutputError(UNFIT, _TOO_DEEP) from None

    return fit


def _by_class(model: ResponseModel, shape: Shape, convert: Callable[[Any], Any]) -> Callable[[str], Any]:
    from pydantic import ValidationError
    from pydantic_core import PydanticSerializationError

    validate, is_dumped = model.model.model_validate_json, _writes_what_it_reads(model, shape)

    def parse(text: str) -> Any:
        try:
            instance = validate(text)
        except ValidationError as error:
            raise _pydantic_reason(error) from None
        except MemoryError:
            raise
        except Exception as error:  # a validator is the user's code: its error in one row must not stop the others
            raise InvalidOutputError(
                MISMATCH, f"the model's own code raised {type(error).__name__}: {error}"
            ) from error
        if is_dumped:
            try:
                value = instance.model_dump(mode="json", by_alias=True, round_trip=True, warnings=False)
            except (PydanticSerializationError, RecursionError, ValueError, TypeError):
                value = _value_of(text)
        else:
            value = _value_of(text)
        return convert(value)

    return parse


def _writes_what_it_reads(model: ResponseModel, shape: Shape) -> bool:
    """
    Return whether an instance written as JSON has the schema's names and types; if not, the text's own value is used.
    """
    try:
        written = ResponseModel(model.name, pydantic_schema(model.model, "serialization"))
        return shape_of(written).covers(shape)
    except ConfigurationError:
        return False


def _pydantic_reason(error: Any) -> InvalidOutputError:
    problems = error.errors(include_url=False, include_context=False)
    if problems[0]["type"] == "json_invalid":
        return InvalidOutputError(NOT_JSON, problems[0]["msg"])
    reasons = []
    for problem in problems[:_MAX_REASONS]:
        where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in problem["loc"])
        reasons.append(
            f"{where.removeprefix('.') or 'the answer'}: {problem['msg']}, found {conversion.shown(problem['input'])}"
        )
    more = [f"{len(problems) - _MAX_REASONS} more"] if len(problems) > _MAX_REASONS else []
    return InvalidOutputError(MISMATCH, "; ".join([*reasons, *more]))


def _by_schema(model: ResponseModel, convert: Callable[[Any], Any]) -> Callable[[str], Any]:
    accepts, errors = fast_validator(model.schema), _validator(model)
    decode = msgspec.json.Decoder().decode

    def parse(text: str) -> Any:
        if accepts is not None and accepts(text):
            try:
                return convert(decode(text))
            except (InvalidOutputError, msgspec.MsgspecError):
                pass  # the slower validation gives the reason
        value = _value_of(text)
        if (reason := errors(value)) is not None:
            raise InvalidOutputError(MISMATCH, reason)
        return convert(value)

    return parse


def _validator(model: ResponseModel) -> Callable[[Any], str | None]:
    from jsonschema import Draft202012Validator, FormatChecker
    from jsonschema.exceptions import best_match
    from jsonschema.validators import validator_for

    checker = FormatChecker(formats=())
    for name, check in (
        ("date", conversion.days),
        ("date-time", conversion.microseconds),
        ("time", conversion.time_of_day),
        ("decimal", conversion.decimal_text),
    ):
        checker.checks(name, raises=conversion.UnfitError)(_for_text(check))
    checker.checks("uuid")(_is_uuid)
    made = validator_for(model.schema, default=Draft202012Validator)(model.schema, format_checker=checker)

    def reason(value: Any) -> str | None:
        try:
            found = best_match(islice(made.iter_errors(value), 20))
        except RecursionError:
            return _TOO_DEEP
        except MemoryError:
            raise
        except Exception as error:  # an error of the schema that shows only with a value
            return f"the schema cannot be applied ({type(error).__name__}: {error})"
        if found is None:
            return None
        where = found.json_path.removeprefix("$").removeprefix(".")
        return f"{where}: {found.message}" if where else str(found.message)

    return reason


def _for_text(check: Callable[[Any], Any]) -> Callable[[object], bool]:
    def checked(value: object) -> bool:
        if isinstance(value, str):
            check(value)
        return True

    return checked


def _is_uuid(value: object) -> bool:
    return not isinstance(value, str) or re.search(UUID_PATTERN, value) is not None


def _value_of(text: str) -> Any:
    try:
        return json.loads(text, parse_int=_bounded_int, parse_constant=_no_constant)
    except ValueError as error:
        raise InvalidOutputError(NOT_JSON, f"the text is not JSON: {error}") from None
    except RecursionError:
        raise InvalidOutputError(NOT_JSON, _TOO_DEEP) from None


def _bounded_int(digits: str) -> int | float:
    # Python refuses to parse very long integers at all.
    return int(digits) if len(digits) < 400 else float(digits)


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")
