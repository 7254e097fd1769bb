"""
Measure landing: `land_shard` beside code by hand, DuckDB and the common.ai provider.

    python -m benchmarks.land [--quick] [--only chat] [--rival-python PATH]

The input: 50,000 chat results and as many responses of about 2 KB, and 10,000 embeddings of 1,536 numbers (as JSON
numbers and as base64), as the API writes them: in shuffled order, `json.dumps` with its default separators.
"""

from __future__ import annotations

from benchmarks.landing_ways import common_ai, diy, duckdb_copy, ours
from benchmarks.measuring import Comparison, Way, arguments, compare, measure, parse, print_tables
from benchmarks.result_files import QUICK_ROWS, QUICK_VECTORS, make_files

_FAIR = (
    "All except common.ai write the same columns and types, zstd level 1. Ours joins the lines to the rows and writes "
    "input order; the others keep the order of the file and do not join."
)
_DIY = "json.loads + Table.from_pylist"
_DUCKDB = "DuckDB read_json → COPY"

COMPARISONS = (
    Comparison(
        "chat",
        "Land chat completions",
        (
            Way("ours", ours("chat")),
            Way(_DIY, diy("chat")),
            Way(_DUCKDB, duckdb_copy("chat"), rival=True),
            Way("common.ai stream_results_to_jsonl", common_ai, rival=True),
        ),
        (
            _FAIR,
            "common.ai writes uncompressed JSON lines of nine fields; it reads the local file, without HTTP.",
        ),
        base=_DIY,
    ),
    Comparison(
        "raw",
        "Land chat completions, with every response body as text",
        (
            Way("ours", ours("chat", raw="all")),
            Way(_DIY, diy("chat", raw=True)),
            Way(_DUCKDB, duckdb_copy("chat", raw=True), rival=True),
        ),
        base=_DIY,
    ),
    Comparison(
        "responses",
        "Land responses",
        (
            Way("ours", ours("responses")),
            Way(_DIY, diy("responses")),
            Way(_DUCKDB, duckdb_copy("responses"), rival=True),
        ),
        base=_DIY,
    ),
    Comparison(
        "embeddings",
        "Land embeddings",
        (
            Way("ours, numbers", ours("numbers")),
            Way("ours, numbers, without simdjson", ours("numbers", without="simdjson")),
            Way("ours, base64", ours("base64")),
            Way(f"{_DIY}, numbers", diy("numbers", chunk=500)),
            Way(f"{_DUCKDB}, numbers", duckdb_copy("numbers"), rival=True),
        ),
        ("This package requests base64; the numbers are the same vectors.",),
        base=f"{_DIY}, numbers",
    ),
)


def main() -> None:
    """Make the files, run every way, print the tables."""
    options = parse(arguments(__doc__))
    if options.measure:
        measure(COMPARISONS, options)
        return
    make_files(options.folder, *((QUICK_ROWS, QUICK_VECTORS) if options.quick else ()))
    print_tables(compare("benchmarks.land", COMPARISONS, options), options)


if __name__ == "__main__":
    main()
