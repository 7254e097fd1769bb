"""
Store the file of a multipart upload.

Starlette's form parser writes the file to the local disk while it arrives: memory holds at most a megabyte of it.
"""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

from fastapi import Request
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException

from airflow_provider_batch.emulator.errors import CallError

_COPIED = 1 << 20


async def receive(
    request: Request, target: Path, max_bytes: int, *, file_field: str = "file"
) -> tuple[FormData, UploadFile]:
    """
    Read a multipart form, write its file to disk, and return the form and the file's name and size.

    :param request: HTTP request with the form.
    :param target: Path to write to; it does not exist where the upload is refused.
    :param max_bytes: Maximum size of the file.
    :param file_field: Name of the form field that holds the file.
    :raises CallError: The body is no form, has no file, or its file is too large.
    """
    content_type = request.headers.get("content-type", "")
    if not content_type.lower().startswith("multipart/form-data"):
        raise CallError(400, f"Expected a multipart/form-data body, found {content_type or 'nothing'!r}.")
    try:
        async with request.form() as form:
            file = form.get(file_field)
            if not isinstance(file, UploadFile):
                raise CallError(400, f"'{file_field}' is a required property", param=file_field)
            if (file.size or 0) > max_bytes:
                raise CallError(413, f"Maximum file size is {max_bytes} bytes.", code="file_too_large")
            with target.open("wb") as whole:
                await asyncio.to_thread(shutil.copyfileobj, file.file, whole, _COPIED)
            return form, file
    except HTTPException as error:
        raise CallError(400, f"The form cannot be read: {error.detail}") from error
