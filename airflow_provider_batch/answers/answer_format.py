"""How the answers of one endpoint become columns: what each module of `endpoints/` declares."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, TypeAlias

from airflow_provider_batch.answers.answer import Answer
from airflow_provider_batch.answers.body import Body
from airflow_provider_batch.answers.column import Column

#: A result line; a memoryview where the file is memory-mapped.
ResultLine: TypeAlias = bytes | memoryview
#: Decodes a result line to a struct.
Decode: TypeAlias = Callable[[ResultLine], Any]
#: Values of rows by column; a missing column is null in all rows.
Columns: TypeAlias = dict[str, Sequence[Any]]


def each(name: str, values: Sequence[Any]) -> list[Any]:
    """
    Return one field of each struct.

    :param name: Name of the field.
    :param values: The structs, in order.
    """
    return list(map(attrgetter(name), values))


def unchanged(decode: Decode) -> Decode:
    """
    Return the typed decoder itself.

    :param decode: The typed decoder.
    """
    return decode


@dataclass(frozen=True)
class UsualAnswers:
    """
    The fast path of an endpoint: usual bodies, a success with one complete answer, as columns.

    :param body: Type of the usual bodies. It is strict: the decoder rejects a body with any other value in a known
        field, such as a refusal.
    :param columns: Returns the columns of usual bodies, in one pass for each column.
    :param decoder: Returns the decoder of result lines from the typed one.
    """

    body: Any
    columns: Callable[[Sequence[Any]], Columns]
    decoder: Callable[[Decode], Decode] = unchanged


@dataclass(frozen=True)
class AnswerFormat:
    """
    How the answers of an endpoint become columns.

    :param columns: The columns that the endpoint adds, in order.
    :param body: Type of the response bodies, with only the fields that the columns need.
    :param extract: Returns the status of the row and the values of the columns, in their order, from a body.
    :param usual: The fast path; None where all lines are read one by one.
    :param decoder: Returns the decoder of result lines from the typed one.
    :param of_size: Returns the format for embeddings of one size, with the reason for messages; None where the endpoint
        has no embeddings.
    """

    columns: Mapping[str, Column]
    body: type[Body]
    extract: Callable[[Any], Answer]
    usual: UsualAnswers | None = None
    decoder: Callable[[Decode], Decode] = unchanged
    of_size: Callable[[int, str], AnswerFormat] | None = None
