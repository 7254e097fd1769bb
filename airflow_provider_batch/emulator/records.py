"""Define the records of files and batches, and show them as the API does."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

#: Fields of a batch with epoch seconds, in the order of the Batch object.
_MOMENTS = (
    *("created_at", "in_progress_at", "expires_at", "finalizing_at", "completed_at"),
    *("failed_at", "expired_at", "cancelling_at", "cancelled_at"),
)
#: Statuses that are final.
ENDED = frozenset({"completed", "failed", "expired", "cancelled"})


class FileRecord(msgspec.Struct):
    """
    A file that was uploaded, or that a batch wrote.

    :param id: Id of the file.
    :param filename: Name of the file.
    :param purpose: Purpose of the file.
    :param bytes: Size.
    :param created_at: Epoch seconds.
    :param expires_at: Epoch seconds; None for a file that does not expire.
    :param form: Form in which a download changes the file (see `result_forms.py`); None for the stored one.
    """

    id: str
    filename: str
    purpose: str
    bytes: int
    created_at: float
    expires_at: float | None = None
    form: str | None = None

    def to_api(self) -> dict[str, Any]:
        """Return the File object."""
        return {
            "object": "file",
            "id": self.id,
            "purpose": self.purpose,
            "filename": self.filename,
            "bytes": self.bytes,
            "created_at": int(self.created_at),
            "expires_at": whole(self.expires_at),
            "status": "processed",
            "status_details": None,
        }


class UploadRecord(msgspec.Struct):
    """
    An Upload: a file that a client sends in parts.

    :param id: Id of the Upload.
    :param filename: Name of the file.
    :param purpose: Purpose of the file.
    :param bytes: Size that the file will have.
    :param created_at: Epoch seconds.
    :param expires_at: Epoch seconds at which a pending Upload expires.
    :param lifetime: Seconds that the file is kept; None for a file that does not expire.
    :param status: "pending", "completed" or "cancelled".
    """

    id: str
    filename: str
    purpose: str
    bytes: int
    created_at: float
    expires_at: float
    lifetime: float | None = None
    status: str = "pending"

    def status_at(self, now: float) -> str:
        """
        Return the status at a time: "expired" for an Upload that was pending for too long.

        :param now: Epoch seconds.
        """
        return "expired" if self.status == "pending" and now >= self.expires_at else self.status

    def to_api(self, now: float) -> dict[str, Any]:
        """
        Return the Upload object, without its file.

        :param now: Epoch seconds.
        """
        return {
            "id": self.id,
            "object": "upload",
            "bytes": self.bytes,
            "created_at": int(self.created_at),
            "filename": self.filename,
            "purpose": self.purpose,
            "status": self.status_at(now),
            "expires_at": int(self.expires_at),
        }


class Tokens(msgspec.Struct):
    """
    Tokens of one answer, or of many.

    :param input: Input tokens.
    :param cached: Input tokens that were read from the cache; part of `input`.
    :param output: Output tokens.
    :param reasoning: Reasoning tokens; part of `output`.
    """

    input: int = 0
    cached: int = 0
    output: int = 0
    reasoning: int = 0

    def add(self, other: Tokens) -> None:
        """
        Add other tokens to these.

        :param other: Tokens to add.
        """
        self.input += other.input
        self.cached += other.cached
        self.output += other.output
        self.reasoning += other.reasoning

    def to_api(self) -> dict[str, Any]:
        """Return the `usage` of a Batch object."""
        return {
            "input_tokens": self.input,
            "input_tokens_details": {"cached_tokens": self.cached},
            "output_tokens": self.output,
            "output_tokens_details": {"reasoning_tokens": self.reasoning},
            "total_tokens": self.input + self.output,
        }


class BatchRecord(msgspec.Struct, kw_only=True):
    """
    A batch: what the API shows of it, and the progress of its execution. Times are epoch seconds.

    :param id: Id of the batch.
    :param endpoint: Endpoint of all requests.
    :param input_file_id: Id of the input file.
    :param completion_window: "24h".
    :param created_at: Time of the create call.
    :param expires_at: Time at which lines that are not done expire.
    :param metadata: Metadata of the create call.
    :param output_lifetime: Seconds that the result files are kept; None takes the default.
    :param input_missing: The create call named a file that does not exist: validation fails.
    :param model: Model of all requests, as they name it; None before validation.
    :param shown_model: Model that the Batch object names; None before validation succeeds.
    :param status: Status as the API names it.
    :param errors: Entries of `errors.data[]`; None before a failed validation.
    :param output_file_id: Id of the output file; None until it is published.
    :param error_file_id: Id of the error file; None until it is published.
    :param in_progress_at: Time at which validation succeeded.
    :param finalizing_at: Time at which all lines were done.
    :param completed_at: Time of completion.
    :param failed_at: Time at which validation failed.
    :param expired_at: Time at which the batch ended as expired.
    :param cancelling_at: Time of the cancel call.
    :param cancelled_at: Time at which the batch ended as cancelled.
    :param total: Number of requests.
    :param completed: Number of requests with status 2xx.
    :param failed: Number of other requests.
    :param tokens: Tokens of all answered lines.
    :param reads: Number of retrieve and list calls that showed the batch.
    :param reads_at_cancel: `reads` at the cancel call.
    :param reads_at_end: `reads` at the end of the batch.
    :param done: Number of lines that were run, in the order of execution; the result files hold no more lines.
    :param output_bytes: Bytes of the output file that belong to `done`; a killed process may have written more.
    :param error_bytes: Bytes of the error file that belong to `done`.
    :param billed: Number of lines with status 2xx, which cost money.
    :param enqueued_tokens: Input tokens of all lines.
    :param ending: "expired" where the remaining lines are not run any more; else None.
    :param output_name: Id of the output file, chosen before the first line is written.
    :param error_name: Id of the error file, chosen before the first line is written.
    :param faults: Fault rules that were chosen for this batch when it was created.
    """

    id: str
    endpoint: str
    input_file_id: str
    completion_window: str
    created_at: float
    expires_at: float
    metadata: dict[str, str] | None = None
    output_lifetime: float | None = None
    input_missing: bool = False
    model: str | None = None
    shown_model: str | None = None
    status: str = "validating"
    errors: list[dict[str, Any]] | None = None
    output_file_id: str | None = None
    error_file_id: str | None = None
    in_progress_at: float | None = None
    finalizing_at: float | None = None
    completed_at: float | None = None
    failed_at: float | None = None
    expired_at: float | None = None
    cancelling_at: float | None = None
    cancelled_at: float | None = None
    total: int = 0
    completed: int = 0
    failed: int = 0
    tokens: Tokens = msgspec.field(default_factory=Tokens)
    reads: int = 0
    reads_at_cancel: int = 0
    reads_at_end: int = 0
    done: int = 0
    output_bytes: int = 0
    error_bytes: int = 0
    billed: int = 0
    enqueued_tokens: int = 0
    ending: str | None = None
    output_name: str = ""
    error_name: str = ""
    faults: list[dict[str, Any]] = []

    @property
    def has_ended(self) -> bool:
        """Whether the status is final."""
        return self.status in ENDED

    @property
    def ended_at(self) -> float | None:
        """Time of the end in epoch seconds, or None."""
        return self.completed_at or self.failed_at or self.expired_at or self.cancelled_at

    def fault(self, kind: str) -> dict[str, Any] | None:
        """
        Return the fault rule of a kind that was chosen for this batch, or None.

        :param kind: Kind of the rule.
        """
        return next((rule for rule in self.faults if rule["kind"] == kind), None)

    def form_of(self, which: str) -> str | None:
        """
        Return the form in which a result file is downloaded; None for the stored one.

        :param which: "output" or "error".
        """
        rule = self.fault("result_form")
        fits = rule is not None and (rule.get("file") or "output") in (which, "both")
        return str(rule["form"]) if rule is not None and fits else None

    def to_api(self, now: float) -> dict[str, Any]:
        """
        Return the Batch object.

        :param now: Epoch seconds.
        """
        shown = self._whole(now)
        return in_loose_form(shown) if self.fault("loose_object") else shown

    def _whole(self, now: float) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": "batch",
            "endpoint": self._shown_endpoint(),
            "model": self.shown_model,
            "errors": None if self.errors is None else {"object": "list", "data": self.errors},
            "input_file_id": self.input_file_id,
            "completion_window": self.completion_window,
            "status": self._shown_status(),
            "output_file_id": self._shown_file("output", self.output_file_id, now),
            "error_file_id": self._shown_file("error", self.error_file_id, now),
            **{name: whole(getattr(self, name)) for name in _MOMENTS},
            "request_counts": self._shown_counts(),
            "usage": self.tokens.to_api(),
            "metadata": self.metadata,
        }

    def _shown_counts(self) -> dict[str, int]:
        if self.fault("miscount"):
            return {"total": self.total, "completed": self.completed + self.failed, "failed": 0}
        if self.fault("stale_counts") and self.has_ended:
            return {"total": self.total, "completed": 0, "failed": 0}
        return {"total": self.total, "completed": self.completed, "failed": self.failed}

    def _shown_status(self) -> str:
        if (rule := self.fault("unknown_status")) and not self.has_ended and self._is_early(rule):
            return str(rule.get("status_text") or "scheduling")
        return self.status.upper() if self.fault("upper_case_status") else self.status

    def _shown_endpoint(self) -> str | None:
        if self.fault("null_endpoint"):
            return None
        return self.endpoint.removeprefix("/v1") if self.fault("short_endpoint") else self.endpoint

    def _is_early(self, rule: dict[str, Any]) -> bool:
        return "reads" not in rule or self.reads <= rule["reads"]

    def _shown_file(self, which: str, file_id: str | None, now: float) -> str | None:
        if file_id and (rule := self.fault("missing_output")) and (rule.get("file") or "output") in (which, "both"):
            file_id = None
        if file_id and (rule := self.fault("late_output")) and (rule.get("file") or "output") in (which, "both"):
            late = self.reads - self.reads_at_end <= rule.get("reads", -1)
            late = late or now < (self.ended_at or now) + rule.get("seconds", 0)
            file_id = None if late else file_id
        return "" if file_id is None and self.fault("empty_string_file_ids") else file_id


def whole(time: float | None) -> int | None:
    """
    Return whole seconds, as the API shows times; None stays None.

    :param time: Epoch seconds.
    """
    return None if time is None else int(time)


def in_loose_form(batch: dict[str, Any]) -> dict[str, Any]:
    """
    Return a Batch object with the types that compatible servers use: ISO times, counts as text.

    :param batch: Batch object in the API's form.
    """
    loose = {name: _iso(value) if name.endswith("_at") else value for name, value in batch.items()}
    counts = {name: str(count) if count else None for name, count in batch["request_counts"].items()}
    errors = (batch["errors"] or {}).get("data", [])
    listed = [{**error, "line": error["line"] and str(error["line"])} for error in errors]
    return {**loose, "request_counts": counts if any(counts.values()) else None, "errors": listed or ""}


def _iso(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat()
