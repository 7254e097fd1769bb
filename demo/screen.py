"""Print the demo: a live view on a terminal, lines for each change in a log file."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from demo.evidence import Claim, Phase, Sample

#: Characters of an answer that the table of first rows shows.
TEXT_WIDTH = 60

#: Columns of a log file; a terminal has its own width.
LOG_WIDTH = 120

#: Seconds after which a line is logged although nothing has changed.
LOG_EVERY = 5.0


@dataclass(frozen=True)
class BatchLine:
    """
    What the screen shows of a batch.

    :param batch_id: Id of the batch.
    :param requests: Number of requests.
    :param status: Status of the batch.
    :param moments: Name of a time (``created`` …) → seconds since the run was triggered; None where it is not set.
    """

    batch_id: str
    requests: int
    status: str
    moments: Mapping[str, float | None]


@dataclass(frozen=True)
class TableFacts:
    """
    What the screen shows of the result table.

    :param rows: Number of rows.
    :param columns: Names of the columns.
    :param first: The first rows.
    :param statuses: Status → rows.
    :param input_tokens: Sum over all rows.
    :param output_tokens: Sum over all rows.
    :param cost: Sum over all rows in US dollars; None where no row has a cost.
    :param files: Number of part files.
    :param path: Path of the table.
    """

    rows: int
    columns: Sequence[str]
    first: Sequence[Mapping[str, Any]]
    statuses: Mapping[str, int]
    input_tokens: int
    output_tokens: int
    cost: Decimal | None
    files: int
    path: str


@dataclass
class Step:
    """
    A step that is under way.

    :param waits_for: Shows what the step waits for now.
    :param result: Text that is shown when the step is done.
    """

    waits_for: Callable[[str], None]
    result: str = ""


@dataclass
class Screen:
    """
    Prints all output of the demo.

    :param console: Console to print to; the default is standard output.
    """

    console: Console = field(default_factory=lambda: Console(highlight=False, width=None))

    def __post_init__(self) -> None:
        if not self.console.is_terminal:
            self.console.width = LOG_WIDTH

    def as_svg(self, title: str) -> str:
        """
        Return all printed text as an SVG picture that loads no fonts; needs a screen of `recorded_screen`.

        :param title: Title of the picture.
        """
        drawn = re.sub(r"@font-face\s*\{[^}]*\}", "", self.console.export_svg(title=title, unique_id="demo"))
        fonts = "ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace"
        drawn = re.sub(r"font-family: Fira Code, monospace", f"font-family: {fonts}", drawn)
        return "\n".join(line.rstrip() for line in drawn.splitlines() if line.strip()) + "\n"

    def say(self, text: str) -> None:
        """
        Print a line.

        :param text: Text without markup.
        """
        self.console.print(text, markup=False)

    @contextmanager
    def step(self, title: str) -> Iterator[Step]:
        """
        Show a step while it is under way; at the end print its result and duration.

        :param title: What the step does.
        """
        started = time.monotonic()
        with self._waiting_line(title) as waits_for:
            step = Step(waits_for)
            yield step
        self.console.print(f"[green]✓[/] {title}: [bold]{step.result}[/] [dim]({time.monotonic() - started:.1f} s)[/]")

    @contextmanager
    def live_view(self) -> Iterator[Callable[[Sample], None]]:
        """Yield a function that shows a sample."""
        if not self.console.is_terminal:
            yield self._log_changes()
            return
        with Live(console=self.console, refresh_per_second=4, transient=True) as live:
            yield lambda sample: live.update(_view(sample))

    def show_phases(self, phases: Sequence[Phase]) -> None:
        """
        Print the phases of the run as a table.

        :param phases: Phases in order.
        """
        table = Table(
            "seconds",
            "samples",
            "task",
            "slots held",
            "slots deferred",
            "batches, as the API says",
            box=box.SIMPLE_HEAD,
        )
        table.title = "The task and its slots (Airflow's REST API), the batches (the Batch API)"
        for phase in phases:
            style = "bold green" if phase.state == "deferred" and not phase.slots_held else ""
            table.add_row(
                f"{phase.start:5.1f} – {phase.end:5.1f}",
                str(phase.samples),
                phase.state,
                str(phase.slots_held),
                str(phase.slots_deferred),
                phase.batches,
                style=style,
            )
        self.console.print(table)

    def show_batches(self, batches: Sequence[BatchLine]) -> None:
        """
        Print the API's timestamps of the batches, in the same seconds as the samples.

        :param batches: Batches in order.
        """
        moments = list(batches[0].moments) if batches else []
        titles = [name.replace("_", " ") for name in moments]
        table = Table("batch", "requests", "status", *titles, box=box.SIMPLE_HEAD)
        table.title = "The Batch API's timestamps (whole seconds, counted from the same start)"
        for batch in batches:
            seconds = ["–" if moment is None else f"{moment:5.1f}" for moment in batch.moments.values()]
            table.add_row(batch.batch_id, f"{batch.requests:,}", batch.status, *seconds)
        self.console.print(table)

    def show_table(self, facts: TableFacts) -> None:
        """
        Print the first rows of the result table, and its totals.

        :param facts: What to print.
        """
        table = Table("row", "kind", "name", "status", "text", box=box.SIMPLE_HEAD, title="The first rows of the table")
        for row in facts.first:
            text = Text(" ".join((row["text"] or "").split()), overflow="ellipsis", no_wrap=True)
            text.truncate(TEXT_WIDTH, overflow="ellipsis")
            table.add_row(str(row["row_number"]), row["kind"], row["name"], row["status"], text)
        self.console.print(table)
        counts = ", ".join(f"{count:,} {status}" for status, count in sorted(facts.statuses.items()))
        cost = "unknown" if facts.cost is None else f"${facts.cost:.4f} at batch price (emulated: nothing was paid)"
        self.say(f"  rows     {facts.rows:,}: {counts}")
        self.say(f"  tokens   {facts.input_tokens:,} in, {facts.output_tokens:,} out")
        self.say(f"  cost     {cost}")
        self.say(f"  columns  {', '.join(facts.columns)}")
        self.say(f"  path     {facts.path} ({facts.files} Parquet files)")
        self.say("")

    def show_claims(self, claims: Sequence[Claim]) -> None:
        """
        Print each claim, and whether it is true.

        :param claims: Checked claims.
        """
        for claim in claims:
            mark = "[green]✓[/]" if claim.holds else "[bold red]✗ FAILED:[/]"
            self.console.print(f"{mark} {claim.text} [dim]({claim.found})[/]")

    def hold(self, address: str) -> None:
        """
        Wait until Ctrl-C.

        :param address: Address of Airflow.
        """
        self.console.print(f"\nAirflow still runs: [bold]{address}[/]. Ctrl-C stops it.")
        while True:
            time.sleep(3600)

    def problem(self, error: Exception) -> None:
        """
        Print an error.

        :param error: Error that ended the demo.
        """
        self.console.print(f"[bold red]✗ {type(error).__name__}:[/] ", end="")
        self.say(str(error))

    def show_leftovers(self, left: Sequence[str]) -> None:
        """
        Print whether processes of the demo still run.

        :param left: Commands of the processes that still run.
        """
        if left:
            self.console.print("[bold red]✗ FAILED:[/] processes of the demo still run. Stop them by hand:")
            for command in left:
                self.say(f"  {command}")
        else:
            self.console.print("[green]✓[/] nothing is left running")

    @contextmanager
    def _waiting_line(self, title: str) -> Iterator[Callable[[str], None]]:
        """Yield a function that shows what a step waits for: with a clock on a terminal, else as a line of the log."""
        if not self.console.is_terminal:
            started = time.monotonic()
            yield lambda what: self.say(f"  {time.monotonic() - started:5.1f} s  waiting for {what}")
            return
        columns = SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn()
        with Progress(*columns, console=self.console, transient=True) as progress:
            line = progress.add_task(title)
            yield lambda what: progress.update(line, description=f"{title}: waiting for {what}")

    def _log_changes(self) -> Callable[[Sample], None]:
        shown: list[Sample] = []

        def show(sample: Sample) -> None:
            if not shown or _needs_line(sample, shown[-1]):
                shown.append(sample)
                self.say(f"  {sample.seconds:5.1f} s  {_line(sample)}")

        return show


class _Quiet(Screen):
    """Prints a log without the lines that say what a step waits for, for a picture."""

    @contextmanager
    def _waiting_line(self, title: str) -> Iterator[Callable[[str], None]]:
        yield lambda what: None


def recorded_screen() -> Screen:
    """Return a screen that prints a log and records it for `Screen.as_svg`."""
    return _Quiet(Console(highlight=False, record=True, force_terminal=False, width=LOG_WIDTH))


def _needs_line(sample: Sample, than: Sample) -> bool:
    changed = (sample.state, sample.slots_held, sample.batch_counts) != (than.state, than.slots_held, than.batch_counts)
    return changed or sample.seconds - than.seconds >= LOG_EVERY


def _line(sample: Sample) -> str:
    slots = f"{sample.slots_held} slot{'' if sample.slots_held == 1 else 's'} held"
    done = f", {sample.requests_done:,} of {sample.requests:,} requests" if sample.requests else ""
    return f"task {sample.state}, {slots}; batches: {sample.batch_counts}{done}"


def _view(sample: Sample) -> RenderableType:
    colour = {"deferred": "bold green", "running": "yellow"}.get(sample.state, "")
    state = Text.assemble(
        f"{sample.seconds:5.1f} s   task ",
        (sample.state, colour),
        f"   worker slots held: {sample.slots_held}   deferred: {sample.slots_deferred}",
    )
    batches = Table.grid(padding=(0, 2))
    for number, (batch_id, status) in enumerate(sample.batches.items(), start=1):
        done, total = sample.counts.get(batch_id, (0, 0))
        batches.add_row(
            f"batch {number}", status, ProgressBar(total=total or 1, completed=done, width=40), f"{done:,}/{total:,}"
        )
    return Panel(Group(state, batches), title="openai batch", border_style="dim")
