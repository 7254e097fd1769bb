"""
Measure memory: embeddings of 1 GB and of 3 GB, landed by a process without Airflow.

    python -m benchmarks.memory [--quick]

The files are made below `build/` and removed afterwards. The peak has to be the same for both.
"""

from __future__ import annotations

from benchmarks.landing_ways import ours
from benchmarks.measuring import Comparison, Way, arguments, compare, measure, parse, print_tables
from benchmarks.result_files import SIZE, make_vectors

#: A line of 1,536 numbers has about 33 KB.
_LINES_IN_A_GIGABYTE = 30_000
_FILES = {"large-1": 1, "large-3": 3}

COMPARISONS = (
    Comparison(
        "memory",
        "Peak memory by the size of the result file",
        [Way(f"{size} GB of embeddings", ours("numbers", name=name)) for name, size in _FILES.items()],
        (f"Vectors of {SIZE:,} JSON numbers; with --quick a tenth of the gigabytes.",),
    ),
)


def main() -> None:
    """Make the files, land them, remove them, print the table."""
    options = parse(arguments(__doc__))
    if options.measure:
        measure(COMPARISONS, options)
        return
    try:
        for name, size in _FILES.items():
            make_vectors(options.folder, name, size * _LINES_IN_A_GIGABYTE // (10 if options.quick else 1), SIZE)
        print_tables(compare("benchmarks.memory", COMPARISONS, options), options)
    finally:
        for path in options.folder.glob("large-*"):
            path.unlink()


if __name__ == "__main__":
    main()
