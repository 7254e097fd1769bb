"""The answers of `/v1/videos`."""

from __future__ import annotations

import math
from collections.abc import Mapping

from airflow_provider_batch.answers.answer import FAILED, SUCCEEDED, Answer, no_answer
from airflow_provider_batch.answers.answer_format import AnswerFormat
from airflow_provider_batch.answers.body import Body, ErrorInfo
from airflow_provider_batch.answers.column import DOUBLE, STRING, Column
from airflow_provider_batch.answers.finish_reasons import is_completed
from airflow_provider_batch.api.endpoints import Endpoint

_COLUMNS: Mapping[str, Column] = {
    "video_id": Column(STRING, "the API's id of the video"),
    "file": Column(STRING, "the video: a path below the table's folder"),
    "video_status": Column(STRING, "final status of the video", has_dictionary=True),
    "seconds": Column(DOUBLE, "length of the video in seconds"),
    "size": Column(STRING, "width and height in pixels, as 1024x1024", has_dictionary=True),
}


class VideoBody(Body, gc=False):
    """
    Body of `/v1/videos`.

    :param id: Id of the video.
    :param status: Status of the video, such as `completed`.
    :param seconds: Length in seconds, as text.
    :param size: Width and height in pixels, such as `720x1280`.
    """

    id: str | None = None
    status: str | None = None
    seconds: str | None = None
    size: str | None = None


def video(body: VideoBody) -> Answer:
    """
    Extract the answer of `/v1/videos`; `media.py` fetches the video.

    :param body: The response body.
    """
    if body.id is None:
        return no_answer(body, "id")
    values = (body.id, None, body.status, _seconds(body.seconds), body.size)
    if not is_completed(body.status):
        error = body.error or ErrorInfo()
        message = error.message or f"The video ended with the status {body.status!r}."
        return Answer(FAILED, error.code or f"video_{body.status}", message, values)
    return Answer(SUCCEEDED, None, None, values)


def _seconds(text: str | None) -> float | None:
    try:
        seconds = float(text or "")
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) else None


ANSWERS: Mapping[Endpoint, AnswerFormat] = {Endpoint.VIDEOS: AnswerFormat(_COLUMNS, VideoBody, video)}
