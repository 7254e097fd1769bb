"""
Compiling templates: a request body, or the text of a ``custom_id``, becomes a `Template`.

Keys and literal texts are encoded once, here. A value of the template that has no JSON form, or that the endpoint does
not accept in its place, is an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from airflow_provider_batch.arrow.values import is_number_without_json, to_json, unsupported_type
from airflow_provider_batch.exceptions import TemplateError
from airflow_provider_batch.requests.accepted_values import Accepted, misfit, shown
from airflow_provider_batch.requests.templates.json_escaping import encode
from airflow_provider_batch.requests.templates.placeholders import Reference, scan
from airflow_provider_batch.requests.templates.template import Part, Slot, Template
from airflow_provider_batch.sources.column_paths import Columns


def compile_body(
    body: Mapping[str, Any],
    columns: Columns,
    *,
    null_text: str | None = None,
    verbatim: Mapping[str, Any] | None = None,
    accepts: Accepted | None = None,
) -> Template:
    """
    Compile the template of a request body.

    :param body: Template of the body.
    :param columns: Columns of the source.
    :param null_text: Text for a null inside a longer text; None makes it an error.
    :param verbatim: Members that are added to the body, or replace its own; their texts are not templates. Where both
        have an object, its members are joined. None means none.
    :param accepts: Values that the endpoint accepts as a body; None checks nothing.
    :raises TemplateError: A placeholder names no column, or a value has no JSON form or is not accepted by the
        endpoint; names the place in the body.
    """
    return Template(_joined_members(body, verbatim or {}, columns, "body", accepts, is_top=True), null_text)


def _joined_members(
    body: Mapping[str, Any],
    fixed: Mapping[str, Any],
    columns: Columns,
    where: str,
    accepts: Accepted | None,
    *,
    is_top: bool,
) -> list[Part]:
    members = {} if accepts is None else accepts.members({**body, **fixed})
    parts: list[Part] = [b"{"]
    for index, key in enumerate({**body, **fixed}):
        place, given, added = f"{where}.{key}", body.get(key), fixed.get(key)
        parts.append((b"," if index else b"") + _key(key, where) + b":")
        if isinstance(given, Mapping) and isinstance(added, Mapping):
            parts.extend(_joined_members(given, added, columns, place, members.get(key), is_top=False))
        elif key in fixed:
            parts.append(_static(added, place))
        else:
            parts.extend(_node(given, columns, place, key if is_top else None, members.get(key)))
    return [*parts, b"}"]


def compile_text(text: str, columns: Columns, where: str, *, null_text: str | None = None) -> Template:
    """
    Compile a template whose result is a text, such as ``custom_id``; its parts are UTF-8, not JSON.

    :param text: The template.
    :param columns: Columns of the source.
    :param where: Name of the argument, for messages.
    :param null_text: Text for a null; None makes it an error.
    :raises TemplateError: The template is not text, or a placeholder names no column.
    """
    if not isinstance(text, str):
        raise TemplateError(f"{where}: expected a text, found {type(text).__name__}.")
    found = scan(text, columns, where)
    parts = [_utf8(piece, where) if isinstance(piece, str) else _within(piece) for piece in found]
    return Template(parts or [b""], null_text)


def _within(piece: Reference) -> Slot:
    return Slot(piece.path, alone=False, form=piece.form)


def _node(value: Any, columns: Columns, where: str, member: str | None, accepts: Accepted | None) -> Iterable[Part]:
    """Yield the parts of a value of the body, at any depth."""
    if isinstance(value, str):
        yield from _text(value, columns, where, member, accepts)
    elif isinstance(value, Mapping):
        _check_kind(accepts, {}, where)
        members = {} if accepts is None else accepts.members(value)
        yield b"{"
        for index, (key, item) in enumerate(value.items()):
            yield (b"," if index else b"") + _key(key, where) + b":"
            yield from _node(item, columns, f"{where}.{key}", None, members.get(key))
        yield b"}"
    elif isinstance(value, list | tuple):
        _check_kind(accepts, [], where)
        items = None if accepts is None else accepts.items
        texts = None if items is None else msgspec.structs.replace(items, kinds=items.kinds.replace("i", ""))
        yield b"["
        for index, item in enumerate(value):
            yield b"," if index else b""
            # The API would read a whole number beside texts as a token; tokens of a column are whole lists.
            accepted = texts if isinstance(item, str) and items is not None and "s" in items.kinds else items
            yield from _node(item, columns, f"{where}[{index}]", None, accepted)
        yield b"]"
    else:
        _check_kind(accepts, value, where)
        yield _static(value, where)


def _text(text: str, columns: Columns, where: str, member: str | None, accepts: Accepted | None) -> Iterable[Part]:
    pieces = scan(text, columns, where)
    found = [piece for piece in pieces if isinstance(piece, Reference)]
    for piece in found:
        _check_form(piece, columns, where)
    if len(pieces) == 1 and found:
        place = where.removeprefix("body.")
        yield Slot(found[0].path, alone=True, member=member, form=found[0].form, where=place, accepts=accepts)
        return
    _check_kind(accepts, text, where)
    yield b'"'
    for part in pieces:
        yield _utf8(part, where, encode)[1:-1] if isinstance(part, str) else _within(part)
    yield b'"'


def _check_kind(accepts: Accepted | None, value: Any, where: str) -> None:
    """Raise TemplateError where the endpoint does not accept a value of the template in its place."""
    if accepts is None or misfit(Accepted(accepts.kinds), value) is None:
        return
    given = "an object" if value == {} else "an array" if value == [] else shown(value)
    more = ""
    if isinstance(value, str) and value:
        more = " Airflow renders templates as text, unless the DAG has render_template_as_native_obj=True."
        if "{" in value:
            more = " A column inside a longer text is text; alone it can be converted: {column:number}."
    raise TemplateError(f"{where}: expected {accepts.called}, found {given}.{more}")


def _check_form(piece: Reference, columns: Columns, where: str) -> None:
    if (kind := unsupported_type(columns.type_of(piece.path))) is not None:
        raise TemplateError(f"{where}: a value of type {kind} has no JSON form.", column=".".join(piece.path))


def _static(value: Any, where: str) -> bytes:
    if is_number_without_json(value):
        raise TemplateError(f"{where}: expected a JSON value, found {value}.")
    try:
        return to_json(value)
    except (TypeError, UnicodeEncodeError) as error:
        raise TemplateError(f"{where}: expected a JSON value, found {type(value).__name__} ({error}).") from error


def _key(key: Any, where: str) -> bytes:
    if not isinstance(key, str):
        raise TemplateError(f"{where}: expected text as a key, found {key!r}.")
    return _utf8(key, where, encode)


def _utf8(text: str, where: str, form: Callable[[str], bytes] = str.encode) -> bytes:
    try:
        return form(text)
    except UnicodeEncodeError as error:
        raise TemplateError(f"{where}: expected text, found half of a surrogate pair ({error}).") from error
