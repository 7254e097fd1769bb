"""
How the files of a source are written, where their names and contents do not say it: `format` and `format_options`.

The defaults are UTF-8, commas, double quotes that are doubled inside a field, a header line, and null for an empty
field without quotes. A file that looks different is an error that names the option to give.
"""

from __future__ import annotations

import codecs
import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from airflow_provider_batch.exceptions import ConfigurationError

#: The formats of files, and the options that each has.
OPTIONS: Mapping[str, tuple[str, ...]] = {
    "csv": ("delimiter", "encoding", "quote", "escape", "escape_unquoted", "null_values", "header"),
    "tsv": ("delimiter", "encoding", "quote", "escape", "escape_unquoted", "null_values", "header"),
    "jsonl": ("encoding",),
    "parquet": (),
}
#: Delimiter of a format where none is stated.
DELIMITERS = {"csv": ",", "tsv": "\t"}
#: Notation of a character that a template or a shell cannot hold → the character.
_WRITTEN = {"\\t": "\t", "tab": "\t", "\\x01": "\x01", "\\001": "\x01"}
_ALL = tuple(dict.fromkeys(name for names in OPTIONS.values() for name in names))


@dataclass(frozen=True)
class InputFormat:
    """
    The format of a source's files, as far as the user has stated it.

    :param name: ``csv``, ``tsv``, ``jsonl`` or ``parquet``; None means that the file names say it.
    :param encoding: Name of a Python codec; None means UTF-8.
    :param delimiter: One ASCII character; None means the format's own.
    :param quote: One ASCII character; an empty text means that nothing is quoted.
    :param escape: The character before a quote within a quoted field, or before a delimiter where nothing is quoted. An
        empty text states that there is none; None means not stated.
    :param escape_unquoted: Whether fields without quotes have escapes too; None means not stated.
    :param null_values: Values of fields without quotes that are null; None means the empty field.
    :param header: Whether the first line has the names of the columns; or the names, for files without a header line.
    """

    name: str | None = None
    encoding: str | None = None
    delimiter: str | None = None
    quote: str = '"'
    escape: str | None = None
    escape_unquoted: bool | None = None
    null_values: tuple[str, ...] | None = None
    header: bool | tuple[str, ...] = True

    @classmethod
    def of(cls, name: str | None = None, options: Mapping[str, Any] | None = None) -> InputFormat:
        """
        Return the format that a user's arguments state.

        :param name: Name of the format; None means that the file names say it.
        :param options: Name of an option → its value; None means no options.
        :raises ConfigurationError: An option does not exist, or has a value that is not allowed.
        """
        kind = _format(name)
        given: Any = options or {}
        if not isinstance(given, Mapping):
            raise ConfigurationError(f"format_options: expected a mapping, found {type(given).__name__} {given!r}.")
        allowed = _ALL if kind is None else OPTIONS[kind]
        for option in given:
            if option not in allowed:
                raise ConfigurationError(f"format_options: {_no_such(option, allowed, kind)}")
        read: dict[str, Any] = {option: _READ[option](option, value) for option, value in given.items()}
        found = cls(kind, **read)
        if found.escape and found.escape == found.quote:  # another way to say that quotes are doubled
            found = replace(found, escape="")
        _check_characters(found)
        return found

    @property
    def is_stated(self) -> bool:
        """Whether anything was stated."""
        return self != InputFormat()

    def text(self) -> str:
        """Return the stated options as JSON, for the fingerprint of a job."""
        defaults = asdict(InputFormat())
        stated = {name: value for name, value in asdict(self).items() if value != defaults[name]}
        return json.dumps(stated, sort_keys=True)

    def check_no_file(self) -> None:
        """
        Check that nothing was stated, for a source of rows or a query.

        :raises ConfigurationError: The format or an option was stated.
        """
        if self.is_stated:
            raise ConfigurationError("format and format_options are for files, and the source is not a file.")

    def check_fits(self, kind: str) -> None:
        """
        Check that files of a format have the stated options.

        :param kind: Name of the format.
        :raises ConfigurationError: The format does not have an option.
        """
        stated: dict[str, Any] = json.loads(self.text())
        for option in stated:
            if option != "name" and option not in OPTIONS[kind]:
                raise ConfigurationError(f"format_options: {_no_such(option, OPTIONS[kind], kind)}")


def option_text(option: str, value: Any) -> str:
    """
    Return an option as a user writes it in a DAG or on the command line.

    :param option: Name of the option.
    :param value: Value of the option.
    """
    return f"format_options={{{json.dumps(option)}: {json.dumps(value)}}}"


def _format(name: Any) -> str | None:
    if name in (None, "", "None"):  # a template gives text
        return None
    if name not in OPTIONS:
        raise ConfigurationError(f"format: expected one of {', '.join(OPTIONS)}, found {name!r}.")
    return str(name)


def _no_such(option: Any, allowed: Sequence[str], kind: str | None) -> str:
    if not allowed:
        return f"files of format {kind} have no options, found {option!r}."
    close = difflib.get_close_matches(str(option), allowed, n=1)
    meant = f" Did you mean '{close[0]}'?" if close else ""
    of = "" if kind is None else f" of format {kind}"
    return f"no option {option!r}{of}.{meant} The options are: {', '.join(allowed)}."


def _character(option: str, value: Any) -> str:
    text = _WRITTEN.get(value, value) if isinstance(value, str) else value
    if not isinstance(text, str) or len(text) != 1 or not text.isascii() or text in "\r\n\0":
        raise ConfigurationError(f"format_options: {option}: expected one ASCII character, found {value!r}.")
    return text


def _character_or_none(option: str, value: Any) -> str:
    return "" if value in (None, "", False) else _character(option, value)


def _encoding(option: str, value: Any) -> str:
    try:
        codec = codecs.lookup(value)
        "".encode(value)
    except (LookupError, TypeError, UnicodeError) as error:
        problem = f"expected the name of a Python codec, such as 'utf-8', 'cp1252' or 'utf-16', found {value!r}"
        raise ConfigurationError(f"format_options: {option}: {problem} ({error}).") from error
    return codec.name


def _flag(option: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise ConfigurationError(f"format_options: {option}: expected true or false, found {value!r}.")
    return value


def _texts(option: str, value: Any) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, Sequence) or not all(isinstance(item, str) for item in value):
        raise ConfigurationError(f"format_options: {option}: expected a list of texts, found {value!r}.")
    return tuple(value)


def _header(option: str, value: Any) -> bool | tuple[str, ...]:
    if isinstance(value, bool):
        return value
    if not isinstance(value, list | tuple):
        raise ConfigurationError(
            f"format_options: {option}: expected true, false, or a list with the names of the columns of files "
            f"without a header line, found {value!r}."
        )
    names = _texts(option, value)
    if not names or len(set(names)) < len(names):
        raise ConfigurationError(f"format_options: {option}: expected names that differ, found {value!r}.")
    return names


_READ = {
    "delimiter": _character,
    "encoding": _encoding,
    "quote": _character_or_none,
    "escape": _character_or_none,
    "escape_unquoted": _flag,
    "null_values": _texts,
    "header": _header,
}


def _check_characters(found: InputFormat) -> None:
    for option, character in (("quote", found.quote), ("escape", found.escape)):
        if character and character == (found.delimiter or DELIMITERS.get(found.name or "csv")):
            raise ConfigurationError(f"format_options: {option}: {character!r} is the delimiter.")
    for value in found.null_values or ():
        if found.escape and found.escape in value and not (len(value) == 2 and value[0] == found.escape):
            raise ConfigurationError(
                f"format_options: null_values: {value!r} contains the escape character. Only a value of two "
                f"characters, such as {found.escape + 'N'!r}, may begin with it."
            )
