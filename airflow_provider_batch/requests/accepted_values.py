"""
Which kinds of values an endpoint accepts for each member of a body: `accepted.json`, made from the types of the openai
SDK.

Only kinds of values are known here (text, number, array …), not the allowed texts, which change often. A member that is
not in the table is accepted: it may be new, or another vendor's.
"""

from __future__ import annotations

import datetime as dt
import decimal
import uuid
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from airflow_provider_batch.api.endpoints import Endpoint
from airflow_provider_batch.arrow.utf8 import shortened

FILE = Path(__file__).with_name("accepted.json")
#: Kind that stands for any value.
ANYTHING = "*"
#: Kind of a value → its name in messages, in the order of messages.
CALLED = {
    "s": "text",
    "n": "a number",
    "i": "a whole number",
    "b": "true or false",
    "o": "an object",
    "a": "an array",
    "z": "null",
}


class Accepted(msgspec.Struct, omit_defaults=True, rename={"kinds": "k", "items": "i", "fields": "f", "variants": "v"}):
    """
    The values that one place of a body may have.

    :param kinds: Letters of `CALLED`, or `ANYTHING`.
    :param items: Values of the elements of an array; None means that they are not checked.
    :param each: Values of all members of an object whose keys are data.
    :param fields: Values of the members of an object, by name.
    :param by: Member whose text selects one of the variants of an object.
    :param variants: Text of that member → members; the empty text is for objects without it.
    """

    kinds: str = "o"
    items: Accepted | None = None
    each: Accepted | None = None
    fields: dict[str, Accepted] = {}
    by: str = ""
    variants: dict[str, dict[str, Accepted]] = {}

    def members(self, value: Mapping[str, Any]) -> Mapping[str, Accepted]:
        """
        Return which values the members of an object may have, as far as that is known.

        :param value: The object.
        """
        if self.each is not None:
            return dict.fromkeys(value, self.each)
        if not self.by:
            return self.fields
        chosen = value.get(self.by, "")
        if not isinstance(chosen, str):
            return {}
        by_column = chosen not in self.variants and "{" in chosen  # the value is a column's: any variant is accepted
        members = self._any_variant() if by_column else self.variants.get(chosen, {})
        return _without_null_content(members, value) if self.by == "role" and chosen != "function" else members

    def _any_variant(self) -> Mapping[str, Accepted]:
        found: dict[str, Accepted] = {}
        for members in self.variants.values():
            for name, one in members.items():
                found[name] = Accepted(found[name].kinds + one.kinds if name in found else one.kinds)
        return found

    def takes(self, kind: str) -> bool:
        """
        Return whether a value of a kind is accepted here.

        :param kind: Letter of `CALLED`.
        """
        return ANYTHING in self.kinds or kind in self.kinds or (kind == "i" and "n" in self.kinds)

    @property
    def looks_inside(self) -> bool:
        """Whether the content of a list or an object is checked too."""
        return bool(self.items or self.each or self.fields or self.by)

    @property
    def called(self) -> str:
        """The accepted kinds, for a message."""
        names = [name for kind, name in CALLED.items() if kind in self.kinds and kind != "z"]
        return " or ".join(([", ".join(names[:-1])] if names[1:] else []) + names[-1:]) or "null"


#: Members of an assistant's message that replace its content; only with one of these may the content be null.
IN_PLACE_OF_CONTENT = ("tool_calls", "function_call", "refusal", "audio")


def _without_null_content(members: Mapping[str, Accepted], message: Mapping[str, Any]) -> Mapping[str, Accepted]:
    """Return which values the members of a message may have: null as content only where another member replaces it."""
    content, given = members.get("content"), message.get("content")
    is_settled = isinstance(given, list) or (isinstance(given, str) and "{" not in given)
    if content is None or is_settled or any(message.get(name) for name in IN_PLACE_OF_CONTENT):
        return members
    return {**members, "content": msgspec.structs.replace(content, kinds=content.kinds.replace("z", ""))}


class Misfit(msgspec.Struct, frozen=True):
    """
    A value that is not accepted in its place.

    :param where: Place of the value below the checked one, such as ``[0].content``.
    :param expected: Values that are accepted in this place.
    :param found: The value.
    """

    where: str
    expected: Accepted
    found: Any

    def problem(self, place: str) -> str:
        """
        Return what was expected and what was found, as a sentence.

        :param place: Place of the checked value in the body, such as ``messages``.
        """
        return f"expected {self.expected.called} as '{place}{self.where}', found {shown(self.found)}."

    def advice(self, name: str) -> str:
        """
        Return what to write instead of ``{name}``, as a sentence; empty where nothing is known.

        :param name: Column, or dotted path, of the value.
        """
        if self.found is None:
            return "Leave such rows out with filters, or fill them in the source."
        if self.where:  # inside a column's value, which no form of a placeholder converts
            return "Correct it in the source."
        if isinstance(self.found, str):
            forms = [form for kind, form in _FORMS.items() if kind in self.expected.kinds]
            return f"Write {' or '.join(f'{{{name}:{form}}}' for form in forms)} to convert it." if forms else ""
        if "s" in self.expected.kinds:
            return f"Write {{{name}:text}} for its text, or put it inside a longer text."
        return f"Write {{{name}:integer}} for a whole number." if "i" in self.expected.kinds else ""


#: Kind → form of a placeholder that converts to it.
_FORMS = {"n": "number", "i": "integer", "b": "boolean", "o": "json", "a": "json"}


def misfit(expected: Accepted, value: Any) -> Misfit | None:
    """
    Return the first value, the given one or one inside it, that is not accepted in its place; None where all are.

    :param expected: Values that are accepted.
    :param value: The value to check.
    """
    kind = kind_of(value)
    if kind not in expected.kinds and not expected.takes(kind) and not _is_whole(expected, value):
        return Misfit("", expected, value)
    if kind == "o":
        return _misfit_inside(expected.members(value), value)
    if kind == "a" and expected.items is not None:
        for index, item in enumerate(value):
            if (found := misfit(expected.items, item)) is not None:
                return Misfit(f"[{index}]{found.where}", found.expected, found.found)
    return None


def _misfit_inside(members: Mapping[str, Accepted], value: Mapping[str, Any]) -> Misfit | None:
    for name, item in value.items():
        inner = members.get(name)
        if inner is None or (type(item) is str and "s" in inner.kinds):
            continue
        if (found := misfit(inner, item)) is not None:
            return Misfit(f".{name}{found.where}", found.expected, found.found)
    return None


def _is_whole(expected: Accepted, value: Any) -> bool:
    """Return whether a float or a decimal is a whole number, as 5.0 is."""
    if "i" not in expected.kinds or not isinstance(value, float | decimal.Decimal):
        return False
    return value == value and abs(value) != float("inf") and value == int(value)


def kind_of(value: Any) -> str:
    """
    Return the kind that a value has as JSON, a letter of `CALLED`.

    :param value: Python value.
    """
    known = KINDS.get(type(value))
    if known is not None:
        return known
    if isinstance(value, Mapping):
        return "o"
    return "a" if isinstance(value, list | tuple) else "s"


#: Python type → its kind as JSON; types that JSON does not have become text.
KINDS: Mapping[type, str] = {
    str: "s",
    int: "i",
    float: "n",
    decimal.Decimal: "n",
    bool: "b",
    type(None): "z",
    dict: "o",
    list: "a",
    tuple: "a",
    bytes: "s",
    dt.date: "s",
    dt.datetime: "s",
    dt.time: "s",
    dt.timedelta: "s",
    uuid.UUID: "s",
}


def shown(value: Any) -> str:
    """
    Return a value for a message, cut to 60 characters.

    :param value: Python value.
    """
    if value is None:
        return "null"
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    text = str(value) if isinstance(value, decimal.Decimal) else text
    called = {"s": "the text", "i": "the number", "n": "the number", "o": "the object", "a": "the array", "b": ""}
    return f"{called[kind_of(value)]} {shortened(text)}".strip()


#: Kinds that services other than OpenAI and Azure accept too: endpoint, place (`[]` is each item), kinds.
BESIDES: tuple[tuple[Endpoint, tuple[str, ...], str], ...] = (
    (Endpoint.CHAT_COMPLETIONS, ("logprobs",), "i"),  # Together
    (Endpoint.CHAT_COMPLETIONS, ("reasoning_effort",), "ib"),  # Fireworks
    (Endpoint.CHAT_COMPLETIONS, ("messages", "[]", "content", "[]"), "s"),  # vLLM, and services built on it
    (Endpoint.CHAT_COMPLETIONS, ("messages", "[]", "content", "[]", "image_url"), "s"),  # vLLM, Mistral, LiteLLM
    (Endpoint.EMBEDDINGS, ("input",), "o"),  # images and texts together: Jina, Voyage, DashScope
    (Endpoint.EMBEDDINGS, ("input", "[]"), "o"),
    (Endpoint.EMBEDDINGS, ("encoding_format",), "a"),
    (Endpoint.VIDEOS, ("seconds",), "i"),
)


@cache
def accepted(endpoint: Endpoint, *, by_any: bool = False) -> Accepted:
    """
    Return which values an endpoint accepts as a body.

    :param endpoint: The endpoint.
    :param by_any: Whether values that other services accept are included, not only those of OpenAI and Azure.
    """
    table = msgspec.json.decode(FILE.read_bytes(), type=dict[str, Accepted])
    for other, path, kinds in BESIDES if by_any else ():
        for place in _places(table[other.value], path):
            place.kinds += kinds
    # An endpoint of which the SDK has no types yet is not checked.
    return table.get(endpoint.value, Accepted(ANYTHING))


def _places(place: Accepted, path: tuple[str, ...]) -> Iterator[Accepted]:
    if not path:
        yield place
        return
    name, *rest = path
    inner = [place.fields.get(name), *(members.get(name) for members in place.variants.values())]
    for one in [place.items] if name == "[]" else inner:
        if one is not None:
            yield from _places(one, tuple(rest))
