"""The answers of `/v1/images/generations` and `/v1/images/edits`."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from airflow_provider_batch.answers.answer import FAILED, SUCCEEDED, UNREADABLE, Answer, no_answer
from airflow_provider_batch.answers.answer_format import AnswerFormat
from airflow_provider_batch.answers.body import Body
from airflow_provider_batch.answers.column import STRING, Column
from airflow_provider_batch.answers.shared_values import IMAGES_TYPE, image_value
from airflow_provider_batch.api.endpoints import Endpoint

_COLUMNS: Mapping[str, Column] = {
    "images": Column(
        IMAGES_TYPE,
        "the images: `file` is a path below the table's folder, `url` a temporary address at the API",
    ),
    "output_format": Column(STRING, "format of the images: png, jpeg, webp, gif or svg", has_dictionary=True),
    "size": Column(STRING, "width and height in pixels, as 1024x1024", has_dictionary=True),
    "quality": Column(STRING, "quality of the images", has_dictionary=True),
    "background": Column(STRING, "background of the images: opaque or transparent", has_dictionary=True),
}


class Image(Struct, gc=False):
    """
    One image.

    :param b64_json: Bytes of the image, which are base64 in the line.
    :param url: Temporary address of the image at the API.
    :param revised_prompt: Prompt of the image, as the API changed it.
    """

    b64_json: bytes | None = None
    url: str | None = None
    revised_prompt: str | None = None


class ImagesBody(Body, gc=False):
    """
    Body of `/v1/images/generations` and `/v1/images/edits`.

    :param data: The images.
    :param output_format: Format of the images, such as `png`.
    :param size: Width and height in pixels, such as `1024x1024`.
    :param quality: Quality of the images.
    :param background: `opaque` or `transparent`.
    """

    data: list[Image] | None = None
    output_format: str | None = None
    size: str | None = None
    quality: str | None = None
    background: str | None = None


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


_FORMAT = AnswerFormat(_COLUMNS, ImagesBody, images)
ANSWERS: Mapping[Endpoint, AnswerFormat] = {Endpoint.IMAGES_GENERATIONS: _FORMAT, Endpoint.IMAGES_EDITS: _FORMAT}
