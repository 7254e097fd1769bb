"""
Faults on demand: each is one rule, data and nothing else, set with `POST /_emulator/faults`.

A rule says what goes wrong (`kind`), where (selectors, all of which must match; none matches everything) and how (its
own fields).

| kind | scope | what happens | fields |
|---|---|---|---|
| `http_error` | line | an HTTP error; `file="output"`: in the wrong file | `status` 500, `code`, `message`, `file` |
| `not_run` | line | `response` is null; `error` says why | `code` "request_timeout", `message` |
| `silent_line` | line | not run; `status_code` 0, an empty body, no error | `file` "error" |
| `content_filter` | line | the answer was stopped by the filter | |
| `refusal` | line | the model refuses | `message` |
| `no_content` | line | the answer holds nothing: `"content": null`, or no part, or `"text": null` | |
| `truncated` | line | the answer is cut: `finish_reason` length, or status `incomplete` | |
| `answer` | line | the answer is this text, whatever schema was asked for | `message` |
| `several_messages` | line | a response holds its message cut off, whole, and whole again | |
| `raw_separators` | line | the answer holds U+2028, U+2029 and U+0085, written raw | |
| `lone_surrogate` | line | the answer ends in half an emoji, as an escape | |
| `body_as_string` | line | `response.body` is JSON in a string | |
| `duplicate_line` | line | the result line is written again | `count` 1 |
| `foreign_line` | line | a result line with an unknown `custom_id` follows | |
| `missing_line` | line | not run, in neither file, not billed | |
| `blank_line` | line | an empty line follows | |
| `broken_line` | line | the result line stops in the middle, a line break follows; billed | |
| `refuse_file` | batch | validation fails | `code` "invalid_request", `message`, `param`, `line` |
| `expire` | batch | expires when this share of its lines is done | `after` 0.5 |
| `stuck` | batch | stays in a status for some seconds | `status_text` "validating", `seconds` |
| `missing_output` | batch | ended, but a file id never appears | `file` "output", "error" or "both" |
| `late_output` | batch | ended, but a file id appears late | `file`, `reads` or `seconds` |
| `empty_string_file_ids` | batch | `""` stands for null | |
| `empty_error_file` | batch | an error file of 0 bytes where there is none | |
| `result_form` | batch | its result files come in another form, or with other ids | `form` "html", `file` "output" |
| `loose_object` | batch | ISO times, counts as text, no zeros, `errors` a bare list with lines as text | |
| `miscount` | batch | requests that failed are counted as completed | |
| `upper_case_status` | batch | `COMPLETED` for `completed` | |
| `null_endpoint` | batch | `endpoint` is null, as Azure's may be | |
| `short_endpoint` | batch | `/chat/completions` for `/v1/chat/completions` | |
| `unknown_status` | batch | another word until it has ended | `status_text` "scheduling", `reads`: only so many reads |
| `batch_not_found` | batch | retrieve and cancel answer 404 | `reads`: only so many reads |
| `late_in_list` | batch | the list does not show it at first | `reads` (of the list) or `seconds` |
| `cancel_loses_race` | batch | a cancel is accepted and the batch completes | |
| `file_not_ready` | create | the first creates with a file, or those in its first seconds, are refused | see below |
| `route_error` | call | this status instead of an answer | `status` 500, `code`, `message`, `retry_after` |
| `slow_route` | call | the answer is late | `seconds` |
| `drop_connection` | call | the connection is cut and nothing was done | |
| `lose_answer` | call | all is done, then the connection is cut | |
| `cut_body` | call | the connection is cut inside the answer | `after_bytes`, or `after` (share, 0.5) |

Selectors.
    For lines: `custom_id` (a pattern as in a shell), `line` (number in the input file, from 1), `fraction` with `seed`
    (the same lines each time), `text` (stands in the request line), `executions` (only the first so many executions of
    the same `custom_id` and body).
    For batches, and for the lines in them: `model`, `endpoint`, `metadata` (these pairs are among the
    batch's; values are patterns as in a shell).
    For calls: `method` and `path` (a pattern: `/v1/files/*/content`).
    For all: `nth` (from the nth match since the rule was set, counted from 1) and `times` (so many matches; one where
    only `nth` is given).

Forms of `result_form`: `html`, `json_array`, `pretty` (printed over several lines), `gzip`, `utf-16`,
`byte_order_mark`, `empty`, `cut` (half of the lines), `ids_trimmed` (without spaces around them), `ids_lower_case`,
`ids_elsewhere` (the ids are under `key`).

Fields of `file_not_ready`: `count` 1, or `seconds` in which the file itself has the status `status_text` "pending";
`status` 400 (also where it is 500), `message` "Cannot find file {file}.", `code` "invalid_request", `param` "file_id".

Rules stay over a restart. A batch is given its rules when it is created and keeps them.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

from airflow_provider_batch.emulator.result_forms import ResultForm

LineKind = Literal[
    "http_error",
    "not_run",
    "silent_line",
    "content_filter",
    "refusal",
    "no_content",
    "truncated",
    "answer",
    "several_messages",
    "raw_separators",
    "lone_surrogate",
    "body_as_string",
    "duplicate_line",
    "foreign_line",
    "missing_line",
    "blank_line",
    "broken_line",
]
BatchKind = Literal[
    "refuse_file",
    "expire",
    "stuck",
    "missing_output",
    "late_output",
    "empty_string_file_ids",
    "empty_error_file",
    "result_form",
    "loose_object",
    "miscount",
    "upper_case_status",
    "null_endpoint",
    "short_endpoint",
    "unknown_status",
    "batch_not_found",
    "late_in_list",
    "cancel_loses_race",
]
CallKind = Literal["route_error", "slow_route", "drop_connection", "lose_answer", "cut_body"]
CreateKind = Literal["file_not_ready"]

LINE_KINDS: frozenset[str] = frozenset(get_args(LineKind))
BATCH_KINDS: frozenset[str] = frozenset(get_args(BatchKind))
CALL_KINDS: frozenset[str] = frozenset(get_args(CallKind))


class FaultRule(BaseModel):
    """One rule; see the table above."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: LineKind | BatchKind | CallKind | CreateKind
    id: str = ""

    custom_id: str | None = None
    line: Annotated[int | None, Field(ge=1)] = None
    fraction: Annotated[float | None, Field(ge=0, le=1)] = None
    seed: int = 0
    text: str | None = None
    executions: Annotated[int | None, Field(ge=1)] = None
    model: str | None = None
    endpoint: str | None = None
    metadata: dict[str, str] | None = None
    method: str | None = None
    path: str | None = None
    nth: Annotated[int | None, Field(ge=1)] = None
    times: Annotated[int | None, Field(ge=1)] = None

    status: int = 500
    status_text: str | None = None
    form: ResultForm = "html"
    code: str | None = None
    message: str | None = None
    param: str | None = None
    file: Literal["output", "error", "both"] | None = None
    count: Annotated[int, Field(ge=1)] = 1
    reads: Annotated[int | None, Field(ge=0)] = None
    seconds: Annotated[float, Field(ge=0)] = 0.0
    retry_after: float | None = None
    after: Annotated[float, Field(ge=0, le=1)] = 0.5
    after_bytes: Annotated[int | None, Field(ge=0)] = None

    def fits_batch(self, *, model: str | None, endpoint: str, metadata: dict[str, str] | None) -> bool:
        """Say whether the batch selectors match."""
        if self.endpoint is not None and self.endpoint != endpoint:
            return False
        if self.model is not None and self.model != model:
            return False
        given = metadata or {}
        return all(key in given and fnmatchcase(given[key], value) for key, value in (self.metadata or {}).items())

    def fits_line(self, *, custom_id: str, number: int, raw: bytes) -> bool:
        """Say whether the line selectors match, `executions` apart: that takes a look at what has been done."""
        if self.line is not None and self.line != number:
            return False
        if self.custom_id is not None and not fnmatchcase(custom_id, self.custom_id):
            return False
        if self.text is not None and self.text.encode() not in raw:
            return False
        return self.fraction is None or chance(f"{self.seed}/{custom_id}") < self.fraction

    def fits_call(self, *, method: str, path: str) -> bool:
        """Say whether the call selectors match. A `cut_body` without a path is about downloads."""
        if self.method is not None and self.method.upper() != method:
            return False
        pattern = self.path or ("/v1/files/*/content" if self.kind == "cut_body" else None)
        return pattern is None or fnmatchcase(path, pattern)

    def fires(self, match: int) -> bool:
        """Say whether the rule acts on its `match`th match, from 1."""
        if self.nth is not None:
            return self.nth <= match < self.nth + (self.times or 1)
        return self.times is None or match <= self.times


def chance(key: str) -> float:
    """Return a number in [0, 1) that is the same for the same key, today and in another process."""
    return random.Random(key).random()


class FaultBook:
    """
    The rules that are set, and how often each has matched.

    Not safe for threads by itself: the store that holds it has the lock.
    """

    def __init__(self, rules: Iterable[tuple[FaultRule, int]] = ()) -> None:
        self.matches: dict[str, int] = {}
        self.rules: list[FaultRule] = []
        for rule, matches in rules:
            self.rules.append(rule)
            self.matches[rule.id] = matches

    def add(self, rule: FaultRule) -> FaultRule:
        """Add a rule, or put it in the place of the one with the same id."""
        named = rule if rule.id else rule.model_copy(update={"id": self._free_id()})
        self.remove(named.id)
        self.rules.append(named)
        self.matches[named.id] = 0
        return named

    def remove(self, rule_id: str | None) -> None:
        """Remove one rule, or all."""
        self.rules = [rule for rule in self.rules if rule_id is not None and rule.id != rule_id]
        self.matches = {rule.id: self.matches[rule.id] for rule in self.rules}

    def of(self, kinds: frozenset[str]) -> Sequence[FaultRule]:
        """Return the rules of some kinds, oldest first."""
        return [rule for rule in self.rules if rule.kind in kinds]

    def hit(self, rule: FaultRule) -> bool:
        """Count a match and say whether the rule acts on it."""
        if rule.id not in self.matches:
            return False
        self.matches[rule.id] += 1
        return rule.fires(self.matches[rule.id])

    def _free_id(self) -> str:
        number = len(self.rules) + 1
        while f"fault-{number}" in self.matches:
            number += 1
        return f"fault-{number}"
