"""When to poll again, when to resume the task, what to log."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_batch.api.objects import Batch
from airflow_provider_batch.polling.wait_policy import (
    LONGEST_DELAY,
    PROBLEM_PATIENCE,
    WAKE_PATIENCE,
    WaitState,
    Wake,
    poll_delay,
    progress_line,
)

NOW = 1_800_000_000.0


def running(batch_id: str, **fields: Any) -> Batch:
    return Batch(id=batch_id, status="in_progress", **fields)


def ended(*ids: str, status: str = "completed") -> dict[str, Batch]:
    return {batch_id: Batch(id=batch_id, status=status) for batch_id in ids}


def names(count: int) -> list[str]:
    return [f"b{number}" for number in range(count)]


class TestPollDelay:
    def test_a_young_batch_is_looked_at_as_often_as_allowed(self) -> None:
        assert poll_delay(5, 10) == 10

    def test_the_delay_grows_with_age_up_to_a_cap(self) -> None:
        assert poll_delay(3600, 10) == 60
        assert poll_delay(86_400, 10) == LONGEST_DELAY

    def test_the_delay_shrinks_towards_the_expected_end(self) -> None:
        assert poll_delay(86_400, 10, remaining=100) == 50
        assert poll_delay(86_400, 10, remaining=1) == 10

    def test_a_longer_interval_than_the_cap_is_kept(self) -> None:
        assert poll_delay(0, 1_000) == 1_000

    @given(
        age=st.floats(-1e6, 1e6),
        interval=st.floats(0.01, 1e4),
        jitter=st.floats(0, 1),
        remaining=st.none() | st.floats(0, 1e6),
    )
    def test_it_is_never_shorter_than_the_interval_nor_much_longer_than_the_cap(
        self, age: float, interval: float, jitter: float, remaining: float | None
    ) -> None:
        delay = poll_delay(age, interval, jitter=jitter, remaining=remaining)
        assert interval <= delay <= max(interval, LONGEST_DELAY) * 1.1 + 1e-6


class TestWake:
    def test_nobody_is_woken_while_all_run(self) -> None:
        wait_state = WaitState(names(3), until=NOW + 100)
        assert wait_state.update({"b0": running("b0")}, now=NOW) is None

    @pytest.mark.parametrize(("count", "enough"), [(1, 1), (2, 1), (10, 1), (11, 2), (20, 2), (50, 5)])
    def test_a_tenth_of_the_batches_wakes(self, count: int, enough: int) -> None:
        wait_state = WaitState(names(count))
        if enough > 1:
            assert wait_state.update(ended(*names(enough - 1)), now=NOW) is None
        assert wait_state.update(ended(*names(enough)), now=NOW) == Wake("ended", tuple(names(enough)), count - enough)

    def test_ten_minutes_after_the_first_end_somebody_is_woken(self) -> None:
        wait_state = WaitState(names(50))
        assert wait_state.update(ended("b7"), now=NOW) is None
        assert wait_state.wake(NOW + WAKE_PATIENCE - 1) is None
        assert wait_state.wake(NOW + WAKE_PATIENCE) == Wake("ended", ("b7",), 49)

    def test_an_end_that_is_seen_again_does_not_begin_the_ten_minutes_anew(self) -> None:
        wait_state = WaitState(names(50))
        wait_state.update(ended("b7"), now=NOW)
        assert wait_state.update(ended("b7"), now=NOW + WAKE_PATIENCE) is not None

    def test_the_moment_wakes_whatever_happened(self) -> None:
        wait_state = WaitState(names(50), until=NOW + 5)
        wait_state.update(ended("b1"), now=NOW)
        assert wait_state.wake(NOW + 5) == Wake("due", ("b1",), 49)

    def test_a_wait_for_all_is_over_when_all_have_ended(self) -> None:
        wait_state = WaitState(names(3), share=1.0)
        assert wait_state.update(ended("b0", "b1"), now=NOW) is None
        assert wait_state.wake(NOW + 2 * WAKE_PATIENCE) is None
        assert wait_state.update(ended("b2", status="failed"), now=NOW) == Wake("ended", ("b0", "b1", "b2"), 0)

    @pytest.mark.parametrize("status", ["completed", "failed", "expired", "cancelled"])
    def test_every_terminal_status_is_an_end(self, status: str) -> None:
        assert WaitState(["b0"]).update(ended("b0", status=status), now=NOW) is not None

    @pytest.mark.parametrize("status", ["validating", "cancelling", "scheduling", ""])
    def test_a_status_that_nobody_knows_is_still_running(self, status: str) -> None:
        """Invariant 10."""
        assert WaitState(["b0"]).update(ended("b0", status=status), now=NOW) is None

    def test_a_batch_that_is_gone_counts_as_ended(self) -> None:
        wait_state = WaitState(["b0"])
        wait_state.note_unknown("b0", now=NOW)
        assert wait_state.wake(NOW) == Wake("ended", ("b0",), 0)

    def test_thousands_that_are_gone_at_once_do_not_hold_up_a_loop(self) -> None:
        def cost(count: int) -> float:
            wait_state, begun = WaitState([f"b{number}" for number in range(count)]), time.process_time()
            for batch_id in wait_state.batch_ids:
                wait_state.note_unknown(batch_id, now=1.0)
            return time.process_time() - begun

        # Ten times as many cost about ten times as much: work over all of them for each would cost a hundred times.
        assert min(cost(20_000) for _ in range(3)) < 40 * min(cost(2_000) for _ in range(3))

    def test_without_batches_the_wait_is_for_the_moment(self) -> None:
        wait_state = WaitState([], until=NOW + 5)
        assert wait_state.update({}, now=NOW) is None
        assert wait_state.delay(NOW, 10) == 5
        assert wait_state.wake(NOW + 5) == Wake("due", (), 0)

    def test_without_batches_and_without_a_moment_there_is_nothing_to_wait_for(self) -> None:
        assert WaitState([]).wake(NOW) == Wake("due", (), 0)

    @given(st.lists(st.lists(st.integers(0, 29), max_size=5), max_size=20), st.floats(1, 5_000))
    def test_whatever_ends_when_a_wait_is_over_by_its_moment_and_counts_add_up(
        self, polls: list[list[int]], length: float
    ) -> None:
        wait_state = WaitState(names(30), until=NOW + length)
        now, wake = NOW, None
        for ids in polls:
            wake = wait_state.update(ended(*(f"b{n}" for n in ids)), now=now)
            if wake:
                break
            now += wait_state.delay(now, 10)
        wake = wake or wait_state.wake(NOW + length)
        assert wake is not None
        assert len(wake.ended) + wake.active == 30
        assert now <= NOW + length


class TestProblems:
    def test_without_end_ends_a_wait_that_has_no_moment(self) -> None:
        wait_state = WaitState(names(3), share=1.0)
        wait_state.update(ended("b0"), now=NOW)
        wait_state.note_problems(["b1", "b2"], now=NOW)
        wait_state.note_problems(["b1"], now=NOW + 60)
        assert wait_state.wake(NOW + PROBLEM_PATIENCE - 1) is None
        assert wait_state.deadline == NOW + PROBLEM_PATIENCE
        assert wait_state.wake(NOW + PROBLEM_PATIENCE) == Wake("due", ("b0",), 2)

    def test_that_is_over_is_forgotten(self) -> None:
        wait_state = WaitState(names(3), share=1.0)
        wait_state.note_problems(["b1", "b2"], now=NOW)
        wait_state.update({"b1": running("b1")}, now=NOW + 1)
        assert wait_state.problem_since == NOW
        wait_state.note_unknown("b2", now=NOW + 2)
        assert wait_state.deadline is None
        assert wait_state.wake(NOW + 2 * PROBLEM_PATIENCE) is None

    def test_with_the_batches_of_others_is_none(self) -> None:
        wait_state = WaitState(names(3))
        wait_state.note_problems(["c0"], now=NOW)
        assert wait_state.deadline is None

    @given(st.lists(st.tuples(st.sets(st.integers(0, 4)), st.booleans()), max_size=20), st.floats(0, 2 * 3600))
    def test_never_ends_a_wait_before_its_moment(self, polls: list[tuple[set[int], bool]], length: float) -> None:
        wait_state = WaitState(names(5), until=NOW + length)
        for number, (which, is_seen) in enumerate(polls):
            ids = [f"b{n}" for n in which]
            if is_seen:
                wait_state.update({batch_id: running(batch_id) for batch_id in ids}, now=NOW + number)
            else:
                wait_state.note_problems(ids, now=NOW + number)
        assert wait_state.deadline == NOW + length
        assert wait_state.wake(NOW + length) == Wake("due", (), 5)
        assert length < 1 or wait_state.wake(NOW + length - 1) is None

    @given(st.lists(st.tuples(st.sets(st.integers(0, 4)), st.booleans()), max_size=20))
    def test_lasts_from_its_first_poll_until_all_are_polled_again(self, polls: list[tuple[set[int], bool]]) -> None:
        wait_state, out_of_sight, since = WaitState(names(5)), set[int](), None
        for number, (which, is_seen) in enumerate(polls):
            ids = [f"b{n}" for n in which]
            if is_seen:
                wait_state.update({batch_id: running(batch_id) for batch_id in ids}, now=NOW + number)
                out_of_sight -= which
            else:
                wait_state.note_problems(ids, now=NOW + number)
                out_of_sight |= which
            since = None if not out_of_sight else NOW + number if since is None else since
            assert wait_state.deadline == (None if since is None else since + PROBLEM_PATIENCE)


class TestDelay:
    def test_it_goes_by_the_youngest_active_batch(self) -> None:
        wait_state = WaitState(names(2))
        wait_state.update(
            {"b0": running("b0", created_at=NOW - 7200), "b1": running("b1", created_at=NOW - 3600)}, now=NOW
        )
        assert wait_state.delay(NOW, 10) == 60

    def test_without_a_time_of_creation_it_goes_by_the_wait(self) -> None:
        wait_state = WaitState(["b0"])
        wait_state.update({"b0": running("b0")}, now=NOW)
        assert wait_state.delay(NOW + 3600, 10) == 60

    def test_clocks_that_differ_do_not_matter(self) -> None:
        wait_state = WaitState(["b0"])
        wait_state.update({"b0": running("b0", created_at=NOW + 999)}, now=NOW)
        assert wait_state.delay(NOW, 10) == 10

    def test_it_never_goes_past_a_moment_of_the_wait(self) -> None:
        wait_state = WaitState(names(50), until=NOW + 4)
        assert wait_state.delay(NOW, 10) == 4
        wait_state = WaitState(names(50))
        wait_state.update(ended("b0"), now=NOW)
        assert wait_state.delay(NOW + WAKE_PATIENCE - 3, 10) == 3

    def test_a_batch_near_its_end_is_looked_at_more_often(self) -> None:
        wait_state = WaitState(["b0"])
        almost = running("b0", created_at=NOW - 36_000, in_progress_at=NOW - 36_000, total=1000, completed=999)
        wait_state.update({"b0": almost}, now=NOW)
        assert wait_state.delay(NOW, 10) == pytest.approx(18, abs=0.1)


class TestProgressLine:
    def test_a_job_counts_what_was_done_before_too(self) -> None:
        progress = {"shards": 12, "shards_done": 2, "rows": 150_000, "rows_done": 50_000, "cost": 3.179}
        batches = {
            "b0": Batch(id="b0", status="completed", total=10_000, completed=9_990, failed=10),
            "b1": running("b1", total=12_500, completed=1_200, failed=4),
        }
        assert progress_line(progress, batches) == "shard 3/12, 61,204 of 150,000 rows, 40 %, $3.18 so far"

    def test_foreign_batches_are_counted_alone(self) -> None:
        assert progress_line(None, {"b0": running("b0", total=10, completed=4)}) == "batch 0/1, 4 of 10 rows, 40 %"

    def test_what_is_not_known_is_left_out(self) -> None:
        assert progress_line({"shards": 3}, {"b0": running("b0")}) == "shard 0/3"

    def test_a_tiny_cost_is_not_shown_as_nothing(self) -> None:
        assert progress_line({"shards": 1, "cost": 0.00123}, {}).endswith("$0.0012 so far")

    def test_a_hundred_per_cent_means_all(self) -> None:
        assert "99 %" in progress_line({"shards": 1, "rows": 10_000, "rows_done": 9_999}, {})
