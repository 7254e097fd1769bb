"""Polling many batches with few calls, on servers whose lists are good, incomplete, wrong or missing."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_batch.api.objects import Batch
from airflow_provider_batch.api.response_reader import Page
from airflow_provider_batch.exceptions import (
    ApiRefusedError,
    ApiUnavailableError,
    AuthenticationError,
    NotFoundError,
    OpenAIBatchError,
)
from airflow_provider_batch.polling import status_reader
from airflow_provider_batch.polling.status_reader import DISTRUST, FEW, PollResult, StatusReader


class Api:
    """An account's batches, newest first, and how its server behaves."""

    def __init__(self, ids: Iterable[str]) -> None:
        self.batches = {batch_id: Batch(id=batch_id, status="in_progress", created_at=1.0) for batch_id in ids}
        #: What the list says instead of the truth.
        self.listed: dict[str, Batch] = {}
        self.hidden: set[str] = set()
        self.list_error: OpenAIBatchError | None = None
        self.errors: dict[str, list[OpenAIBatchError]] = {}
        self.takes_after = True
        self.has_pages = True
        self.pages: list[str | None] = []
        self.retrieved: list[str] = []

    @property
    def calls(self) -> int:
        return len(self.pages) + len(self.retrieved)

    def end(self, *ids: str) -> None:
        for batch_id in ids:
            self.batches[batch_id] = replace(self.batches[batch_id], status="completed", output_file_id="file-1")

    async def retrieve(self, batch_id: str) -> Batch:
        self.retrieved.append(batch_id)
        await asyncio.sleep(0)
        if self.errors.get(batch_id):
            raise self.errors[batch_id].pop(0)
        if batch_id not in self.batches:
            raise NotFoundError(f"no {batch_id}", status_code=404)
        return self.batches[batch_id]

    async def list_page(self, *, after: str | None = None, limit: int = 100) -> Page:
        self.pages.append(after)
        await asyncio.sleep(0)
        if self.list_error is not None:
            raise self.list_error
        ids = [batch_id for batch_id in self.batches if batch_id not in self.hidden]
        if after is not None and self.takes_after:
            if after not in self.batches:
                raise NotFoundError(f"no {after}", status_code=404)
            ids = ids[ids.index(after) + 1 :] if after in ids else []
        page = tuple(self.listed.get(batch_id, self.batches[batch_id]) for batch_id in ids[:limit])
        has_more = self.has_pages and (len(ids) > limit or not self.takes_after)
        return Page(page, page[-1].id if has_more and page else None)


def poll(api: Api, due: list[str], reader: StatusReader | None = None, wanted: Iterable[str] = ()) -> PollResult:
    api.pages, api.retrieved = [], []
    poll_result = PollResult()
    asyncio.run((reader or StatusReader()).poll(api, due, poll_result, wanted=set(wanted)))
    return poll_result


def names(count: int, prefix: str = "b") -> list[str]:
    return [f"{prefix}{number}" for number in range(count)]


class TestCost:
    def test_a_few_are_retrieved(self) -> None:
        api = Api(names(500))
        assert set(poll(api, names(FEW)).batches) == set(names(FEW))
        assert (len(api.pages), len(api.retrieved)) == (0, FEW)

    def test_a_thousand_take_ten_pages_and_a_few_checks(self) -> None:
        api, reader = Api(names(1000)), StatusReader()
        for _ in range(5):
            assert len(poll(api, names(1000), reader).batches) == 1000
            assert (len(api.pages), len(api.retrieved)) == (10, 10)

    def test_what_a_page_shows_anyway_is_taken(self) -> None:
        api = Api(names(100))
        seen = poll(api, names(50), wanted=names(100))
        assert len(seen.batches) == 100
        assert len(api.pages) == 1

    def test_other_peoples_batches_on_top_cost_two_calls(self) -> None:
        api, reader = Api([*names(5_000, "foreign"), *names(300)]), StatusReader()
        assert len(poll(api, names(300), reader).batches) == 300
        assert api.calls < 15
        poll(api, names(300), reader)
        assert "foreign99" not in api.pages  # they are not waded through

    def test_ours_in_clusters_far_apart_are_jumped_to(self) -> None:
        ids = [*names(100, "a"), *names(2_000, "x"), *names(100, "b"), *names(2_000, "y"), *names(100, "c")]
        api, ours = Api(ids), [*names(100, "a"), *names(100, "b"), *names(100, "c")]
        assert len(poll(api, ours).batches) == 300
        assert api.calls < 30

    def test_ours_that_are_rare_among_others_are_retrieved(self) -> None:
        ids = [name for number in range(200) for name in [f"b{number}", *names(120, f"x{number}-")]]
        api = Api(ids)
        assert len(poll(api, names(200)).batches) == 200
        assert api.calls < 230

    def test_new_batches_on_top_do_not_hide_the_old_ones(self) -> None:
        api, reader = Api(names(400)), StatusReader()
        poll(api, names(400), reader)
        newer = names(250, "new")
        api.batches = {**{i: Batch(id=i, status="in_progress") for i in newer}, **api.batches}
        assert len(poll(api, [*newer, *names(400)], reader).batches) == 650
        assert api.calls < 25

    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.booleans(), max_size=700), st.integers(0, 200))
    def test_whatever_stands_between_every_batch_is_seen_at_a_bounded_cost(self, ours: list[bool], hidden: int) -> None:
        ids = [f"{'b' if own else 'x'}{number}" for number, own in enumerate(ours)]
        api = Api(ids)
        due = [batch_id for batch_id in ids if batch_id.startswith("b")]
        api.hidden = set(due[:hidden])
        reader = StatusReader()
        for _ in range(3):
            assert set(poll(api, due, reader).batches) == set(due)
            assert api.calls <= 1.1 * len(due) + 2 * status_reader.POOR_PAGES + status_reader.CHECKED_LEAST + 8


class TestTruth:
    def test_an_end_that_the_list_shows_is_confirmed(self) -> None:
        """The list may show the status before counts and files are there."""
        api = Api(names(20))
        api.listed["b3"] = replace(api.batches["b3"], status="completed")
        api.end("b3")
        assert poll(api, names(20)).batches["b3"].output_file_id == "file-1"
        assert "b3" in api.retrieved

    def test_an_end_that_only_the_list_shows_is_none(self) -> None:
        api = Api(names(20))
        api.listed["b3"] = replace(api.batches["b3"], status="completed")
        assert not poll(api, names(20)).batches["b3"].has_ended

    def test_a_list_that_never_shows_ends_is_found_out(self) -> None:
        api, reader, due = Api(names(60)), StatusReader(clock=lambda: 0.0), names(60)
        api.listed = dict(api.batches)
        api.end(*names(60))
        rounds = 0
        while due and rounds < 40:
            rounds += 1
            ended = {i for i, batch in poll(api, due, reader).batches.items() if batch.has_ended}
            due = [batch_id for batch_id in due if batch_id not in ended]
        assert due == []
        assert rounds < 5  # the list is read twice, then each batch is retrieved

    def test_a_single_end_behind_a_stale_list_is_seen_in_the_end(self) -> None:
        api, reader, due = Api(names(60)), StatusReader(), names(60)
        api.listed = dict(api.batches)
        api.end("b37")
        assert any(poll(api, due, reader).batches["b37"].has_ended for _ in range(31))

    def test_a_list_that_catches_up_is_trusted(self) -> None:
        api, reader = Api(names(60)), StatusReader()
        api.listed["b0"] = api.batches["b0"]
        api.end("b0")
        poll(api, names(60), reader)
        api.listed.clear()
        for _ in range(3):
            poll(api, names(60)[1:], reader)
            assert len(api.pages) == 1

    def test_a_list_that_was_wrong_is_read_again_after_a_while(self) -> None:
        now = 0.0
        api, reader = Api(names(60)), StatusReader(clock=lambda: now)
        reader.distrust()
        poll(api, names(60), reader)
        assert (len(api.pages), len(api.retrieved)) == (0, 60)
        now = DISTRUST
        poll(api, names(60), reader)
        assert len(api.pages) == 1

    def test_what_the_list_does_not_show_is_retrieved_and_not_looked_for_each_time(self) -> None:
        api, reader = Api(names(60)), StatusReader()
        api.hidden = set(names(60))
        for number in range(4):
            assert len(poll(api, names(60), reader).batches) == 60
            assert len(api.pages) <= (3 if number == 0 else 0)

    def test_a_batch_that_is_gone_is_no_problem(self) -> None:
        api = Api(names(20))
        del api.batches["b3"]
        seen = poll(api, names(20))
        assert seen.gone == {"b3"}
        assert len(seen.batches) == 19
        assert seen.problem is None


class TestServers:
    @pytest.mark.parametrize("status", [404, 403, 400, 405])
    def test_without_a_list_each_is_retrieved_and_the_list_is_left_alone(self, status: int) -> None:
        api, reader = Api(names(60)), StatusReader()
        error = AuthenticationError if status == 403 else NotFoundError if status == 404 else ApiRefusedError
        api.list_error = error("no list", status_code=status)
        for number in range(3):
            assert len(poll(api, names(60), reader).batches) == 60
            assert len(api.pages) == (1 if number == 0 else 0)

    def test_a_list_with_a_problem_is_not_used_in_this_round(self) -> None:
        api, reader = Api(names(60)), StatusReader()
        api.list_error = ApiUnavailableError("503", status_code=503)
        assert len(poll(api, names(60), reader).batches) == 60
        api.list_error = None
        poll(api, names(60), reader)
        assert len(api.pages) == 1

    def test_a_server_that_ignores_after_is_found_out(self) -> None:
        api = Api(names(300))
        api.takes_after = False
        assert len(poll(api, names(300)).batches) == 300
        assert len(api.pages) == 2

    def test_a_server_that_knows_only_one_page(self) -> None:
        api = Api(names(300))
        api.has_pages = False
        assert len(poll(api, names(300)).batches) == 300

    def test_a_place_that_is_gone_costs_a_call(self) -> None:
        api, reader = Api(names(300)), StatusReader()
        poll(api, names(300), reader)
        del api.batches["b99"]
        seen = poll(api, [i for i in names(300) if i != "b99"], reader)
        assert len(seen.batches) == 299
        assert api.calls < 20


class TestProblems:
    def test_a_dropped_connection_is_tried_once_more(self) -> None:
        api = Api(names(3))
        api.errors["b1"] = [ApiUnavailableError("dropped")]
        assert poll(api, names(3)).problem is None
        assert api.retrieved.count("b1") == 2

    def test_a_limit_ends_the_round_for_all(self) -> None:
        api = Api(names(300))
        limited = ApiUnavailableError("slow down", status_code=429)
        limited.retry_after = 30.0
        api.list_error = limited
        seen = poll(api, names(300))
        assert (api.calls, seen.retry_after, seen.halt) == (1, 30.0, limited)

    def test_a_refused_key_ends_the_round_for_all(self) -> None:
        api = Api(names(300))
        api.list_error = AuthenticationError("wrong key", status_code=401)
        assert isinstance(poll(api, names(300)).halt, AuthenticationError)
        assert api.calls == 1

    def test_a_server_that_is_down_is_not_asked_for_each_batch(self) -> None:
        api = Api(names(300))
        api.list_error = ApiUnavailableError("503", status_code=503)
        api.errors = {i: [ApiUnavailableError("503", status_code=503)] for i in names(300)}
        assert poll(api, names(300)).halt is not None
        assert api.calls < 20

    def test_a_problem_with_one_batch_does_not_stop_the_others(self) -> None:
        api = Api(names(6))
        api.errors["b5"] = [ApiUnavailableError("500", status_code=500)]
        seen = poll(api, names(6))
        assert (set(seen.batches), set(seen.problems), seen.halt) == (set(names(5)), {"b5"}, None)

    def test_a_batch_that_the_key_may_not_see_does_not_keep_the_others(self) -> None:
        api = Api(names(6))
        api.errors["b1"] = [AuthenticationError("403", status_code=403)]
        seen = poll(api, names(6))
        assert (set(seen.batches), set(seen.problems), seen.halt) == (set(names(6)) - {"b1"}, {"b1"}, None)

    def test_a_key_that_may_see_nothing_ends_the_round_for_all(self) -> None:
        api = Api(names(300))
        api.list_error = AuthenticationError("403", status_code=403)
        api.errors = {i: [AuthenticationError("403", status_code=403)] for i in names(300)}
        assert isinstance(poll(api, names(300)).halt, AuthenticationError)
        assert api.calls < 20

    def test_an_answer_that_nobody_thought_of_concerns_its_batch_alone(self) -> None:
        api = Api(names(6))
        api.errors["b1"] = [ValueError("Expected a non-empty value")]  # type: ignore[list-item]
        seen = poll(api, names(6))
        assert set(seen.batches) == set(names(6)) - {"b1"}
        assert "ValueError" in str(seen.problems["b1"])

    def test_a_list_that_hangs_does_not_hide_ends(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(status_reader, "PAGES_TIMEOUT", 0.05)
        api, reader = Api(names(60)), StatusReader()
        api.end("b3")

        async def hang(*, after: str | None = None, limit: int = 100) -> Page:
            api.pages.append(after)
            await asyncio.sleep(60)
            raise AssertionError

        api.list_page = hang  # type: ignore[method-assign]
        seen = poll(api, names(60), reader)
        assert len(seen.batches) == 60
        assert seen.batches["b3"].has_ended
        poll(api, names(60), reader)
        assert api.pages == []  # it is left alone for a while

    def test_a_list_that_nobody_thought_of_is_left_alone(self) -> None:
        api = Api(names(60))
        api.list_error = ValueError("odd")  # type: ignore[assignment]
        seen = poll(api, names(60))
        assert (len(seen.batches), seen.problem) == (60, None)

    def test_a_call_that_took_long_is_not_made_twice(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(status_reader, "SLOW", 0.01)
        calls = 0

        async def call() -> None:
            nonlocal calls
            calls += 1
            await asyncio.sleep(0.05)
            raise ApiUnavailableError("timed out")

        with pytest.raises(ApiUnavailableError):
            asyncio.run(status_reader.retry_once(call))
        assert calls == 1

    def test_a_round_that_is_given_up_has_shown_something(self) -> None:
        api = Api(names(200))

        async def hang(batch_id: str) -> Batch:
            await asyncio.sleep(60)
            raise AssertionError

        api.retrieve = hang  # type: ignore[method-assign]

        async def run() -> PollResult:
            poll_result = PollResult()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await StatusReader().poll(api, names(200), poll_result)
            return poll_result

        assert len(asyncio.run(run()).batches) == 200
