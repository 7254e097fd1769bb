"""What services other than the vendor's accept as well, by the base URL."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from airflow_provider_batch.api import services
from airflow_provider_batch.api.client import BatchClient
from airflow_provider_batch.api.service import Service
from airflow_provider_batch.api.settings import ClientSettings
from airflow_provider_batch.exceptions import InputError
from airflow_provider_batch.jobs.job_request import Tools
from airflow_provider_batch.jobs.opening.preparing import check_input
from tests.jobs.support import BODY, a_request, changed, some_rows


@pytest.mark.parametrize(
    ("address", "is_other"),
    [
        (None, False),
        ("https://eu.api.openai.com/v1", False),
        ("https://resource.openai.azure.com/openai/v1", False),
        ("https://api.together.xyz/v1", True),
        ("https://notopenai.com/v1", True),
        ("http://localhost:8000/v1", True),
    ],
)
def test_a_job_sends_other_services_what_they_take_besides(address: str | None, is_other: bool, tmp_path: Path) -> None:
    settings = ClientSettings(api_key="k", base_url=address)
    assert settings.service.has_openai_bodies is not is_other
    request = a_request(tmp_path, some_rows(2))
    request = changed(request, spec=dataclasses.replace(request.spec, body={**BODY, "logprobs": 5}))
    tools = Tools(client=BatchClient(settings))
    if is_other:
        assert check_input(request, tools)["rows"] == 2
        return
    with pytest.raises(InputError, match=r"body\.logprobs: expected true or false, found the number 5"):
        check_input(request, tools)


def test_the_shards_of_a_job_are_within_the_limits_of_its_service(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    small = Service("small", "Small", (".small.test",), "made up", max_requests=2)
    monkeypatch.setattr(services, "SERVICES", (small, *services.SERVICES))
    request = a_request(tmp_path, some_rows(5))
    for address, shards in ("https://api.small.test/v1", 3), ("https://api.openai.com/v1", 1):
        tools = Tools(client=BatchClient(ClientSettings(api_key="k", base_url=address)))
        assert check_input(request, tools)["shards"] == shards
