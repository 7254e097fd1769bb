"""A column of the table as data: type, meaning, and how Parquet stores it."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

STRING, INT64, INT16, BOOL, DOUBLE = pa.string(), pa.int64(), pa.int16(), pa.bool_(), pa.float64()


@dataclass(frozen=True)
class Column:
    """
    A column of the table.

    :param type: Arrow type.
    :param meaning: Description in one line, for the footer of every part and for the handbook.
    :param has_dictionary: Whether Parquet stores it with a dictionary: text with few distinct values.
    :param has_statistics: Whether Parquet stores its statistics: readers filter or join by it.
    """

    type: pa.DataType
    meaning: str
    has_dictionary: bool = False
    has_statistics: bool = False


def list_of_structs(**fields: pa.DataType) -> pa.DataType:
    """
    Return the type of a list of structs.

    :param fields: Name and type of each field of the struct, in order.
    """
    return pa.list_(pa.struct(list(fields.items())))
