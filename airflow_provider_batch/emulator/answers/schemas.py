"""
Make a value that matches a JSON Schema: all that structured outputs support, and some more.

The prompt chooses: an enum value that the prompt contains is preferred, so that a "classification" fits its text.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from typing import Any

from airflow_provider_batch.emulator.answers import patterns

#: Depth below which recursive branches are avoided where the schema permits it.
_DEEP = 5
#: Depth at which a schema counts as recursive without an end.
_TOO_DEEP = 40

_FORMATS = {
    "date-time": "2026-01-{day:02d}T12:00:00Z",
    "date": "2026-01-{day:02d}",
    "time": "12:00:{day:02d}Z",
    "duration": "P{day}D",
    "email": "person{day}@example.com",
    "hostname": "host{day}.example.com",
    "ipv4": "192.0.2.{day}",
    "ipv6": "2001:db8::{day}",
    "uri": "https://example.com/{day}",
    "uuid": "00000000-0000-4000-8000-0000000000{day:02d}",
}


def value_for(schema: Mapping[str, Any] | bool, *, prompt: str, answer: str, seed: str) -> Any:
    """
    Return a value that matches a JSON Schema.

    :param schema: JSON Schema; `$ref` points into the same schema.
    :param prompt: Prompt that chooses among the values of an enum.
    :param answer: Value of strings that nothing restricts.
    :param seed: Makes the random choices repeatable.
    :raises ValueError: A `$ref` leads to nothing, or the schema is recursive without an end.
    """
    return _Maker(schema, prompt, answer, seed).make(schema, 0, "value")


class _Maker:
    def __init__(self, root: Mapping[str, Any] | bool, prompt: str, answer: str, seed: str) -> None:
        self.root, self.prompt, self.answer = root, prompt.lower(), answer
        self.choice = random.Random(seed)

    def make(self, schema: Mapping[str, Any] | bool, depth: int, name: str) -> Any:
        if depth > _TOO_DEEP:
            raise ValueError("the JSON schema is recursive without an end")
        if isinstance(schema, bool):
            return self.answer
        if "$ref" in schema:
            return self.make({**self._resolve(str(schema["$ref"])), **_without(schema, "$ref")}, depth + 1, name)
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return self._from_enum(schema["enum"])
        for key in ("anyOf", "oneOf"):
            if key in schema:
                return self.make({**_without(schema, key), **self._branch(schema[key], depth)}, depth + 1, name)
        if "allOf" in schema:
            return self.make(self._merged(schema), depth + 1, name)
        return self._of_type(schema, depth, name)

    def _of_type(self, schema: Mapping[str, Any], depth: int, name: str) -> Any:
        kind = self._type(schema, depth)
        if kind == "object":
            return self._object(schema, depth)
        if kind == "array":
            return self._array(schema, depth, name)
        if kind in ("integer", "number"):
            return self._number(schema, kind == "integer")
        if kind == "boolean":
            return self.choice.random() < 0.5
        return None if kind == "null" else self._string(schema)

    def _resolve(self, ref: str) -> Mapping[str, Any]:
        found: Any = self.root
        for part in ref.removeprefix("#").strip("/").split("/"):
            if not part:
                continue
            key = part.replace("~1", "/").replace("~0", "~")
            if not isinstance(found, Mapping) or key not in found:
                raise ValueError(f"the JSON schema has no definition {ref}")
            found = found[key]
        return found if isinstance(found, Mapping) else {}

    def _from_enum(self, values: list[Any]) -> Any:
        named = [value for value in values if isinstance(value, str) and value and value.lower() in self.prompt]
        # An instruction often lists all values: then it prefers none of them.
        return self.choice.choice(named if 0 < len(named) < len(values) else values)

    def _branch(self, branches: list[Mapping[str, Any]], depth: int) -> Mapping[str, Any]:
        full = [branch for branch in branches if branch.get("type") != "null"]
        has_null = len(full) < len(branches)
        if has_null and (depth > _DEEP or not full or self.choice.random() < 0.2):
            return {"type": "null"}
        if depth > _DEEP:
            return next((branch for branch in full if "$ref" not in branch), full[-1])
        return self.choice.choice(full)

    def _merged(self, schema: Mapping[str, Any]) -> Mapping[str, Any]:
        merged: dict[str, Any] = dict(_without(schema, "allOf"))
        for part in schema["allOf"]:
            resolved = self._resolve(str(part["$ref"])) if "$ref" in part else part
            properties = {**merged.get("properties", {}), **resolved.get("properties", {})}
            required = [*merged.get("required", []), *resolved.get("required", [])]
            merged = {**merged, **resolved}
            if properties:
                merged.update(properties=properties, required=required)
        return merged

    def _type(self, schema: Mapping[str, Any], depth: int) -> str:
        kind = schema.get("type")
        if isinstance(kind, list):
            full = [one for one in kind if one != "null"]
            if "null" in kind and (depth > _DEEP or not full or self.choice.random() < 0.2):
                return "null"
            return str(self.choice.choice(full))
        if isinstance(kind, str):
            return kind
        if "properties" in schema:
            return "object"
        return "array" if "items" in schema else "string"

    def _object(self, schema: Mapping[str, Any], depth: int) -> dict[str, Any]:
        properties = schema.get("properties") or {}
        required = set(schema.get("required") or ())
        made = {
            name: self.make(inner, depth + 1, name)
            for name, inner in properties.items()
            if name in required or depth <= _DEEP - 2
        }
        extra = schema.get("additionalProperties")
        while len(made) < schema.get("minProperties", 0):
            made[f"key{len(made) + 1}"] = self.make(extra if isinstance(extra, Mapping) else {}, depth + 1, "key")
        return made

    def _array(self, schema: Mapping[str, Any], depth: int, name: str) -> list[Any]:
        least = int(schema.get("minItems", 0))
        most = int(schema.get("maxItems", max(least, 3)))
        wanted = least if depth > _DEEP else min(most, max(least, self.choice.randint(1, 3)))
        fixed = list(schema.get("prefixItems") or ())
        items = schema.get("items", {"type": "string"})
        count = max(wanted, len(fixed) if least else wanted)
        kinds = [fixed[number] if number < len(fixed) else items for number in range(count)]
        made = [self.make(kind, depth + 1, name) for kind in kinds]
        return _distinct(made) if schema.get("uniqueItems") else made

    def _number(self, schema: Mapping[str, Any], whole: bool) -> int | float:
        step = schema.get("multipleOf") or (1 if whole else None)
        low, high = _bounds(schema, step or 0.001)
        if step is None:
            return min(high, max(low, round(low + (high - low) * self.choice.random(), 3)))
        first, last = math.ceil(round(low / step, 9)), math.floor(round(high / step, 9))
        value = self.choice.randint(first, max(first, last)) * step
        return int(value) if whole else value

    def _string(self, schema: Mapping[str, Any]) -> str:
        if "pattern" in schema:
            return patterns.matching(str(schema["pattern"]), self.choice)
        if template := _FORMATS.get(str(schema.get("format"))):
            return template.format(day=self.choice.randint(1, 28))
        text = self.answer
        least, most = int(schema.get("minLength", 0)), schema.get("maxLength")
        while len(text) < least:
            text += " " + (self.answer or "text")
        return text if most is None else text[: int(most)]


def _bounds(schema: Mapping[str, Any], step: float) -> tuple[float, float]:
    low, high = schema.get("minimum"), schema.get("maximum")
    if isinstance(over := schema.get("exclusiveMinimum"), int | float) and not isinstance(over, bool):
        low = max(over + step, over + step if low is None else low)
    if isinstance(under := schema.get("exclusiveMaximum"), int | float) and not isinstance(under, bool):
        high = min(under - step, under - step if high is None else high)
    if low is None:
        low = 0 if high is None or high >= 0 else high - 100
    return low, (low + 100 if high is None else high)


def _distinct(values: list[Any]) -> list[Any]:
    kept: list[Any] = []
    for value in values:
        if value not in kept:
            kept.append(value)
    return kept


def _without(schema: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    return {name: value for name, value in schema.items() if name != key}
