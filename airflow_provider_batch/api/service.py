"""
What a service that offers the Batch API takes and shows: plain data, and the checks that follow from it.

The rows are in `services.py`. What a row says of a service restricts what is sent to it, and how long is waited. It is
never used as proof: that a list is whole, or that a create made no batch, is read from the service's own responses.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from urllib.parse import urlsplit

from airflow_provider_batch.api.endpoints import Endpoint

#: The default completion window, and the only one that OpenAI takes.
COMPLETION_WINDOW = "24h"
#: OpenAI's limits: API reference and guide, November 2026.
MAX_REQUESTS = 50_000
#: The API's limit is 200 MB; it does not say which megabyte, so this is the smaller one.
MAX_FILE_BYTES = 200_000_000
MAX_EMBEDDING_INPUTS = 50_000
#: Seconds of the expiry policies that OpenAI takes, shortest and longest.
EXPIRY = (3_600, 2_592_000)

_WINDOW = re.compile(r"(\d{1,4})([hd])")


@dataclass(frozen=True)
class Service:
    """
    One service.

    :param key: Its name in the connection's field *Service*, and in the emulator's ``--service``.
    :param name: Its name in messages.
    :param hosts: Suffixes of the host names of its base URLs, each with a leading dot; none for a server that runs
        anywhere.
    :param base_url: Base URL where the connection has none, or an example with ``{}``; its path completes a host.
    :param versioned_path: Path of the base URL where an ``api-version`` is sent; None where none is needed.
    :param expiry_since: First ``api-version`` that takes expiry policies.
    :param key_header: Header of the API key; None for ``Authorization: Bearer``.
    :param source: Source of these facts: addresses of its documentation, or of its code.
    :param endpoints: Endpoints of its batches.
    :param max_requests: Requests of one input file, at most.
    :param max_file_bytes: Bytes of one input file, at most.
    :param max_files: Files that an account can have without an expiry policy; None for no known limit.
    :param windows: Shortest and longest completion window; None where any is sent.
    :param purpose: ``purpose`` of an uploaded input file.
    :param upload_path: Path of the upload below the base URL; one with its own form gets the file's name and type too.
    :param takes_metadata: Whether a create may have ``metadata``. Without it, a batch is recognised by its input file.
    :param takes_cancel: Whether a batch can be cancelled.
    :param has_list: Whether there is a list of batches. Without it, the outcome of a create whose response was lost
        stays unknown.
    :param expiry: Seconds of the expiry policy of output files, shortest and longest; None where none is taken.
    :param input_expiry: Seconds after which the service deletes input files of jobs; None where no policy is sent.
    :param lists_pending_files: Whether an uploaded file has a status, and no batch may be made of it before it is
        processed.
    :param batches_expire: Whether a batch ends at its ``expires_at``.
    :param max_active_batches: Batches of an account that run at the same time, at most; None for no known limit.
    :param creates: Creates, and the seconds in which at most so many are allowed; None for no known limit.
    :param line_prefix: Start of the ``url`` of request lines and of the ``endpoint`` of a create.
    :param takes_base64_vectors: Whether embeddings can be requested as base64.
    :param has_openai_bodies: Whether its request bodies have OpenAI's form, and are checked as such.
    :param prices: Provider id in the price table; None where no price is known.
    :param share: Share of the standard price that a batch costs, where the price table has no batch price.
    :param statuses: Its own words for statuses, in lower case, and what they mean in OpenAI's.
    :param batch_id_form: Form of its batch ids, with ``{hex}`` or ``{uuid}``; any id is read.
    :param file_id_form: Form of its file ids.
    :param model_advice: What to do about a model that does not exist there; empty for the general advice.
    :param other_shape: What its batch API is instead, where it is none of this shape; no call is made then.
    """

    key: str
    name: str
    hosts: tuple[str, ...]
    source: str
    base_url: str | None = None
    versioned_path: str | None = None
    expiry_since: str = ""
    key_header: str | None = None
    endpoints: tuple[Endpoint, ...] = tuple(Endpoint)
    max_requests: int = MAX_REQUESTS
    max_file_bytes: int = MAX_FILE_BYTES
    max_files: int | None = None
    windows: tuple[str, str] | None = (COMPLETION_WINDOW, COMPLETION_WINDOW)
    purpose: str = "batch"
    upload_path: str = "/files"
    takes_metadata: bool = True
    takes_cancel: bool = True
    has_list: bool = True
    expiry: tuple[int, int] | None = None
    input_expiry: int | None = None
    lists_pending_files: bool = False
    batches_expire: bool = True
    max_active_batches: int | None = None
    creates: tuple[int, float] | None = None
    line_prefix: str = "/v1"
    takes_base64_vectors: bool = True
    has_openai_bodies: bool = False
    prices: str | None = None
    share: Decimal = Decimal("0.5")
    statuses: Mapping[str, str] = field(default_factory=dict, hash=False)
    batch_id_form: str = "batch_{hex}"
    file_id_form: str = "file-{hex}"
    model_advice: str = ""
    other_shape: str | None = None

    @property
    def default_base_url(self) -> str | None:
        """The base URL of a connection without a host; None where it depends on the user."""
        return None if self.base_url is None or "{" in self.base_url else self.base_url

    @property
    def path(self) -> str:
        """The path that completes a base URL without one."""
        return urlsplit(self.base_url or "").path

    def with_version(self, api_version: str) -> Service:
        """
        Return the service as it is with an ``api-version``: its request lines have no ``/v1``.

        :param api_version: Value of the query parameter, such as ``2024-10-21``.
        """
        if self.versioned_path is None:
            return self
        takes_expiry = api_version >= self.expiry_since
        expiry, input_expiry = (self.expiry, self.input_expiry) if takes_expiry else (None, None)
        return replace(self, line_prefix="", expiry=expiry, input_expiry=input_expiry)

    def url_of(self, endpoint: Endpoint) -> str:
        """
        Return the ``url`` of request lines, which is the ``endpoint`` of a create too.

        :param endpoint: The endpoint.
        """
        return self.line_prefix + endpoint.value.removeprefix("/v1")

    def endpoint_problem(self, endpoint: Endpoint) -> str | None:
        """
        Return what is wrong with an endpoint; None where the service has it in batches.

        :param endpoint: The endpoint.
        """
        if endpoint in self.endpoints:
            return None
        return (
            f"endpoint: {self.name} has no {endpoint.value} in batches; it has "
            f"{', '.join(one.value for one in self.endpoints)}."
        )

    def window_problem(self, window: str) -> str | None:
        """
        Return what is wrong with a completion window; None where the service takes it.

        :param window: Hours or days, such as ``24h`` or ``7d``.
        """
        if self.windows is None:
            return None
        shortest, longest = self.windows
        expected = f"'{shortest}'" if shortest == longest else f"'{shortest}' to '{longest}'"
        hours = window_hours(window)
        if hours is None or not (window_hours(shortest) or 0) <= hours <= (window_hours(longest) or 0):
            return f"completion_window: {self.name} takes {expected}, found {window!r}."
        return None

    def expiry_problem(self, seconds: int | None) -> str | None:
        """
        Return what is wrong with an expiry policy of output files; None where the service takes it.

        :param seconds: Seconds; None for no policy.
        """
        if seconds is None:
            return None
        if self.expiry is None:
            return f"output_expires_after: {self.name} does not take it. Leave it out."
        shortest, longest = self.expiry
        if shortest <= seconds <= longest:
            return None
        return f"output_expires_after: {self.name} takes {shortest:,} to {longest:,} seconds, found {seconds:,}."


def window_hours(window: str) -> int | None:
    """
    Return the hours of a completion window; None for a text that is none.

    :param window: Hours or days, such as ``24h`` or ``7d``.
    """
    found = _WINDOW.fullmatch(window)
    return None if found is None else int(found[1]) * (24 if found[2] == "d" else 1)
