"""The client against the Batch API on this machine: the way of one batch, from file to results."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from airflow_provider_batch.api.client import BatchClient
from airflow_provider_batch.api.objects import Batch
from airflow_provider_batch.api.outcomes import Accepted, Unknown
from airflow_provider_batch.api.settings import ClientSettings
from airflow_provider_batch.exceptions import NotFoundError
from tests.conftest import SECRET

if TYPE_CHECKING:
    from airflow_provider_batch.emulator.testing import Emulator

ENDPOINT = "/v1/chat/completions"


@pytest.fixture
def client(emulator: Emulator) -> Iterator[BatchClient]:
    with BatchClient(ClientSettings(SECRET, base_url=emulator.base_url, max_retries=2)) as client:
        yield client


def upload(client: BatchClient, rows: int = 3) -> str:
    body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello"}]}
    lines = [{"custom_id": f"{n}", "method": "POST", "url": ENDPOINT, "body": body} for n in range(rows)]
    return client.upload(io.BytesIO(b"".join(json.dumps(line).encode() + b"\n" for line in lines)), "shard.jsonl")


def create(client: BatchClient, file_id: str, **metadata: str) -> str:
    outcome = client.create(input_file_id=file_id, endpoint=ENDPOINT, metadata=metadata)
    assert isinstance(outcome, Accepted), outcome
    return outcome.batch.id


def ended(client: BatchClient, batch_id: str) -> Batch:
    give_up = time.monotonic() + 600
    while not (batch := client.retrieve(batch_id)).has_ended:
        assert time.monotonic() < give_up, batch
    return batch


def test_a_batch_goes_from_file_to_results(client: BatchClient, tmp_path: Path) -> None:
    file_id = upload(client)
    client.download(file_id, tmp_path / "in")
    assert [json.loads(line)["custom_id"] for line in (tmp_path / "in").read_bytes().splitlines()] == ["0", "1", "2"]
    batch = ended(client, create(client, file_id, job="abc"))
    assert (batch.status, batch.total, batch.completed) == ("completed", 3, 3)
    assert batch.metadata == {"job": "abc"}
    assert batch.output_file_id is not None
    size = client.download(batch.output_file_id, tmp_path / "out")
    lines = (tmp_path / "out").read_bytes().splitlines()
    assert size == (tmp_path / "out").stat().st_size
    assert sorted(json.loads(line)["custom_id"] for line in lines) == ["0", "1", "2"]
    client.delete_file(file_id)
    with pytest.raises(NotFoundError):
        client.delete_file(file_id)


def test_batches_are_listed_newest_first_over_pages(client: BatchClient) -> None:
    file_id = upload(client)
    made = [create(client, file_id) for _ in range(5)]
    assert [batch.id for batch in client.list(limit=2)] == made[::-1]


def test_a_create_whose_answer_is_lost_can_be_found_by_its_metadata(client: BatchClient, emulator: Emulator) -> None:
    """Invariant 2."""
    file_id = upload(client)
    emulator.fault(kind="lose_answer", method="POST", path="/v1/batches", times=1)
    outcome = client.create(input_file_id=file_id, endpoint=ENDPOINT, metadata={"intent": "17"})
    assert isinstance(outcome, Unknown)
    assert [batch.metadata for batch in client.list()] == [{"intent": "17"}]


def test_a_batch_is_cancelled_while_it_runs_and_left_alone_afterwards(client: BatchClient, emulator: Emulator) -> None:
    emulator.configure(progress="hold")
    batch_id = create(client, upload(client))
    assert client.cancel(batch_id).status in ("cancelling", "cancelled")
    emulator.configure(progress="immediate")
    done = create(client, upload(client))
    assert ended(client, done).status == "completed"
    assert client.cancel(done).status == "completed"


def test_a_video_is_fetched_whole_and_one_that_is_not_there_is_an_error(client: BatchClient, tmp_path: Path) -> None:
    video_id = f"video_{'0a' * 24}"
    size = client.download_video(video_id, tmp_path / "a.mp4")
    assert (tmp_path / "a.mp4").stat().st_size == size
    assert (tmp_path / "a.mp4").read_bytes()[4:8] == b"ftyp"
    with pytest.raises(NotFoundError, match="Downloading video nope"):
        client.download_video("nope", tmp_path / "b.mp4")
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


def test_a_video_that_is_cut_off_is_fetched_again(client: BatchClient, emulator: Emulator, tmp_path: Path) -> None:
    emulator.fault(kind="cut_body", method="GET", path="/v1/videos/*/content", after_bytes=20, times=1)
    assert client.download_video(f"video_{'0a' * 24}", tmp_path / "a.mp4") > 20
