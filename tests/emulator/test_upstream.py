"""With an upstream, each request is answered by another server, and its status is the line's."""

from __future__ import annotations

import openai

from airflow_provider_batch.emulator.testing import Emulator
from tests.emulator.support import CHAT, chat_body, chat_lines, line, results, run


def test_requests_go_to_the_upstream_and_its_answers_come_back(client: openai.OpenAI, emulator: Emulator) -> None:
    emulator.configure(upstream=emulator.base_url, upstream_concurrency=4)
    lines = [*chat_lines(20), line("bad", chat_body(messages=[{"role": "user"}, 7]))]
    batch = run(client, lines)
    assert (batch.request_counts.completed, batch.request_counts.failed) == (20, 1)
    done, failed = results(client, batch.output_file_id), results(client, batch.error_file_id)
    text = client.chat.completions.create(**chat_lines(7)[6]["body"]).choices[0].message.content
    assert done["r7"]["response"]["body"]["choices"][0]["message"]["content"] == text
    assert failed["bad"]["response"]["status_code"] == 400
    assert len(emulator.calls("POST", CHAT)) == 22
    used = sum(one["response"]["body"]["usage"]["total_tokens"] for one in done.values())
    assert batch.usage.total_tokens == used


def test_an_error_of_the_upstream_is_the_lines(client: openai.OpenAI, emulator: Emulator) -> None:
    emulator.configure(upstream=emulator.base_url)
    emulator.fault(kind="route_error", path=CHAT, status=429, times=1)
    batch = run(client, chat_lines(3))
    (failed,) = results(client, batch.error_file_id).values()
    assert failed["response"]["status_code"] == 429


def test_an_upstream_that_is_not_there_is_a_502(client: openai.OpenAI, emulator: Emulator) -> None:
    emulator.configure(upstream="http://127.0.0.1:9/v1")
    failed = results(client, run(client, chat_lines(2)).error_file_id)
    assert {one["response"]["status_code"] for one in failed.values()} == {502}


def test_an_upstream_that_is_too_slow_is_a_504(client: openai.OpenAI, emulator: Emulator) -> None:
    emulator.configure(upstream=emulator.base_url, upstream_timeout=0.5)
    emulator.fault(kind="slow_route", path=CHAT, seconds=1, times=1)
    batch = run(client, chat_lines(2))
    (failed,) = results(client, batch.error_file_id).values()
    assert failed["response"]["status_code"] == 504
    assert batch.request_counts.completed == 1


def test_a_dropped_connection_to_the_upstream_is_a_502_or_tried_once_more(
    client: openai.OpenAI, emulator: Emulator
) -> None:
    emulator.configure(upstream=emulator.base_url, upstream_concurrency=1)
    emulator.fault(kind="drop_connection", path=CHAT, times=1)
    assert run(client, chat_lines(2)).request_counts.completed == 2
