"""
Texts as the inside of JSON strings.

Python strings are encoded by msgspec, all at once. An Arrow column is escaped without becoming Python objects, mostly
without the interpreter lock: only characters that occur in it are replaced. The escape sequences are those of msgspec,
so that both ways give the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from airflow_provider_batch.arrow.arrays import binary_array

_ENCODER = msgspec.json.Encoder()
#: Encodes a text as JSON.
encode: Callable[[str], bytes] = _ENCODER.encode

#: Character → its escape sequence. All are ASCII. The backslash is first, because the later sequences contain it.
ESCAPES = {
    character: escape
    for character in ("\\", *map(chr, range(ord("\\"))))
    if (escape := encode(character)[1:-1].decode("ascii")) != character
}
_OTHERS = bytes(set(range(256)) - set(map(ord, ESCAPES)))
#: With more different characters to replace than this, encoding text by text is faster.
MAX_REPLACED = 6
#: Bytes that are searched at a time: so few that no new memory is allocated each time.
_PIECE = 1 << 16


def escaped(texts: list[str]) -> list[bytes]:
    r"""
    Return the inside of the JSON string of each text.

    The texts are encoded as lines and split at line breaks, which encoded texts contain as `\n` only.

    :param texts: Python strings with a UTF-8 form.
    """
    return _ENCODER.encode_lines(texts)[1:-2].split(b'"\n"') if texts else []


def escaped_column(texts: pa.Array) -> pa.Array:
    """
    Return the inside of the JSON string of each text of a column.

    :param texts: large_string array without nulls, with valid UTF-8.
    """
    found = _to_replace(texts)
    if len(found) > MAX_REPLACED:
        return binary_array(escaped(texts.to_pylist()))
    for character in found:
        texts = pc.replace_substring(texts, character, ESCAPES[character])
    return texts


def _to_replace(texts: pa.Array) -> list[str]:
    """Return the characters of `ESCAPES` that occur in the texts, in their order."""
    _, offsets, content = texts.buffers()
    if not len(texts) or content is None:
        return []
    ends, content = memoryview(offsets).cast("q"), memoryview(content)
    start, stop = ends[texts.offset], ends[texts.offset + len(texts)]
    pieces = (bytes(content[at : min(at + _PIECE, stop)]) for at in range(start, stop, _PIECE))
    found = b"".join([piece.translate(None, _OTHERS) for piece in pieces])
    return [character for character in ESCAPES if ord(character) in found]
