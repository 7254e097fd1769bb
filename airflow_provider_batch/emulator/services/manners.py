"""The manners of services: how each writes what OpenAI's API writes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Shown = dict[str, Any]


def unchanged(shown: Shown) -> Shown:
    """
    Return an object as it is.

    :param shown: Object in OpenAI's form.
    """
    return shown


@dataclass(frozen=True)
class Manners:
    """
    How a service writes objects; each function gets one in OpenAI's form and returns it in the service's.

    :param batch: A Batch object.
    :param created: The answer to a create, from a Batch object in the service's form.
    :param page: A page of the list, whose batches have the service's form.
    :param file: A File object.
    :param line: A result line.
    :param codes: Codes of `errors.data[]` that differ, by OpenAI's.
    :param texts: Texts of `errors.data[]`, by OpenAI's code; ``{limit}`` and ``{model}`` stand for the values.
    :param settings: Settings of the emulator that differ from their defaults.
    """

    batch: Callable[[Shown], Shown] = unchanged
    created: Callable[[Shown], Any] = unchanged
    page: Callable[[Shown], Any] = unchanged
    file: Callable[[Shown], Shown] = unchanged
    line: Callable[[Shown], Shown] | None = None
    codes: Mapping[str, str] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)


#: A service whose objects have OpenAI's form.
LIKE_OPENAI = Manners()
