"""
Measure the cost of a row by the number of rows, from 10,000 to 1,000,000.

    python -m benchmarks.scale [--quick]

Rows are prepared from one Parquet file, and landed in shards of at most 50,000. From 100,000 rows on, one shard is
landed several times, each time into a part of its own. The cost of a row is the same, and the files need less disk.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from benchmarks import prepare
from benchmarks.landing_ways import ours as landed
from benchmarks.measuring import (
    Comparison,
    Figures,
    Table,
    Way,
    arguments,
    measure,
    parse,
    print_tables,
    run_ways,
    spread,
)
from benchmarks.result_files import make_chat

SHARD = 50_000
SIZES, QUICK_SIZES = (10_000, 30_000, 100_000, 300_000, 1_000_000), (10_000, 30_000, 100_000)

_COLUMNS = ("rows", "µs a row", "lowest", "highest", "peak MB")


def comparison(sizes: Sequence[int]) -> Comparison:
    """
    Return the comparison of both jobs at all sizes.

    :param sizes: Numbers of rows.
    """
    ways = [Way(f"prepare {rows}", prepare.ours(table=_table(rows))) for rows in sizes]
    for rows in sizes:
        shard = min(rows, SHARD)
        ways.append(Way(f"land {rows}", landed("chat", name=f"chat-{shard}", times=rows // shard)))
    return Comparison("scale", "Cost of a row by the number of rows", ways)


def main() -> None:
    """Make the files, run both jobs at all sizes, print the tables."""
    options = parse(arguments(__doc__))
    sizes = QUICK_SIZES if options.quick else SIZES
    if options.measure:
        measure((comparison(sizes),), options)
        return
    for rows in sizes:
        prepare.make_table(options.folder / _table(rows), rows)
        make_chat(options.folder, f"chat-{min(rows, SHARD)}", min(rows, SHARD))
    print_tables(tables(sizes, options), options)


def tables(sizes: Sequence[int], options: argparse.Namespace) -> list[Table]:
    """
    Run both jobs, and return a table for each.

    :param sizes: Numbers of rows.
    :param options: Options of the command line.
    """
    runs, missing = run_ways("benchmarks.scale", comparison(sizes), options)
    notes = [f"{name}: not measured ({reason})." for name, reason in missing.items()]
    titles = {
        "prepare": "Prepare: cost of a row by the number of rows",
        "land": "Land chat completions: cost of a row by the number of rows, in shards of 50,000",
    }
    return [
        {
            "title": title,
            "columns": list(_COLUMNS),
            "rows": [_row(rows, runs[f"{job} {rows}"]) for rows in sizes if f"{job} {rows}" in runs],
            "notes": notes,
            "key": f"scale-{job}",
            "runs": {name: done for name, done in runs.items() if name.startswith(job)},
        }
        for job, title in titles.items()
    ]


def _row(rows: int, runs: Sequence[Figures]) -> list[Any]:
    return [rows, *spread(run["wall"] / run["rows"] * 1e6 for run in runs), round(max(run["peak"] for run in runs))]


def _table(rows: int) -> str:
    return f"prepare-{rows}.parquet"


if __name__ == "__main__":
    main()
