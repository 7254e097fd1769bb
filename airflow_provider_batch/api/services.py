"""
The services that speak the Batch API, a row for each: what differs between them is data here.

A service is told by the host of its base URL. One that no row names has OpenAI's limits, and its request bodies may
differ from OpenAI's.
"""

from __future__ import annotations

from dataclasses import dataclass

#: The only window that OpenAI takes, and the default.
COMPLETION_WINDOW = "24h"
#: OpenAI's limits: API reference and guide, November 2026.
MAX_REQUESTS = 50_000
#: The API counts 200 MB; which megabyte it means is not said, so this is the smaller one.
MAX_FILE_BYTES = 200_000_000
MAX_EMBEDDING_INPUTS = 50_000


@dataclass(frozen=True)
class Service:
    """
    What is known of a service.

    :param name: Its name, for messages.
    :param hosts: Ends of the host names of its base URLs.
    :param source: Where the facts come from.
    :param max_requests: Requests in one input file.
    :param max_file_bytes: Bytes of one input file.
    :param max_embedding_inputs: Inputs over all lines of one file for embeddings; the elements of an array count.
    :param has_openai_bodies: Whether its request bodies are OpenAI's own, and can be checked as such.
    """

    name: str
    hosts: tuple[str, ...]
    source: str
    max_requests: int = MAX_REQUESTS
    max_file_bytes: int = MAX_FILE_BYTES
    max_embedding_inputs: int = MAX_EMBEDDING_INPUTS
    has_openai_bodies: bool = True


#: The known services; the last row is for all others.
SERVICES = (
    Service("OpenAI", (".openai.com",), "API reference, November 2026"),
    Service("Azure OpenAI", (".azure.com", ".azure.us", ".azure.cn"), "documentation of Azure", max_requests=100_000),
    Service("this service", ("",), "OpenAI's limits, as nothing else is known", has_openai_bodies=False),
)


def service_of(host: str) -> Service:
    """
    Return the service that answers at a host.

    :param host: Host name of a base URL.
    """
    return next(service for service in SERVICES if f".{host}".endswith(service.hosts))
