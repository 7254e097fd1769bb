"""
Reading the sidecar of a shard, and writing the sidecar of rows to send again.

The sidecar of rows to send again has the columns of the first one, with `state` as of the last round and the position
of each row's request line in its shard.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.ipc

from airflow_provider_batch.exceptions import StorageError

#: Position of the row's request line in its shard, from 0; only in the sidecar of rows to send again.
POSITION = pa.field("position", pa.int64())


class Sidecar:
    """
    A shard's sidecar, open for reading. It is read and not memory-mapped: mapped pages would count as memory in use.

    :param path: Local sidecar.
    :raises StorageError: The file is not a sidecar, or a newer release wrote it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._file = pa.OSFile(str(path), "rb")
            self._reader = pa.ipc.open_file(self._file)
        except (OSError, pa.ArrowInvalid) as error:
            raise StorageError(f"{path}: expected a shard's sidecar (an Arrow file), found {error}.") from error
        self.schema: pa.Schema = self._reader.schema
        check_sidecar(path, self.schema)

    def __enter__(self) -> Sidecar:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    @property
    def carried(self) -> pa.Schema:
        """The carried columns under their own names; empty where no column is carried."""
        if "carried" not in self.schema.names:
            return pa.schema([])
        return pa.schema(list(self.schema.field("carried").type))

    def custom_ids(self) -> pa.Array[Any]:
        """Return the ids of all rows as UTF-8, in order, without reading the other columns."""
        ids: Any = pa.concat_arrays([pa.nulls(0, pa.string()), *column_of(self._path, "custom_id")])
        return ids.cast(pa.binary())

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the record batches in order."""
        for number in range(self._reader.num_record_batches):
            yield self._reader.get_batch(number)


class RetryWriter:
    """
    Writes the sidecar of rows to send again. A context manager that deletes the file when its block fails.

    :param path: Local file; created with the first row.
    :param schema: Columns of the sidecar that the rows are from.
    """

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self.rows = 0
        self._path = path
        fields = [field for field in schema if field.name != POSITION.name]
        self._schema = pa.schema([*fields, POSITION])
        self._writer: pa.ipc.RecordBatchFileWriter | None = None

    def __enter__(self) -> RetryWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._writer is not None:
            self._writer.close()
            if kind is not None:
                self._path.unlink(missing_ok=True)

    def write(self, rows: pa.RecordBatch, state: pa.StructArray, position: pa.Array[Any]) -> None:
        """
        Add rows.

        :param rows: Rows of the sidecar, as they were read.
        :param state: State of each row after the round, see `STATE`.
        :param position: Position of each row's request line in its shard.
        """
        if rows.num_rows == 0:
            return
        if self._writer is None:
            self._writer = pa.ipc.new_file(str(self._path), self._schema)
        columns = {**dict(zip(rows.schema.names, rows.columns, strict=True)), "state": state, POSITION.name: position}
        batch = pa.RecordBatch.from_arrays([columns[name] for name in self._schema.names], schema=self._schema)
        self._writer.write_batch(batch)
        self.rows += rows.num_rows


#: Metadata key with the form of a sidecar, and the newest form that this release can read.
SIDECAR_VERSION_KEY, SIDECAR_VERSION = b"openai_batch_sidecar_version", 1


#: State of a row after its last round; before the first round, 0 attempts and all else null.
STATE = pa.struct(
    [
        ("attempts", pa.int16()),
        ("status", pa.string()),
        ("status_code", pa.int16()),
        ("error_code", pa.string()),
        ("error_message", pa.string()),
        ("batch_id", pa.string()),
    ]
)


def sidecar_schema(carried: pa.Schema) -> pa.Schema:
    """
    Return the columns of a sidecar.

    :param carried: The carried columns. Without any there is no column ``carried``, as not every reader knows an empty
        struct.
    """
    fields = [
        pa.field("row_number", pa.int64()),
        pa.field("custom_id", pa.string()),
        pa.field("state", STATE),
    ]
    if len(carried):
        fields.append(pa.field("carried", pa.struct(list(carried))))
    return pa.schema(fields)


def check_sidecar(path: Path, schema: pa.Schema) -> None:
    """
    Check that this release can read a sidecar.

    Form 1 does not state its version, because jobs in flight know the bytes of their sidecars by hash.

    :param path: Local sidecar, for the message.
    :param schema: Its schema.
    :raises StorageError: A newer release wrote the sidecar.
    """
    form = int((schema.metadata or {}).get(SIDECAR_VERSION_KEY, b"1"))
    if form > SIDECAR_VERSION:
        raise StorageError(
            f"{path}: this sidecar has form {form}, and this release of airflow-provider-batch knows no form after "
            f"{SIDECAR_VERSION}: a newer release wrote it. Install that release here too; nothing was changed."
        )


def column_of(path: Path, name: str) -> Iterator[pa.Array[Any]]:
    """
    Read one column of a sidecar, batch by batch.

    :param path: The sidecar.
    :param name: Name of the column.
    """
    with pa.OSFile(str(path), "rb") as file:
        index = pa.ipc.open_file(file).schema.get_field_index(name)
    options = pa.ipc.IpcReadOptions(included_fields=[index])
    with pa.OSFile(str(path), "rb") as file, pa.ipc.open_file(file, options=options) as reader:
        for number in range(reader.num_record_batches):
            yield reader.get_batch(number).column(0)


def read_sidecar(path: Path) -> Iterator[pa.RecordBatch]:
    """
    Yield a sidecar's record batches in order; one at a time is in memory.

    :param path: Local sidecar.
    :raises StorageError: A newer release wrote the sidecar.
    """
    with Sidecar(path) as sidecar:
        yield from sidecar.batches()
