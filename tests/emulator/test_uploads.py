"""Uploads: the SDK sends a file in parts, and the file is one as any other."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import openai
import pytest

from airflow_provider_batch.emulator.testing import Emulator, running_emulator
from tests.emulator.support import CHAT, as_file, chat_lines, client_of, ended, results, until

DATA = as_file(chat_lines(40))


def create(client: openai.OpenAI, data: bytes = DATA, **more: Any) -> Any:
    given: dict[str, Any] = {"filename": "rows.jsonl", "mime_type": "application/jsonl", "purpose": "batch", **more}
    return client.uploads.create(bytes=len(data), **given)


def refusal(call: Any, *given: Any, **named: Any) -> Any:
    """Return the error 400 of a call."""
    with pytest.raises(openai.BadRequestError) as caught:
        call(*given, **named)
    return caught.value


@pytest.mark.parametrize("md5", [None, hashlib.md5(DATA).hexdigest()])
def test_a_file_in_parts_is_the_input_of_a_batch(client: openai.OpenAI, emulator: Emulator, md5: str | None) -> None:
    checksum: dict[str, Any] = {} if md5 is None else {"md5": md5}
    upload = client.uploads.upload_file_chunked(
        file=DATA,
        filename="rows.jsonl",
        bytes=len(DATA),
        mime_type="application/jsonl",
        purpose="batch",
        part_size=1_000,
        **checksum,
    )
    assert (upload.status, upload.object, upload.bytes) == ("completed", "upload", len(DATA))
    file = upload.file
    assert file is not None
    assert (file.filename, file.purpose, file.bytes) == ("rows.jsonl", "batch", len(DATA))
    assert client.files.retrieve(file.id) == file
    assert client.files.content(file.id).content == DATA
    batch = client.batches.create(input_file_id=file.id, endpoint=CHAT, completion_window="24h")
    assert len(results(client, ended(client, batch.id).output_file_id)) == 40
    assert emulator.state()["uploads"] == 1
    left = {path.name for path in (emulator.folder / "files").iterdir()}
    assert {name for name in left if name.startswith("part_")} == set()


def test_a_file_on_disk_is_sent_in_parts(client: openai.OpenAI, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_bytes(DATA)
    upload = client.uploads.upload_file_chunked(file=tmp_path / "rows.jsonl", mime_type="a/b", purpose="batch")
    assert upload.file is not None
    assert client.files.content(upload.file.id).content == DATA


def test_the_complete_call_says_the_order_of_the_parts(client: openai.OpenAI) -> None:
    upload = create(client, b'{}\n{"a": 1}\n')
    second = client.uploads.parts.create(upload.id, data=b'{"a": 1}\n')
    first = client.uploads.parts.create(upload.id, data=b"{}\n")
    unused = client.uploads.parts.create(upload.id, data=b"{}\n")
    assert (first.object, first.upload_id) == ("upload.part", upload.id)
    assert len({first.id, second.id, unused.id}) == 3
    done = client.uploads.complete(upload.id, part_ids=[first.id, second.id])
    assert client.files.content(done.file.id).content == b'{}\n{"a": 1}\n'  # type: ignore[union-attr]


def test_parts_that_are_not_the_announced_file_are_refused_and_can_be_mended(client: openai.OpenAI) -> None:
    upload = create(client)
    half = client.uploads.parts.create(upload.id, data=DATA[:700])
    rest = client.uploads.parts.create(upload.id, data=DATA[700:])
    complete = client.uploads.complete
    assert f"have 700 bytes together, but the Upload was created for {len(DATA)}" in str(
        refusal(complete, upload.id, part_ids=[half.id])
    )
    assert "is listed twice" in str(refusal(complete, upload.id, part_ids=[half.id, half.id]))
    assert "has no part 'part_1'" in str(refusal(complete, upload.id, part_ids=[half.id, "part_1"]))
    assert refusal(complete, upload.id, part_ids=[half.id, rest.id], md5="0" * 32).param == "md5"
    assert refusal(client.post, f"/uploads/{upload.id}/complete", body={}, cast_to=object).param == "part_ids"
    assert complete(upload.id, part_ids=[half.id, rest.id], md5=hashlib.md5(DATA).hexdigest()).status == "completed"


def test_an_upload_that_has_ended_takes_no_more_calls(client: openai.OpenAI, emulator: Emulator) -> None:
    cancelled, completed, expired = create(client), create(client, b"{}"), create(client)
    part = client.uploads.parts.create(cancelled.id, data=DATA)
    assert client.uploads.cancel(cancelled.id).status == "cancelled"
    whole = client.uploads.parts.create(completed.id, data=b"{}")
    client.uploads.complete(completed.id, part_ids=[whole.id])
    client.uploads.parts.create(expired.id, data=DATA)
    ids = {"cancelled": cancelled.id, "completed": completed.id}
    for status, upload_id in ids.items():
        errors = [
            refusal(client.uploads.parts.create, upload_id, data=b"x"),
            refusal(client.uploads.complete, upload_id, part_ids=[part.id]),
            refusal(client.uploads.cancel, upload_id),
        ]
        assert all(f"has the status '{status}'" in str(error) for error in errors)
    with pytest.raises(openai.NotFoundError):
        client.uploads.cancel("upload_1")
    assert len(client.files.list().data) == 1


def test_an_upload_expires_after_an_hour_of_the_emulators_clock(client: openai.OpenAI, emulator: Emulator) -> None:
    assert (hour := create(client)).expires_at == hour.created_at + 3_600
    emulator.configure(clock_speed=36_000)
    upload = create(client)

    def refused() -> str:
        try:
            client.uploads.parts.create(upload.id, data=b"x")
        except openai.BadRequestError as error:
            return str(error)
        return ""

    assert "has the status 'expired'" in until(refused, "the Upload expires")
    create(client)  # the next one removes what expired ones have left
    left = [path.name for path in (emulator.folder / "files").iterdir()]
    assert left == []


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"purpose": "nothing"}, "purpose"),
        ({"filename": None}, "filename"),
        ({"bytes": -1}, "bytes"),
        ({"bytes": 9 * 1024**3}, "bytes"),
        ({"expires_after": {"anchor": "created_at", "seconds": 60}}, "expires_after.seconds"),
    ],
)
def test_a_wrong_create_is_refused(client: openai.OpenAI, change: dict[str, Any], param: str) -> None:
    given = {"bytes": 1, "filename": "a", "mime_type": "a/b", "purpose": "batch", **change}
    body = {name: value for name, value in given.items() if value is not None}
    assert refusal(client.post, "/uploads", body=body, cast_to=object).param == param


def test_the_file_of_an_upload_expires_as_the_create_call_says(client: openai.OpenAI) -> None:
    upload = create(client, b"{}", expires_after={"anchor": "created_at", "seconds": 3_600})
    part = client.uploads.parts.create(upload.id, data=b"{}")
    file = client.uploads.complete(upload.id, part_ids=[part.id]).file
    assert file is not None
    assert file.expires_at == pytest.approx(file.created_at + 3_600, abs=1)


def test_too_large_a_part_and_a_file_without_json_are_refused(client: openai.OpenAI, emulator: Emulator) -> None:
    emulator.configure(max_part_bytes=10)
    upload = create(client, b"no JSON")
    with pytest.raises(openai.APIStatusError) as caught:
        client.uploads.parts.create(upload.id, data=b"x" * 11)
    assert caught.value.status_code == 413
    part = client.uploads.parts.create(upload.id, data=b"no JSON")
    assert "Invalid file format" in str(refusal(client.uploads.complete, upload.id, part_ids=[part.id]))
    assert client.files.list().data == []


def test_an_upload_outlives_a_restart(tmp_path: Path) -> None:
    with running_emulator(tmp_path) as emulator:
        client = client_of(emulator.base_url)
        upload = create(client, b"{}")
        part = client.uploads.parts.create(upload.id, data=b"{}")
        emulator.kill()
        emulator.start()
        assert client.uploads.complete(upload.id, part_ids=[part.id]).status == "completed"
