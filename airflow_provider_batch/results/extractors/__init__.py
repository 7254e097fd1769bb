"""
Extract the row's status and the values of the endpoint's columns from a response body; one extractor per endpoint.

An extractor gets the body of a request with HTTP status 2xx. It returns the values in the order of
`table.columns.ENDPOINT_COLUMNS`. An incomplete answer is `truncated` and keeps its text, a withheld one is `refused`,
and a body without an answer is `failed`, with the missing field in its message. An empty text is an answer; null is an
answer only beside a tool call, audio or an image.
"""
