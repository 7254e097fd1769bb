"""`POST /v1/videos`: the object of a video job; its file is downloaded elsewhere."""

from __future__ import annotations

from airflow_provider_batch.emulator import tokens
from airflow_provider_batch.emulator.answers.common import Answer, Asked
from airflow_provider_batch.emulator.records import Tokens

#: Seconds for which a video can be downloaded.
_LIFETIME = 86_400


def answer(asked: Asked) -> Answer:
    """Return a finished video job."""
    body, now = asked.body, int(asked.now)
    return Answer(
        body={
            "id": f"video_{asked.digest[:48]}",
            "object": "video",
            "created_at": now,
            "completed_at": now,
            "expires_at": now + _LIFETIME,
            "status": "completed",
            "model": asked.model,
            "progress": 100,
            "prompt": body["prompt"],
            "seconds": str(body.get("seconds") or 4),
            "size": body.get("size") or "720x1280",
            "remixed_from_video_id": None,
            "error": None,
        },
        tokens=Tokens(input=tokens.of_request(asked.endpoint, body)),
    )
