"""
How many tokens a request line holds, estimated from its size.

Admission counts enqueued input tokens before anything was tokenised. The estimate must be cheap (a shard is 200 MB) and
err on the side of too many: a wave that is a little small costs minutes, one that is too large is refused as a whole.
"""

from __future__ import annotations

#: Bytes of a request line for one input token. English prose has 4.0 to 4.6 bytes a token, and the API does not count
#: the JSON around it; Chinese, Japanese and Korean have 2 to 3 bytes a token, so such text is under-estimated.
BYTES_PER_TOKEN = 4


def estimate_input_tokens(byte_count: int) -> int:
    """
    Return the estimated number of input tokens, rounded up.

    :param byte_count: Bytes of request lines as they are sent (UTF-8, not ASCII escapes).
    """
    return -(-byte_count // BYTES_PER_TOKEN)
