"""The statuses of a batch, and the sets that decisions are made on."""

from __future__ import annotations

COMPLETED = "completed"
FAILED = "failed"
EXPIRED = "expired"
CANCELLED = "cancelled"
CANCELLING = "cancelling"

#: Nothing more will happen. `failed` means that the *file* was refused: nothing ran, nothing is billed.
TERMINAL = frozenset({COMPLETED, FAILED, EXPIRED, CANCELLED})
#: Known and not terminal. A status in neither set is "still running" too (invariant 10), and is logged.
RUNNING = frozenset({"validating", "in_progress", "finalizing", CANCELLING})

#: Statuses of an uploaded file, as services call them: it will be usable, it never will. `uploaded` says neither.
FILE_PENDING = frozenset(
    {"pending", "processing", "running", "queued", "in_progress", "validating", "importing", "not_ready", "notrunning"}
    | {"uploading", "scanning", "checking", "waiting", "created", "initialized", "in progress", "not_started"}
)
FILE_BROKEN = frozenset({"error", "failed", "deleted", "deleting", "cancelled", "expired", "rejected"})
#: A file that the API does not find; right after its upload that says little.
FILE_NOT_FOUND = "not found"


def normalise(status: object) -> str:
    """Return a status as the API's reference spells it; compatible servers send upper case (Novita, Together)."""
    text = str(status).strip().lower()
    return {"canceled": CANCELLED, "canceling": CANCELLING}.get(text, text)
