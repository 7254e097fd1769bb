"""Make a text that matches a regular expression, for the `pattern` of a JSON Schema."""

from __future__ import annotations

import random
import re
import string
from typing import Any

#: Repeats above the minimum of a repeated part.
_MORE = 3
_CLASSES = {"CATEGORY_DIGIT": string.digits, "CATEGORY_WORD": string.ascii_lowercase, "CATEGORY_SPACE": " "}


def matching(pattern: str, choice: random.Random) -> str:
    """
    Return a text that matches a regular expression.

    :param pattern: Regular expression; look-around is not supported.
    :param choice: Random generator; the same seed gives the same text.
    :raises ValueError: The pattern cannot be read, or uses something that is not supported.
    """
    try:
        parser: Any = re._parser  # type: ignore[attr-defined]
        text = "".join(_each(parser.parse(pattern), choice))
    except (re.error, KeyError) as error:
        raise ValueError(f"cannot generate a text for the pattern {pattern!r}") from error
    if re.search(pattern, text) is None:
        raise ValueError(f"cannot generate a text for the pattern {pattern!r}")
    return text


def _each(parsed: Any, choice: random.Random) -> list[str]:
    return [_one(str(operation), argument, choice) for operation, argument in parsed]


def _one(operation: str, argument: Any, choice: random.Random) -> str:
    if operation == "LITERAL":
        return chr(argument)
    if operation in ("NOT_LITERAL", "ANY"):
        return choice.choice([c for c in string.ascii_lowercase if operation == "ANY" or c != chr(argument)])
    if operation == "IN":
        return _from_set(argument, choice)
    if operation == "CATEGORY":
        return choice.choice(_CLASSES[str(argument)])
    if operation in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"):
        least, most, inner = argument
        times = choice.randint(int(least), max(int(least), min(int(most), int(least) + _MORE)))
        return "".join("".join(_each(inner, choice)) for _ in range(times))
    if operation == "SUBPATTERN":
        return "".join(_each(argument[-1], choice))
    if operation == "BRANCH":
        return "".join(_each(choice.choice(argument[1]), choice))
    if operation == "AT":
        return ""
    raise KeyError(operation)


def _from_set(members: Any, choice: random.Random) -> str:
    if str(members[0][0]) == "NEGATE":
        excluded = re.compile("[" + re.escape("".join(_members(members[1:]))) + "]") if members[1:] else None
        return choice.choice(
            [c for c in string.ascii_letters + string.digits + " -_" if not (excluded and excluded.match(c))]
        )
    return choice.choice(_members(members))


def _members(members: Any) -> list[str]:
    found: list[str] = []
    for kind, value in members:
        if str(kind) == "LITERAL":
            found.append(chr(value))
        elif str(kind) == "RANGE":
            found.extend(chr(code) for code in range(value[0], min(value[1], value[0] + 200) + 1))
        else:
            found.extend(_CLASSES[str(value)])
    return found
