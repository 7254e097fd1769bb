r"""
Cut bytes into lines at `\n`, and nowhere else.

`str.splitlines`, and with it an HTTP client's `iter_lines`, also cut at U+2028, U+2029, U+0085 and five more, which may
stand raw inside a JSON string: a row that was paid for would become two halves that nobody can read.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from mmap import mmap
from typing import TypeAlias

#: A result line; a view where its file is mapped.
ResultLine: TypeAlias = bytes | memoryview

#: Bytes read at once. Larger blocks are slower: fresh memory costs more than the calls that it saves.
READ_BYTES = 1 << 20


def blocks_of_lines(descriptor: int, mapped: mmap | None = None) -> Iterator[tuple[int, bytes | mmap]]:
    r"""
    Yield (offset in bytes, block) of an open file, cut so that each line stands whole in one block.

    What follows the last `\n` of a block is the beginning of the next one. The file's last line may lack its `\n`; in
    the block it has one.

    :param mapped: The file, where it is mapped: then it is one block, but for a last line without `\n`.
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
            size, seen = 2 * size, len(block)  # a longer line, or the last one
        else:
            yield offset, block + b"\n"
            return
