"""Write the report: a page of tables, the plots, and all figures as JSON."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.measuring import ROOT, Table, formatted

PAGE, FIGURES = "benchmarks.md", "benchmarks.json"
PLOTS = {"benchmarks-speed.svg": "Speed beside the rivals'", "benchmarks-scale.svg": "Cost of a row"}

_INTRODUCTION = """
# Benchmarks

`make bench` writes this page. Each round runs all ways of a table, each in a process of its own. Seconds are medians
without imports; the lowest and the highest are beside them. Peak memory is the operating system's figure for the whole
process. All inputs are generated: results of about 2 KB as the API writes them, in shuffled order; embeddings of 1,536
numbers; table rows of 500 bytes. Compare only figures of one table: figures differ between machines, and between busy
and quiet hours of one machine.
"""


def write_report(
    tables: Sequence[Table],
    machine: Mapping[str, str],
    versions: Mapping[str, Mapping[str, str]],
    folder: Path,
    python: str,
) -> None:
    """
    Write the page, the figures and the plots.

    :param tables: Tables of all benchmarks.
    :param machine: Facts about the machine, by name.
    :param versions: Owner (``ours``, ``rivals``) → package → version.
    :param folder: Folder to write to.
    :param python: Python interpreter with matplotlib; without matplotlib there are no plots.
    """
    folder.mkdir(parents=True, exist_ok=True)
    document = {"machine": machine, "versions": versions, "tables": tables}
    figures = folder / FIGURES
    figures.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    for name in PLOTS:
        (folder / name).unlink(missing_ok=True)
    drawn = subprocess.run(
        [python, "-m", "benchmarks.plots", figures, folder], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if drawn.returncode:
        print(f"No plots: {drawn.stderr.strip().rpartition(chr(10))[2]}")
    lines = [_INTRODUCTION.strip(), "", *_facts(machine, versions), ""]
    lines += [f"![{title}]({name})\n" for name, title in PLOTS.items() if (folder / name).exists()]
    for table in tables:
        lines += [*_markdown(table), ""]
    lines.append(f"Every figure, each run's included: [{FIGURES}]({FIGURES}).")
    (folder / PAGE).write_text("\n".join(lines) + "\n")


def _facts(machine: Mapping[str, str], versions: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    yield "| | |\n|---|---|"
    for name, value in machine.items():
        yield f"| {name} | {value} |"
    for whose, packages in versions.items():
        yield f"| {whose} | {', '.join(f'{name} {version}' for name, version in packages.items())} |"


def _markdown(table: Table) -> Iterator[str]:
    yield f"## {table['title']}\n"
    yield "| " + " | ".join(map(str, table["columns"])) + " |"
    yield "|---" + "|---:" * (len(table["columns"]) - 1) + "|"
    for row in table["rows"]:
        yield "| " + " | ".join(map(_cell, row)) + " |"
    if table.get("notes"):
        yield ""
        yield from (f"- {note}" for note in table["notes"])


def _cell(cell: Any) -> str:
    return formatted(cell).replace("|", "\\|")
