"""Placeholders in a text: braces with a column between them, with or without a form that its value is converted to."""

from __future__ import annotations

import re
from typing import NamedTuple

import pyarrow as pa

from airflow_provider_batch.exceptions import TemplateError
from airflow_provider_batch.requests.templates.conversions import FORMS
from airflow_provider_batch.sources.column_paths import NAME, Columns, columns_hint

_BRACES = re.compile(r"\{([^{}]+)\}")
_FORM = re.compile(r"(.+):([A-Za-z]+)")
#: Format specifications of Python such as `:.2f`, `:>10`, `!r`; templates do not have them.
_PYTHON = re.compile(r"([^:!]+)(?::(?=.))?((?<=:)[<>=^+-]?\d*[,_]?(?:\.\d+)?[a-zA-Z%]?|![rsa](?::.*)?)")


class Reference(NamedTuple):
    """
    A placeholder.

    :param path: Column name, then the names of fields within its struct.
    :param form: What the value is converted to, a key of `FORMS`; None leaves it as it is.
    """

    path: tuple[str, ...]
    form: str | None = None


def scan(text: str, columns: Columns, where: str) -> list[str | Reference]:
    """
    Return the parts of a text: literal text, and its placeholders.

    :param text: Text of a template.
    :param columns: Columns of the source.
    :param where: Place in the template, for messages.
    :raises TemplateError: A placeholder names no column or no form.
    """
    pieces: list[str | Reference] = []
    end = 0
    for match in _BRACES.finditer(text):
        inner = match[1]
        if text[: match.start()].endswith("{") and text[match.end() :].startswith("}"):
            _refuse_doubled(inner, columns, where)
        piece = _piece(inner, columns, where)
        if piece is not None:
            pieces += [text[end : match.start()], piece]
            end = match.end()
    pieces.append(text[end:])
    return [piece for piece in pieces if piece]


def _piece(inner: str, columns: Columns, where: str) -> str | Reference | None:
    """Return the meaning of a pair of braces: a placeholder, or text; None where the braces are text themselves."""
    found = _reference(inner, columns)
    if found is not None:
        return found
    if inner[0] == "!" and (_is_named(inner[1:], columns) or _spaced(inner[1:], columns)):
        return f"{{{inner[1:]}}}"
    name, form = _divided(inner)
    if form is not None and form not in FORMS and columns.known and columns.find(name) is not None:
        forms = ", ".join(f"{{{name}:{known}}}" for known in FORMS)
        raise TemplateError(
            f"{where}: {{{inner}}} has no form '{form}'. Write one of {forms}, or {{!{inner}}} for the text."
        )
    if NAME.fullmatch(inner) or (form in FORMS and NAME.fullmatch(name)):
        raise TemplateError(f"{where}: {{{inner}}} {_no_such(name, columns, inner)}")
    if _spaced(inner, columns):
        raise TemplateError(f"{where}: write {{{inner.strip()}}} for the column, found {{{inner}}}.")
    return None


def _reference(inner: str, columns: Columns) -> Reference | None:
    """Return the column and the form between braces; an exact column name goes before a name with a form."""
    path = columns.find(inner)
    if path is not None:
        return Reference(path)
    name, form = _divided(inner)
    path = columns.find(name) if form in FORMS else None
    return None if path is None else Reference(path, form)


def _divided(inner: str) -> tuple[str, str | None]:
    match = _FORM.fullmatch(inner) or _PYTHON.fullmatch(inner)
    return (inner, None) if match is None else (match[1], match[2])


def _is_named(inner: str, columns: Columns) -> bool:
    """Return whether a text looks like a placeholder, so that an exclamation mark before it makes it literal text."""
    name, _ = _divided(inner)
    return NAME.fullmatch(name) is not None or columns.find(inner) is not None or columns.find(name) is not None


def _spaced(inner: str, columns: Columns) -> bool:
    """Return whether a text is a column with white space around its name, which is an error."""
    stripped = inner.strip()
    return columns.known and stripped != inner and _reference(stripped, columns) is not None


def _refuse_doubled(inner: str, columns: Columns, where: str) -> None:
    name = inner.strip()
    if columns.known and _reference(name, columns) is not None:
        raise TemplateError(
            f"{where}: write {{{name}}} for the column, found {{{{{inner}}}}}. "
            f"Double braces are Airflow's, which knows no columns; for the literal text write {{{{!{inner}}}}}."
        )


def _no_such(name: str, columns: Columns, inner: str) -> str:
    literal = f"For the literal text write {{!{inner}}}."
    head, dot, _ = name.partition(".")
    index = columns.schema.get_field_index(head)
    if dot and index >= 0:
        kind = columns.schema.field(index).type
        if not pa.types.is_struct(kind):
            return f"names a field of column '{head}', which is {kind} and no struct. {literal}"
        fields = [field.name for field in kind]
        return f"is no field of column '{head}'. Its fields are: {', '.join(fields)}. {literal}"
    return f"is not a column. {columns_hint(name, columns.schema.names)} {literal}"
