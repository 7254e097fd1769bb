"""Models that end: asked once before anything is submitted; a warning, a refusal, or silence."""

from __future__ import annotations

import datetime
import logging
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_batch.api.client import BatchClient
from airflow_provider_batch.api.settings import ClientSettings
from airflow_provider_batch.emulator.testing import Emulator
from airflow_provider_batch.exceptions import ConfigurationError
from airflow_provider_batch.jobs.job_request import Tools
from airflow_provider_batch.jobs.service_clock import ServiceClock
from airflow_provider_batch.jobs.submission.model_ends import check_models
from tests.api.stub import Reply, StubApi, error
from tests.jobs.support import BODY, a_request, run, some_rows, statuses, tools_for

#: What the service's clock says.
NOW = datetime.datetime.now(datetime.UTC)
HOUR = 3600.0


def in_days(days: int) -> str:
    return (NOW.date() + datetime.timedelta(days=days)).isoformat()


def in_hours(hours: int) -> str:
    return (NOW + datetime.timedelta(hours=hours)).isoformat()


class TestJobs:
    def test_are_warned_of_a_model_that_ends_within_their_time(
        self, emulator: Emulator, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        emulator.configure(shutdown_dates={"gpt-4o-mini": in_days(2)})
        with caplog.at_level(logging.WARNING):
            run(a_request(tmp_path, some_rows(25)), tools_for(emulator))
        assert statuses(tmp_path) == {"succeeded": 25}
        (warning,) = [record.getMessage() for record in caplog.records if "shuts down on" in record.getMessage()]
        assert f"Model gpt-4o-mini shuts down on {in_days(2)}" in warning

    def test_ask_once_for_each_model_and_not_for_each_shard(self, emulator: Emulator, tmp_path: Path) -> None:
        rows = [{**row, "model": f"gpt-6-{number % 2}"} for number, row in enumerate(some_rows(60))]
        emulator.fault(kind="http_error", status=503, custom_id="7", executions=1)
        request = a_request(tmp_path, rows, body={**BODY, "model": "{model}"})
        run(request, tools_for(emulator))
        run(request, tools_for(emulator))
        asked = [call["path"] for call in emulator.calls("GET") if call["path"].startswith("/v1/models/")]
        assert sorted(asked) == ["/v1/models/gpt-6-0", "/v1/models/gpt-6-1"]

    def test_whose_model_is_gone_are_refused_before_anything_is_sent(self, emulator: Emulator, tmp_path: Path) -> None:
        emulator.configure(shutdown_dates={"gpt-4o-mini": "2026-09-24"})
        with pytest.raises(
            ConfigurationError, match=r"model 'gpt-4o-mini' is gone.* has been deprecated.*Nothing was sent"
        ):
            run(a_request(tmp_path, some_rows(5)), tools_for(emulator))
        assert emulator.state()["uploads"] == 0
        run(a_request(tmp_path, some_rows(5), body={**BODY, "model": "gpt-6-luna"}), tools_for(emulator))
        assert statuses(tmp_path) == {"succeeded": 5}

    @pytest.mark.parametrize("kind", ["route_error", "drop_connection", "cut_body"])
    def test_continue_where_the_route_does_not_answer(self, emulator: Emulator, tmp_path: Path, kind: str) -> None:
        emulator.fault(kind=kind, path="/v1/models/*")
        run(a_request(tmp_path, some_rows(5)), tools_for(emulator))
        assert statuses(tmp_path) == {"succeeded": 5}


def check(stub: StubApi, *models: str) -> None:
    """Check models with a worker's clock that is wrong by years."""
    settings = ClientSettings(api_key="k", base_url=stub.base_url)
    client = BatchClient(settings)
    check_models(models, 24 * HOUR, Tools(client=client, clock=ServiceClock(client, wall=lambda: 0.0)))


def model(shutdown_date: Any) -> Reply:
    return Reply(body={"id": "m", "object": "model", "shutdown_date": shutdown_date})


@pytest.mark.parametrize(
    "said",
    [in_days(-2), in_hours(-1), in_hours(-1)[:19], NOW.timestamp() - 60, int(NOW.timestamp()) - 60],
    ids=["date", "moment", "moment without a zone", "number", "whole number"],
)
def test_a_date_that_is_over_is_the_end_by_the_clock_of_the_service(stub: StubApi, said: Any) -> None:
    stub.on("GET", "/models/m", model(said))
    with pytest.raises(ConfigurationError, match="model 'm' is gone, since 20"):
        check(stub, "m")


@pytest.mark.parametrize(
    "said",
    [in_days(0), in_days(1), in_hours(1), in_hours(1)[:19]],
    ids=["today", "tomorrow", "moment", "moment without a zone"],
)
def test_a_last_day_lasts_until_it_is_over_in_every_time_zone(
    stub: StubApi, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    stub.on("GET", "/models/m", model(said))
    check(stub, "m")
    assert "Model m shuts down on 20" in caplog.text


@pytest.mark.parametrize(
    "said", [None, "", "soon", True, [], {}, "2099-01-14", 10**400, -(10**30), "9" * 40, "2026-13-45"]
)
def test_no_date_an_unreadable_one_and_one_far_away_say_nothing(
    stub: StubApi, said: Any, caplog: pytest.LogCaptureFixture
) -> None:
    stub.on("GET", "/models/m", model(said))
    check(stub, "m")
    assert caplog.text == ""


@pytest.mark.parametrize(
    "reply",
    [
        Reply(404, {"detail": "Not Found"}),
        error(404, "The model 'm' does not exist or you do not have access to it.", code="model_not_found"),
        error(401, "Missing scopes: model.read"),
        error(403, "no"),
        error(410, "This route is gone"),
        Reply(200, b"[]"),
        Reply(200, b"<html>", headers={"Content-Type": "text/html"}),
    ],
)
def test_a_service_without_the_route_stops_nothing_and_is_asked_for_each_model(stub: StubApi, reply: Reply) -> None:
    for name in ("m", "n"):
        stub.on("GET", f"/models/{name}", reply)
    check(stub, "m", "n", "m")
    assert (stub.count("GET", "/v1/models/m"), stub.count("GET", "/v1/models/n")) == (1, 1)


def test_a_route_that_is_down_is_asked_once(stub: StubApi) -> None:
    stub.on("GET", "/models/m", Reply(503, {"error": {"message": "down"}}))
    check(stub, "m", "n")
    assert len(stub.requests) == 1


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (404, "The model `m` has been deprecated, learn more here: https://example.com"),
        (410, "Model m was retired on 2026-09-24."),
        (400, "The model m is no longer available."),
    ],
)
def test_a_refusal_that_says_so_is_the_end(stub: StubApi, status: int, message: str) -> None:
    stub.on("GET", "/models/m", error(status, message))
    with pytest.raises(ConfigurationError, match=r"model 'm' is gone, says the API: .*m"):
        check(stub, "m")


@pytest.mark.parametrize("name", ["..", "a/b", "ft:gpt-6-luna:org::x", "ü", "a?b", " "])
def test_any_name_of_a_model_is_harmless(stub: StubApi, name: str) -> None:
    check(stub, name)
