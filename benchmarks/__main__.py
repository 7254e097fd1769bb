"""
Run all benchmarks, and write the report.

    python -m benchmarks [--quick] [--repeat N] [--skip memory ...] [--to FOLDER]

Without `--quick` the report is written to `docs/`. The report only shows figures; no figure makes the command fail.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.machine import libraries, machine, supported
from benchmarks.measuring import BUILD, ROOT, Table
from benchmarks.report import write_report
from benchmarks.rivals import pinned, rival_python, versions

#: Each is a module of this folder that takes `--json`, `--repeat`, `--quick` and `--rival-python`.
BENCHMARKS = ("land", "prepare", "stores", "memory", "scale", "ledger", "waiting")


def main() -> int:
    """Run all benchmarks one after the other, write the report, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two minutes, to check that everything works")
    parser.add_argument("--repeat", type=int, metavar="N", help="rounds (5; 2 with --quick)")
    parser.add_argument("--skip", nargs="*", default=[], choices=BENCHMARKS, help="benchmarks to leave out")
    parser.add_argument("--to", type=Path, metavar="FOLDER", help="folder of the report")
    parser.add_argument("--rival-python", metavar="PATH", help="Python interpreter in which the rivals are installed")
    options = parser.parse_args()
    if not supported():
        print("The benchmarks read peak memory from /proc, and run on Linux only.", file=sys.stderr)
        return 2
    about = machine()
    rivals = options.rival_python or str(rival_python())
    if shutil.which(rivals) is None:
        print(f"{rivals} is not a Python interpreter. Rivals are measured if installed here.", file=sys.stderr)
        rivals = sys.executable
    tables: list[Table] = []
    BUILD.mkdir(parents=True, exist_ok=True)
    try:
        for name in BENCHMARKS:
            if name not in options.skip and Path(__file__).with_name(f"{name}.py").exists():
                tables += run(name, rivals, options)
    finally:
        shutil.rmtree(BUILD, ignore_errors=True)
    installed = versions(rivals, [pin.partition("==")[0] for pin in pinned()])
    folder = options.to or (ROOT / "build" / "bench-report" if options.quick else ROOT / "docs")
    write_report(tables, about, {"ours": libraries(), "rivals": installed}, folder, rivals)
    print(f"\nThe report is in {folder}.")
    return 0


def run(name: str, rivals: str, options: argparse.Namespace) -> list[Table]:
    """
    Run one benchmark in a process of its own, and return its tables.

    :param name: Module of this folder.
    :param rivals: Python interpreter with the rivals.
    :param options: Options of the command line.
    """
    found = BUILD / f"{name}.json"
    command = [sys.executable, "-m", f"benchmarks.{name}", "--json", str(found), "--rival-python", rivals]
    command += ["--quick"] if options.quick else []
    command += ["--repeat", str(options.repeat)] if options.repeat else []
    start = time.monotonic()
    done = subprocess.run(command, cwd=ROOT, check=False)
    print(f"  ({name}: {time.monotonic() - start:.0f} s)", flush=True)
    if done.returncode or not found.exists():
        return [{"title": name.capitalize(), "columns": [""], "rows": [], "notes": ["The benchmark failed."]}]
    tables = json.loads(found.read_text())
    return tables if isinstance(tables, list) else [tables]


if __name__ == "__main__":
    sys.exit(main())
