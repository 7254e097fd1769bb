"""When each batch is polled, and which changes are reported."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_batch.api.objects import Batch
from airflow_provider_batch.exceptions import ApiUnavailableError, AuthenticationError, OpenAIBatchError
from airflow_provider_batch.polling.schedule import LONGEST_PAUSE, Gone, PollOutcome, PollProblem, PollSchedule, Seen
from airflow_provider_batch.polling.status_reader import PollResult
from airflow_provider_batch.polling.wait_policy import LONGEST_DELAY

NOW = 1_800_000_000.0


class Time:
    """A schedule driven by hand, its two clocks in step."""

    def __init__(self, jitter: float = 0.0, **given: Any) -> None:
        self.schedule = PollSchedule(jitter=lambda: jitter, **given)
        self.tick = 0.0

    def add(self, *ids: str, interval: float = 60.0) -> None:
        self.schedule.add(ids, interval, now=NOW + self.tick, tick=self.tick)

    def due(self) -> list[str]:
        return self.schedule.due(self.tick)

    def poll(self, *batches: Batch, **seen: Any) -> Mapping[str, PollOutcome]:
        poll_result = PollResult({batch.id: batch for batch in batches}, **seen)
        due = self.due()
        self.schedule.pause_after(poll_result, tick=self.tick)
        return self.schedule.record(
            [*due, *batches_of(poll_result, due)], poll_result, now=NOW + self.tick, tick=self.tick
        )

    def next(self) -> float:
        moment = self.schedule.next_round_at()
        return math.inf if moment is None else moment


def batches_of(poll_result: PollResult, due: list[str]) -> list[str]:
    return [batch_id for batch_id in poll_result.batches if batch_id not in due]


def running(batch_id: str, age: float = 0.0, **fields: Any) -> Batch:
    return Batch(id=batch_id, status=fields.pop("status", "in_progress"), created_at=NOW - age, **fields)


def ended(batch_id: str) -> Batch:
    return Batch(id=batch_id, status="completed")


def limited(seconds: float | None = None) -> ApiUnavailableError:
    error = ApiUnavailableError("slow down", status_code=429)
    error.retry_after = seconds
    return error


class TestSchedule:
    def test_who_comes_is_due_at_once(self) -> None:
        time = Time()
        assert time.next() == math.inf
        time.add("b0")
        assert time.due() == ["b0"]

    def test_an_old_batch_is_looked_at_rarely_and_a_young_one_often(self) -> None:
        time = Time()
        time.add("old", "young")
        time.poll(running("old", age=86_400), running("young"))
        assert time.next() == 60
        time.tick = 60
        assert time.due() == ["young"]

    def test_one_round_serves_those_that_are_nearly_due(self) -> None:
        time = Time()
        time.add("a", "b")
        time.poll(running("a", age=14_400), running("b", age=17_000))
        time.tick = time.next()
        assert time.due() == ["a", "b"]

    def test_near_its_end_a_batch_is_looked_at_soon(self) -> None:
        time = Time()
        time.add("b0", interval=10)
        almost = running("b0", age=36_000, in_progress_at=NOW - 36_000, total=1000, completed=999)
        time.poll(almost)
        assert time.next() == pytest.approx(18, abs=0.1)

    def test_while_results_are_written_it_is_as_good_as_new(self) -> None:
        time = Time()
        time.add("b0", interval=10)
        time.poll(running("b0", age=36_000, status="finalizing", finalizing_at=NOW - 30))
        assert time.next() == 10

    def test_at_the_end_of_its_window_it_is_looked_at_soon(self) -> None:
        time = Time()
        time.add("b0", interval=10)
        time.poll(running("b0", age=86_000, expires_at=NOW + 40))
        assert time.next() == 20

    def test_one_that_has_ended_is_not_looked_at_again(self) -> None:
        time = Time()
        time.add("b0", "b1")
        time.poll(ended("b0"), running("b1"))
        assert time.schedule.open_ids == {"b1"}
        time.tick = time.next()
        assert time.due() == ["b1"]

    def test_the_shortest_interval_that_anybody_wants_counts_while_he_is_there(self) -> None:
        time = Time()
        time.add("b0", interval=60)
        time.add("b0", interval=5)
        time.poll(running("b0"))
        assert time.next() == 5
        time.tick = 5
        time.schedule.remove(["b0"], 5)
        time.poll(running("b0"))
        assert time.next() == 65
        time.schedule.remove(["b0"], 60)
        assert len(time.schedule) == 0

    def test_what_one_leaves_another_may_still_want(self) -> None:
        time = Time()
        time.add("b0")
        time.add("b0")
        time.schedule.remove(["b0"], 60)
        assert time.schedule.open_ids == {"b0"}

    @settings(max_examples=50, deadline=None)
    @given(
        st.lists(st.floats(0, 90_000), min_size=1, max_size=30), st.floats(1, 200), st.floats(0, 1), st.integers(1, 20)
    )
    def test_no_batch_is_looked_at_too_often_nor_forgotten(
        self, ages: list[float], interval: float, jitter: float, rounds: int
    ) -> None:
        time = Time(jitter)
        names = {f"b{number}": age for number, age in enumerate(ages)}
        time.add(*names, interval=interval)
        last = dict.fromkeys(names, -math.inf)
        for _ in range(rounds):
            for batch_id in time.due():
                assert time.tick - last[batch_id] >= interval - 1e-6
                last[batch_id] = time.tick
            time.poll(*(running(batch_id, age=names[batch_id]) for batch_id in time.due()))
            time.tick = time.next()
            assert all(time.tick - moment <= 1.1 * max(interval, LONGEST_DELAY) + 1e-6 for moment in last.values())


class TestNews:
    def test_what_has_not_changed_is_not_reported(self) -> None:
        time = Time()
        time.add("b0")
        assert time.poll(running("b0")) == {"b0": Seen(running("b0"))}
        time.tick = time.next()
        assert time.poll(running("b0")) == {}
        time.tick = time.next()
        assert set(time.poll(running("b0", total=10, completed=1))) == {"b0"}

    def test_who_comes_later_is_told_what_others_know(self) -> None:
        time = Time()
        time.add("b0")
        time.poll(running("b0"))
        time.add("b0")
        assert time.due() == ["b0"]
        assert set(time.poll(running("b0"))) == {"b0"}

    def test_a_later_comer_learns_of_an_end_too(self) -> None:
        time = Time()
        time.add("b0")
        time.poll(ended("b0"))
        time.add("b0")
        assert time.due() == ["b0"]
        assert set(time.poll(ended("b0"))) == {"b0"}

    def test_an_end_is_never_taken_back(self) -> None:
        time = Time()
        time.add("b0")
        time.poll(ended("b0"))
        time.add("b0")
        outcome = time.poll(running("b0"))["b0"]
        assert isinstance(outcome, Seen)
        assert outcome.batch.has_ended

    def test_metadata_is_not_kept(self) -> None:
        time = Time()
        time.add("b0")
        outcome = time.poll(running("b0", metadata={"prompt": "secret"}))["b0"]
        assert "secret" not in repr(outcome)

    def test_gone_is_believed_the_second_time(self) -> None:
        time = Time()
        time.add("b0")
        assert time.poll(gone={"b0"}) == {}
        time.tick = time.next()
        assert time.poll(gone={"b0"}) == {"b0": Gone()}

    def test_gone_once_and_back_is_not_gone(self) -> None:
        time = Time()
        time.add("b0")
        for _ in range(4):
            assert Gone() not in time.poll(gone={"b0"}).values()
            time.tick = time.next()
            time.poll(running("b0"))
            time.tick = time.next()

    @pytest.mark.parametrize(("status", "moment"), [("validating", "created_at"), ("finalizing", "finalizing_at")])
    def test_a_batch_that_stalls_is_news_once(self, status: str, moment: str) -> None:
        time = Time(stalled_after=1000.0)
        time.add("b0")
        batch = Batch(id="b0", status=status, **{moment: NOW})  # type: ignore[arg-type]
        assert time.poll(batch) == {"b0": Seen(batch)}
        time.tick = 1000.0
        assert time.poll(batch) == {"b0": Seen(batch, is_stalled=True)}
        time.tick = 3000.0
        assert time.poll(batch) == {}

    def test_without_the_apis_own_times_a_stall_is_reckoned_from_the_first_poll(self) -> None:
        time = Time(stalled_after=1000.0)
        time.add("b0")
        time.poll(Batch(id="b0", status="validating"))
        time.tick = 1000.0
        assert time.poll(Batch(id="b0", status="validating"))["b0"].is_stalled  # type: ignore[union-attr]


class TestProblems:
    def test_a_limit_holds_up_all_for_as_long_as_is_asked(self) -> None:
        time = Time()
        time.add("b0", "b1")
        assert set(time.poll(halt=limited(500.0))) == {"b0", "b1"}
        time.add("b2")
        assert time.next() == 500
        time.tick = 499
        assert time.due() == []

    def test_who_comes_meanwhile_is_told_why_nothing_happens(self) -> None:
        time = Time()
        time.add("b0")
        time.poll(halt=limited(500.0))
        time.add("b1")
        assert set(time.schedule.unreported_problem()) == {"b1"}
        assert time.schedule.unreported_problem() == {}

    def test_the_pause_grows_up_to_a_cap_and_is_forgotten_after_a_success(self) -> None:
        time, pauses = Time(), []
        time.add("b0", interval=10)
        for _ in range(8):
            time.poll(halt=ApiUnavailableError("503", status_code=503))
            pauses.append(time.next() - time.tick)
            time.tick = time.next()
        assert pauses == [10, 20, 40, 80, 160, 300, 300, 300]
        time.poll(running("b0"))
        time.tick = time.next()
        time.poll(halt=ApiUnavailableError("503", status_code=503))
        assert time.next() - time.tick == 10

    def test_the_same_problem_is_news_once_and_another_is_news_again(self) -> None:
        time, reported = Time(), []
        time.add("b0")
        errors: list[OpenAIBatchError] = [
            ApiUnavailableError("503, request 1", status_code=503),
            ApiUnavailableError("503, request 2", status_code=503),
            AuthenticationError("401", status_code=401),
        ]
        for error in errors:
            reported.append(len(time.poll(halt=error)))
            time.tick = time.next()
        assert reported == [1, 0, 1]
        assert isinstance(time.poll(running("b0"))["b0"], Seen)

    def test_a_problem_with_one_batch_does_not_delay_the_others(self) -> None:
        time = Time()
        time.add("b0", "b1")
        changes = time.poll(running("b0"), problems={"b1": ApiUnavailableError("500", status_code=500)})
        assert isinstance(changes["b1"], PollProblem)
        assert time.next() == 60

    def test_a_round_that_was_given_up_is_made_again_soon(self) -> None:
        time = Time()
        time.add("b0", "b1")
        assert set(time.poll(running("b0"))) == {"b0"}
        time.tick = time.next()
        assert "b1" in time.due()

    def test_those_whose_turn_did_not_come_are_first_the_next_time(self) -> None:
        time, seen = Time(), set()
        time.add(*(f"b{number}" for number in range(50)))
        for _ in range(10):  # the vendor answers ten calls, and then says 429
            turn = time.due()[:10]
            seen.update(turn)
            time.poll(*(running(batch_id, age=time.tick) for batch_id in turn), halt=limited())
            time.tick = time.next()
        assert len(seen) == 50

    def test_a_pause_without_end_is_cut(self) -> None:
        time = Time()
        time.add("b0")
        time.poll(halt=limited(math.inf))
        assert time.next() == LONGEST_PAUSE

    @pytest.mark.parametrize("interval", [0.0, -1.0])
    def test_an_interval_of_nothing_is_no_loop_without_a_pause(self, interval: float) -> None:
        time = Time()
        time.add("b0", interval=interval)
        time.poll(running("b0"))
        assert time.next() >= 1
        time.schedule.remove(["b0"], interval)
        assert len(time.schedule) == 0

    def test_nobody_waits_for_what_was_left_meanwhile(self) -> None:
        time = Time()
        time.add("b0")
        due = time.due()
        time.schedule.remove(["b0"], 60)
        assert time.schedule.record(due, PollResult({"b0": ended("b0")}), now=NOW, tick=1.0) == {}
