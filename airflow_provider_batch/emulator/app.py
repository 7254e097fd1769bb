"""
Build the web application, with the routes of files and batches.

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
from fastapi.responses import JSONResponse, Response, StreamingResponse

from airflow_provider_batch.emulator import control, synchronous, uploads
from airflow_provider_batch.emulator.batches import create, lifecycle
from airflow_provider_batch.emulator.emulator import Emulator
from airflow_provider_batch.emulator.errors import CallError, cannot_find_file, envelope, no_such_batch, no_such_file
from airflow_provider_batch.emulator.middleware import ApiMiddleware
from airflow_provider_batch.emulator.records import BatchRecord, FileRecord
from airflow_provider_batch.emulator.result_forms import in_form
from airflow_provider_batch.emulator.service_differences import list_differs, page_of, shown_by_service
from airflow_provider_batch.emulator.settings import FILE_LIFETIME, Settings

#: Seconds that a read waits until the actions are done that it makes due (`progress` "reads:N").
_SETTLE_SECONDS = 30.0
_CHUNK = 1 << 18
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
    app.include_router(synchronous.router)
    app.include_router(control.router)
    app.add_exception_handler(CallError, _problem_answer)
    app.add_exception_handler(404, _unknown_route)
    app.add_exception_handler(405, _unknown_route)
    app.add_middleware(ApiMiddleware, emulator=emulator)
    return app


async def _problem_answer(_: Request, problem: Exception) -> Response:
    assert isinstance(problem, CallError)
    return JSONResponse(problem.body(), status_code=problem.status, headers=problem.headers)


async def _unknown_route(request: Request, error: Exception) -> Response:
    status = getattr(error, "status_code", 404)
    message = f"Invalid URL ({request.method} {request.url.path})"
    return JSONResponse(envelope(message, error_type="invalid_request_error"), status_code=status)


def _emulator(request: Request) -> Emulator:
    emulator: Emulator = request.app.state.emulator
    return emulator


# Files


@router.post("/files")
async def upload_file(request: Request) -> dict[str, Any]:
    """
    Store an uploaded file.

    :param request: Multipart form with `file`, `purpose`, and optionally `expires_after[anchor]` and `[seconds]`.
    :raises CallError: The form is refused.
    """
    emulator = _emulator(request)
    file_id = emulator.store.new_file_id()
    target = emulator.store.path_of(file_id)
    content_type = request.headers.get("content-type", "")
    upload = await uploads.receive(content_type, request.stream(), target, emulator.settings.max_upload_bytes)
    try:
        record = _file_record(file_id, upload, emulator.settings)
    except CallError:
        target.unlink(missing_ok=True)
        raise
    emulator.store.add_file(record)
    return shown_by_service(emulator.settings, record.to_api())


def _file_record(file_id: str, upload: uploads.Upload, settings: Settings) -> FileRecord:
    purpose, now = upload.fields.get("purpose"), time.time()
    if not purpose:
        raise CallError(400, "'purpose' is a required property", param="purpose")
    allowed = ("assistants", "batch", "evals", "fine-tune", "user_data", "vision")
    if purpose not in allowed:
        raise create.invalid_value("purpose", purpose, allowed)
    seconds = FILE_LIFETIME if purpose == "batch" else None
    if "expires_after[seconds]" in upload.fields or "expires_after[anchor]" in upload.fields:
        anchor, given = upload.fields.get("expires_after[anchor]"), upload.fields.get("expires_after[seconds]")
        seconds = create.lifetime(anchor, given, "expires_after")
    return FileRecord(
        id=file_id,
        filename=upload.filename or "upload",
        purpose=purpose,
        bytes=upload.size,
        created_at=now,
        expires_at=None if seconds is None else now + seconds / settings.clock_speed,
    )


@router.get("/files")
async def list_files(request: Request) -> dict[str, Any]:
    """
    List files, newest first unless `order` is "asc".

    :param request: Its query may have `limit`, `after`, `order` and `purpose`.
    """
    emulator, query = _emulator(request), request.query_params
    limit = create.page_limit(query.get("limit"), default=10_000, highest=10_000)
    found = emulator.store.files(
        now=time.time(),
        purpose=query.get("purpose"),
        after=query.get("after"),
        limit=limit + 1,
        descending=query.get("order", "desc") != "asc",
    )
    shown = [shown_by_service(emulator.settings, record.to_api()) for record in found[:limit]]
    return _page(shown, has_more=len(found) > limit)


@router.get("/files/{file_id}")
async def retrieve_file(request: Request, file_id: str) -> dict[str, Any]:
    """
    Return a File object.

    :param request: HTTP request.
    :param file_id: Id of the file.
    :raises CallError: The file does not exist or has expired.
    """
    emulator, record = _emulator(request), _existing_file(request, file_id)
    return shown_by_service(emulator.settings, {**record.to_api(), "status": emulator.file_status(record)})


@router.delete("/files/{file_id}")
async def delete_file(request: Request, file_id: str) -> dict[str, Any]:
    """
    Delete a file.

    :param request: HTTP request.
    :param file_id: Id of the file.
    :raises CallError: The file does not exist or has expired.
    """
    _existing_file(request, file_id)
    _emulator(request).store.remove_file(file_id)
    return {"object": "file", "id": file_id, "deleted": True}


@router.get("/files/{file_id}/content")
async def file_content(request: Request, file_id: str) -> Response:
    """
    Stream the bytes of a file.

    :param request: HTTP request.
    :param file_id: Id of the file.
    :raises CallError: The file does not exist or has expired.
    """
    record = _existing_file(request, file_id)
    path = _emulator(request).store.path_of(file_id)
    headers = {"content-disposition": f'attachment; filename="{record.filename}"'}
    if record.form is not None:
        content = in_form(path.read_bytes()[: record.bytes], record.form)
        return Response(content, media_type="application/octet-stream", headers=headers)
    headers["content-length"] = str(record.bytes)
    return StreamingResponse(_stream(path, record.bytes), media_type="application/octet-stream", headers=headers)


async def _stream(path: Path, size: int) -> AsyncIterator[bytes]:
    # Read on the event loop: 256 KB from the page cache are read faster than a thread is started.
    with path.open("rb") as file:
        while size > 0 and (chunk := file.read(min(_CHUNK, size))):
            size -= len(chunk)
            yield chunk


def _existing_file(request: Request, file_id: str) -> FileRecord:
    record = _emulator(request).store.file(file_id, time.time())
    if record is None:
        raise no_such_file(file_id)
    return record


# Batches


@router.post("/batches")
async def create_batch(request: Request) -> dict[str, Any]:
    """
    Create a batch.

    :param request: JSON body of the create call.
    :raises CallError: The call is refused: a wrong parameter, a missing file, or a limit.
    """
    emulator = _emulator(request)
    settings, store = emulator.settings, emulator.store
    batch = create.batch_from(await json_body(request), window=settings.window)
    file = store.file(batch.input_file_id, time.time())
    if file is None:
        raise cannot_find_file(batch.input_file_id)
    if (refusal := emulator.refusal_of_file(file)) is not None:
        raise refusal
    if file.purpose != "batch":
        text = f"Invalid file purpose: expected 'batch', found '{file.purpose}'."
        raise CallError(400, text, param="input_file_id", code="invalid_request")
    limit = settings.max_batches_per_hour
    if limit is not None and store.created_since(time.time() - 3_600) >= limit:
        text = f"Rate limit reached: {limit} batches an hour. Please try again later."
        raise CallError(429, text, error_type="requests", code="rate_limit_exceeded", headers={"retry-after": "60"})
    await emulator.check_token_limit(batch)
    emulator.choose_faults(batch)
    store.add_batch(batch)
    emulator.engine.wake(batch.id)
    return shown_by_service(emulator.settings, batch.to_api(time.time()))


@router.get("/batches")
async def list_batches(request: Request) -> dict[str, Any]:
    """
    List batches, newest first unless the settings say otherwise.

    :param request: Its query may have `limit` and `after`.
    :raises CallError: `limit` is out of range, or there is no batch with the id `after`.
    """
    emulator, query = _emulator(request), request.query_params
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
    return _page([shown_by_service(emulator.settings, batch.to_api(now)) for batch in read], has_more=has_more)


@router.get("/batches/{batch_id}")
async def retrieve_batch(request: Request, batch_id: str) -> dict[str, Any]:
    """
    Return a Batch object.

    :param request: HTTP request.
    :param batch_id: Id of the batch.
    :raises CallError: The batch does not exist, or a fault hides it.
    """
    emulator = _emulator(request)
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
    emulator = _emulator(request)
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
        raise no_such_batch(batch_id)
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


def _page(shown: list[dict[str, Any]], *, has_more: bool) -> dict[str, Any]:
    return {
        "object": "list",
        "data": shown,
        "first_id": shown[0]["id"] if shown else None,
        "last_id": shown[-1]["id"] if shown else None,
        "has_more": has_more,
    }


async def json_body(request: Request) -> Any:
    """
    Return the decoded JSON body of a request.

    :param request: HTTP request.
    :raises CallError: The body is no JSON.
    """
    try:
        return await request.json()
    except ValueError as error:
        text = "We could not parse the JSON body of your request. The API expects a JSON payload."
        raise CallError(400, text) from error
