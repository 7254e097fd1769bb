r"""
Split bytes into lines at `\n` only.

`str.splitlines`, and the `iter_lines` of HTTP clients, also split at U+2028, U+2029, U+0085 and five other characters,
which JSON strings can contain unescaped: they would split a paid result line into two unreadable halves.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from mmap import mmap

#: Bytes of one read. Larger blocks are slower: allocating new memory costs more than the saved calls.
READ_BYTES = 1 << 20


def blocks_of_lines(descriptor: int, mapped: mmap | None = None) -> Iterator[tuple[int, bytes | mmap]]:
    r"""
    Yield the blocks of an open file, each with its offset in bytes; every line is complete in one block.

    The bytes after the last `\n` of a block belong to the next block. If the last line of the file has no `\n`, one is
    added to its block.

    :param descriptor: Descriptor of the open file.
    :param mapped: The same file, memory-mapped: it is one block, except a last line without `\n`. None to read blocks.
    """
    offset, size, seen = 0, READ_BYTES, 0
    if mapped is not None:
        yield 0, mapped
        offset = mapped.rfind(b"\n") + 1
    while block := os.pread(descriptor, size, offset):
        end = block.rfind(b"\n") + 1
        if end:
            yield offset, block
            offset, size, seen = offset + end, READ_BYTES, 0
        elif len(block) > seen:
            size, seen = 2 * size, len(block)  # a line longer than the block, or the last line
        else:
            yield offset, block + b"\n"
            return
