"""The end state of a job: what is there, and what of it must not be."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import asdict, dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from airflow_provider_batch.jobs.ledger.files import is_ledger_file
from tests.faults.scenarios import NEIGHBOUR, Scenario

STRAY_STATE = "the state folder holds"
NO_MANIFEST = "expected one manifest, found none"
MANIFEST = "_manifest-*.json"
BESIDE = ("_files-", "_unreadable-")
#: What tells the attempt in a part's name: not the same in every course.
ATTEMPT = re.compile(r"-g\d+a\d+(?=\.)")


@dataclass(frozen=True)
class EndState:
    """
    What a course of a scenario left behind. It has to be that of the undisturbed course.

    :param beside: Images, videos, and unreadable lines.
    :param named: The images and videos that the rows name.
    :param apart: Rows whose answer does not say what their own request asked for.
    :param batches: At the emulator, those that it let in.
    :param refused: Batches that it refused as a whole.
    """

    rows: list[list[Any]]
    statuses: dict[str, int]
    manifest_statuses: dict[str, int]
    parts: list[str]
    beside: list[str]
    named: list[str]
    apart: list[int]
    manifest_cost: str | None
    batches: int
    refused: int
    cost: str
    executed: int
    billed_again: int

    @classmethod
    def of(cls, folder: Path, emulator: dict[str, Any]) -> EndState:
        """Read what is there; to be called in a process of its own, for the engine that reads the table has threads."""
        import duckdb

        table = folder / "table"
        standing = _files(table)
        parts = [name for name in standing if name.endswith(".parquet")]
        read = f"read_parquet('{table}/**/*.parquet', union_by_name = true, hive_partitioning = true)"
        found = duckdb.sql(f"select * from {read} order by row_number, round").fetchall() if parts else []
        names = duckdb.sql(f"select * from {read} limit 0").columns if parts else []
        kept = ["row_number", "key", "input_text" if "input_text" in names else "text", "status", "round"]
        rows = [[row[names.index(name)] for name in kept] for row in found]
        manifests = list(table.glob(MANIFEST))
        manifest = json.loads(manifests[0].read_text()) if manifests else {}
        return cls(
            rows=rows,
            statuses=dict(Counter(row[3] for row in rows)),
            manifest_statuses=manifest.get("statuses", {}),
            parts=sorted(ATTEMPT.sub("", name) for name in parts),
            beside=sorted(ATTEMPT.sub("", name) for name in standing if name.startswith(BESIDE)),
            named=[one for row in found for one in _named(_as_mapping(names, row))],
            apart=[
                row["row_number"] for row in (dict(zip(names, one, strict=True)) for one in found) if _is_apart(row)
            ],
            manifest_cost=manifest.get("cost_usd"),
            batches=sum(batch["status"] != "failed" for batch in emulator["batches"]),
            refused=sum(batch["status"] == "failed" for batch in emulator["batches"]),
            cost=_cost(emulator),
            executed=emulator["executions"]["executed"],
            billed_again=emulator["executions"]["billed_again"],
        )


def _files(folder: Path) -> list[str]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return sorted(str(path.relative_to(folder)) for path in files)


def _as_mapping(names: list[str], row: tuple[Any, ...]) -> dict[str, Any]:
    return dict(zip(names, row, strict=True))


def _is_apart(row: dict[str, Any]) -> bool:
    return "input_text" in row and row["status"] == "succeeded" and f"{row['input_text']}." not in row["text"]


def _named(row: dict[str, Any]) -> list[str]:
    """The files that a row names."""
    named = [row.get("file"), *(image["file"] for image in row.get("images") or ())]
    return [name for name in named if name is not None]


def _cost(emulator: dict[str, Any]) -> str:
    """The cost of what was executed: a batch that nothing was done for, or one of videos, has no price."""
    executed = (batch for batch in emulator["batches"] if batch["executed"])
    return str(sum((Decimal(batch["cost_usd"] or 0) for batch in executed), Decimal(0)))


def observe(folder: Path, emulator: dict[str, Any]) -> dict[str, Any]:
    """Return the end state and what is wrong with it by itself, as JSON."""
    return {"state": asdict(EndState.of(folder, emulator)), "wrong": _wrong(folder, emulator)}


def _wrong(folder: Path, emulator: dict[str, Any]) -> list[str]:
    """What may never be, whatever the scenario."""
    table = folder / "table"
    manifests = list(table.glob(MANIFEST))
    theirs = [batch for batch in emulator["batches"] if (batch["metadata"] or {}).get("deployment") == NEIGHBOUR]
    touched = [f"a neighbour's batch is {batch['status']}" for batch in theirs if batch["status"] != "validating"]
    if touched:
        return touched
    if len(manifests) != 1:
        return [f"expected one manifest, found {len(manifests)}" if manifests else NO_MANIFEST]
    manifest = json.loads(manifests[0].read_text())
    standing = set(_files(table))
    in_folders = {name for name in standing if name.rpartition("/")[0] in manifest["files"]}
    listed = {part["name"] for part in manifest["parts"]} | {manifests[0].name, *manifest["unreadable"]} | in_folders
    wrong = [
        f"the manifest counts {count} files in {folder}"
        for folder, count in manifest["files"].items()
        if count != sum(name.startswith(f"{folder}/") for name in standing)
    ]
    wrong += [f"the destination holds {name}" for name in sorted(standing - listed)]
    wrong += [f"the manifest lists {name}" for name in sorted(listed - standing)]
    wrong += [f"{STRAY_STATE} {name}" for name in _stray(folder / "state")]
    at_work = ("validating", "in_progress", "finalizing")
    running = [batch["id"] for batch in emulator["batches"] if batch["status"] in at_work and batch not in theirs]
    return wrong + [f"batch {one} is still running" for one in running] + [f"emulator: {e}" for e in emulator["errors"]]


def _stray(state: Path) -> list[str]:
    files = [path for path in state.rglob("*") if path.is_file() and not _stays(path)]
    return sorted(str(path.relative_to(state)) for path in files)


def _stays(path: Path) -> bool:
    """Whether a file is one that a job leaves: its ledger, and what mapped instances find theirs by."""
    return path.name == ".lock" or is_ledger_file(path.name) or path.parent.name in ("inputs", "claims")


def wrong_with_rows(scenario: Scenario, state: EndState, given: list[dict[str, Any]]) -> list[str]:
    """One result row for each input row, with its own columns beside it, and the statuses that the scenario makes."""
    wrong = []
    expected = [[number, row["key"], row["text"]] for number, row in enumerate(given)]
    found = [row[:3] for row in state.rows]
    if scenario.shuffles:  # any order will do, as long as answers stand beside their own rows
        wrong += [f"rows {state.apart} have answers of others"] if state.apart else []
        found = [[number, *row[1:]] for number, row in enumerate(sorted(found, key=lambda row: int(row[1][1:])))]
    if found != expected:
        numbers = Counter(row[0] for row in state.rows)
        twice = [number for number, count in numbers.items() if count > 1]
        lost = [row[0] for row in expected if row[0] not in numbers]
        wrong.append(f"rows in: {len(expected)}, rows out: {len(state.rows)}; lost {lost}, twice {twice}")
    if sorted(state.named) != [name for name in state.beside if name.startswith("_files-")]:
        wrong.append(f"files: {state.beside} stand there, {state.named} are named")
    if not state.statuses == state.manifest_statuses == dict(scenario.statuses):
        wrong.append(f"statuses: {state.statuses} in the table, {state.manifest_statuses} in the manifest")
    return wrong


def differences(scenario: Scenario, state: EndState, undisturbed: EndState) -> list[str]:
    """What differs from the course that nothing disturbed."""
    names = ["parts", "beside", "manifest_cost", "batches", "cost", "executed", "billed_again"]
    names += [] if scenario.refused_creates else ["refused"]
    if scenario.is_stopped:  # sooner or later, as results come; but nothing is paid twice
        names = ["billed_again"]
    pairs = ((name, getattr(undisturbed, name), getattr(state, name)) for name in names)
    return [f"{name}: {found} where {due} is due" for name, due, found in pairs if found != due]
