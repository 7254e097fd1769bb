"""
Measure preparing: a Parquet table as batch input files, beside code by hand.

    python -m benchmarks.prepare [--quick] [--only pandas] [--rival-python PATH]

The table has one row group of all rows, 500 bytes a row. The rivals, some of which hold the table in memory, get a
tenth of the rows, and are compared by rows a second. Ours also writes the sidecars, hashes both files and checks all
limits; the rivals only write lines.
"""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.measuring import Comparison, Prepare, Way, arguments, compare, measure, parse, print_tables

SYSTEM = "You sort the mail of a shop. Answer with one word."
PROMPT = "Language {lang}. Mail: {text}"
MODEL = "gpt-5-mini"
MESSAGES = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": PROMPT}]
BODY = {"model": MODEL, "messages": MESSAGES, "temperature": 0}
VOCABULARY = 'order refund parcel late "quoted" zurück price 日本 thanks lamp line\nbreak'
ROWS, QUICK_ROWS = 1_000_000, 50_000
RIVALS_TABLE = "prepare-rivals.parquet"


def make_table(path: Path, rows: int) -> None:
    """
    Write a table with rows of 500 bytes in one row group, unless the file exists.

    :param path: Parquet file to write.
    :param rows: Number of rows.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    chance = random.Random(7)
    texts = [" ".join(chance.choices(VOCABULARY.split(" "), k=90))[:440] for _ in range(5_000)]
    columns = {
        "id": list(range(rows)),
        "lang": [("en", "de", "ja", "fr")[number % 4] for number in range(rows)],
        "text": [f"{number} {texts[number * 7919 % 5_000]}" for number in range(rows)],
    }
    pq.write_table(pa.table(columns), path, row_group_size=rows)


def ours(custom_id: str | None = None, table: str = "prepare.parquet") -> Prepare:
    """
    Return the way that prepares with this package.

    :param custom_id: Template of the ids; None takes the default.
    :param table: Name of the Parquet file in the folder.
    """

    def prepare(folder: Path) -> Callable[[], int]:
        from airflow_provider_batch.api.endpoints import Endpoint
        from airflow_provider_batch.requests import prepare as preparing
        from airflow_provider_batch.sources.open_source import open_source

        spec = preparing.RequestSpec(Endpoint.CHAT_COMPLETIONS, BODY, **({"custom_id": custom_id} if custom_id else {}))
        source, shards = str(folder / table), emptied(folder)
        return lambda: preparing.prepare(open_source(source), spec, shards, lambda shard: None).row_count

    return prepare


def emptied(folder: Path) -> Path:
    """
    Return an empty folder for the request files, without the files of the way before.

    :param folder: Folder of the input.
    """
    shards = folder / "shards"
    shutil.rmtree(shards, ignore_errors=True)
    shards.mkdir()
    return shards


def pandas_iterrows(folder: Path) -> Callable[[], int]:
    """
    Prepare one pandas row at a time, with `json.dumps`.

    :param folder: Folder of the input.
    :return: Does the work, and returns the number of rows.
    """
    import pandas

    shards = emptied(folder)

    def run() -> int:
        frame = pandas.read_parquet(folder / RIVALS_TABLE)
        rows = (row for _, row in frame.iterrows())
        return write_lines(shards, (line_of(index, PROMPT.format(**row)) for index, row in enumerate(rows)))

    return run


def pandas_to_dict(folder: Path) -> Callable[[], int]:
    """
    Prepare all rows as dicts of pandas, with `json.dumps`.

    :param folder: Folder of the input.
    :return: Does the work, and returns the number of rows.
    """
    import pandas

    shards = emptied(folder)

    def run() -> int:
        rows = pandas.read_parquet(folder / RIVALS_TABLE).to_dict("records")
        return write_lines(shards, (line_of(index, PROMPT.format_map(row)) for index, row in enumerate(rows)))

    return run


def jinja_per_row(folder: Path) -> Callable[[], int]:
    """
    Prepare a rendered Jinja template for each row, with `json.dumps`.

    :param folder: Folder of the input.
    :return: Does the work, and returns the number of rows.
    """
    import jinja2
    import pyarrow.parquet as pq

    shards = emptied(folder)

    def run() -> int:
        template = jinja2.Environment().from_string(PROMPT.replace("{", "{{ ").replace("}", " }}"))
        batches = pq.ParquetFile(folder / RIVALS_TABLE).iter_batches(8_192)
        rows = (row for batch in batches for row in batch.to_pylist())
        return write_lines(shards, (line_of(index, template.render(row)) for index, row in enumerate(rows)))

    return run


def line_of(index: int, prompt: str) -> str:
    """
    Return a request line, without its line break.

    :param index: Number of the row, from 0.
    :param prompt: Text of the user message.
    """
    messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": prompt}]
    body = {"model": MODEL, "messages": messages, "temperature": 0}
    return json.dumps({"custom_id": str(index), "method": "POST", "url": "/v1/chat/completions", "body": body})


def write_lines(shards: Path, lines: Iterator[str]) -> int:
    """
    Write request lines to files of 50,000 lines, and return their number.

    :param shards: Folder to write to.
    :param lines: Request lines without line breaks.
    """
    file, count = None, 0
    for line in lines:
        if count % 50_000 == 0:
            if file is not None:
                file.close()
            file = (shards / f"{count}.jsonl").open("w", encoding="utf-8")
        assert file is not None
        file.write(line + "\n")
        count += 1
    if file is not None:
        file.close()
    return count


COMPARISONS = (
    Comparison(
        "prepare",
        "Prepare chat completions from Parquet",
        (
            Way("ours", ours()),
            Way("ours, own custom_id", ours("mail-{id}")),
            Way("pandas iterrows + json.dumps", pandas_iterrows, rival=True),
            Way("pandas to_dict + json.dumps", pandas_to_dict, rival=True),
            Way("one Jinja template per row + json.dumps", jinja_per_row, rival=True),
        ),
        ("Rows of 500 bytes, all in one row group.", "The rivals get a tenth of the rows; compared by rows a second."),
        base="pandas iterrows + json.dumps",
    ),
)


def main() -> None:
    """Make the tables, run every way, print the table."""
    options = parse(arguments(__doc__))
    if options.measure:
        measure(COMPARISONS, options)
        return
    rows = QUICK_ROWS if options.quick else ROWS
    make_table(options.folder / "prepare.parquet", rows)
    make_table(options.folder / RIVALS_TABLE, rows // 10)
    print_tables(compare("benchmarks.prepare", COMPARISONS, options), options)


if __name__ == "__main__":
    main()
