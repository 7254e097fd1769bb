"""Whole jobs with a response model: asked for, parsed, landed as a struct, and known to whoever lands later."""

from __future__ import annotations

import dataclasses
import datetime
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field

from airflow_provider_batch import storage
from airflow_provider_batch.api.endpoints import Endpoint
from airflow_provider_batch.emulator.testing import Emulator
from airflow_provider_batch.exceptions import ChangedInputError, ConfigurationError, JobFailedError
from airflow_provider_batch.jobs.job_request import JobRequest
from airflow_provider_batch.jobs.opening.attempt import open_job, resume_job
from airflow_provider_batch.jobs.opening.preparing import check_input
from airflow_provider_batch.loader.load import LoadRequest, load_batches
from airflow_provider_batch.structured.response_model import ResponseModel
from tests.jobs.support import (
    BODY,
    LIMITS,
    a_request,
    changed,
    run,
    some_rows,
    statuses,
    step_until_waiting,
    table,
    tools_for,
)


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Line(BaseModel):
    name: str = Field(min_length=1)
    amount: int = Field(ge=1, le=9)
    colours: list[Colour]


class Order(BaseModel):
    day: datetime.date
    at: datetime.datetime | None = None
    total: float
    lines: list[Line] = Field(min_length=1)
    first: Line


class Other(BaseModel):
    total: float


ORDER = ResponseModel.of(Order)
RESPONSES = {"endpoint": Endpoint.RESPONSES}
RESPONSES_BODY = {"model": "gpt-4o-mini", "input": "Read {text}.", "text": {"verbosity": "low"}}
LANDED = "parsed.day is not null and parsed.first.amount between 1 and 9 and len(parsed.lines) > 0"


def asking(tmp_path: Path, rows: Any, model: ResponseModel | None = ORDER, **changes: Any) -> JobRequest:
    spec = {"response_model": model, **changes.pop("spec", {})}
    return a_request(tmp_path, rows, spec=spec, **changes)


def invalid(emulator: Emulator, custom_id: str = "3", text: str = '{"total": "much"}') -> None:
    emulator.fault(kind="answer", custom_id=custom_id, message=text)


class TestAWholeJob:
    @pytest.mark.parametrize(("spec", "body"), [({}, BODY), (RESPONSES, RESPONSES_BODY)], ids=["chat", "responses"])
    def test_lands_a_struct_that_sql_reads(
        self, emulator: Emulator, tmp_path: Path, spec: dict[str, Any], body: dict[str, Any]
    ) -> None:
        emulator.fault(kind="http_error", status=503, custom_id="[37]", executions=1)
        invalid(emulator, "5")
        summary = run(asking(tmp_path, some_rows(12), spec=spec, body=body), tools_for(emulator))
        assert summary["statuses"] == {"succeeded": 11, "invalid_output": 1}
        assert table(tmp_path, f"count(*) filter ({LANDED}), count(parsed)", "1") == [(11, 11)]
        found = table(tmp_path, "typeof(parsed.day), typeof(parsed.at), typeof(parsed.lines[1].colours)", "1")[0]
        assert found == ("DATE", "TIMESTAMP WITH TIME ZONE", "VARCHAR[]")
        assert table(tmp_path, "distinct unnest(parsed.first.colours)", "1") == [("blue",), ("red",)]

    def test_parses_the_last_whole_message_of_an_answer_in_several(self, emulator: Emulator, tmp_path: Path) -> None:
        emulator.fault(kind="several_messages", fraction=0.5)
        run(asking(tmp_path, some_rows(12), spec=RESPONSES, body=RESPONSES_BODY), tools_for(emulator))
        assert table(tmp_path, f"count(*) filter ({LANDED}), count(parsed)", "1") == [(12, 12)]

    def test_keeps_invalid_rows_with_text_and_reason_and_never_sends_them_again(
        self, emulator: Emulator, tmp_path: Path
    ) -> None:
        """Invariant 2."""
        invalid(emulator)
        run(asking(tmp_path, some_rows(5)), tools_for(emulator))
        row = table(tmp_path, "status, error_code, text, parsed, round, cost_usd > 0, error_message")[3]
        assert row[:6] == ("invalid_output", "schema_mismatch", '{"total": "much"}', None, 1, True)
        assert row[6].startswith("day: Field required")
        assert emulator.state()["batches_created"] == 1

    def test_counts_an_invalid_row_as_one_without_success(self, emulator: Emulator, tmp_path: Path) -> None:
        invalid(emulator)
        job = open_job(asking(tmp_path, some_rows(5), max_failed=0), tools_for(emulator))
        with pytest.raises(JobFailedError, match="4 of 5 rows succeeded"):
            job.run()
        assert statuses(tmp_path) == {"succeeded": 4, "invalid_output": 1}

    def test_without_rows_lands_the_column_too(self, emulator: Emulator, tmp_path: Path) -> None:
        (tmp_path / "empty.csv").write_text("key,text\n")
        run(asking(tmp_path, str(tmp_path / "empty.csv")), tools_for(emulator))
        assert table(tmp_path, "parsed.first.amount") == []

    def test_of_ready_made_lines_is_parsed_by_their_response_format(self, emulator: Emulator, tmp_path: Path) -> None:
        schema = {"type": "object", "properties": {"total": {"type": "number"}}}
        form = {"type": "json_schema", "json_schema": {"name": "other", "schema": schema}}
        body = {"model": "m", "messages": [{"role": "user", "content": "How much?"}], "response_format": form}
        line = {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": body}
        run(asking(tmp_path, [line], ResponseModel.of(Other), body=None), tools_for(emulator))
        assert table(tmp_path, "status, typeof(parsed.total), parsed.total is not null") == [
            ("succeeded", "DOUBLE", True)
        ]


class TestALaterAttempt:
    def test_knows_the_column_without_the_class(self, emulator: Emulator, tmp_path: Path) -> None:
        """Invariant 3."""
        emulator.configure(progress="hold")
        invalid(emulator)
        tools = tools_for(emulator)
        job = step_until_waiting(asking(tmp_path, some_rows(5)), tools)
        emulator.configure(progress="immediate")
        resume_job(asking(tmp_path, some_rows(5), None), tools, job.key).run()
        assert statuses(tmp_path) == {"succeeded": 4, "invalid_output": 1}
        assert table(tmp_path, f"count(*) filter ({LANDED})", "1") == [(4,)]

    def test_without_the_class_leaves_out_checks_of_the_class_alone(self, emulator: Emulator, tmp_path: Path) -> None:
        class Named(BaseModel):
            name: Annotated[str, Field(pattern=r"^\p{L}+$")]
            by_key: dict[Annotated[str, Field(pattern=r"^\p{Lu}$")], int]

        emulator.configure(progress="hold")
        emulator.fault(kind="answer", message='{"name": "Zoë", "by_key": {"A": 1}}')
        tools = tools_for(emulator)
        job = step_until_waiting(asking(tmp_path, some_rows(2), ResponseModel.of(Named)), tools)
        emulator.configure(progress="immediate")
        resume_job(asking(tmp_path, some_rows(2), None), tools, job.key).run()
        assert table(tmp_path, "status, parsed.name, parsed.by_key['A']") == [("succeeded", "Zoë", 1)] * 2

    def test_with_another_model_is_an_error_while_batches_run(self, emulator: Emulator, tmp_path: Path) -> None:
        """Invariant 3."""
        emulator.configure(progress="hold")
        tools = tools_for(emulator)
        step_until_waiting(asking(tmp_path, some_rows(5)), tools)
        with pytest.raises(ChangedInputError, match=r"^response_model changed"):
            open_job(asking(tmp_path, some_rows(5), ResponseModel.of(Other)), tools)
        emulator.configure(progress="immediate")
        reused = asking(tmp_path, some_rows(5), ResponseModel.of(Other), on_changed_input="reuse")
        open_job(reused, tools).run()
        assert table(tmp_path, f"count(*) filter ({LANDED})", "1") == [(5,)]

    def test_sends_invalid_rows_again_with_a_rerun(self, emulator: Emulator, tmp_path: Path) -> None:
        emulator.fault(kind="answer", custom_id="3", message="no", executions=1)
        tools = tools_for(emulator)
        run(asking(tmp_path, some_rows(5)), tools)
        assert statuses(tmp_path) == {"succeeded": 4, "invalid_output": 1}
        run(asking(tmp_path, some_rows(5), rerun="failed_rows", era=1), tools)
        assert statuses(tmp_path) == {"succeeded": 5}
        assert table(tmp_path, f"count(*) filter ({LANDED})", "1") == [(5,)]

    def test_lands_a_table_that_is_gone_with_the_column_again(self, emulator: Emulator, tmp_path: Path) -> None:
        tools = tools_for(emulator)
        run(asking(tmp_path, some_rows(5)), tools)
        before = table(tmp_path)
        for path in (tmp_path / "table").glob("part-*"):
            path.unlink()
        run(asking(tmp_path, some_rows(5)), tools)
        assert table(tmp_path) == before
        assert emulator.state()["batches_created"] == 1


class TestTheLoader:
    def submitted(self, emulator: Emulator, tmp_path: Path, model: ResponseModel | None = ORDER) -> list[str]:
        limits = dataclasses.replace(LIMITS, lands=False)
        request = asking(tmp_path, some_rows(12), model, destination=None, limits=limits)
        return list(run(request, tools_for(emulator))["batch_ids"])

    def load(self, emulator: Emulator, tmp_path: Path, ids: list[str], **changes: Any) -> dict[str, Any]:
        return load_batches(changed(LoadRequest(ids, str(tmp_path / "table")), **changes), tools_for(emulator))

    def test_parses_batches_of_this_package_by_their_recorded_schema(self, emulator: Emulator, tmp_path: Path) -> None:
        invalid(emulator)
        state = storage.resolve(str(tmp_path / "state"))
        summary = self.load(emulator, tmp_path, self.submitted(emulator, tmp_path), state=state)
        assert summary["statuses"] == {"succeeded": 11, "invalid_output": 1}
        assert table(tmp_path, f"count(*) filter ({LANDED})", "1") == [(11,)]

    def test_parses_by_another_model_for_free(self, emulator: Emulator, tmp_path: Path) -> None:
        state = storage.resolve(str(tmp_path / "state"))
        ids = self.submitted(emulator, tmp_path)
        self.load(emulator, tmp_path, ids, state=state, response_model=ResponseModel.of(Other))
        assert table(tmp_path, "distinct typeof(parsed)", "1") == [("STRUCT(total DOUBLE)",)]

    def test_parses_batches_of_others(self, emulator: Emulator, tmp_path: Path) -> None:
        emulator.fault(kind="answer", custom_id="[02468]", message='{"total": 1.5}')
        ids = self.submitted(emulator, tmp_path, None)
        summary = self.load(emulator, tmp_path, ids, response_model=ResponseModel.of(Other))
        assert summary["statuses"] == {"succeeded": 5, "invalid_output": 7}
        assert table(tmp_path, "sum(parsed.total)", "1") == [(7.5,)]


class TestABadModel:
    @pytest.mark.parametrize(
        ("model", "changes", "message"),
        [
            ({"type": "object", "properties": {"a": {}}}, {}, "response_model: response.a: any value is allowed here"),
            (Other, {"body": {**BODY, "response_format": {"type": "text"}}}, "'response_format' too"),
            (Other, {"spec": {"endpoint": Endpoint.EMBEDDINGS}}, "/v1/embeddings has none"),
        ],
    )
    def test_is_named_before_anything_is_sent(
        self, emulator: Emulator, tmp_path: Path, model: Any, changes: dict[str, Any], message: str
    ) -> None:
        request = asking(tmp_path, some_rows(2), ResponseModel.of(model), **changes)
        for attempt in (open_job, check_input):
            with pytest.raises(ConfigurationError, match=message):
                attempt(request, tools_for(emulator))
        assert emulator.calls() == []

    def test_of_the_loader_is_named_too(self, emulator: Emulator, tmp_path: Path) -> None:
        body = {"model": "text-embedding-3-small", "input": "{text}"}
        spec = {"endpoint": Endpoint.EMBEDDINGS}
        limits = dataclasses.replace(LIMITS, lands=False)
        request = asking(tmp_path, some_rows(2), None, spec=spec, body=body, destination=None, limits=limits)
        ids = run(request, tools_for(emulator))["batch_ids"]
        load = LoadRequest(ids, str(tmp_path / "table"), response_model=ResponseModel.of(Other))
        with pytest.raises(ConfigurationError, match="/v1/embeddings has none"):
            load_batches(load, tools_for(emulator))


def test_a_check_shows_the_column_and_whether_the_api_holds_the_model_to_it(emulator: Emulator, tmp_path: Path) -> None:
    found = check_input(asking(tmp_path, some_rows(2), ResponseModel.of(Other)), tools_for(emulator))
    assert (found["parsed"], found["strict"]) == ("struct<total: double>", True)
    assert emulator.calls() == []
