"""
Measure preparing and landing with all files on an object store, beside the local disk.

    python -m benchmarks.stores [--quick] [--only s3]

The servers are those of `tests/stores`, on this machine: what is measured is this package and the store's client, not a
network. Google Cloud Storage and Azure need the environment that `make stores` makes, and are left out without it.
"""

from __future__ import annotations

import atexit
import os
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.landing_ways import ours as landing
from benchmarks.measuring import ROOT, Comparison, Prepare, Way, arguments, compare, measure, parse, print_tables
from benchmarks.prepare import BODY, make_table
from benchmarks.result_files import QUICK_ROWS, QUICK_VECTORS, make_files

ROWS, QUICK = 100_000, 20_000
TABLE = "stores.parquet"
#: Made by `make stores`.
PYTHON = ROOT / "build" / "stores" / "venv" / "bin" / "python"

#: The servers and folders of this process.
_RUNNING = ExitStack()
atexit.register(_RUNNING.close)


def folder_of(store: str) -> Any:
    """
    Start a store's server and return an empty folder in it, reached through an Airflow connection.

    :param store: ``local``, ``s3``, ``gcs`` or ``azure``.
    :return: A `Location`.
    """
    from airflow_provider_batch.utils.object_storage import resolve_airflow

    here = Path(_RUNNING.enter_context(tempfile.TemporaryDirectory(prefix="bench-stores-")))
    if store == "local":
        return resolve_airflow(f"{here}/data")
    from tests.stores.servers import define, running_backend

    backend = _RUNNING.enter_context(running_backend(store, here))
    define(f"{store}_store", backend.connection())
    location = resolve_airflow(f"{backend.scheme}://{store}_store@bench/data")
    location.fs.mkdir("bench")
    return location


def preparing(store: str) -> Prepare:
    """
    Return the way that reads a table from a store, and writes the request files there.

    :param store: The store.
    """

    def prepare(folder: Path) -> Callable[[], int]:
        from airflow_provider_batch.api.endpoints import Endpoint
        from airflow_provider_batch.jobs.shard_files import publish_shard
        from airflow_provider_batch.requests import prepare as requests
        from airflow_provider_batch.sources.open_source import open_source

        root = folder_of(store)
        (root / TABLE).put(folder / TABLE)
        spec = requests.RequestSpec(Endpoint.CHAT_COMPLETIONS, BODY)

        def run() -> int:
            source = open_source(str(root / TABLE), resolve=lambda uri: root / TABLE)
            with tempfile.TemporaryDirectory() as work:
                done = requests.prepare(source, spec, Path(work), lambda shard: publish_shard(shard, root / "g1"))
            return done.row_count

        return run

    return prepare


def publishing(store: str) -> Prepare:
    """
    Return the way that lands chat results, writes the part to a store and moves it to its place.

    :param store: The store.
    """

    def prepare(folder: Path) -> Callable[[], int]:
        from airflow_provider_batch.storage.moves import move_files

        root, land = folder_of(store), landing("chat", name="chat")(folder)

        def run() -> int:
            rows = land()
            (root / "_landing" / "part.landing").put(folder / "chat-ours.parquet")
            move_files([(root / "_landing" / "part.landing", root / "part.parquet")])
            return rows

        return run

    return prepare


def _ways(way: Callable[[str], Prepare]) -> tuple[Way, ...]:
    return (
        Way("local disk", way("local")),
        Way("S3 (SeaweedFS)", way("s3")),
        Way("Google Cloud Storage (fake-gcs-server)", way("gcs"), rival=True),
        Way("Azure Blob (Azurite)", way("azure"), rival=True),
    )


_ABOUT = "The servers run on this machine, beside the work; a real store adds its network."

COMPARISONS = (
    Comparison("prepare-stores", "Prepare from and to a store", _ways(preparing), (_ABOUT,)),
    Comparison("land-stores", "Land chat completions to a store", _ways(publishing), (_ABOUT,)),
)


def main() -> None:
    """Make the files, run every way, print the tables."""
    options = parse(arguments(__doc__))
    if options.measure:
        measure(COMPARISONS, options)
        _RUNNING.close()
        sys.stdout.flush()
        os._exit(0)  # clients that are still connected would log behind the figures
    if PYTHON.exists():
        options.rival_python = str(PYTHON)
    make_table(options.folder / TABLE, QUICK if options.quick else ROWS)
    make_files(options.folder, *((QUICK_ROWS, QUICK_VECTORS) if options.quick else ()))
    print_tables(compare("benchmarks.stores", COMPARISONS, options), options)


if __name__ == "__main__":
    main()
