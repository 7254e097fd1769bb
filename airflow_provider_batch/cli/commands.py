"""
The command line: run jobs without Airflow, for example as a trial before a DAG, and inspect the ledger of any job.

Each command prints its result as a table or as JSON; an error is one line on stderr. The API key is read from
`OPENAI_API_KEY`, the base URL from `OPENAI_BASE_URL`.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from airflow_provider_batch.exceptions import ConfigurationError, OpenAIBatchError

if TYPE_CHECKING:
    from airflow_provider_batch.jobs.job_request import JobRequest, Tools
    from airflow_provider_batch.structured.response_model import ResponseModel

_Json = TypeVar("_Json", dict[str, Any], list[Any])

app = typer.Typer(
    name="openai-batch",
    help="Run, check, land and inspect OpenAI Batch jobs without Airflow.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Source = Annotated[list[str], typer.Argument(help="URI of a table: Parquet, JSONL or CSV; a file, a folder or a glob.")]
EndpointOption = Annotated[str, typer.Option(help="Endpoint of the API, such as /v1/chat/completions.")]
Body = Annotated[str | None, typer.Option(help="Request body as JSON or @FILE; {column} is replaced by a row's value.")]
ResponseModelOption = Annotated[
    str | None, typer.Option(help="Type of the answers: a .json file with a JSON Schema, or module:Class (Pydantic).")
]
Format = Annotated[
    str | None,
    typer.Option("--format", help="Format of the files, if their names do not say: csv, tsv, jsonl, parquet."),
]
FormatOptions = Annotated[
    str | None,
    typer.Option(help='How the files are written, as JSON or @FILE: {"delimiter": ";", "encoding": "cp1252"}.'),
]
ServiceName = Annotated[
    str | None,
    typer.Option("--service", help="Service at the base URL, if its host does not say: azure, groq, litellm ..."),
]
Destination = Annotated[str, typer.Option(help="Folder URI of the Parquet table.")]
Limit = Annotated[int | None, typer.Option(help="Number of rows, from the first.")]
Filters = Annotated[
    str | None, typer.Option(help='Conditions on rows, as JSON or @FILE: [["lang", "=", "de"], ["n", ">", 3]].')
]
Sample = Annotated[float | None, typer.Option(help="Share of these rows, above 0 and up to 1; always the same rows.")]
DataUrls = Annotated[
    list[str] | None,
    typer.Option("--data-url", help="Column of bytes or file URIs that the body gets as data URLs; repeatable."),
]
CustomId = Annotated[str | None, typer.Option(help="Template of each request's id; default: the row number.")]
Carry = Annotated[
    list[str] | None, typer.Option(help="Input column to keep in the table; repeatable. Default: all columns.")
]
NullText = Annotated[
    str | None, typer.Option(help="Text that replaces a null inside a longer text; without it, a null is an error.")
]
PartitionBy = Annotated[
    list[str] | None, typer.Option(help="Column whose values become folders; repeatable, outermost first.")
]
CheckBodies = Annotated[
    bool,
    typer.Option(
        "--check-bodies/--no-check-bodies",
        help="Whether the types of values are checked against those that the endpoint takes at OpenAI.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
BaseUrl = Annotated[str | None, typer.Option(envvar="OPENAI_BASE_URL", help="Base URL of the API; default: OpenAI.")]
Key = Annotated[str, typer.Option(envvar="OPENAI_API_KEY", help="API key; prefer the environment variable.")]


@app.command(epilog="Example: openai-batch check rows.parquet --body @body.json")
def check(
    context: typer.Context,
    source: Source,
    endpoint: EndpointOption = "/v1/chat/completions",
    body: Body = None,
    response_model: ResponseModelOption = None,
    filters: Filters = None,
    sample: Sample = None,
    limit: Limit = None,
    data_url: DataUrls = None,
    custom_id: CustomId = None,
    carry: Carry = None,
    null_text: NullText = None,
    check_bodies: CheckBodies = True,
    format_: Format = None,
    format_options: FormatOptions = None,
    as_json: AsJson = False,
) -> None:
    """Read and check the whole input of a job, and send nothing."""
    from airflow_provider_batch.jobs.opening.preparing import check_input

    request = _request(source, ".", "check", {"destination": ".", **context.params})
    _print(check_input(request, _tools("unused", None)), as_json)


@app.command(epilog="Example: openai-batch run rows.parquet --body @body.json --destination answers/")
def run(
    context: typer.Context,
    source: Source,
    destination: Destination,
    key: Key,
    endpoint: EndpointOption = "/v1/chat/completions",
    body: Body = None,
    response_model: ResponseModelOption = None,
    filters: Filters = None,
    sample: Sample = None,
    limit: Limit = None,
    data_url: DataUrls = None,
    custom_id: CustomId = None,
    carry: Carry = None,
    null_text: NullText = None,
    check_bodies: CheckBodies = True,
    format_: Format = None,
    format_options: FormatOptions = None,
    name: Annotated[str, typer.Option(help="Name of the job; the same name continues the same job.")] = "run",
    state: Annotated[str | None, typer.Option(help="Folder URI of the ledger; default: below the destination.")] = None,
    poll_interval: Annotated[float, typer.Option(help="Shortest time between two polls, in seconds.")] = 60.0,
    partition_by: PartitionBy = None,
    base_url: BaseUrl = None,
    service: ServiceName = None,
    as_json: AsJson = False,
) -> None:
    """Run a whole job and wait for it; the same command again continues the job."""
    from airflow_provider_batch.jobs.opening.attempt import open_job

    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    request = _request(source, state or f"{destination.rstrip('/')}/_openai_batch", name, context.params)
    _print(open_job(request, _tools(key, base_url, service)).run().summary, as_json)


@app.command(epilog="Example: openai-batch land batch_1a2b batch_3c4d --destination answers/")
def land(
    batch_id: Annotated[list[str], typer.Argument(help="Ids of batches that have ended.")],
    destination: Destination,
    key: Key,
    state: Annotated[str | None, typer.Option(help="Folder URI of ledgers, for batches of a job.")] = None,
    response_model: ResponseModelOption = None,
    if_exists: Annotated[str, typer.Option(help="If another table is there: error, append or replace.")] = "error",
    partition_by: PartitionBy = None,
    base_url: BaseUrl = None,
    service: ServiceName = None,
    as_json: AsJson = False,
) -> None:
    """Land the results of any batches as a Parquet table."""
    from airflow_provider_batch import storage
    from airflow_provider_batch.jobs.arguments import table_options
    from airflow_provider_batch.loader.load import LoadRequest, load_batches

    if if_exists not in ("error", "append", "replace"):
        raise ConfigurationError(f"--if-exists: expected error, append or replace, found {if_exists!r}.")
    request = LoadRequest(
        batch_ids=batch_id,
        destination=destination,
        table=table_options({"if_exists": if_exists, "partition_by": partition_by}),
        state=None if state is None else storage.resolve(state),
        response_model=_response_model(response_model),
    )
    _print(load_batches(request, _tools(key, base_url, service)), as_json)


@app.command(epilog="Example: openai-batch status answers/_openai_batch/3f2a…/9c1d…/ledger.json")
def status(
    ledger: Annotated[str, typer.Argument(help="URI of a job's ledger.json; a task pushes it as the XCom 'ledger'.")],
    as_json: AsJson = False,
) -> None:
    """Show the shards, batches, counts and cost of a job from its ledger."""
    from airflow_provider_batch import storage
    from airflow_provider_batch.jobs.ledger.files import LEDGER
    from airflow_provider_batch.jobs.ledger.store import LedgerStore
    from airflow_provider_batch.jobs.ledger.summary import report

    folder = ledger.removesuffix(LEDGER).rstrip("/")
    loaded = LedgerStore(storage.resolve(folder)).load()
    if loaded is None:
        raise ConfigurationError(f"{ledger}: there is no ledger.")
    _print(report(loaded), as_json)


def main() -> None:
    """Run the command line; print an error of this package as one line, with exit code 1."""
    try:
        app()
    except OpenAIBatchError as error:
        typer.secho(f"openai-batch: {error}", err=True, fg="red")
        raise SystemExit(1) from None


def _request(source: list[str], state: str, name: str, options: Mapping[str, Any]) -> JobRequest:
    """Return the job request of the options; most have the names of the operator's arguments."""
    from airflow_provider_batch import storage
    from airflow_provider_batch.jobs.arguments import job_request
    from airflow_provider_batch.jobs.identity import Identity

    arguments = {**options, "data_urls": options["data_url"], "carry": options["carry"] or None}
    as_json: Mapping[str, type[Any]] = {"body": dict, "filters": list, "format_options": dict}
    for option, kind in as_json.items():
        if arguments[option] is not None:
            arguments[option] = _json(f"--{option.replace('_', '-')}", arguments[option], kind)
    arguments["response_model"] = _response_model(arguments["response_model"])
    return job_request(
        Identity("command-line", name, arguments["destination"]),
        storage.resolve(state),
        source[0] if len(source) == 1 else source,
        arguments,
        format=arguments["format_"],
        format_options=arguments["format_options"],
    )


def _json(option: str, text: str, kind: type[_Json]) -> _Json:
    """Return the JSON of an option or of its @FILE; raise ConfigurationError if it is of another type."""
    try:
        # As bytes: `json` detects a byte order mark, and UTF-16, which PowerShell writes.
        value = json.loads(Path(text[1:]).read_bytes() if text.startswith("@") else text)
    except OSError as error:
        raise ConfigurationError(f"{option}: {text[1:]} cannot be read ({error}).") from error
    except ValueError as error:
        raise ConfigurationError(f"{option}: expected JSON, or @FILE with JSON in it ({error}).") from error
    if not isinstance(value, kind):
        expected = "object" if kind is dict else "array"
        raise ConfigurationError(f"{option}: expected a JSON {expected}, found {type(value).__name__}.")
    return value


def _response_model(text: str | None) -> ResponseModel | None:
    from airflow_provider_batch.structured.response_model import load_response_model

    return None if text is None else load_response_model(text)


def _tools(key: str, base_url: str | None, service: str | None = None) -> Tools:
    from airflow_provider_batch.api.client import BatchClient
    from airflow_provider_batch.api.described_service import known_service
    from airflow_provider_batch.api.settings import ClientSettings
    from airflow_provider_batch.jobs.job_request import Tools

    chosen = None if service is None else known_service(service, "--service")
    settings = ClientSettings(api_key=key, base_url=base_url, chosen_service=chosen, name="OPENAI_API_KEY")
    return Tools.by_service_time(BatchClient(settings))


def _print(values: Mapping[str, Any], as_json: bool) -> None:
    """Print one result, as JSON or as tables."""
    if as_json:
        typer.echo(json.dumps(values, indent=2, default=str))
        return
    from airflow_provider_batch.cli.printing import as_text, width_of

    typer.echo(as_text(values, width_of(sys.stdout)))
