"""
What the endpoints answer, and the columns of a table that it becomes: one module of `endpoints/` for each endpoint.

A module declares the columns as data, the response body as a typed struct, and the extractor; and where it has one, the
fast path. An extractor gets the body of a request with HTTP status 2xx. It returns the values in the order of the
columns. An incomplete answer is `truncated` and keeps its text, a withheld one is `refused`, and a body without an
answer is `failed`, with the missing field in its message. An empty text is an answer; null is an answer only beside a
tool call, audio or an image.
"""
