"""Limits on what a server may send: seconds, bytes, pages and redirects."""

from __future__ import annotations

import math

#: Longest `Retry-After`, in seconds, that is obeyed: one wrong header must not stop a job for years.
MAX_RETRY_AFTER = 3600.0
#: Redirects in a row that are followed.
MAX_REDIRECTS = 5
#: Bytes of a JSON response after decompression. A page of 100 batches has about 0.1 MB.
MAX_RESPONSE_BYTES = 16 << 20
#: Seconds in which a whole JSON response must arrive.
MAX_RESPONSE_SECONDS = 300.0
#: Bytes of a downloaded file after decompression: 50,000 results of more than a megabyte each.
MAX_FILE_BYTES = 64 << 30
#: Pages that one iteration over the account's batches reads.
MAX_PAGES = 1_000
#: Bytes that one step of decompression returns.
STEP = 1 << 18


def bounded_pause(seconds: float) -> float | None:
    """
    Return a requested pause in seconds, limited to 0 … `MAX_RETRY_AFTER`; None for a NaN.

    :param seconds: Seconds that the server requests.
    """
    return None if math.isnan(seconds) else min(max(0.0, seconds), MAX_RETRY_AFTER)
