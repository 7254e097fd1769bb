r"""
CSV with an escape character, usually a backslash, before quotes instead of doubled quotes: as Spark, MySQL and Hive
write it.

Within quotes, the escape makes a quote, itself, the delimiter or a line break a plain character. Where nothing is
quoted it does the same in every field, and a letter after it is a control character (``\n`` a line break, ``\t`` a
tab). In a file with quoted fields, writers differ in what an escape means in a field without quotes; there the option
has to state it where it matters. An escape before any other character is an error: one of two readers would lose a
character.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NoReturn

from airflow_provider_batch.arrow.utf8 import shortened
from airflow_provider_batch.exceptions import SourceError
from airflow_provider_batch.sources.files.formats import InputFormat, option_text
from airflow_provider_batch.sources.files.text_streams import READ_BYTES, ByteStream

#: Bytes of the longest field.
MAX_FIELD_BYTES = 16 << 20
#: Letter after the escape → control character, where nothing is quoted.
_LETTERS = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b"b": b"\b", b"f": b"\f", b"v": b"\v", b"0": b"\0"}
_LINE_BREAKS = (b"\n", b"\r", b"\r\n")
_QUOTES = (b'"', b"'")

Field = bytes | None


class EscapedCsv:
    """
    Parser of CSV records with an escape character.

    :param form: Format with an escape.
    :param delimiter: The character between fields.
    :param uri: URI of the file, for messages.
    :param is_strict: For a check of the dialect only: values are not checked, and a doubled quote ends a field, because
        no writer uses both forms.
    """

    def __init__(self, form: InputFormat, delimiter: str, uri: str, *, is_strict: bool = False) -> None:
        self._uri, self._is_strict = uri, is_strict
        self._quote, self._escape, self._delimiter = (
            character.encode() for character in (form.quote, form.escape or "", delimiter)
        )
        self._nulls = frozenset(text.encode() for text in form.null_values or ("",))
        self._asks_for_nulls = form.null_values is None and not is_strict
        self._escapes_everywhere = not form.quote or form.escape_unquoted is True
        self._is_unstated = bool(form.quote) and form.escape_unquoted is None
        quote, escape, cut = map(re.escape, (self._quote, self._escape, self._delimiter))
        doubled = b"" if is_strict else rb"|%b%b" % (quote, quote)
        quoted = rb"%b((?:[^%b%b]++|%b.%b)*+)%b" % (quote, quote, escape, escape, doubled, quote)
        plain = (
            rb"(?:[^%b\r\n%b]++|%b(?:\r\n|.))*+" % (cut, escape, escape)
            if self._escapes_everywhere
            else rb"[^%b\r\n]*+" % cut
        )
        end = rb"(%b|\r\n|\n|\r|\Z)" % cut
        either = rb"(?:%b|(?!%b)(%b))" % (quoted, quote, plain) if quote else rb"(?:(?!)()|(%b))" % plain
        self._closed = re.compile(quoted, re.DOTALL)
        self._either = re.compile(either + end, re.DOTALL)
        following = rb"%b(\r\n|.|\Z)" % escape
        self._sequences = re.compile(following + (rb"|%b%b" % (quote, quote) if quote else b""), re.DOTALL)
        self._escapable = {self._escape, self._delimiter, *_LINE_BREAKS, *([self._quote] if self._quote else _QUOTES)}

    def records(self, stream: ByteStream) -> Iterator[tuple[int, list[Field]]]:
        """
        Yield each record as (line where it starts, fields); blank lines are left out.

        :param stream: Stream of UTF-8.
        :raises SourceError: The stream has no valid record; names the line.
        """
        buffer, position, ended = b"", 0, False
        self.line = line = 1
        record: list[Field] = []
        while True:
            match = self._either.match(buffer, position)
            # At the end of a chunk, the next chunk may continue the field or its line break.
            if match is None or (match.end() == len(buffer) and not ended):
                self._check_open(buffer, position, is_end=ended)
                more = stream.read(READ_BYTES)
                buffer, position, ended = buffer[position:] + more, 0, not more
                continue
            quoted, plain, end = match.groups()
            if not end and not record and match.end() == position:
                return
            position = match.end()
            record.append(self._value(plain) if quoted is None else self._unescaped(quoted))
            self.line += _line_breaks(plain if quoted is None else quoted)
            if end == self._delimiter:
                continue
            self.line += 1
            if len(record) > 1 or quoted is not None or plain:
                yield line, record
            if not end:
                return
            record, line = [], self.line

    def _check_open(self, buffer: bytes, position: int, *, is_end: bool) -> None:
        """Raise SourceError where more bytes cannot complete the field."""
        closed = self._closed.match(buffer, position) if self._quote else None
        if closed is not None and closed.end() + 1 < len(buffer):
            after = buffer[closed.end() : closed.end() + 2]
            if not after.startswith((self._delimiter, b"\r", b"\n")):
                found = after.decode("utf-8", "ignore")
                cut = self._delimiter.decode()
                self._refuse(f"expected {cut!r} or a line break after the closing quote, found {found!r}.")
        if is_end:
            self._refuse("expected a quote that closes the one in this row, found the end of the file.")
        if len(buffer) - position > MAX_FIELD_BYTES:
            self._refuse(f"expected fields of at most {MAX_FIELD_BYTES >> 20} MB. Is a quote missing?")

    def _value(self, raw: bytes) -> Field:
        """Return the value of a field without quotes."""
        if raw in self._nulls:
            return None
        if self._escape not in raw:
            return raw
        if self._asks_for_nulls and raw == self._escape + b"N":
            problem = f"found a field {raw.decode()}, which MySQL, Hive and PostgreSQL write for null."
            null, text = option_text("null_values", [raw.decode()]), option_text("null_values", [""])
            self._refuse(f"{problem} Give {null}, or {text} if it is text.")
        if self._escapes_everywhere:
            return self._unescaped(raw)
        if self._is_unstated and self._is_ambiguous(raw):
            escapes, is_text = (option_text("escape_unquoted", flag) for flag in (True, False))
            self._refuse(
                f"found {self._shown(raw)} without quotes, where writers use the escape character in different ways. "
                f"Give {escapes} if it is an escape there too (Python, MySQL), or {is_text} if it is text (Spark)."
            )
        return raw

    def _is_ambiguous(self, raw: bytes) -> bool:
        following = {match[1] for match in self._sequences.finditer(raw) if match[1] is not None}
        return bool(following & (self._escapable | {b""}))

    def _unescaped(self, raw: bytes) -> bytes:
        doubled = bool(self._quote) and self._quote * 2 in raw
        if self._escape not in raw:
            return raw.replace(self._quote * 2, self._quote) if doubled else raw
        before_quote = self._escape + self._quote
        if self._quote and not doubled and raw.count(self._escape) == raw.count(before_quote):
            return raw.replace(before_quote, self._quote)
        return self._sequences.sub(self._meant, raw)

    def _meant(self, match: re.Match[bytes]) -> bytes:
        following = match[1]
        if following is None:
            return self._quote
        if following in self._escapable or self._is_strict:
            return following
        if self._quote or following not in _LETTERS:
            self._refuse_escape(match[0])
        return _LETTERS[following]

    def _refuse_escape(self, found: bytes) -> NoReturn:
        self._refuse(
            f"found {found.decode('utf-8', 'replace')!r}: expected a quote, the delimiter, a line break or another "
            f"{self._escape.decode()!r} after it. If it escapes nothing in this file, give {option_text('escape', '')}."
        )

    def _shown(self, raw: bytes) -> str:
        return repr(shortened(raw.decode("utf-8", "replace")))

    def _refuse(self, problem: str) -> NoReturn:
        raise SourceError(problem, file=self._uri, line=self.line)


def _line_breaks(raw: bytes) -> int:
    if b"\n" not in raw and b"\r" not in raw:
        return 0
    return raw.count(b"\n") + raw.count(b"\r") - raw.count(b"\r\n")
