"""The statuses of a batch and of a file, and their groups."""

from __future__ import annotations

from collections.abc import Mapping

COMPLETED = "completed"
FAILED = "failed"
EXPIRED = "expired"
CANCELLED = "cancelled"
CANCELLING = "cancelling"

#: Final statuses. `failed` means that the input *file* was refused: no request ran, nothing is billed.
TERMINAL = frozenset({COMPLETED, FAILED, EXPIRED, CANCELLED})
#: Known statuses that are not final. An unknown status counts as running too, and is logged.
RUNNING = frozenset({"validating", "in_progress", "finalizing", CANCELLING})
#: All statuses of OpenAI's reference.
KNOWN = TERMINAL | RUNNING

#: Statuses of an uploaded file at different services: not usable yet, and never usable. `uploaded` means neither.
FILE_PENDING = frozenset(
    {"pending", "processing", "running", "queued", "in_progress", "validating", "importing", "not_ready", "notrunning"}
    | {"uploading", "scanning", "checking", "waiting", "created", "initialized", "in progress", "not_started"}
)
FILE_BROKEN = frozenset({"error", "failed", "deleted", "deleting", "cancelled", "expired", "rejected"})
#: Stands for a file that the API does not find, which is possible for a short time after its upload.
FILE_NOT_FOUND = "not found"


#: What any service may write for a status of OpenAI's reference.
_SPELLINGS = {"canceled": CANCELLED, "canceling": CANCELLING}


def normalise(status: object, words: Mapping[str, str] = _SPELLINGS) -> str:
    """
    Return a status in the spelling of OpenAI's reference; Azure, Novita and Together send capitals.

    :param status: Status as the server sends it.
    :param words: The service's own words, in lower case, and what they mean.
    """
    text = str(status).strip().lower()
    return words.get(text) or _SPELLINGS.get(text, text)
