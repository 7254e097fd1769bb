r"""
Cut bytes into lines at `\n`, and nowhere else.

`str.splitlines`, and with it an HTTP client's `iter_lines`, also cut at U+2028, U+2029, U+0085 and five more, which may
stand raw inside a JSON string: a row that was paid for would become two halves that nobody can read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import IO

#: Bytes read at once. Larger blocks are slower: fresh memory costs more than the calls that it saves.
READ_BYTES = 1 << 20


def split_lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    r"""
    Yield the lines of a stream of bytes that was cut anywhere, without their `\n`.

    The last line may lack its `\n`. Blank lines are yielded too: callers count offsets by them.
    """
    pending: list[bytes] = []
    for chunk in chunks:
        first, *rest = chunk.split(b"\n")
        pending.append(first)
        if rest:
            yield b"".join(pending)
            yield from rest[:-1]
            pending = [rest[-1]]
    if last := b"".join(pending):
        yield last


def lines_with_offsets(file: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """Yield (offset in bytes, line without its line end) for the lines of a file that are not blank."""
    offset = 0
    for line in file:  # a binary file iterates by b"\n" alone
        text = line.rstrip(b"\r\n")
        if text and not text.isspace():
            yield offset, text
        offset += len(line)
