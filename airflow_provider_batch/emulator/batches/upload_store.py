"""
Store Uploads and their parts: records in the store's database, bytes in its folder of files.

Facts of Uploads are those of the `openai` SDK's docstrings: an Upload expires an hour after its creation; parts may be
sent in any order; no part may be added to one that is not pending; the parts that the complete call lists have
together the bytes that the create call named.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path

import msgspec

from airflow_provider_batch.emulator.batches.database import Database
from airflow_provider_batch.emulator.records import UploadRecord

_decoder = msgspec.msgpack.Decoder(UploadRecord)
_encode = msgspec.msgpack.Encoder().encode
_COPIED = 1 << 20


class UploadStore:
    """
    Uploads of one emulator.

    :param database: Database of the store.
    :param folder: Folder of the parts.
    """

    def __init__(self, database: Database, folder: Path) -> None:
        self._db, self._folder = database, folder

    def path_of(self, part_id: str) -> Path:
        """
        Return the path of a part's bytes.

        :param part_id: Id of the part.
        """
        return self._folder / part_id

    def add(self, record: UploadRecord) -> None:
        """
        Add a new Upload, and remove the parts of those that have expired.

        :param record: Record of the Upload.
        """
        query = "SELECT DISTINCT upload FROM parts JOIN uploads ON uploads.id = parts.upload WHERE expires <= ?"
        with self._db.lock:
            for (expired,) in self._db.rows(query, record.created_at):
                self._remove_parts(expired)
            self._db.rows("INSERT INTO uploads VALUES (?, ?, ?)", record.id, record.expires_at, _encode(record))

    def get(self, upload_id: str) -> UploadRecord | None:
        """
        Return the record of an Upload; None where it does not exist.

        :param upload_id: Id of the Upload.
        """
        record = self._db.value("SELECT record FROM uploads WHERE id = ?", upload_id)
        return None if record is None else _decoder.decode(record)

    def end(self, upload_id: str, status: str) -> bool:
        """
        End a pending Upload and remove its parts; say whether it was still pending.

        :param upload_id: Id of the Upload.
        :param status: "completed" or "cancelled".
        """
        with self._db.lock:
            record = self.get(upload_id)
            if record is None or record.status != "pending":
                return False
            record.status = status
            self._db.rows("UPDATE uploads SET record = ? WHERE id = ?", _encode(record), upload_id)
            self._remove_parts(upload_id)
            return True

    def _remove_parts(self, upload_id: str) -> None:
        for part_id in self.parts(upload_id):
            self.path_of(part_id).unlink(missing_ok=True)
        self._db.rows("DELETE FROM parts WHERE upload = ?", upload_id)

    def add_part(self, part_id: str, upload_id: str, size: int) -> None:
        """
        Add a part whose bytes are already stored.

        :param part_id: Id of the part.
        :param upload_id: Id of its Upload.
        :param size: Bytes of the part.
        """
        self._db.rows("INSERT INTO parts VALUES (?, ?, ?)", part_id, upload_id, size)

    def parts(self, upload_id: str) -> dict[str, int]:
        """
        Return the bytes of each part of an Upload, by its id.

        :param upload_id: Id of the Upload.
        """
        return dict(self._db.rows("SELECT id, size FROM parts WHERE upload = ?", upload_id))

    def join(self, part_ids: Sequence[str], target: Path) -> str:
        """
        Write parts one behind the other into a file; return its MD5 as hex digits.

        :param part_ids: Ids of the parts, in order.
        :param target: Path of the file.
        """
        digest = hashlib.md5(usedforsecurity=False)
        with target.open("wb") as joined:
            for part_id in part_ids:
                with self.path_of(part_id).open("rb") as part:
                    shutil.copyfileobj(part, joined, _COPIED)
        with target.open("rb") as joined:
            while chunk := joined.read(_COPIED):
                digest.update(chunk)
        return digest.hexdigest()
