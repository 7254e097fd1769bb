"""
The API's strict mode: which JSON Schemas it takes, and the strict form of a Pydantic model's schema.

In strict mode the API makes the model answer exactly by the schema, for a subset of JSON Schema: every object is
closed, all its members are required, few keywords are known, and sizes are limited. A schema outside the subset is an
error for every row, so in doubt it is sent without strict mode. Answers are validated when they are landed in both
cases.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote

#: OpenAI's limits: https://platform.openai.com/docs/guides/structured-outputs (supported schemas).
MAX_DEPTH = 10
MAX_PROPERTIES = 5_000
MAX_NAMES_LENGTH = 120_000
MAX_ENUM_VALUES = 1_000
LONG_ENUM_VALUES, MAX_LONG_ENUM_LENGTH = 250, 15_000

FORMATS = frozenset({"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"})
_KEYWORDS = frozenset(
    {
        *("$ref", "$defs", "definitions", "$schema", "title", "description"),
        *("type", "enum", "const", "anyOf", "properties", "required", "additionalProperties", "items"),
        *("pattern", "format", "multipleOf", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"),
        *("minItems", "maxItems"),
    }
)
#: Keywords without an effect on an answer: the strict form leaves them out.
_NOTES = frozenset({"default", "examples", "deprecated", "readOnly", "writeOnly", "$comment", "discriminator"})
#: Keywords that the strict form moves into the description: the class checks them on landing.
_DESCRIBED = frozenset({"minLength", "maxLength", "uniqueItems", "minProperties", "maxProperties", "propertyNames"})
#: Keywords of this package for decimals.
_DECIMAL_KEYWORDS = frozenset({"maxDigits", "decimalPlaces"})
_LOOK_AROUND = ("(?=", "(?!", "(?<")
_TYPES = ("type", "$ref", "anyOf", "enum", "const")


def strict_form(schema: Mapping[str, Any]) -> dict[str, Any]:
    """
    Return a Pydantic model's schema in the form that strict mode takes, as far as its meaning stays the same.

    Objects are closed (Pydantic ignores other members anyway), all members are required (the model has to write members
    with a default too), and references beside other keywords are replaced by their definition.

    :param schema: JSON Schema of a Pydantic class.
    """
    root = dict(schema)
    made: dict[str, Any] = _strict(root, root, is_root=True)
    return made


def loose_form(schema: Mapping[str, Any]) -> dict[str, Any]:
    """
    Return a Pydantic model's schema with decimals in plain JSON Schema, otherwise unchanged.

    :param schema: JSON Schema of a Pydantic class.
    """
    made: dict[str, Any] = _walk(schema, _plain_decimal)
    return made


def strict_problem(schema: Mapping[str, Any]) -> str | None:
    """
    Return why strict mode does not take a schema, with the place in it, or None.

    :param schema: JSON Schema.
    """
    if schema.get("type") != "object" or "anyOf" in schema:
        return "the top of the schema is not a plain object"
    nodes = list(_nodes(schema, ""))
    for node, where in nodes:
        if (problem := _node_problem(node)) is not None:
            return f"{where or 'the top'}: {problem}"
    if (levels := _levels(schema, schema, ())) > MAX_DEPTH:
        return f"{levels} levels, and strict mode takes {MAX_DEPTH}"
    return _size_problem(schema, [node for node, _ in nodes])


def _strict(node: Any, root: Mapping[str, Any], *, is_root: bool = False, seen: tuple[str, ...] = ()) -> Any:
    if not isinstance(node, Mapping):
        return node
    ref = node.get("$ref")
    others = {key: value for key, value in node.items() if key != "$ref" and key not in _NOTES}
    if isinstance(ref, str) and (is_root or others) and ref not in seen:
        found = resolved(ref, root)
        if isinstance(found, Mapping):
            return _strict({**found, **others}, root, is_root=is_root, seen=(*seen, ref))
    made = _plain_decimal({key: value for key, value in node.items() if key not in _NOTES})
    made = _described(_without_tuple(made))
    for key in ("$defs", "definitions", "properties"):
        if isinstance(made.get(key), Mapping):
            made[key] = {name: _strict(inner, root, seen=seen) for name, inner in made[key].items()}
    if isinstance(made.get("allOf"), list) and len(made["allOf"]) == 1:
        (only,) = made.pop("allOf")
        made = _strict({**only, **made}, root, seen=seen) if isinstance(only, Mapping) else made
    if isinstance(made.get("anyOf"), list):
        made["anyOf"] = [_strict(inner, root, seen=seen) for inner in made["anyOf"]]
    if isinstance(made.get("items"), Mapping):
        made["items"] = _strict(made["items"], root, seen=seen)
    if "properties" in made:
        made["required"] = list(made["properties"])
        made.setdefault("additionalProperties", False)
    return made


def _plain_decimal(node: Mapping[str, Any]) -> dict[str, Any]:
    """Return a node with text instead of a decimal: exact, with its digits as a pattern that strict mode takes."""
    if node.get("format") != "decimal":
        return dict(node)
    made = {key: value for key, value in node.items() if key not in _DECIMAL_KEYWORDS and key != "format"}
    whole, places = "+", "+"
    if "maxDigits" in node:
        whole = f"{{1,{max(1, node['maxDigits'] - node['decimalPlaces'])}}}"
        places = f"{{1,{node['decimalPlaces']}}}"
    fraction = "" if node.get("decimalPlaces") == 0 else rf"(\.[0-9]{places})?"
    return {**made, "type": "string", "pattern": f"^-?[0-9]{whole}{fraction}$"}


def _without_tuple(node: dict[str, Any]) -> dict[str, Any]:
    """Return a tuple of one type as a list of that length."""
    kinds = node.get("prefixItems")
    if not kinds or any(kind != kinds[0] for kind in kinds) or node.get("items"):
        return node
    if not node.get("minItems") == node.get("maxItems") == len(kinds):
        return node
    return {**{key: value for key, value in node.items() if key != "prefixItems"}, "items": kinds[0]}


def _described(node: dict[str, Any]) -> dict[str, Any]:
    """Return a node without the keywords that strict mode lacks; they are moved into the description."""
    dropped = {key: node.pop(key) for key in sorted(_DESCRIBED & node.keys())}
    strange = node.get("format") is not None and node.get("format") not in FORMATS and node.get("type") == "string"
    if strange:
        dropped["format"] = node.pop("format")
    if not dropped:
        return node
    note = ", ".join(f"{key}: {value}" for key, value in dropped.items())
    return {**node, "description": f"{node.get('description', '')} ({note})".strip()}


def resolved(ref: str, root: Mapping[str, Any]) -> Any:
    """
    Return the schema that a reference within a schema names, or None.

    :param ref: Value of ``$ref``.
    :param root: The whole schema.
    """
    if not (ref == "#" or ref.startswith("#/")):
        return None
    found: Any = root
    for part in ref[2:].split("/") if ref != "#" else ():
        key = unquote(part).replace("~1", "/").replace("~0", "~")
        found = found.get(key) if isinstance(found, Mapping) else None
    return found


def _walk(node: Any, change: Any) -> Any:
    if isinstance(node, list):
        return [_walk(item, change) for item in node]
    if isinstance(node, Mapping):
        return change({key: _walk(value, change) for key, value in node.items()})
    return node


def _nodes(node: Any, where: str) -> Iterator[tuple[Any, str]]:
    """Yield every schema within a schema, with its place."""
    yield node, where
    if not isinstance(node, Mapping):
        return
    for key in ("$defs", "definitions"):
        for name, inner in (node.get(key) or {}).items():
            yield from _nodes(inner, f"{where}.{key}.{name}".lstrip("."))
    for name, inner in (node.get("properties") or {}).items():
        yield from _nodes(inner, f"{where}.{name}".lstrip("."))
    for inner in node.get("anyOf") or ():
        yield from _nodes(inner, where)
    if "items" in node:
        yield from _nodes(node["items"], f"{where}[]")


def _levels(node: Any, root: Mapping[str, Any], refs: tuple[str, ...]) -> int:
    """Return how deeply objects and lists are nested; every reference is followed once."""
    if not isinstance(node, Mapping):
        return 0
    if isinstance(ref := node.get("$ref"), str):
        return 0 if ref in refs else _levels(resolved(ref, root), root, (*refs, ref))
    branches = max((_levels(branch, root, refs) for branch in node.get("anyOf") or ()), default=0)
    inner = [*(node.get("properties") or {}).values(), *([node["items"]] if "items" in node else [])]
    return max(branches, 1 + max(_levels(one, root, refs) for one in inner) if inner else 0)


def _node_problem(node: Any) -> str | None:
    if not isinstance(node, Mapping) or not any(key in node for key in _TYPES):
        return "it has no type"
    if strange := sorted(set(node) - _KEYWORDS):
        return f"strict mode does not take {', '.join(strange)}"
    if "$ref" in node and set(node) - {"$ref"}:
        return "a $ref is beside other keywords"
    if str(node.get("format", "date")) not in FORMATS:
        return f"strict mode does not take the format {node['format']!r}"
    if any(token in str(node.get("pattern", "")) for token in _LOOK_AROUND):
        return "strict mode does not take look-around in a pattern"
    if sum("$ref" in branch or "properties" in branch for branch in node.get("anyOf", ())) > 1:
        return "a union of objects, which strict mode refuses where their first members are the same"
    return _object_problem(node)


def _object_problem(node: Mapping[str, Any]) -> str | None:
    kinds = node.get("type")
    if "array" in (kinds if isinstance(kinds, list) else [kinds]) and "items" not in node:
        return "a list has no items"
    if "object" not in (kinds if isinstance(kinds, list) else [kinds]) and "properties" not in node:
        return None
    if node.get("additionalProperties") is not False:
        return "additionalProperties is not false"
    if set(node.get("properties") or ()) != set(node.get("required") or ()):
        return "not all members are required"
    return None


def _size_problem(schema: Mapping[str, Any], nodes: list[Any]) -> str | None:
    properties = [name for node in nodes for name in (node.get("properties") or {})]
    if len(properties) > MAX_PROPERTIES:
        return f"{len(properties):,} members, and strict mode takes {MAX_PROPERTIES:,}"
    enums = [list(node.get("enum") or ()) for node in nodes]
    values = [value for enum in enums for value in enum]
    if len(values) > MAX_ENUM_VALUES:
        return f"{len(values):,} enum values, and strict mode takes {MAX_ENUM_VALUES:,}"
    if any(len(enum) > LONG_ENUM_VALUES and _length(enum) > MAX_LONG_ENUM_LENGTH for enum in enums):
        return f"an enum of more than {LONG_ENUM_VALUES} values has more than {MAX_LONG_ENUM_LENGTH:,} characters"
    constants = [node["const"] for node in nodes if "const" in node]
    definitions = [*(schema.get("$defs") or ()), *(schema.get("definitions") or ())]
    if _length([*properties, *values, *constants, *definitions]) > MAX_NAMES_LENGTH:
        return f"names and enum values have more than {MAX_NAMES_LENGTH:,} characters"
    return None


def _length(values: list[Any]) -> int:
    return sum(len(str(value)) for value in values)
