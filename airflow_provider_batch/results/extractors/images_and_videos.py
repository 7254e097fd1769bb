"""Extractors of `/v1/images/generations`, `/v1/images/edits` and `/v1/videos`."""

from __future__ import annotations

import math

from airflow_provider_batch.results.extractors.answer import FAILED, SUCCEEDED, UNREADABLE, Answer, no_answer
from airflow_provider_batch.results.extractors.values import image_value
from airflow_provider_batch.results.finish_reasons import is_completed
from airflow_provider_batch.results.lines.typed_bodies import ImagesBody, VideoBody
from airflow_provider_batch.results.lines.typed_lines import ErrorInfo


def images(body: ImagesBody) -> Answer:
    """
    Extract the answer of `/v1/images/generations` and `/v1/images/edits`; `media.py` stores the field `data` as files.

    :param body: The response body.
    """
    if not body.data:
        return no_answer(body, "data")
    listed = [image_value(image.url, image.revised_prompt, image.b64_json) for image in body.data]
    values = (listed, body.output_format, body.size, body.quality, body.background)
    if not all(image["data"] or image["url"] for image in listed):
        return Answer(FAILED, UNREADABLE, "An image of the answer has neither readable base64 data nor a URL.", values)
    return Answer(SUCCEEDED, None, None, values)


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
