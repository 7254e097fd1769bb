"""
Prepare a Parquet table as batch input files, against the ways one would write by hand.

Every way runs in a process of its own, in turn, so that peak memory is the operating system's figure for that way alone
and a busy machine slows all alike. The table: one row group of all rows, 500 bytes a row; the rivals, some of which
hold the table in memory, get a smaller one. Ours also writes the sidecars, hashes both files and checks all limits; the
rivals only write lines.

    python benchmarks/prepare.py [--rows 1000000] [--rival-rows 100000] [--repeat 5] [--rival-python PATH]

Rivals need pandas and Jinja; ``--rival-python`` names an interpreter that has them, with pyarrow.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

SYSTEM = "You sort the mail of a shop. Answer with one word."
PROMPT = "Language {lang}. Mail: {text}"
MODEL = "gpt-5-mini"


def make_table(path: Path, rows: int) -> None:
    """Write rows of 500 bytes in one row group."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    chance = random.Random(7)
    words = [
        "order",
        "refund",
        "parcel",
        "late",
        '"quoted"',
        "zurück",
        "price",
        "日本",
        "thanks",
        "lamp",
        "line\nbreak",
    ]
    texts = [" ".join(chance.choices(words, k=90))[:440] for _ in range(5_000)]
    columns = {
        "id": list(range(rows)),
        "lang": [("en", "de", "ja", "fr")[number % 4] for number in range(rows)],
        "text": [f"{number} {texts[number * 7919 % 5_000]}" for number in range(rows)],
    }
    pq.write_table(pa.table(columns), path, row_group_size=rows)


def ours(table: Path, folder: Path) -> int:
    from airflow_provider_batch.api.endpoints import Endpoint
    from airflow_provider_batch.requests.prepare import RequestSpec, prepare
    from airflow_provider_batch.requests.sources import open_source

    body = {
        "model": MODEL,
        "messages": [{"role": "system", "content": SYSTEM}, {"role": "user", "content": PROMPT}],
        "temperature": 0,
    }
    spec = RequestSpec(Endpoint.CHAT_COMPLETIONS, body)
    return prepare(open_source(str(table)), spec, folder, lambda shard: None).row_count


def ours_with_identifiers(table: Path, folder: Path) -> int:
    from airflow_provider_batch.api.endpoints import Endpoint
    from airflow_provider_batch.requests.prepare import RequestSpec, prepare
    from airflow_provider_batch.requests.sources import open_source

    messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": PROMPT}]
    body = {"model": MODEL, "messages": messages, "temperature": 0}
    spec = RequestSpec(Endpoint.CHAT_COMPLETIONS, body, custom_id="mail-{id}")
    return prepare(open_source(str(table)), spec, folder, lambda shard: None).row_count


def pandas_iterrows(table: Path, folder: Path) -> int:
    import pandas

    frame = pandas.read_parquet(table)
    rows = (row for _, row in frame.iterrows())
    return write_lines(folder, (line_of(index, PROMPT.format(**row)) for index, row in enumerate(rows)))


def pandas_to_dict(table: Path, folder: Path) -> int:
    import pandas

    rows = pandas.read_parquet(table).to_dict("records")
    return write_lines(folder, (line_of(index, PROMPT.format_map(row)) for index, row in enumerate(rows)))


def jinja_per_row(table: Path, folder: Path) -> int:
    import jinja2
    import pyarrow.parquet as pq

    template = jinja2.Environment().from_string(PROMPT.replace("{", "{{ ").replace("}", " }}"))
    batches = pq.ParquetFile(table).iter_batches(8_192)
    rows = (row for batch in batches for row in batch.to_pylist())
    return write_lines(folder, (line_of(index, template.render(row)) for index, row in enumerate(rows)))


def jinja_per_string(table: Path, folder: Path) -> int:
    """Every string of the body is a template, as Airflow renders a templated field."""
    import jinja2
    import pyarrow.parquet as pq

    environment = jinja2.Environment()
    names = ("model", "system", "prompt")
    texts = (MODEL, SYSTEM, PROMPT.replace("{", "{{ ").replace("}", " }}"))
    templates = dict(zip(names, map(environment.from_string, texts), strict=True))

    def lines() -> Iterator[str]:
        for index, row in enumerate(row for b in pq.ParquetFile(table).iter_batches(8_192) for row in b.to_pylist()):
            text = {name: template.render(row) for name, template in templates.items()}
            yield line_of(index, text["prompt"], text["model"], text["system"])

    return write_lines(folder, lines())


def line_of(index: int, prompt: str, model: str = MODEL, system: str = SYSTEM) -> str:
    messages = [{"role": "system", "content": system}, {"role": "user", "content": prompt}]
    body = {"model": model, "messages": messages, "temperature": 0}
    return json.dumps({"custom_id": str(index), "method": "POST", "url": "/v1/chat/completions", "body": body})


def write_lines(folder: Path, lines: Iterator[str]) -> int:
    """Write 50,000 lines a file."""
    file, count = None, 0
    for line in lines:
        if count % 50_000 == 0:
            if file is not None:
                file.close()
            file = (folder / f"{count}.jsonl").open("w", encoding="utf-8")
        assert file is not None
        file.write(line + "\n")
        count += 1
    if file is not None:
        file.close()
    return count


WAYS: dict[str, Callable[[Path, Path], int]] = {
    "ours": ours,
    "ours, own custom_id": ours_with_identifiers,
    "pandas iterrows + json.dumps": pandas_iterrows,
    "pandas to_dict + json.dumps": pandas_to_dict,
    "one Jinja template per row + json.dumps": jinja_per_row,
    "Jinja over every string + json.dumps": jinja_per_string,
}


def run_one(name: str, table: Path) -> None:
    """Run one way in this process, and print its figures as JSON; imports are not timed, the first batch is."""
    folder = Path(tempfile.mkdtemp(prefix="bench-prepare-"))
    try:
        if name.startswith("pandas"):
            import pandas  # noqa: F401
        elif name.startswith("ours"):
            import airflow_provider_batch.requests.prepare  # noqa: F401
        started = time.perf_counter(), time.process_time()
        rows = WAYS[name](table, folder)
        wall, cpu = time.perf_counter() - started[0], time.process_time() - started[1]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    # Not getrusage: its figure starts from that of the parent process.
    status = Path("/proc/self/status").read_text().partition("VmHWM:")[2]
    peak = int(status.split(maxsplit=1)[0]) / 1024
    print(json.dumps({"rows": rows, "wall": wall, "cpu": cpu, "peak": peak}))


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rows", type=int, default=1_000_000)
    options.add_argument("--rival-rows", type=int, default=100_000)
    options.add_argument("--repeat", type=int, default=5)
    options.add_argument("--rival-python", default=sys.executable)
    options.add_argument("--way", help=argparse.SUPPRESS)
    options.add_argument("--table", type=Path, help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.way is not None:
        run_one(given.way, given.table)
        return
    with tempfile.TemporaryDirectory(prefix="bench-prepare-") as folder:
        tables = {"ours": Path(folder, "ours.parquet"), "rivals": Path(folder, "rivals.parquet")}
        make_table(tables["ours"], given.rows)
        make_table(tables["rivals"], given.rival_rows)
        found: dict[str, list[dict[str, Any]]] = {name: [] for name in WAYS}
        for _ in range(given.repeat):
            for name, figures in found.items():
                is_ours = name.startswith("ours")
                python = sys.executable if is_ours else given.rival_python
                table = tables["ours" if is_ours else "rivals"]
                command = [python, __file__, "--way", name, "--table", str(table)]
                done = subprocess.run(command, capture_output=True, text=True, check=False)
                if done.returncode:
                    reason = done.stderr.strip().rpartition("\n")[2]
                    print(f"{name}: left out ({reason})", file=sys.stderr)
                else:
                    figures.append(json.loads(done.stdout))
    show(found)


def show(found: dict[str, list[dict[str, Any]]]) -> None:
    """Print medians, lowest and highest rate, and how many times our rate is theirs."""
    rates = {name: sorted(one["rows"] / one["wall"] for one in runs) for name, runs in found.items() if runs}
    ours_rate = statistics.median(rates["ours"])
    head = (f"{name:>9}" for name in ("rows", "rows/s", "lowest", "highest"))
    print(f"{'way':42}", *head, f"{'cpu us/row':>11} {'peak MB':>8} {'ours is':>8}")
    for name, own in rates.items():
        runs = found[name]
        cpu = statistics.median(one["cpu"] / one["rows"] * 1e6 for one in runs)
        peak = max(one["peak"] for one in runs)
        rate = statistics.median(own)
        print(
            f"{name:42} {runs[0]['rows']:9,} {rate:9,.0f} {own[0]:9,.0f} {own[-1]:9,.0f} "
            f"{cpu:11.2f} {peak:8.0f} {ours_rate / rate:6.1f} x"
        )


if __name__ == "__main__":
    main()
