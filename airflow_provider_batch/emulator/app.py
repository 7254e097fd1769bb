"""
Build the web application, with the routes of batches.

`create_app` builds it. Its state is an attribute of the application, so that two applications in one process share
nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import JSONResponse, Response
from pydantic import ValidationError

from airflow_provider_batch.emulator import control, files, synchronous
from airflow_provider_batch.emulator.batches import create, lifecycle
from airflow_provider_batch.emulator.emulator import Emulator
from airflow_provider_batch.emulator.errors import (
    CallError,
    cannot_find_file,
    envelope,
    no_such_batch,
    wrong_batch_id,
)
from airflow_provider_batch.emulator.middleware import ApiMiddleware
from airflow_provider_batch.emulator.records import BatchRecord, FileRecord
from airflow_provider_batch.emulator.service_differences import list_differs, page_of, shown_by_service
from airflow_provider_batch.emulator.services.gateway import Gateway
from airflow_provider_batch.emulator.settings import Settings

#: Seconds that a read waits until the actions are done that it makes due (`progress` "reads:N").
_SETTLE_SECONDS = 30.0
#: More batches than an emulator can hold: the limit of a list that has to be whole.
MANY = 1 << 30

router = APIRouter(prefix="/v1")


def create_app(folder: Path, settings: Settings | None = None) -> FastAPI:
    """
    Return the emulator as an ASGI application.

    :param folder: Folder of its state, created where it does not exist. Each application needs a folder of its own.
    :param settings: Settings at the start and after a reset; None takes the defaults.
    """
    emulator = Emulator(folder, settings or Settings())

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        emulator.engine.start()
        yield
        await asyncio.to_thread(emulator.close)

    app = FastAPI(title="OpenAI Batch API emulator", lifespan=lifespan, redirect_slashes=False)
    app.state.emulator = emulator
    app.include_router(router)
    app.include_router(files.router)
    app.include_router(synchronous.router)
    app.include_router(control.router)
    app.add_exception_handler(CallError, _problem_answer)
    app.add_exception_handler(ValidationError, control.refused)
    app.add_exception_handler(404, _unknown_route)
    app.add_exception_handler(405, _unknown_route)
    app.add_middleware(ApiMiddleware, emulator=emulator)
    app.add_middleware(Gateway, service=lambda: emulator.settings.service)
    return app


async def _problem_answer(_: Request, problem: Exception) -> Response:
    assert isinstance(problem, CallError)
    return JSONResponse(problem.body(), status_code=problem.status, headers=problem.headers)


async def _unknown_route(request: Request, error: Exception) -> Response:
    status = getattr(error, "status_code", 404)
    message = f"Invalid URL ({request.method} {request.url.path})"
    return JSONResponse(envelope(message, error_type="invalid_request_error"), status_code=status)


# Batches


@router.post("/batches")
async def create_batch(request: Request) -> dict[str, Any]:
    """
    Create a batch.

    :param request: JSON body of the create call.
    :raises CallError: The call is refused: a wrong parameter, a missing file, or a limit.
    """
    emulator = files.emulator_of(request)
    settings, store = emulator.settings, emulator.store
    batch = create.batch_from(await files.json_body(request), service=settings.facts, clock_speed=settings.clock_speed)
    file = store.file(batch.input_file_id, time.time())
    batch.input_missing = file is None
    if file is not None:
        _check_input(emulator, file)
    elif settings.unknown_file == "400":
        raise cannot_find_file(batch.input_file_id, settings.project)
    limit = settings.max_batches_per_hour
    if limit is not None and store.created_since(time.time() - 3_600) >= limit:
        text = f"Rate limit reached: {limit} batches an hour. Please try again later."
        raise CallError(429, text, error_type="requests", code="rate_limit_exceeded", headers={"retry-after": "60"})
    await emulator.check_token_limit(batch)
    emulator.choose_faults(batch)
    store.add_batch(batch)
    emulator.engine.wake(batch.id)
    return shown_by_service(emulator.settings, batch.to_api(time.time()))


def _check_input(emulator: Emulator, file: FileRecord) -> None:
    if (refusal := emulator.refusal_of_file(file)) is not None:
        raise refusal
    expected = emulator.settings.facts.purpose
    if file.purpose != expected:
        text = f"Invalid file purpose: expected '{expected}', found '{file.purpose}'."
        raise CallError(400, text, param="input_file_id", code="invalid_request")


@router.get("/batches")
async def list_batches(request: Request) -> dict[str, Any]:
    """
    List batches, newest first unless the settings say otherwise.

    :param request: Its query may have `limit` and `after`.
    :raises CallError: `limit` is out of range, or there is no batch with the id `after`.
    """
    emulator, query = files.emulator_of(request), request.query_params
    limit = create.page_limit(query.get("limit"), default=20, highest=100)
    after = query.get("after") or None
    if after is not None and emulator.store.batch(after) is None:
        raise no_such_batch(after)
    if list_differs(emulator.settings):
        page, has_more = page_of(emulator.settings, emulator.listed(None, MANY), after, limit)
    else:
        found = emulator.listed(after, limit + 1)
        page, has_more = found[:limit], len(found) > limit
    read = [await _after_read(emulator, batch) for batch in page]
    now = time.time()
    return files.page([shown_by_service(emulator.settings, batch.to_api(now)) for batch in read], has_more=has_more)


@router.get("/batches/{batch_id}")
async def retrieve_batch(request: Request, batch_id: str) -> dict[str, Any]:
    """
    Return a Batch object.

    :param request: HTTP request.
    :param batch_id: Id of the batch.
    :raises CallError: The batch does not exist, or a fault hides it.
    """
    emulator = files.emulator_of(request)
    batch = await _after_read(emulator, _existing_batch(emulator, batch_id))
    rule = batch.fault("batch_not_found")
    if rule is not None and ("reads" not in rule or batch.reads <= rule["reads"]):
        raise no_such_batch(batch_id)
    return shown_by_service(emulator.settings, batch.to_api(time.time()))


@router.post("/batches/{batch_id}/cancel")
async def cancel_batch(request: Request, batch_id: str) -> dict[str, Any]:
    """
    Cancel a batch: after `cancelling`, no more lines are run.

    :param request: HTTP request.
    :param batch_id: Id of the batch.
    :raises CallError: The batch does not exist, or it has ended.
    """
    emulator = files.emulator_of(request)
    batch = _existing_batch(emulator, batch_id)
    if batch.fault("batch_not_found"):
        raise no_such_batch(batch_id)

    def change(record: BatchRecord) -> None:
        if record.status not in ("cancelling", "cancelled") and not lifecycle.blocks_cancel(record.status):
            lifecycle.moved(record, lifecycle.Move("cancelling"), time.time())
            record.reads_at_cancel = record.reads

    changed = emulator.store.update(batch_id, change) or batch
    if lifecycle.blocks_cancel(changed.status):
        raise CallError(409, f"Cannot cancel a batch with status '{changed.status}'.")
    emulator.engine.wake(batch_id)
    return shown_by_service(emulator.settings, changed.to_api(time.time()))


def _existing_batch(emulator: Emulator, batch_id: str) -> BatchRecord:
    batch = emulator.store.batch(batch_id)
    if batch is None:
        raise no_such_batch(batch_id) if batch_id.startswith("batch") else wrong_batch_id(batch_id)
    return batch


async def _after_read(emulator: Emulator, batch: BatchRecord) -> BatchRecord:
    """Count a read of the batch where progress or a fault counts reads, and return the batch after this read."""
    counts = emulator.settings.pace.mode == "reads"
    if not counts and not batch.faults:
        return batch

    def change(record: BatchRecord) -> None:
        record.reads += 1

    changed = emulator.store.update(batch.id, change) or batch
    if not counts or changed.has_ended:
        return changed
    emulator.engine.wake(batch.id)
    await asyncio.to_thread(emulator.engine.wait_until_settled, batch.id, _SETTLE_SECONDS)
    return emulator.store.batch(batch.id) or changed
