"""
Run the lines of a batch, one chunk at a time, and write their results.

A kill at any moment is harmless: the result lines of a chunk are written to the files first. Then one transaction
records how many lines are done, how long the files are, and which lines were executed. After a restart the files are
cut to the recorded lengths, and the next chunk is written behind them.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from airflow_provider_batch.emulator import answers
from airflow_provider_batch.emulator.answers.upstream import Upstream
from airflow_provider_batch.emulator.batches import result_lines
from airflow_provider_batch.emulator.batches.store import Store, body_key
from airflow_provider_batch.emulator.batches.validation import LineIndex
from airflow_provider_batch.emulator.errors import CallError, envelope, error_type_of
from airflow_provider_batch.emulator.faults import LINE_KINDS, FaultRule
from airflow_provider_batch.emulator.records import BatchRecord, Tokens
from airflow_provider_batch.emulator.settings import Settings

#: A chunk ends at the first of both limits: short chunks keep the routes quick and let batches take turns.
_CHUNK_LINES, _CHUNK_SECONDS = 512, 0.04
_ANSWER_FAULTS = frozenset(
    {"content_filter", "refusal", "no_content", "truncated", "answer", "raw_separators", "lone_surrogate"}
)

_decode = msgspec.json.Decoder().decode


@dataclass
class _Line:
    """One request line, with the fault rules that were chosen for it."""

    number: int
    custom_id: str
    body: Mapping[str, Any]
    raw: bytes
    key: bytes = b""
    rules: list[FaultRule] = field(default_factory=list)

    def rule(self, *kinds: str) -> FaultRule | None:
        return next((rule for rule in self.rules if rule.kind in kinds), None)


@dataclass
class _Result:
    """Result of one line: the result line, its file, and what it counts as."""

    line: dict[str, Any]
    status: int
    in_output: bool
    tokens: Tokens = field(default_factory=Tokens)
    raw: dict[str, bytes] = field(default_factory=dict)

    @property
    def is_billed(self) -> bool:
        return 200 <= self.status < 300


@dataclass
class _Progress:
    """What a chunk adds to its batch's record."""

    lines: int = 0
    completed: int = 0
    failed: int = 0
    billed: int = 0
    tokens: Tokens = field(default_factory=Tokens)
    executed: list[tuple[str, bytes, int]] = field(default_factory=list)


class ResultFiles:
    """
    The two result files of a batch, open for writing behind the recorded lines.

    :param store: Store with the files.
    :param batch: Batch whose files are opened; bytes behind its recorded lengths are cut off.
    """

    def __init__(self, store: Store, batch: BatchRecord) -> None:
        self.output = _open_at(store.path_of(batch.output_name), batch.output_bytes)
        self.error = _open_at(store.path_of(batch.error_name), batch.error_bytes)

    def __enter__(self) -> ResultFiles:
        return self

    def __exit__(self, *_: object) -> None:
        self.output.close()
        self.error.close()

    def lengths(self) -> tuple[int, int]:
        """Flush both files and return their lengths in bytes: output file, error file."""
        self.output.flush()
        self.error.flush()
        return self.output.tell(), self.error.tell()


def _open_at(path: Path, length: int) -> BinaryIO:
    file = path.open("r+b" if path.exists() else "w+b", buffering=1 << 18)
    file.truncate(length)
    file.seek(length)
    return file


class Execution:
    """
    Runs chunks of batches; several threads may use it, each for another batch.

    :param store: Store with the requests; progress is recorded in it.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._indexes: dict[str, LineIndex] = {}
        self._upstreams: dict[tuple[object, ...], Upstream] = {}
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close the clients of all upstreams."""
        with self._lock:
            for upstream in self._upstreams.values():
                upstream.close()

    def forget(self, batch_id: str) -> None:
        """
        Drop the line index of a batch from memory.

        :param batch_id: Id of a batch that has ended.
        """
        self._indexes.pop(batch_id, None)

    def index_path(self, batch_id: str) -> Path:
        """
        Return the path of a batch's line index.

        :param batch_id: Id of the batch.
        """
        return self._store.files_folder / f"{batch_id}.index"

    def run(self, batch: BatchRecord, until: int, settings: Settings) -> None:
        """
        Execute one chunk of lines and record it.

        :param batch: Batch in `in_progress` or `cancelling`.
        :param until: Number of lines that may be done after this chunk.
        :param settings: Current settings.
        """
        rules = [
            rule
            for rule in self._store.faults_of(LINE_KINDS)
            if rule.fits_batch(model=batch.model, endpoint=batch.endpoint, metadata=batch.metadata)
        ]
        with ResultFiles(self._store, batch) as files:
            if settings.upstream:
                progress = self._run_upstream(batch, until, settings, rules, files)
            else:
                progress = self._run_here(batch, until, settings, rules, files)
            self._commit(batch.id, progress, files)

    def write_rest(self, batch: BatchRecord, settings: Settings) -> None:
        """
        Write one chunk of the remaining lines as not run, and record it.

        :param batch: Batch that is cancelled or has expired.
        :param settings: Current settings.
        """
        ending = batch.ending or "cancelled"
        with ResultFiles(self._store, batch) as files, self._input(batch).open("rb") as source:
            progress = _Progress()
            line_ids = _ids(batch)
            for position in range(batch.done, min(batch.total, batch.done + 8 * _CHUNK_LINES)):
                line = self._read(batch, position, source)
                left = result_lines.ended_early(next(line_ids)[0], line.custom_id, ending)
                files.error.write(result_lines.encode(left, {}, settings.result_style) + b"\n")
                progress.lines += 1
            self._commit(batch.id, progress, files)

    def _run_here(
        self, batch: BatchRecord, until: int, settings: Settings, rules: Sequence[FaultRule], files: ResultFiles
    ) -> _Progress:
        progress, line_ids, begun = _Progress(), _ids(batch), time.monotonic()
        with self._input(batch).open("rb") as source:
            for position in range(batch.done, min(until, batch.done + _CHUNK_LINES)):
                line = self._read(batch, position, source)
                self._choose_rules(line, rules)
                ids = next(line_ids)
                result = self._fault_result(line, ids) or self._answer(batch, line, ids, settings)
                self._finish(line, result, settings, files, progress)
                if time.monotonic() - begun > _CHUNK_SECONDS:
                    break
        return progress

    def _run_upstream(
        self, batch: BatchRecord, until: int, settings: Settings, rules: Sequence[FaultRule], files: ResultFiles
    ) -> _Progress:
        progress, line_ids = _Progress(), _ids(batch)
        end = min(until, batch.done + 2 * settings.upstream_concurrency)
        with self._input(batch).open("rb") as source:
            lines = [self._read(batch, position, source) for position in range(batch.done, end)]
        for line in lines:
            self._choose_rules(line, rules)
        ids = {line.custom_id: next(line_ids) for line in lines}
        results = {line.custom_id: self._fault_result(line, ids[line.custom_id]) for line in lines}
        unanswered = [line for line in lines if results[line.custom_id] is None]
        replies = self._upstream(settings).ask(batch.endpoint, [line.body for line in unanswered])
        for line, reply in zip(unanswered, replies, strict=True):
            line_id, request_id = ids[line.custom_id]
            written = result_lines.answered(line_id, line.custom_id, request_id, reply.status, reply.body)
            good = 200 <= reply.status < 300
            results[line.custom_id] = _Result(written, reply.status, good, reply.tokens if good else Tokens())
        for line in lines:
            if (result := results[line.custom_id]) is not None:
                self._finish(line, result, settings, files, progress)
        return progress

    def _upstream(self, settings: Settings) -> Upstream:
        key = (settings.upstream, settings.upstream_api_key, settings.upstream_concurrency, settings.upstream_timeout)
        with self._lock:
            if key not in self._upstreams:
                self._upstreams[key] = Upstream(settings)
            return self._upstreams[key]

    def _input(self, batch: BatchRecord) -> Path:
        return self._store.path_of(batch.input_file_id)

    def _read(self, batch: BatchRecord, position: int, source: BinaryIO) -> _Line:
        index = self._indexes.get(batch.id)
        if index is None:
            index = self._indexes[batch.id] = LineIndex.load(self.index_path(batch.id))
        number = index.order[position]
        source.seek(index.offsets[number])
        raw = source.readline()
        request = _decode(raw)
        return _Line(number=number + 1, custom_id=str(request["custom_id"]), body=request["body"], raw=raw)

    def _choose_rules(self, line: _Line, rules: Sequence[FaultRule]) -> None:
        line.key = body_key(line.body)
        for rule in rules:
            if not rule.fits_line(custom_id=line.custom_id, number=line.number, raw=line.raw):
                continue
            before = 0 if rule.executions is None else self._store.attempts(line.custom_id, line.key)
            if rule.executions is not None and before >= rule.executions:
                continue
            if self._store.hit(rule):
                line.rules.append(rule)

    def _fault_result(self, line: _Line, ids: tuple[str, str]) -> _Result | None:
        line_id, request_id = ids
        if rule := line.rule("http_error"):
            message = rule.message or f"The request failed with status {rule.status} (a fault of the emulator)."
            body = envelope(message, error_type=error_type_of(rule.status), param=rule.param, code=rule.code)
            written = result_lines.answered(line_id, line.custom_id, request_id, rule.status, body)
            return _Result(written, rule.status, in_output=rule.file == "output")
        if rule := line.rule("not_run"):
            message = rule.message or "This request was not run."
            written = result_lines.not_run(line_id, line.custom_id, rule.code or "request_timeout", message)
            return _Result(written, -1, in_output=False)
        if rule := line.rule("silent_line"):
            written = result_lines.answered(line_id, line.custom_id, "", 0, {})
            return _Result(written, -1, in_output=rule.file == "output")
        return _Result({}, -1, in_output=False) if line.rule("missing_line") else None

    def _answer(self, batch: BatchRecord, line: _Line, ids: tuple[str, str], settings: Settings) -> _Result:
        line_id, request_id = ids
        try:
            reply = answers.answer(
                batch.endpoint,
                line.body,
                now=batch.in_progress_at or 0.0,
                dated_models=settings.dated_models,
                fault=line.rule(*_ANSWER_FAULTS),
                embedding_sizes=settings.embedding_sizes,
            )
        except CallError as problem:
            written = result_lines.answered(line_id, line.custom_id, request_id, problem.status, problem.body())
            return _Result(written, problem.status, in_output=False)
        body = reply.body
        if line.rule("several_messages") and batch.endpoint == "/v1/responses":
            body = result_lines.in_several_messages(body)
        written = result_lines.answered(line_id, line.custom_id, request_id, 200, body)
        return _Result(written, 200, in_output=True, tokens=reply.tokens, raw=reply.raw)

    def _finish(
        self, line: _Line, result: _Result, settings: Settings, files: ResultFiles, progress: _Progress
    ) -> None:
        """Write the result of a line to its file and count it."""
        progress.lines += 1
        progress.executed.append((line.custom_id, line.key, int(result.is_billed)))
        if not result.line:
            return
        progress.completed += result.is_billed
        progress.failed += not result.is_billed
        progress.billed += result.is_billed
        progress.tokens.add(result.tokens)
        raw_separators = line.rule("raw_separators") is not None
        if line.rule("body_as_string") and result.line["response"]:
            body = result_lines.encode(result.line["response"]["body"], result.raw, settings.result_style)
            result.line["response"]["body"], result.raw = body.decode(), {}
        encoded = result_lines.encode(result.line, result.raw, settings.result_style, raw_separators=raw_separators)
        target = files.output if result.in_output else files.error
        target.write(result_lines.with_faults(encoded, result.line["id"], line.rules))

    def _commit(self, batch_id: str, progress: _Progress, files: ResultFiles) -> None:
        output_bytes, error_bytes = files.lengths()

        def add(record: BatchRecord) -> None:
            record.done += progress.lines
            record.completed += progress.completed
            record.failed += progress.failed
            record.billed += progress.billed
            record.tokens.add(progress.tokens)
            record.output_bytes, record.error_bytes = output_bytes, error_bytes

        self._store.commit_lines(batch_id, progress.executed, add)


def _ids(batch: BatchRecord) -> Iterator[tuple[str, str]]:
    """Yield pairs of line id and request id; the same for the same batch and position."""
    choice = random.Random(f"{batch.id}/{batch.done}")
    while True:
        yield f"batch_req_{choice.getrandbits(128):032x}", f"{choice.getrandbits(128):032x}"
