"""Serve the routes of files, and of Uploads: files that a client sends in parts."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response, StreamingResponse

from airflow_provider_batch.emulator import uploads
from airflow_provider_batch.emulator.batches import create
from airflow_provider_batch.emulator.batches.validation import has_json_line
from airflow_provider_batch.emulator.emulator import Emulator
from airflow_provider_batch.emulator.errors import CallError, missing_parameter, no_such_file
from airflow_provider_batch.emulator.records import FileRecord, UploadRecord
from airflow_provider_batch.emulator.result_forms import in_form
from airflow_provider_batch.emulator.service_differences import shown_by_service
from airflow_provider_batch.emulator.settings import FILE_LIFETIME, UPLOAD_LIFETIME, Settings

_CHUNK = 1 << 18
#: Maximum of bytes of a file that is sent in parts: 8 GB.
_MAX_UPLOAD = 8 * 1024**3
_PURPOSES = ("assistants", "batch", "evals", "fine-tune", "user_data", "vision")

router = APIRouter(prefix="/v1")


def emulator_of(request: Request) -> Emulator:
    """
    Return the emulator that serves a request.

    :param request: HTTP request.
    """
    emulator: Emulator = request.app.state.emulator
    return emulator


def page(shown: list[dict[str, Any]], *, has_more: bool) -> dict[str, Any]:
    """
    Return a page of a list.

    :param shown: Objects of the page.
    :param has_more: Whether the page says that more follow.
    """
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


# Files


@router.post("/files")
async def upload_file(request: Request) -> dict[str, Any]:
    """
    Store an uploaded file.

    :param request: Multipart form with `file`, `purpose`, and optionally `expires_after[anchor]` and `[seconds]`.
    :raises CallError: The form is refused.
    """
    emulator = emulator_of(request)
    file_id = emulator.store.new_file_id(emulator.settings.facts.file_id_form)
    target = emulator.store.path_of(file_id)
    form, upload = await uploads.receive(request, target, emulator.settings.max_upload_bytes)
    try:
        lifetime = _file_lifetime(form)
        purpose = _checked_purpose(form.get("purpose"), emulator.settings)
        await _check_content(target, purpose, emulator.settings)
    except CallError:
        target.unlink(missing_ok=True)
        raise
    name, size = upload.filename or "upload", upload.size or 0
    record = _file_record(file_id, name, purpose, size, lifetime, emulator.settings)
    emulator.store.add_file(record)
    return shown_by_service(emulator.settings, record.to_api())


def _checked_purpose(purpose: Any, settings: Settings) -> str:
    if not purpose:
        raise CallError(400, "'purpose' is a required property", param="purpose")
    allowed = tuple(settings.facts.purpose if one == "batch" else one for one in _PURPOSES)
    if purpose not in allowed:
        raise create.invalid_value("purpose", purpose, allowed)
    return str(purpose)


def _file_lifetime(fields: Mapping[str, Any]) -> float | None:
    """Return the seconds that the form asks for; None where it has no policy."""
    anchor, seconds = fields.get("expires_after[anchor]"), fields.get("expires_after[seconds]")
    return None if anchor is None and seconds is None else create.lifetime(anchor, seconds, "expires_after")


async def _check_content(path: Path, purpose: str, settings: Settings) -> None:
    """Refuse a batch file without a line of JSON, as the service has done since 2025."""
    if (
        purpose == settings.facts.purpose
        and settings.checks_uploads
        and not await asyncio.to_thread(has_json_line, path)
    ):
        raise CallError(400, "Invalid file format for Batch API. Must be .jsonl")


def _file_record(
    file_id: str, name: str, purpose: str, size: int, lifetime: float | None, settings: Settings
) -> FileRecord:
    now = time.time()
    if lifetime is None and purpose == settings.facts.purpose:
        lifetime = FILE_LIFETIME
    expires_at = None if lifetime is None else now + lifetime / settings.clock_speed
    return FileRecord(id=file_id, filename=name, purpose=purpose, bytes=size, created_at=now, expires_at=expires_at)


@router.get("/files")
async def list_files(request: Request) -> dict[str, Any]:
    """
    List files, newest first unless `order` is "asc".

    :param request: Its query may have `limit`, `after`, `order` and `purpose`.
    """
    emulator, query = emulator_of(request), request.query_params
    limit = create.page_limit(query.get("limit"), default=10_000, highest=10_000)
    found = emulator.store.files(
        now=time.time(),
        purpose=query.get("purpose"),
        after=query.get("after"),
        limit=limit + 1,
        descending=query.get("order", "desc") != "asc",
    )
    shown = [shown_by_service(emulator.settings, record.to_api()) for record in found[:limit]]
    return page(shown, has_more=len(found) > limit)


@router.get("/files/{file_id}")
async def retrieve_file(request: Request, file_id: str) -> dict[str, Any]:
    """
    Return a File object.

    :param request: HTTP request.
    :param file_id: Id of the file.
    :raises CallError: The file does not exist or has expired.
    """
    emulator, record = emulator_of(request), _existing_file(request, file_id)
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
    emulator_of(request).store.remove_file(file_id)
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
    path = emulator_of(request).store.path_of(file_id)
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
    record = emulator_of(request).store.file(file_id, time.time())
    if record is None:
        raise no_such_file(file_id)
    return record


# Uploads


@router.post("/uploads")
async def create_upload(request: Request) -> dict[str, Any]:
    """
    Create an Upload.

    :param request: JSON body with `bytes`, `filename`, `mime_type`, `purpose`, and optionally `expires_after`.
    :raises CallError: A parameter is missing or wrong.
    """
    emulator, body = emulator_of(request), await json_body(request)
    if not isinstance(body, Mapping):
        raise CallError(400, "We could not parse the JSON body of your request.")
    for name in ("bytes", "filename", "mime_type", "purpose"):
        if body.get(name) is None:
            raise missing_parameter(name)
    size, policy, now = body["bytes"], body.get("expires_after"), time.time()
    if not isinstance(size, int) or not 0 <= size <= _MAX_UPLOAD:
        raise CallError(400, f"Invalid 'bytes': expected 0 to {_MAX_UPLOAD}, but got {size} instead.", param="bytes")
    if policy is not None:
        policy = create.lifetime(policy.get("anchor"), policy.get("seconds"), "expires_after")
    record = UploadRecord(
        id=f"upload_{uuid.uuid4().hex}",
        filename=str(body["filename"]),
        purpose=_checked_purpose(body["purpose"], emulator.settings),
        bytes=size,
        created_at=now,
        expires_at=now + UPLOAD_LIFETIME / emulator.settings.clock_speed,
        lifetime=policy,
    )
    emulator.store.uploads.add(record)
    return shown_by_service(emulator.settings, record.to_api(now))


@router.post("/uploads/{upload_id}/parts")
async def add_part(request: Request, upload_id: str) -> dict[str, Any]:
    """
    Add a part to an Upload.

    :param request: Multipart form with `data`.
    :param upload_id: Id of the Upload.
    :raises CallError: The Upload is not pending, or the part is too large.
    """
    emulator, store = emulator_of(request), emulator_of(request).store.uploads
    _pending_upload(request, upload_id)
    part_id = f"part_{uuid.uuid4().hex}"
    target, limit = store.path_of(part_id), emulator.settings.max_part_bytes
    _, part = await uploads.receive(request, target, limit, file_field="data")
    try:
        _pending_upload(request, upload_id)  # it may have ended while the part arrived
    except CallError:
        target.unlink(missing_ok=True)
        raise
    store.add_part(part_id, upload_id, part.size or 0)
    shown = {"id": part_id, "object": "upload.part", "created_at": int(time.time()), "upload_id": upload_id}
    return shown_by_service(emulator.settings, shown)


@router.post("/uploads/{upload_id}/complete")
async def complete_upload(request: Request, upload_id: str) -> dict[str, Any]:
    """
    Make a file of the parts of an Upload.

    :param request: JSON body with `part_ids` in the order of the file, and optionally `md5`.
    :param upload_id: Id of the Upload.
    :raises CallError: The Upload is not pending, or its parts are not the announced file; it stays pending then.
    """
    emulator, upload, body = emulator_of(request), _pending_upload(request, upload_id), await json_body(request)
    store, part_ids = emulator.store, _checked_parts(emulator, upload, body)
    file_id = store.new_file_id()
    target = store.path_of(file_id)
    try:
        digest = await asyncio.to_thread(store.uploads.join, part_ids, target)
        if (expected := body.get("md5")) is not None and expected.lower() != digest:
            raise CallError(400, f"The md5 of the file is {digest}, but the call names {expected}.", param="md5")
        await _check_content(target, upload.purpose, emulator.settings)
        if not store.uploads.end(upload_id, "completed"):
            _pending_upload(request, upload_id)
    except (CallError, FileNotFoundError) as error:
        target.unlink(missing_ok=True)
        if isinstance(error, FileNotFoundError):
            _pending_upload(request, upload_id)  # another call has ended the Upload and removed its parts
        raise
    record = _file_record(file_id, upload.filename, upload.purpose, upload.bytes, upload.lifetime, emulator.settings)
    store.add_file(record)
    upload.status = "completed"
    shown = {**upload.to_api(time.time()), "file": shown_by_service(emulator.settings, record.to_api())}
    return shown_by_service(emulator.settings, shown)


def _checked_parts(emulator: Emulator, upload: UploadRecord, body: Any) -> list[str]:
    part_ids = body.get("part_ids") if isinstance(body, Mapping) else None
    if not isinstance(part_ids, list):
        raise missing_parameter("part_ids")
    sizes = emulator.store.uploads.parts(upload.id)
    if unknown := [part_id for part_id in part_ids if part_id not in sizes]:
        raise CallError(400, f"The Upload has no part '{unknown[0]}'.", param="part_ids", code="invalid_value")
    if len(set(part_ids)) < len(part_ids):
        raise CallError(400, "A part is listed twice.", param="part_ids", code="invalid_value")
    if (size := sum(sizes[part_id] for part_id in part_ids)) != upload.bytes:
        text = f"The parts have {size} bytes together, but the Upload was created for {upload.bytes} bytes."
        raise CallError(400, text, param="part_ids")
    return part_ids


@router.post("/uploads/{upload_id}/cancel")
async def cancel_upload(request: Request, upload_id: str) -> dict[str, Any]:
    """
    Cancel an Upload and remove its parts.

    :param request: HTTP request.
    :param upload_id: Id of the Upload.
    :raises CallError: The Upload is not pending.
    """
    emulator, upload = emulator_of(request), _pending_upload(request, upload_id)
    emulator.store.uploads.end(upload_id, "cancelled")
    upload.status = "cancelled"
    return shown_by_service(emulator.settings, upload.to_api(time.time()))


def _pending_upload(request: Request, upload_id: str) -> UploadRecord:
    record = emulator_of(request).store.uploads.get(upload_id)
    if record is None:
        raise CallError(404, f"No such Upload object: {upload_id}", param="id")
    if (status := record.status_at(time.time())) != "pending":
        raise CallError(400, f"The Upload has the status '{status}'.", code="invalid_upload_status")
    return record
