"""What an answer may be: bounds on time, bytes, pages and redirects, whatever the other side sends."""

from __future__ import annotations

import math

#: Seconds that a `Retry-After` is obeyed at the most: one odd answer must not stop a job for years.
MAX_RETRY_AFTER = 3600.0
#: Redirects that are followed, one after the other.
MAX_REDIRECTS = 5
#: Bytes of an answer in JSON, after decompression. A page of 100 batches is about 0.1 MB.
MAX_ANSWER_BYTES = 16 << 20
#: Seconds in which an answer in JSON has to arrive whole, however slowly its bytes come.
MAX_ANSWER_SECONDS = 300.0
#: Bytes of a downloaded file, after decompression: 50,000 results of over a megabyte each.
MAX_FILE_BYTES = 64 << 30
#: Pages of the list that one reading goes through.
MAX_PAGES = 1_000
#: Bytes that are decompressed in one step.
STEP = 1 << 18


def bounded_pause(seconds: float) -> float | None:
    """Return the seconds of a pause that was asked for, within the bound; None for what is no number."""
    return None if math.isnan(seconds) else min(max(0.0, seconds), MAX_RETRY_AFTER)
