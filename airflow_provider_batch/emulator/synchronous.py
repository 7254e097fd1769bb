"""
Serve the synchronous endpoints; the emulator answers them itself, even with an upstream.

An emulator can therefore be the upstream of another one, or of itself.
"""

from __future__ import annotations

import json
import time
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from airflow_provider_batch.emulator import answers
from airflow_provider_batch.emulator.answers import videos
from airflow_provider_batch.emulator.answers.common import SNAPSHOTS
from airflow_provider_batch.emulator.batches import result_lines
from airflow_provider_batch.emulator.errors import CallError
from airflow_provider_batch.emulator.settings import Settings

router = APIRouter(prefix="/v1")

_MODELS = (
    *SNAPSHOTS,
    "text-embedding-3-small",
    "text-embedding-3-large",
    "omni-moderation-latest",
    "gpt-6-luna",
    "gpt-image-2.5-flare",
)


@router.get("/models")
async def list_models(request: Request) -> dict[str, Any]:
    """
    List the models of the settings, or well-known ones where the settings have none.

    :param request: HTTP request.
    """
    settings = request.app.state.emulator.settings
    names = dict.fromkeys([*(settings.models or _MODELS), *settings.shutdown_dates])
    return {"object": "list", "data": [_model(name, settings) for name in names if settings.has_model(name)]}


@router.get("/models/{name:path}")
async def retrieve_model(request: Request, name: str) -> dict[str, Any]:
    """
    Return a model; any name is a model where the settings have none.

    :param request: HTTP request.
    :param name: Name of the model.
    :raises CallError: The model is not available.
    """
    settings = request.app.state.emulator.settings
    if not settings.has_model(name):
        raise _no_model(name, settings)
    return _model(name, settings)


def _no_model(name: str, settings: Settings) -> CallError:
    text = f"The model '{name}' does not exist or you do not have access to it."
    if name in settings.shutdown_dates:
        text = f"The model `{name}` has been deprecated, learn more here: https://example.com/deprecations"
    return CallError(404, text, param="model", code="model_not_found")


def _model(name: str, settings: Settings) -> dict[str, Any]:
    last = settings.shutdown_dates.get(name)
    shown = {"id": name, "object": "model", "created": 1_700_000_000, "owned_by": "emulator"}
    return {**shown, "shutdown_date": None if last is None else last.isoformat()}


@router.get("/videos/{video_id}/content")
async def video_content(video_id: str) -> Response:
    """
    Return the file of a video, also where the emulator has not made it before.

    :param video_id: Id of the video job.
    :raises CallError: The id has another form than the emulator's ids.
    """
    content = videos.content(video_id)
    if content is None:
        raise CallError(404, f"Video with id '{video_id}' not found.", param="video_id", code="video_not_found")
    return Response(content, media_type="video/mp4")


async def _answer(request: Request) -> Response:
    emulator, endpoint = request.app.state.emulator, request.url.path
    try:
        body = json.loads(await request.body())
    except ValueError:
        raise CallError(400, "We could not parse the JSON body of your request.") from None
    if not isinstance(body, dict):
        raise CallError(400, "The body of the request has to be a JSON object.")
    if body.get("stream"):
        raise CallError(400, "The emulator does not stream.", param="stream", code="unsupported_value")
    settings = emulator.settings
    if (name := body.get("model")) is not None and not settings.has_model(str(name)):
        raise _no_model(str(name), settings)
    sizes = settings.embedding_sizes
    made = answers.answer(endpoint, body, now=time.time(), dated_models=settings.dated_models, embedding_sizes=sizes)
    return Response(result_lines.encode(made.body, made.raw, "compact"), media_type="application/json")


for _endpoint in answers.ENDPOINTS:
    router.add_api_route(_endpoint.removeprefix("/v1"), _answer, methods=["POST"])
