"""Run the Batch API on this machine: `python -m airflow_provider_batch.emulator`."""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from airflow_provider_batch.emulator.settings import Settings

_EPILOG = """
Example: python -m airflow_provider_batch.emulator --port 8080 --folder ./emulator --progress seconds:20

Point a client at it with base_url=http://127.0.0.1:8080/v1 and any API key.
"""


def _serve(
    context: typer.Context,
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.")] = 8080,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    folder: Annotated[Path, typer.Option(help="Folder of files and batches; a restart keeps them.")] = Path(
        "openai-batch-emulator"
    ),
    service: Annotated[
        str | None, typer.Option(help="Service in whose manner it answers, such as azure; --show-settings lists them.")
    ] = None,
    progress: Annotated[
        str | None, typer.Option(help="How batches progress: immediate, seconds:N, reads:N or hold.")
    ] = None,
    clock_speed: Annotated[
        float | None, typer.Option(help="Divides the 24 h window: 8640 makes 24 hours 10 seconds.")
    ] = None,
    upstream: Annotated[
        str | None, typer.Option(help="Base URL of an OpenAI-compatible server (with /v1) that answers the requests.")
    ] = None,
    upstream_api_key: Annotated[
        str | None, typer.Option(help="API key of the upstream.", envvar="EMULATOR_UPSTREAM_API_KEY")
    ] = None,
    enqueued_token_limit: Annotated[
        int | None, typer.Option(help="Limit on enqueued input tokens of one model.")
    ] = None,
    result_style: Annotated[
        str | None,
        typer.Option(help="Form of result lines: ascii (as the real service) or compact (UTF-8)."),
    ] = None,
    settings: Annotated[str, typer.Option(help="Settings as a JSON object; --show-settings lists them.")] = "{}",
    fault: Annotated[list[str] | None, typer.Option(help="A fault rule as JSON; may be repeated.")] = None,
    show_settings: Annotated[bool, typer.Option(help="List all settings and faults, and exit.")] = False,
    exit_with_stdin: Annotated[bool, typer.Option(help="Stop when standard input closes; for test runners.")] = False,
    log_level: Annotated[str, typer.Option(help="Log level of the web server.")] = "warning",
) -> None:
    """
    Serve the OpenAI Batch API on this machine: files, batches and results, without account and cost.

    Routes under /_emulator/ change it while it runs: settings, faults, state, calls, reset.
    """
    if show_settings:
        _show()
        return
    flags = {name: value for name, value in context.params.items() if name in Settings.model_fields}
    chosen = _settings(settings, {name: value for name, value in flags.items() if value is not None})
    from airflow_provider_batch.emulator.faults import FaultRule
    from airflow_provider_batch.emulator.server import server

    try:
        rules = [FaultRule.model_validate_json(text) for text in fault or ()]
    except ValidationError as error:
        raise typer.BadParameter(str(error), param_hint="--fault") from error
    running = server(folder, chosen, host=host, port=port, log_level=log_level)
    store = running.config.app.emulator.store  # type: ignore[union-attr]
    for rule in rules:
        store.set_fault(rule)
    shown_host = host if ":" not in host else f"[{host}]"
    if exit_with_stdin:
        threading.Thread(target=_end_with_stdin, args=(running,), daemon=True).start()
    path = chosen.facts.path or "/v1"
    typer.echo(f"Batch API emulator on http://{shown_host}:{port}{path}, state in {folder}", err=True)
    running.run()


def _end_with_stdin(running: Any) -> None:
    sys.stdin.buffer.read()
    running.should_exit = True


def _settings(text: str, flags: dict[str, Any]) -> Settings:
    try:
        return Settings.model_validate(json.loads(text) | flags)
    except (ValidationError, ValueError, TypeError) as error:
        raise typer.BadParameter(str(error), param_hint="--settings") from error


def _show() -> None:
    from airflow_provider_batch.emulator import faults

    for name, field in Settings.model_fields.items():
        typer.echo(f"{name} = {field.default!r}\n    {field.description}")
    typer.echo(f"\n{(faults.__doc__ or '').strip()}")


def main() -> None:
    """Run the command line."""
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.command(epilog=_EPILOG)(_serve)
    app(prog_name="python -m airflow_provider_batch.emulator")


if __name__ == "__main__":
    main()
