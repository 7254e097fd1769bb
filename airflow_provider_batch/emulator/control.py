"""
Serve the control routes under `/_emulator/`; faults, keys and latency do not apply to them.

| route | does |
|---|---|
| `GET ready` | 200 when the emulator answers |
| `GET settings`, `PATCH settings` | the settings; a PATCH changes the settings that it names |
| `GET faults`, `POST faults`, `DELETE faults`, `DELETE faults/{id}` | the fault rules; a POST takes a rule or a list |
| `GET state` | batches, what was executed and billed, what was executed more than once |
| `GET calls` | the journal: time, method, path, status, seconds, fault |
| `POST reset` | removes everything, and sets the first settings, or those in the body |
"""

from __future__ import annotations

import asyncio
import os
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from pydantic import TypeAdapter, ValidationError

from airflow_provider_batch.emulator.faults import FaultRule
from airflow_provider_batch.emulator.files import emulator_of
from airflow_provider_batch.emulator.settings import Settings

router = APIRouter(prefix="/_emulator")

_Changes: TypeAdapter[dict[str, Any]] = TypeAdapter(dict[str, Any])
_Rules: TypeAdapter[FaultRule | list[FaultRule]] = TypeAdapter(FaultRule | list[FaultRule])


async def refused(_: Request, error: Exception) -> Response:
    """
    Answer a call whose settings or rules are wrong.

    :param error: The validation error.
    """
    assert isinstance(error, ValidationError)
    problems = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()]
    return JSONResponse({"error": {"message": "; ".join(problems), "type": "invalid_request_error"}}, status_code=422)


@router.get("/ready")
async def ready(request: Request) -> dict[str, Any]:
    """
    Say that the emulator answers, with its process id and folder.

    :param request: HTTP request.
    """
    return {"ready": True, "pid": os.getpid(), "folder": str(emulator_of(request).store.folder)}


@router.get("/settings")
async def get_settings(request: Request) -> dict[str, Any]:
    """
    Return the settings.

    :param request: HTTP request.
    """
    return emulator_of(request).settings.model_dump(mode="json")


@router.patch("/settings")
async def change_settings(request: Request) -> Any:
    """
    Change some settings and return all; 422 for settings that do not exist or have a wrong value.

    :param request: JSON object of settings.
    """
    changes = _Changes.validate_json(await request.body())
    return emulator_of(request).configure(changes).model_dump(mode="json")


@router.get("/faults")
async def get_faults(request: Request) -> list[dict[str, Any]]:
    """
    Return the fault rules, each with the number of its matches.

    :param request: HTTP request.
    """
    return emulator_of(request).faults_state()


@router.post("/faults")
async def set_faults(request: Request) -> Any:
    """
    Set one fault rule or several; a rule replaces the one with the same id. 422 for a wrong rule.

    :param request: JSON of a rule, or of a list of rules.
    """
    given = _Rules.validate_json(await request.body())
    rules = given if isinstance(given, list) else [given]
    return {"ids": [emulator_of(request).store.set_fault(rule).id for rule in rules]}


@router.delete("/faults")
@router.delete("/faults/{rule_id}")
async def remove_faults(request: Request, rule_id: str | None = None) -> dict[str, Any]:
    """
    Remove one fault rule, or all. A batch keeps the rules that were chosen for it when it was created.

    :param request: HTTP request.
    :param rule_id: Id of the rule, None for all; an unknown one changes nothing.
    """
    emulator_of(request).store.remove_faults(rule_id)
    return {"removed": True}


@router.get("/state")
async def get_state(request: Request) -> dict[str, Any]:
    """
    Return the state. A thread computes it, because prices may have to be loaded first.

    :param request: HTTP request.
    """
    return await asyncio.to_thread(emulator_of(request).state)


@router.get("/calls")
async def get_calls(request: Request) -> list[dict[str, Any]]:
    """
    Return the journal of API calls, oldest first.

    :param request: HTTP request.
    """
    return emulator_of(request).store.journal.calls()


@router.post("/reset")
async def reset(request: Request) -> Any:
    """
    Remove batches, files, faults and calls, and set settings anew; 422 for wrong settings.

    :param request: Empty body for the first settings, or a JSON object of settings; others take their defaults.
    """
    settings = Settings.model_validate_json(body) if (body := await request.body()) else None
    await asyncio.to_thread(emulator_of(request).reset, settings)
    return {"reset": True}
