"""
Texts as the insides of JSON strings.

Texts of Python are encoded by msgspec, all at once. A column of Arrow is escaped where it stands, without becoming
Python objects and mostly without the interpreter's lock: only the characters that it holds are replaced. What stands
for each is taken from msgspec, so that both give the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from airflow_provider_batch.arrow.arrays import binary_array

_ENCODER = msgspec.json.Encoder()
#: A text as JSON.
encode: Callable[[str], bytes] = _ENCODER.encode

#: Character → what stands for it. All are ASCII, and the backslash is the first: what is replaced later holds some.
ESCAPES = {
    character: escape
    for character in ("\\", *map(chr, range(ord("\\"))))
    if (escape := encode(character)[1:-1].decode("ascii")) != character
}
_OTHERS = bytes(set(range(256)) - set(map(ord, ESCAPES)))
#: Different characters to replace, one after the other, past which it is faster to encode text by text.
MAX_REPLACED = 6
#: Bytes that are looked at a time: so few that the memory for them is not asked for anew each time.
_PIECE = 1 << 16


def escaped(texts: list[str]) -> list[bytes]:
    r"""Return the insides of JSON strings: encoded as lines, and cut at line breaks, which texts hold as `\n` alone."""
    return _ENCODER.encode_lines(texts)[1:-2].split(b'"\n"') if texts else []


def escaped_column(texts: pa.Array) -> pa.Array:
    """Return the insides of JSON strings of a large_string array without nulls, whose texts are valid UTF-8."""
    found = _to_replace(texts)
    if len(found) > MAX_REPLACED:
        return binary_array(escaped(texts.to_pylist()))
    for character in found:
        texts = pc.replace_substring(texts, character, ESCAPES[character])
    return texts


def _to_replace(texts: pa.Array) -> list[str]:
    """Return the characters of `ESCAPES` that stand somewhere in the texts, in their order."""
    _, offsets, content = texts.buffers()
    if not len(texts) or content is None:
        return []
    ends, content = memoryview(offsets).cast("q"), memoryview(content)
    start, stop = ends[texts.offset], ends[texts.offset + len(texts)]
    pieces = (bytes(content[at : min(at + _PIECE, stop)]) for at in range(start, stop, _PIECE))
    found = b"".join([piece.translate(None, _OTHERS) for piece in pieces])
    return [character for character in ESCAPES if ord(character) in found]
