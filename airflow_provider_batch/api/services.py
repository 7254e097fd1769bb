"""
The services that offer the Batch API, one row each with their limits.

The host of the base URL identifies the service. A service without a row gets OpenAI's limits, and more types of values
are accepted in its request bodies, since they may differ from OpenAI's.
"""

from __future__ import annotations

from dataclasses import dataclass

#: The default completion window, and the only one that OpenAI takes.
COMPLETION_WINDOW = "24h"
#: OpenAI's limits: API reference and guide, November 2026.
MAX_REQUESTS = 50_000
#: The API's limit is 200 MB; it does not say which megabyte, so this is the smaller one.
MAX_FILE_BYTES = 200_000_000
MAX_EMBEDDING_INPUTS = 50_000


@dataclass(frozen=True)
class Service:
    """
    The limits of a service.

    :param name: Name for messages.
    :param hosts: Suffixes of the host names of its base URLs.
    :param source: Source of these facts.
    :param max_requests: Requests of one input file, at most.
    :param max_file_bytes: Bytes of one input file, at most.
    :param has_openai_bodies: Whether its request bodies have OpenAI's form, and are checked as such.
    """

    name: str
    hosts: tuple[str, ...]
    source: str
    max_requests: int = MAX_REQUESTS
    max_file_bytes: int = MAX_FILE_BYTES
    has_openai_bodies: bool = True


#: The known services; the last row applies to all others.
SERVICES = (
    Service("OpenAI", (".openai.com",), "API reference, November 2026"),
    Service("Azure OpenAI", (".azure.com", ".azure.us", ".azure.cn"), "documentation of Azure", max_requests=100_000),
    Service("this service", ("",), "none: OpenAI's limits are assumed", has_openai_bodies=False),
)


def service_of(host: str) -> Service:
    """
    Return the service of a host.

    :param host: Host name of a base URL.
    """
    return next(service for service in SERVICES if f".{host}".endswith(service.hosts))
