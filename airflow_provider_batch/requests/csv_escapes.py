r"""
CSV in which a character, mostly a backslash, stands before a quote instead of a second quote: as Spark, MySQL and Hive
write it.

Within quotes the escape takes a quote, itself, the delimiter or a line break as it is. Where nothing is quoted it does
the same for every field, and a letter after it is a control character (``\n`` a line break, ``\t`` a tab). Writers
differ in what an escape means in a field without quotes beside fields with them, so that has to be stated where it
matters; and an escape before anything else is an error: one of two readers would lose a character.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NoReturn

from airflow_provider_batch.exceptions import SourceError
from airflow_provider_batch.requests.formats import InputFormat, shown
from airflow_provider_batch.requests.text_files import READ_BYTES, ByteStream

#: Bytes of the longest field.
MAX_FIELD_BYTES = 16 << 20
#: What a letter after the escape means where nothing is quoted.
_LETTERS = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b"b": b"\b", b"f": b"\f", b"v": b"\v", b"0": b"\0"}
_LINE_BREAKS = (b"\n", b"\r", b"\r\n")
_QUOTES = (b'"', b"'")

Field = bytes | None


class EscapedCsv:
    """
    Reads records from a stream of UTF-8.

    :param form: A format with an escape.
    :param uri: The file's, for messages.
    :param is_strict: Whether the text of a field does not matter, but a doubled quote ends it: no writer has both.
    """

    def __init__(self, form: InputFormat, delimiter: str, uri: str, *, is_strict: bool = False) -> None:
        self._uri, self._is_strict = uri, is_strict
        self._quote, self._escape, self._delimiter = (
            character.encode() for character in (form.quote, form.escape or "", delimiter)
        )
        self._nulls = frozenset(text.encode() for text in form.null_values or ("",))
        self._in_all = not form.quote or form.escape_unquoted is True
        self._undecided = bool(form.quote) and form.escape_unquoted is None
        quote, escape, cut = map(re.escape, (self._quote, self._escape, self._delimiter))
        doubled = b"" if is_strict else rb"|%b%b" % (quote, quote)
        within = rb"((?:[^%b%b]++|%b.%b)*+)" % (quote, escape, escape, doubled)
        self._quoted = re.compile(quote + within + quote, re.DOTALL)
        plain = rb"(?:[^%b\r\n%b]++|%b(?:\r\n|.))*+" % (cut, escape, escape) if self._in_all else rb"[^%b\r\n]*+" % cut
        self._plain = re.compile(plain, re.DOTALL)
        either = rb"%b(\r\n|.|\Z)" % escape
        self._marks = re.compile(either + (rb"|%b%b" % (quote, quote) if quote else b""), re.DOTALL)
        self._taken = {self._escape, self._delimiter, *_LINE_BREAKS, *([self._quote] if self._quote else _QUOTES)}

    def records(self, stream: ByteStream) -> Iterator[tuple[int, list[Field]]]:
        """Give (line it starts on, fields) of each record; blank lines are none."""
        self._stream, self._buffer, self._position, self._ended = stream, b"", 0, False
        self.line = line = 1
        record: list[Field] = []
        while True:
            field, raw = self._field()
            end = self._end()
            if not end and not record and not raw:
                return
            record.append(field)
            self.line += _line_breaks(raw)
            if end == self._delimiter:
                continue
            self.line += 1
            if len(record) > 1 or raw:
                yield line, record
            if not end:
                return
            record, line = [], self.line

    def _field(self) -> tuple[Field, bytes]:
        """Return the next field's value and its bytes, once what ends it was read."""
        while True:
            is_quoted = bool(self._quote) and self._buffer.startswith(self._quote, self._position)
            match = (self._quoted if is_quoted else self._plain).match(self._buffer, self._position)
            # A line break may have two bytes: the field has ended for certain where two more are there.
            if match is not None and (self._ended or match.end() + 2 <= len(self._buffer)):
                self._position = match.end()
                raw: bytes = match[0]
                return (self._unescaped(match[1]) if is_quoted else self._value(raw)), raw
            if self._ended:
                self._refuse("expected a quote that closes the one in this row, found the end of the file.")
            self._fill()

    def _fill(self) -> None:
        if len(self._buffer) - self._position > MAX_FIELD_BYTES:
            self._refuse(f"expected fields of at most {MAX_FIELD_BYTES >> 20} MB. Is a quote missing?")
        more = self._stream.read(READ_BYTES)
        self._buffer, self._position = self._buffer[self._position :] + more, 0
        self._ended = not more

    def _end(self) -> bytes:
        """Take what ends a field: the delimiter, a line break, or nothing at the end of the file."""
        rest = self._buffer[self._position : self._position + 2]
        end = next((end for end in (self._delimiter, b"\r\n", b"\n", b"\r") if rest.startswith(end)), b"")
        if not end and rest:
            found = rest.decode("utf-8", "ignore")
            self._refuse(
                f"expected {self._delimiter.decode()!r} or a line break after the closing quote, found {found!r}."
            )
        self._position += len(end)
        return end

    def _value(self, raw: bytes) -> Field:
        """Return the value of a field without quotes."""
        if raw in self._nulls:
            return None
        if self._escape not in raw:
            return raw
        if self._in_all:
            return self._unescaped(raw)
        if self._undecided and self._is_ambiguous(raw):
            told = " or ".join(shown("escape_unquoted", flag) for flag in (True, False))
            self._refuse(
                f"found {self._shown(raw)} without quotes, where writers mean different things by the escape. "
                f"Give {told}: whether it is an escape there too (Python, MySQL), or text (Spark)."
            )
        return raw

    def _is_ambiguous(self, raw: bytes) -> bool:
        following = {match[1] for match in self._marks.finditer(raw) if match[1] is not None}
        return bool(following & (self._taken | {b""}))

    def _unescaped(self, raw: bytes) -> bytes:
        if self._escape not in raw and (not self._quote or self._quote not in raw):
            return raw
        return self._marks.sub(self._meant, raw)

    def _meant(self, match: re.Match[bytes]) -> bytes:
        following = match[1]
        if following is None:
            return self._quote
        if following in self._taken or self._is_strict:
            return following
        if self._quote or following not in _LETTERS:
            self._refuse_escape(match[0])
        return _LETTERS[following]

    def _refuse_escape(self, found: bytes) -> NoReturn:
        self._refuse(
            f"found {found.decode('utf-8', 'replace')!r}: expected a quote, the delimiter, a line break or another "
            f"{self._escape.decode()!r} after it. If it escapes nothing in this file, give {shown('escape', '')}."
        )

    def _shown(self, raw: bytes) -> str:
        text = raw.decode("utf-8", "replace")
        return repr(text if len(text) <= 60 else f"{text[:57]}...")

    def _refuse(self, problem: str) -> NoReturn:
        raise SourceError(problem, file=self._uri, line=self.line)


def _line_breaks(raw: bytes) -> int:
    return raw.count(b"\n") + raw.count(b"\r") - raw.count(b"\r\n")
