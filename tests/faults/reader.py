"""A reader of the table, who looks at each boundary of a process that makes the next one."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import pyarrow.parquet as pq

#: Boundaries of the one step that changes what readers see: there a pattern may find old and new rows both.
PUBLICATION = ("move ", "replace ", "write _manifest", "write _replaced", "delete ")


@dataclass(frozen=True)
class TableReader:
    """
    Reads by the manifest, and by a pattern over all parts.

    :param table: The table's folder; there has to be a table in it.
    """

    table: Path

    def look(self, boundary: str) -> str | None:
        """Return what is wrong with the table at a boundary, None where a reader finds each row once."""
        manifests = list(self.table.glob("_manifest-*.json"))
        if not manifests:
            return "no manifest stands"
        for manifest in map(Path.read_text, manifests):
            listed = json.loads(manifest)
            if wrong := self._wrong([self.table / part["name"] for part in listed["parts"]], listed["rows"]):
                return f"by the manifest: {wrong}"
        if boundary.startswith(PUBLICATION):
            return None
        wrong = self._wrong(list(self.table.rglob("*.parquet")), None)
        return None if wrong is None else f"by a pattern: {wrong}"

    def _wrong(self, parts: list[Path], rows: int | None) -> str | None:
        if lacking := [part.name for part in parts if not part.exists()]:
            return f"{lacking[0]} is not there"
        numbers = Counter(number for part in parts for number in _row_numbers(part, part.stat().st_ino))
        if twice := [number for number, count in numbers.items() if count > 1]:
            return f"rows {sorted(twice)} stand there twice"
        return f"{len(numbers)} of {rows} rows" if rows not in (None, len(numbers)) else None


@lru_cache(maxsize=1_000)
def _row_numbers(part: Path, _: int) -> list[int]:
    """Return a part's row numbers; the number of its file on the disk tells one from another of the same name."""
    numbers: list[int] = pq.ParquetFile(part).read(columns=["row_number"], use_threads=False).column(0).to_pylist()
    return numbers
