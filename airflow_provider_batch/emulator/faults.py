"""
Faults on demand: each is one rule, set with `POST /_emulator/faults`.

A rule says what goes wrong (`kind`), where (selectors: all that are set must match; without selectors the rule matches
everything) and how (its other fields).

| kind | scope | what happens | fields |
|---|---|---|---|
| `http_error` | line | an HTTP error; `file="output"`: in the wrong file | `status` 500, `code`, `message`, `file` |
| `not_run` | line | `response` is null; `error` says why | `code` "request_timeout", `message` |
| `silent_line` | line | not run; `status_code` 0, an empty body, no error | `file` "error" |
| `content_filter` | line | the content filter stops the answer | |
| `refusal` | line | the model refuses | `message` |
| `no_content` | line | the answer is empty: `"content": null`, no content part, or `"text": null` | |
| `truncated` | line | the answer is cut: `finish_reason` length, or status `incomplete` | |
| `answer` | line | the answer is this text, also where the request has a schema | `message` |
| `several_messages` | line | a response holds its message three times: cut off, whole, whole | |
| `raw_separators` | line | the answer holds U+2028, U+2029 and U+0085, not escaped | |
| `lone_surrogate` | line | the answer ends in half of an emoji, escaped | |
| `body_as_string` | line | `response.body` is JSON in a string | |
| `duplicate_line` | line | the result line is written again | `count` 1 |
| `foreign_line` | line | a result line with an unknown `custom_id` follows | |
| `missing_line` | line | not run, in neither file, not billed | |
| `blank_line` | line | an empty line follows | |
| `broken_line` | line | the result line stops in the middle, a line break follows; billed | |
| `refuse_file` | batch | validation fails | `code` "invalid_request", `message`, `param`, `line` |
| `expire` | batch | the batch expires when this share of its lines is done | `after` 0.5 |
| `stuck` | batch | the batch stays in a status for some seconds | `status_text` "validating", `seconds` |
| `missing_output` | batch | the batch has ended, but a file id never appears | `file` "output", "error" or "both" |
| `late_output` | batch | the batch has ended, but a file id appears late | `file`, `reads` or `seconds` |
| `empty_string_file_ids` | batch | file ids that are null are `""` | |
| `empty_error_file` | batch | an error file of 0 bytes where no line failed | |
| `result_form` | batch | its result files have another form, or other ids | `form` "html", `file` "output" |
| `loose_object` | batch | ISO times, counts as text without zeros, `errors` a list with line numbers as text | |
| `miscount` | batch | requests that failed are counted as completed | |
| `stale_counts` | batch | the counts of a batch that has ended show no request as done | |
| `upper_case_status` | batch | `COMPLETED` for `completed` | |
| `null_endpoint` | batch | `endpoint` is null, as Azure's may be | |
| `short_endpoint` | batch | `/chat/completions` for `/v1/chat/completions` | |
| `unknown_status` | batch | an unknown status until the batch has ended | `status_text` "scheduling", `reads` |
| `batch_not_found` | batch | retrieve and cancel answer 404 | `reads` |
| `late_in_list` | batch | the list does not show the batch at first | `reads` (of the list), `seconds` |
| `cancel_loses_race` | batch | a cancel is accepted, but the batch completes | |
| `file_not_ready` | create | the first create calls with a file, or those in its first seconds, are refused | below |
| `route_error` | call | this status instead of an answer | `status` 500, `code`, `message`, `retry_after` |
| `slow_route` | call | the answer is late | `seconds` |
| `drop_connection` | call | the connection is cut, and the call has no effect | |
| `lose_answer` | call | the call has its effect, then the connection is cut | |
| `cut_body` | call | the connection is cut in the middle of the answer | `after_bytes`, or `after` (share, 0.5) |

Selectors.
    For lines: `custom_id` (a pattern as in a shell), `line` (number in the input file, from 1), `fraction` with `seed`
    (the same lines each time), `text` (part of the request line), `executions` (only the first N executions of the
    same `custom_id` and body).
    For batches, and for the lines in them: `model`, `endpoint`, `metadata` (the batch has these pairs; values are
    patterns as in a shell).
    For calls: `method` and `path` (a pattern: `/v1/files/*/content`).
    For all: `nth` (act from the nth match since the rule was set, from 1) and `times` (act on so many matches; on one
    where only `nth` is given).

Forms of `result_form`: `html`, `json_array`, `pretty` (printed over several lines), `gzip`, `utf-16`,
`byte_order_mark`, `empty`, `cut` (half of the lines), `ids_trimmed` (without spaces around them), `ids_lower_case`,
`ids_elsewhere` (the ids are under `key`).

Field `reads`: the fault ends after so many reads of the batch.

Fields of `file_not_ready`: `count` 1, or `seconds` in which the file itself has the status `status_text` "pending";
`status` 400 (also where it is 500), `message` "Cannot find file {file}, or project … does not have access to it.",
`code` null, `param` "file_id".

A restart keeps the rules. The rules of a batch are chosen when it is created, and do not change.
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
    "stale_counts",
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
    """One fault rule; the table of this module says what each field means."""

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
        """
        Say whether the selectors for batches match.

        :param model: Model of the batch; None where it names none.
        :param endpoint: Endpoint of the batch.
        :param metadata: Metadata of the batch.
        """
        if self.endpoint is not None and self.endpoint != endpoint:
            return False
        if self.model is not None and self.model != model:
            return False
        given = metadata or {}
        return all(key in given and fnmatchcase(given[key], value) for key, value in (self.metadata or {}).items())

    def fits_line(self, *, custom_id: str, number: int, raw: bytes) -> bool:
        """
        Say whether the selectors for lines match, without `executions`, which needs the store.

        :param custom_id: Id of the request.
        :param number: Number of the line in the input file, from 1.
        :param raw: Bytes of the request line.
        """
        if self.line is not None and self.line != number:
            return False
        if self.custom_id is not None and not fnmatchcase(custom_id, self.custom_id):
            return False
        if self.text is not None and self.text.encode() not in raw:
            return False
        return self.fraction is None or chance(f"{self.seed}/{custom_id}") < self.fraction

    def fits_call(self, *, method: str, path: str) -> bool:
        """
        Say whether the selectors for calls match. A `cut_body` without a path matches downloads.

        :param method: HTTP method in capitals.
        :param path: Path of the URL.
        """
        if self.method is not None and self.method.upper() != method:
            return False
        pattern = self.path or ("/v1/files/*/content" if self.kind == "cut_body" else None)
        return pattern is None or fnmatchcase(path, pattern)

    def fires(self, match: int) -> bool:
        """
        Say whether the rule acts on a match, by its `nth` and `times`.

        :param match: Number of the match, from 1.
        """
        if self.nth is not None:
            return self.nth <= match < self.nth + (self.times or 1)
        return self.times is None or match <= self.times


def chance(key: str) -> float:
    """
    Return a number from 0 to below 1; the same key gives the same number in every process.

    :param key: Any text.
    """
    return random.Random(key).random()


class FaultBook:
    """
    The fault rules that are set, with the number of their matches.

    It has no lock: the store that holds it has one.

    :param rules: Rules of an earlier process, each with the number of its matches.
    """

    def __init__(self, rules: Iterable[tuple[FaultRule, int]] = ()) -> None:
        self.matches: dict[str, int] = {}
        self.rules: list[FaultRule] = []
        for rule, matches in rules:
            self.rules.append(rule)
            self.matches[rule.id] = matches

    def add(self, rule: FaultRule) -> FaultRule:
        """
        Add a rule, or replace the one with the same id; return it with its id.

        :param rule: Rule; one without an id gets one.
        """
        named = rule if rule.id else rule.model_copy(update={"id": self._free_id()})
        self.remove(named.id)
        self.rules.append(named)
        self.matches[named.id] = 0
        return named

    def remove(self, rule_id: str | None) -> None:
        """
        Remove one rule, or all.

        :param rule_id: Id of the rule; None for all.
        """
        self.rules = [rule for rule in self.rules if rule_id is not None and rule.id != rule_id]
        self.matches = {rule.id: self.matches[rule.id] for rule in self.rules}

    def of(self, kinds: frozenset[str]) -> Sequence[FaultRule]:
        """
        Return the rules of some kinds, oldest first.

        :param kinds: Kinds of rules.
        """
        return [rule for rule in self.rules if rule.kind in kinds]

    def hit(self, rule: FaultRule) -> bool:
        """
        Count a match, and say whether the rule acts on it.

        :param rule: Rule whose selectors match.
        """
        if rule.id not in self.matches:
            return False
        self.matches[rule.id] += 1
        return rule.fires(self.matches[rule.id])

    def _free_id(self) -> str:
        number = len(self.rules) + 1
        while f"fault-{number}" in self.matches:
            number += 1
        return f"fault-{number}"
