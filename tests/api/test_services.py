"""The table of services, and the description of one that is not in it."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_batch.api import statuses
from airflow_provider_batch.api.described_service import described
from airflow_provider_batch.api.endpoints import Endpoint
from airflow_provider_batch.api.service import window_hours
from airflow_provider_batch.api.services import KEYS, SERVICES, service_named, service_of
from airflow_provider_batch.api.settings import ClientSettings
from airflow_provider_batch.exceptions import ConfigurationError

HOSTS = {
    "api.openai.com": "openai",
    "eu.api.openai.com": "openai",
    "res.openai.azure.com": "azure",
    "res.cognitiveservices.azure.com": "azure",
    "proxy.westeurope.cloudapp.azure.com": "other",
    "api.groq.com": "groq",
    "api.together.xyz": "together",
    "dashscope-intl.aliyuncs.com": "dashscope",
    "ecs.aliyuncs.com": "other",
    "api.tokenfactory.nebius.com": "nebius",
    "api.novita.ai": "novita",
    "api.deepinfra.com": "deepinfra",
    "litellm.eu-west-1.elb.amazonaws.com": "other",
    "notopenai.com": "other",
    "localhost": "other",
}


@pytest.mark.parametrize(("host", "key"), HOSTS.items())
def test_the_host_of_a_base_url_names_its_service(host: str, key: str) -> None:
    assert service_of(host).key == key


def test_every_row_has_what_its_readers_need() -> None:
    assert len(set(KEYS)) == len(KEYS)
    for service in SERVICES:
        assert all(host.startswith(".") for host in service.hosts)
        assert service.source
        assert all(map(window_hours, service.windows or ()))
        assert set(service.statuses.values()) <= statuses.KNOWN
        assert service_named(service.key.upper()) is service
        url = service.default_base_url
        assert url is None or service_of(url.split("/")[2]) is service


@pytest.mark.parametrize("key", [service.key for service in SERVICES if service.other_shape])
def test_a_service_of_another_shape_is_an_error_that_says_so(key: str) -> None:
    with pytest.raises(ConfigurationError, match=r"connection 'c': .* has no Batch API of OpenAI's shape: .*'other'"):
        ClientSettings("k", chosen_service=service_named(key), name="connection 'c'")


def test_a_service_that_runs_anywhere_needs_a_base_url() -> None:
    with pytest.raises(
        ConfigurationError, match=r"LiteLLM's proxy needs a base URL as the host, such as http://\{host\}"
    ):
        ClientSettings("k", chosen_service=service_named("litellm"))
    assert ClientSettings("k", chosen_service=service_named("groq")).address == "https://api.groq.com/openai/v1"


@pytest.mark.parametrize(
    ("key", "window", "problem"),
    [
        ("openai", "24h", None),
        ("openai", "48h", "completion_window: OpenAI takes '24h', found '48h'."),
        ("groq", "7d", None),
        ("groq", "168h", None),
        ("groq", "8d", "completion_window: Groq takes '24h' to '7d', found '8d'."),
        ("dashscope", "tomorrow", "takes '24h' to '14d', found 'tomorrow'."),
        ("other", "anything", None),
    ],
)
def test_a_completion_window_outside_the_service_s_is_a_problem(key: str, window: str, problem: str | None) -> None:
    service = service_named(key)
    assert service is not None
    found = service.window_problem(window)
    assert found is None if problem is None else found is not None and problem in found


def test_a_status_of_a_service_means_what_its_row_says() -> None:
    novita, other = service_named("novita"), service_named("other")
    assert novita is not None
    assert other is not None
    assert statuses.normalise("PROGRESS", novita.statuses) == "in_progress"
    assert statuses.normalise("Canceled", novita.statuses) == "cancelled"
    assert statuses.normalise("PROGRESS", other.statuses) == "progress"


def test_a_description_changes_the_row_that_it_is_like() -> None:
    service = described(
        {
            "like": "groq",
            "name": "Our gateway",
            "endpoints": ["/v1/embeddings"],
            "max_requests": 10,
            "windows": ["1h", "2d"],
            "takes_metadata": False,
            "creates": [3, 60],
            "share": 0.25,
            "statuses": {"done": "completed"},
        },
        "connection 'c'",
    )
    assert (service.name, service.endpoints, service.max_requests) == ("Our gateway", (Endpoint.EMBEDDINGS,), 10)
    assert (service.takes_metadata, service.creates, str(service.share)) == (False, (3, 60.0), "0.25")
    assert service.max_file_bytes == 100_000_000
    assert service.window_problem("36h") is None


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"max_request": 1}, "unknown field `max_request`.*A description may have like, name, endpoints"),
        ({"max_requests": "many"}, r"Expected `int`, got `str` - at `\$.max_requests`"),
        ({"max_requests": 0}, "Expected `int` >= 1"),
        ({"endpoints": ["/v1/audio"]}, "Invalid enum value '/v1/audio'"),
        ({"like": "opanai"}, "'opanai' is not known; expected one of openai, azure, groq"),
        ({"windows": ["soon", "24h"]}, "windows: expected times such as '24h' or '7d', found 'soon'"),
        ({"statuses": {"done": "ready"}}, "statuses: 'done' means 'ready'; expected one of cancelled, cancelling"),
        ({"statuses": {"DONE": "completed"}}, "write the service's words in lower case"),
    ],
)
def test_a_wrong_description_is_one_error_that_says_what_is_expected(given: dict[str, Any], error: str) -> None:
    with pytest.raises(ConfigurationError, match=f"connection 'c': service.*{error}"):
        described(given, "connection 'c'")
