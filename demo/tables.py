"""
Run one small job for each endpoint of the Batch API, and print the eight result tables: ``python -m demo.tables``.

``make tables`` runs it, on the emulator and a real Airflow. For each column it prints the type and the values.
"""

from __future__ import annotations

import argparse
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from demo.airflow_processes import AirflowProcesses
from demo.job import connection, demo_emulator

CHECKOUT = Path(__file__).parent.parent
EXAMPLES = CHECKOUT / "example_dags"
DAG_ID = "openai_batch_every_endpoint"

#: Seconds that the emulator works on a batch.
BATCH_SECONDS = 3.0
#: Characters of a value that are shown.
VALUE_WIDTH = 40
#: Rows that are shown of each table, side by side.
ROWS = 2


def main() -> None:
    """Run the eight jobs and print their tables."""
    parser = argparse.ArgumentParser(prog="python -m demo.tables", description=__doc__)
    parser.add_argument("--folder", type=Path, default=CHECKOUT / ".demo", help="folder of the tables (default: .demo)")
    parser.add_argument("--width", type=int, default=160, help="columns of the printout (default: 160)")
    options = parser.parse_args()
    folder = options.folder / f"{datetime.now():%Y%m%d-%H%M%S}-tables"
    console = Console(highlight=False, width=options.width)
    make_tables(folder, console)
    for table in sorted(path for path in folder.iterdir() if path.is_dir()):
        show(table, console)


def make_tables(folder: Path, console: Console) -> None:
    """
    Run the example DAG that has a task for each endpoint.

    :param folder: Destination; each table is a folder in it.
    :param console: Console that shows the progress.
    """
    with (
        demo_emulator(f"seconds:{BATCH_SECONDS:g}") as emulator,
        console.status("Eight jobs on the emulator and a real Airflow"),
        AirflowProcesses(EXAMPLES, connections={"openai_default": connection(emulator)}) as airflow,
    ):
        airflow.wait_for_dags([DAG_ID])
        run_id = airflow.api.trigger(DAG_ID, {"destination": str(folder)})
        airflow.api.wait_for_success(DAG_ID, run_id)


def show(folder: Path, console: Console) -> None:
    """
    Print a table, one line for each column.

    :param folder: Folder of the table.
    :param console: Console to print to.
    """
    parts = sorted(folder.glob("*.parquet"))
    table = pa.concat_tables(map(pq.read_table, parts)).sort_by("row_number")
    endpoint = (pq.read_metadata(parts[0]).metadata or {})[b"openai_batch.endpoint"].decode()
    shown = Table(box=box.SIMPLE_HEAD)
    for title in ("column", "type", *(f"row {number}" for number in range(ROWS))):
        shown.add_column(title, no_wrap=True)
    shown.title = f"{endpoint}: {table.num_rows} rows in {parts[0].parent.name}/"
    shown.title_justify = "left"
    for field in table.schema:
        values = table.column(field.name).slice(0, ROWS).to_pylist()
        shown.add_row(field.name, escape(type_name(field.type)), *(escape(value_text(value)) for value in values))
    console.print(shown)
    if files := sorted(str(path.relative_to(folder)) for path in folder.glob("_files-*/*/*")):
        console.print(f"  beside it: {', '.join(files)}\n", markup=False)


def type_name(kind: pa.DataType) -> str:
    """
    Return an Arrow type as a short text.

    :param kind: The type.
    """
    return shortened(str(kind).replace("element: ", ""), VALUE_WIDTH)


def value_text(value: Any) -> str:
    """
    Return a value as a short text; null is empty.

    :param value: Value of a row.
    """
    return "" if value is None else shortened(" ".join(str(value).split()), VALUE_WIDTH)


def shortened(text: str, width: int) -> str:
    """
    Return a text, cut with an ellipsis where it is too long.

    :param text: Any text.
    :param width: Maximum of characters.
    """
    return text if len(text) <= width else f"{text[: width - 1]}…"


if __name__ == "__main__":
    main()
