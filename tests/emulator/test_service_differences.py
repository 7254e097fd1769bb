"""The list, the clock and the metadata of services that are not OpenAI."""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from typing import Any

import openai
import pytest

from airflow_provider_batch.emulator.testing import Emulator
from tests.emulator.support import CHAT, chat_lines, upload


@pytest.fixture
def made(emulator: Emulator, client: openai.OpenAI) -> list[str]:
    """Five batches, newest first."""
    emulator.configure(progress="hold")
    file_id = upload(client, chat_lines(1))
    given: dict[str, Any] = {"input_file_id": file_id, "endpoint": CHAT, "completion_window": "24h"}
    return [client.batches.create(**given, metadata={"number": str(n)}).id for n in range(5)][::-1]


def pages(client: openai.OpenAI, limit: int = 2, most: int = 6) -> list[list[str]]:
    """What a client sees that pages as the API's documentation says."""
    after: dict[str, Any] = {}
    seen: list[list[str]] = []
    while len(seen) < most:
        page = client.batches.list(limit=limit, **after)
        seen.append([batch.id for batch in page.data])
        if not page.has_more or not page.data:
            return seen
        after = {"after": page.data[-1].id}
    return seen


def test_the_list_is_newest_first_and_whole_by_default(client: openai.OpenAI, made: list[str]) -> None:
    assert pages(client) == [made[:2], made[2:4], made[4:]]


def test_the_list_can_be_oldest_first(emulator: Emulator, client: openai.OpenAI, made: list[str]) -> None:
    emulator.configure(list_order="oldest_first")
    assert pages(client, limit=5) == [made[::-1]]


def test_the_list_can_be_in_another_order_at_each_call(
    emulator: Emulator, client: openai.OpenAI, made: list[str]
) -> None:
    emulator.configure(list_order="shuffled")
    seen = [pages(client, limit=5)[0] for _ in range(20)]
    assert all(sorted(one) == sorted(made) for one in seen)
    assert len({tuple(one) for one in seen}) > 1


def test_the_list_can_ignore_after(emulator: Emulator, client: openai.OpenAI, made: list[str]) -> None:
    emulator.configure(list_paging="ignores_after")
    assert pages(client, most=3) == [made[:2]] * 3


def test_the_list_can_say_too_soon_that_it_ends(emulator: Emulator, client: openai.OpenAI, made: list[str]) -> None:
    emulator.configure(list_paging="ends_early")
    assert pages(client) == [made[:2]]
    assert [batch.id for batch in client.batches.list(limit=2, after=made[1]).data] == made[2:4]


def test_the_list_can_have_empty_pages(emulator: Emulator, client: openai.OpenAI, made: list[str]) -> None:
    emulator.configure(list_paging="empty_page")
    assert pages(client) == [made[:2], []]


def test_the_list_can_be_cut_off(emulator: Emulator, client: openai.OpenAI, made: list[str]) -> None:
    emulator.configure(list_shows=3)
    assert pages(client) == [made[:2], made[2:3]]


def test_the_list_can_show_batches_late(emulator: Emulator, client: openai.OpenAI, made: list[str]) -> None:
    emulator.configure(list_lag=3600.0)
    assert pages(client) == [[]]
    assert client.batches.retrieve(made[0]).id == made[0]


def test_metadata_can_be_dropped(emulator: Emulator, client: openai.OpenAI, made: list[str]) -> None:
    assert client.batches.retrieve(made[0]).metadata == {"number": "4"}
    emulator.configure(keeps_metadata=False)
    assert client.batches.retrieve(made[0]).metadata is None


@pytest.mark.parametrize("skew", [-86_400, 1200])
def test_the_clock_can_be_wrong(emulator: Emulator, client: openai.OpenAI, made: list[str], skew: int) -> None:
    right = client.batches.retrieve(made[0])
    emulator.configure(clock_skew=skew)
    shown = client.batches.with_raw_response.retrieve(made[0])
    wrong = shown.parse()
    assert (wrong.created_at, wrong.expires_at) == (right.created_at + skew, (right.expires_at or 0) + skew)
    assert parsedate_to_datetime(shown.headers["date"]).timestamp() == pytest.approx(wrong.created_at, abs=60)


def test_answers_can_be_without_a_date(emulator: Emulator, client: openai.OpenAI, made: list[str]) -> None:
    emulator.configure(tells_time=False)
    assert "date" not in client.batches.with_raw_response.retrieve(made[0]).headers
