"""Answer `POST /v1/videos`: a finished video job; `GET /v1/videos/{id}/content` downloads its file."""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping

from airflow_provider_batch.emulator.answers import tokens
from airflow_provider_batch.emulator.answers.common import Answer, ModelRequest
from airflow_provider_batch.emulator.records import Tokens

#: Endpoints that this module answers → member that a request needs.
NEEDED: Mapping[str, str | None] = {"/v1/videos": "prompt"}

#: Form of the ids that `answer` makes.
_ID = re.compile(r"video_[0-9a-f]{48}")
#: Seconds for which a video can be downloaded.
_LIFETIME = 86_400


def answer(request: ModelRequest) -> Answer:
    """
    Return a finished video job.

    :param request: Request to `/v1/videos`.
    """
    body, now = request.body, int(request.now)
    return Answer(
        body={
            "id": f"video_{request.digest[:48]}",
            "object": "video",
            "created_at": now,
            "completed_at": now,
            "expires_at": now + _LIFETIME,
            "status": "completed",
            "model": request.model,
            "progress": 100,
            "prompt": body["prompt"],
            "seconds": str(body.get("seconds") or 4),
            "size": body.get("size") or "720x1280",
            "remixed_from_video_id": None,
            "error": None,
        },
        tokens=Tokens(input=tokens.of_request(request.endpoint, body)),
    )


def content(video_id: str) -> bytes | None:
    """
    Return a small file with the head of an MP4; None for an id that the emulator does not make.

    :param video_id: Id of the video job; the same id gives the same file.
    """
    if _ID.fullmatch(video_id) is None:
        return None
    boxes = ((b"ftyp", b"isom\x00\x00\x02\x00isomiso2mp41"), (b"free", video_id.encode()), (b"mdat", b""))
    return b"".join(struct.pack(">I", 8 + len(data)) + name + data for name, data in boxes)
