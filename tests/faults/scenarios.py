"""The jobs that are killed at each of their boundaries: between them they pass all code that changes anything."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from airflow_provider_batch.api.endpoints import Endpoint
from airflow_provider_batch.jobs.identity import Identity
from airflow_provider_batch.jobs.submission.lookup import INTENT_KEY
from airflow_provider_batch.structured.response_model import ResponseModel

#: Whose job it is.
IDENTITY = Identity("dag", "task", "run")

#: How a job is driven: to its end in one process, each advance in one of its own, or one advance and no more.
Style = Literal["blocking", "deferring", "one advance"]


@dataclass(frozen=True)
class Phase:
    """
    What one task instance does, over all its attempts.

    :param request: What differs from the other phases' `JobRequest`; `rows` is the number of input rows,
        `table` the folder of the destination.
    :param settings: Of the emulator, from here on.
    :param before: Something that happens to the folder before it.
    :param deployment: Another one's folder, where the phase is that of a neighbour on the same account.
    """

    style: Style = "blocking"
    request: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    before: Callable[[Path], None] | None = None
    deployment: str = ""
    ends: str = "done"


@dataclass(frozen=True)
class Scenario:
    """
    A job, what goes wrong at the API meanwhile, and what has to come out.

    :param phases: The last is the one that is killed; those before it are what it finds.
    :param spec: What differs from the other scenarios' `RequestSpec`.
    :param late: Seconds by which the clock is ahead from the moment on when the job first waits.
    :param statuses: Rows of the table by status.
    :param batches: Batches that the API lets in.
    :param refused_creates: Whether how often the API refuses a create is a matter of timing.
    :param is_stopped: Whether it ends without a table.
    :param small_files: Whether the ledger's files are so small that it gets bases, and files of shards at rest.
    :param shuffles: Whether the input is a query that gives its rows in another order to each process.
    """

    name: str
    phases: Sequence[Phase]
    statuses: Mapping[str, int]
    batches: int
    rows: int = 25
    faults: Sequence[Mapping[str, Any]] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    spec: Mapping[str, Any] = field(default_factory=dict)
    limits: Mapping[str, Any] = field(default_factory=dict)
    late: float = 0.0
    refused_creates: bool = False
    is_stopped: bool = False
    shuffles: bool = False
    small_files: bool = False

    @property
    def has_a_table_before(self) -> bool:
        """Whether readers have a whole table when the last phase begins."""
        return len(self.phases) > 1 and self.phase.before is None and all(one.ends == "done" for one in self.phases)

    @property
    def thaws(self) -> bool:
        """Whether an attempt is also held over a whole generation: where each of the job's attempts can end."""
        return self.phase.ends == "done" and self.rows > 0 and not self.late and "if_exists" not in self.phase.request

    @property
    def loses_answers(self) -> bool:
        """Whether creates go wrong on the wire by themselves."""
        return any(rule["kind"] in ("lose_answer", "drop_connection") for rule in self.faults)

    @property
    def phase(self) -> Phase:
        """The phase that is killed."""
        return self.phases[-1]


def _remove_table(folder: Path) -> None:
    for path in (folder / "table").iterdir():
        if path.is_file():
            path.unlink()


def _remove_parts(folder: Path) -> None:
    for path in (folder / "table").rglob("*.parquet"):
        path.unlink()


def _for_shard(number: int, **rule: Any) -> list[dict[str, Any]]:
    """A rule for one shard of the first round, whichever of its first POSTs makes the batch: their order may change."""
    names = (f"{IDENTITY.run_key}-{IDENTITY.job}-g1-r01-s{number:05d}-n{post}-*" for post in (1, 2))
    return [{**rule, "metadata": {INTENT_KEY: name}} for name in names]


_PASSING = {"kind": "http_error", "status": 503, "fraction": 0.3, "executions": 1}
_WRONG = {"kind": "http_error", "status": 400, "executions": 1}
_FAILS_IN_PASSING = {"kind": "refuse_file", "code": "server_error", "message": "Something went wrong, try again later."}
_COME_LATER = {
    "kind": "route_error",
    "status": 400,
    "message": "Please try again later.",
    "method": "POST",
    "path": "/v1/batches",
}
_NOT_READABLE = _for_shard(2, kind="result_form", form="html")
_NO_JSON = {"kind": "answer", "message": "Sorry, no JSON."}
_NEVER = {"progress": "seconds:3600"}
#: The folder of another deployment, and what its batches are known by.
NEIGHBOUR = "neighbour"
_OF_NEIGHBOUR = {"deployment": NEIGHBOUR}

_MODEL = {
    "type": "object",
    "properties": {"mood": {"type": "string"}, "score": {"type": "integer"}},
    "required": ["mood", "score"],
    "additionalProperties": False,
}
_PARSED = {"response_model": ResponseModel.of(_MODEL)}
_IMAGES = {"endpoint": Endpoint.IMAGES_GENERATIONS, "body": {"model": "gpt-image-1", "prompt": "{text}", "n": 2}}
_VIDEOS = {"endpoint": Endpoint.VIDEOS, "body": {"model": "sora-2", "prompt": "{text}"}}
_NO_VIDEO = {"kind": "route_error", "status": 404, "method": "GET", "path": "/v1/videos/*/content"}

SCENARIOS: tuple[Scenario, ...] = (
    Scenario("three shards, two rounds", [Phase()], {"succeeded": 25}, 4, faults=[_PASSING]),
    Scenario(
        "expiry, a row that always fails, a refused line",
        [Phase()],
        {"succeeded": 23, "failed": 2},
        5,
        faults=[
            *_for_shard(1, kind="expire", after=0.5),
            *_for_shard(2, kind="refuse_file", line=4, message="No good."),
            {"kind": "http_error", "status": 500, "custom_id": "22"},
        ],
    ),
    Scenario(
        "queue limit, told by the batch",
        [Phase()],
        {"succeeded": 30},
        3,
        rows=30,
        settings={"enqueued_token_limit": 250},
        refused_creates=True,
    ),
    Scenario(
        "queue limit, told by the create",
        [Phase()],
        {"succeeded": 30},
        3,
        rows=30,
        settings={"enqueued_token_limit": 250, "token_limit_answer": "429"},
        refused_creates=True,
    ),
    Scenario(
        "lost answers of creates",
        [Phase()],
        {"succeeded": 25},
        3,
        faults=[
            {"kind": "lose_answer", "method": "POST", "path": "/v1/batches", "nth": 1},
            {"kind": "drop_connection", "method": "POST", "path": "/v1/batches", "nth": 2},
            {"kind": "late_in_list", "seconds": 0.3},
        ],
        limits={"quiet_period": 0.5},
    ),
    Scenario(
        "time-out with cancel",
        [Phase(ends="JobTimeoutError", request={"poll_interval": 0.3})],
        {"cancelled": 25},
        2,
        settings=_NEVER,
        limits={"timeout": 1000.0, "max_active_batches": 2},
        late=2000.0,
    ),
    Scenario(
        "each advance in a process of its own",
        [Phase(style="deferring")],
        {"succeeded": 25},
        4,
        faults=[_PASSING],
        limits={"max_active_batches": 2},
    ),
    Scenario(
        "shards at rest in files, each advance in a process of its own",
        [Phase(style="deferring")],
        {"succeeded": 25},
        6,
        faults=[_PASSING],
        spec={"max_shard_rows": 5},
        limits={"max_active_batches": 2},
        small_files=True,
    ),
    Scenario(
        "a finished job whose table is gone",
        [Phase(), Phase(before=_remove_table, request={"era": 1})],
        {"succeeded": 25},
        4,
        faults=[_PASSING],
    ),
    Scenario(
        "rerun of the rows without success",
        [Phase(), Phase(request={"rerun": "failed_rows", "era": 1})],
        {"succeeded": 25},
        4,
        faults=[{**_WRONG, "custom_id": "[37]"}, {**_WRONG, "custom_id": "2[0-4]"}],
    ),
    Scenario(
        "shards at rest in files, rerun of the rows without success",
        [Phase(), Phase(request={"rerun": "failed_rows", "era": 1})],
        {"succeeded": 25},
        4,
        faults=[{**_WRONG, "custom_id": "[37]"}, {**_WRONG, "custom_id": "2[0-4]"}],
        small_files=True,
    ),
    Scenario(
        "rerun of the rows without success, table gone",
        [Phase(), Phase(before=_remove_table, request={"rerun": "failed_rows", "era": 1})],
        {"succeeded": 25},
        4,
        faults=[{**_WRONG, "custom_id": "[37]"}, {**_WRONG, "custom_id": "2[0-4]"}],
    ),
    Scenario(
        "rerun of everything",
        [Phase(), Phase(request={"rerun": "all", "era": 1})],
        {"succeeded": 15},
        4,
        rows=15,
    ),
    Scenario(
        "changed input, resubmitted",
        [
            Phase(style="one advance", settings=_NEVER, request={"rows": 20}, ends="waits"),
            Phase(settings={"progress": "reads:2"}, request={"on_changed_input": "resubmit"}),
        ],
        {"succeeded": 15},
        4,
        rows=15,
        faults=[
            {"kind": "late_in_list", "seconds": 0.3},
            {"kind": "lose_answer", "method": "POST", "path": "/v1/batches", "nth": 2},
        ],
        limits={"quiet_period": 0.5},
    ),
    Scenario(
        "our files at the API deleted, another job's table replaced",
        [
            Phase(request={"map_index": 7, "rows": 5}),
            Phase(request={"if_exists": "replace", "delete_files": True, "metadata": {"team": "a"}}),
        ],
        {"succeeded": 15},
        3,
        rows=15,
    ),
    Scenario(
        "partitions and a response model",
        [Phase(request={"partition_by": ("side", "status")})],
        {"succeeded": 23, "invalid_output": 2},
        4,
        spec=_PARSED,
        faults=[{**_NO_JSON, "custom_id": "[37]"}, {**_PASSING, "custom_id": "1*"}],
    ),
    Scenario(
        "partitions that rows move between",
        [
            Phase(request={"partition_by": ("status", "side")}),
            Phase(request={"partition_by": ("status", "side"), "rerun": "failed_rows", "era": 1}),
        ],
        {"succeeded": 25},
        4,
        spec=_PARSED,
        faults=[{**_NO_JSON, "custom_id": "[37]", "executions": 1}, {**_WRONG, "custom_id": "2[0-4]"}],
    ),
    Scenario(
        "other partitions of a finished job",
        [Phase(request={"partition_by": ("side",)}), Phase(request={"partition_by": ("status",)})],
        {"succeeded": 13, "failed": 2},
        2,
        rows=15,
        faults=[{**_WRONG, "custom_id": "[37]"}],
    ),
    Scenario(
        "images, and a line that nobody can read",
        [Phase()],
        {"succeeded": 11, "failed": 1},
        3,
        rows=12,
        spec=_IMAGES,
        faults=[{**_PASSING, "custom_id": "[25]", "fraction": 1.0}, {"kind": "broken_line", "custom_id": "7"}],
    ),
    Scenario(
        "images of rows that are sent again",
        [Phase(), Phase(request={"rerun": "failed_rows", "era": 1})],
        {"succeeded": 12},
        3,
        rows=12,
        spec=_IMAGES,
        faults=[{**_WRONG, "custom_id": "[37]"}],
    ),
    Scenario(
        "images, everything again with other partitions",
        [
            Phase(request={"partition_by": ("side",)}),
            Phase(request={"partition_by": ("status",), "rerun": "all", "era": 1}),
        ],
        {"succeeded": 5},
        2,
        rows=5,
        spec=_IMAGES,
    ),
    Scenario(
        "images and partitions of another job, replaced",
        [
            Phase(request={"map_index": 7, "rows": 4, "partition_by": ("side",)}),
            Phase(request={"if_exists": "replace", "partition_by": ("side",)}),
        ],
        {"succeeded": 5},
        2,
        rows=5,
        spec=_IMAGES,
    ),
    Scenario(
        "images in partitions, parts gone",
        [
            Phase(request={"partition_by": ("side",)}),
            Phase(before=_remove_parts, request={"partition_by": ("side",), "era": 1}),
        ],
        {"succeeded": 8},
        1,
        rows=8,
        spec=_IMAGES,
    ),
    Scenario(
        "videos that are not there at first",
        [
            Phase(request={"partition_by": ("status",)}),
            Phase(request={"partition_by": ("status",), "era": 1}),
        ],
        {"succeeded": 12},
        2,
        rows=12,
        spec=_VIDEOS,
        faults=[{**_NO_VIDEO, "times": 2}],
    ),
    Scenario(
        "a twin: equal input of another mapped instance, whose table is replaced",
        [Phase(request={"map_index": 7}), Phase(request={"map_index": 8, "if_exists": "replace"})],
        {"succeeded": 15},
        4,
        rows=15,
    ),
    Scenario(
        "a clear that moves the input of an instance in flight to another one",
        [
            Phase(style="one advance", request={"map_index": 7}, ends="waits"),
            Phase(request={"map_index": 8, "era": 1, "clear_number": 1}),
        ],
        {"succeeded": 15},
        2,
        rows=15,
    ),
    Scenario(
        "a clear that swaps inputs, with the table gone",
        [
            Phase(request={"map_index": 7}),
            Phase(request={"map_index": 8, "rows": 5, "if_exists": "replace"}),
            Phase(before=_remove_table, request={"map_index": 8, "era": 1, "clear_number": 1}),
        ],
        {"succeeded": 15},
        3,
        rows=15,
    ),
    Scenario(
        "a neighbour with the same DAG, task and run on the account",
        [Phase(style="one advance", deployment=NEIGHBOUR, request={"metadata": _OF_NEIGHBOUR}, ends="waits"), Phase()],
        {"succeeded": 25},
        6,
        faults=[
            {"kind": "stuck", "seconds": 1e6, "metadata": _OF_NEIGHBOUR},
            {"kind": "lose_answer", "method": "POST", "path": "/v1/batches", "nth": 4},
            {"kind": "drop_connection", "method": "POST", "path": "/v1/batches", "nth": 5},
        ],
    ),
    Scenario(
        "lost answers where the list is oldest first, the clock is wrong and metadata is dropped",
        [Phase()],
        {"succeeded": 15},
        2,
        rows=15,
        settings={"list_order": "oldest_first", "clock_skew": 1200.0, "keeps_metadata": False},
        faults=[
            {"kind": "lose_answer", "method": "POST", "path": "/v1/batches", "nth": 1},
            {"kind": "drop_connection", "method": "POST", "path": "/v1/batches", "nth": 2},
        ],
    ),
    Scenario(
        "no readable answer: a result file that is a web page",
        [Phase(ends="ResultsUnclearError")],
        {},
        3,
        faults=[*_NOT_READABLE],
        is_stopped=True,
    ),
    Scenario(
        "no readable answer: given up by a clear, and paid again on purpose",
        [Phase(ends="ResultsUnclearError"), Phase(request={"rerun": "failed_rows", "era": 1})],
        {"succeeded": 25},
        4,
        faults=[*_NOT_READABLE],
    ),
    Scenario(
        "result files in other forms, lines that say nothing, files that are not ready, a batch that fails in passing",
        [Phase()],
        {"succeeded": 24, "failed": 1},
        5,
        faults=[
            *_for_shard(1, kind="result_form", form="json_array", file="both"),
            *_for_shard(2, kind="result_form", form="gzip", file="both"),
            {"kind": "silent_line", "custom_id": "[37]", "executions": 1},
            {"kind": "silent_line", "custom_id": "2[0-4]", "executions": 2},
            {"kind": "file_not_ready", "count": 1, "status": 404, "message": "Input file not found"},
            {**_FAILS_IN_PASSING, "times": 1},
            {**_COME_LATER, "times": 1},
            {"kind": "no_content", "custom_id": "12"},
        ],
        refused_creates=True,
    ),
    Scenario("no rows", [Phase()], {}, 0, rows=0),
    Scenario(
        "a query in another order at each reading",
        [Phase()],
        {"succeeded": 25},
        4,
        faults=[_PASSING],
        shuffles=True,
    ),
    Scenario(
        "rerun of the rows without success, twice",
        [
            Phase(),
            Phase(request={"rerun": "failed_rows", "era": 1}),
            Phase(request={"rerun": "failed_rows", "era": 2}),
        ],
        {"succeeded": 25},
        5,
        faults=[{**_WRONG, "custom_id": "[37]"}, {**_WRONG, "executions": 2, "custom_id": "2[0-4]"}],
    ),
    Scenario(
        "a destination and partitions that change while the first round is at work",
        [
            Phase(style="one advance", request={"table": "elsewhere"}, ends="waits"),
            Phase(request={"rerun": "failed_rows", "era": 1, "partition_by": ("side",)}),
        ],
        {"succeeded": 25},
        4,
        faults=[_PASSING],
    ),
)
