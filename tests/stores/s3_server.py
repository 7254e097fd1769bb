"""A real S3 server on this machine: SeaweedFS, from a wheel, on free ports in a folder of its own."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airflow_provider_batch.storage import Location
from demo.waiting import wait_until

KEY, SECRET = "test-key", "test-secret"
PORTS = ("master.port", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port", "filer.port.grpc")
#: Each bucket takes volumes of its own, and keeps them.
VOLUMES = 10_000


@dataclass(frozen=True)
class S3Server:
    """A running server; its buckets are made as they are needed."""

    endpoint: str

    def fs(self, **changes: Any) -> Any:
        """Return a file system of its own, without a cache that others fill; `changes` go to s3fs."""
        import s3fs

        given: dict[str, Any] = {"key": KEY, "secret": SECRET, "endpoint_url": self.endpoint}
        region = {"region_name": "us-east-1"}
        return s3fs.S3FileSystem(**{**given, "client_kwargs": region, "skip_instance_cache": True, **changes})

    def bucket(self) -> str:
        """Make a bucket that is nobody else's, and return its name."""
        name = f"test-{uuid.uuid4().hex[:12]}"
        self.fs().mkdir(name)
        return name

    def connection(self, **changes: Any) -> dict[str, Any]:
        """Return the fields of an Airflow connection to it."""
        extra = {"endpoint_url": self.endpoint, "region_name": "us-east-1"}
        return {"conn_type": "aws", "login": KEY, "password": SECRET, "extra": extra, **changes}


def at(fs: Any, uri: str) -> Location:
    """Resolve a URI by this file system, whatever the environment holds."""
    return Location(uri, fs, fs._strip_protocol(uri))


def binary() -> str | None:
    """Return where the server's program is, None where it is not installed."""
    beside = Path(sys.executable).parent / "weed"
    return str(beside) if beside.exists() else shutil.which("weed")


@contextmanager
def running_s3(folder: Path) -> Iterator[S3Server]:
    """Run a server as long as the block lasts; its files stand in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    process, server = _start(folder)
    try:
        yield server
    finally:
        _stop(process)


def _start(folder: Path, tries: int = 3) -> tuple[subprocess.Popen[bytes], S3Server]:
    """Start it; a port that was free can be taken a moment later, so a failed start is tried on others."""
    for left in reversed(range(tries)):
        *others, s3, s3_grpc = _free_ports(len(PORTS) + 2)
        log = folder / "log.txt"
        with log.open("wb") as output:
            process = subprocess.Popen(
                _command(folder, dict(zip(PORTS, others, strict=True)), s3, s3_grpc),
                stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, preexec_fn=die_with_parent,
                env=os.environ | {"WEED_MASTER_VOLUME_GROWTH_COPY_1": "1"},  # volumes a bucket begins with
            )  # fmt: skip
        server = S3Server(f"http://127.0.0.1:{s3}")
        try:
            _await_ready(process, server)
        except BaseException as error:
            _stop(process)
            if not left or not isinstance(error, RuntimeError):
                raise RuntimeError(f"{error}\n{log.read_text(errors='replace')[-2000:]}") from error
        else:
            return process, server
    raise AssertionError("unreachable")


def _command(folder: Path, ports: dict[str, int], s3: int, s3_grpc: int) -> list[str]:
    config = folder / "s3.json"
    actions = ["Admin", "Read", "Write", "List"]
    identity = {"name": "tests", "credentials": [{"accessKey": KEY, "secretKey": SECRET}], "actions": actions}
    config.write_text(json.dumps({"identities": [identity]}))
    (folder / "data").mkdir(exist_ok=True)
    program = binary()
    assert program is not None
    return [
        program, "server", f"-dir={folder}/data", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.telemetry=false",
        *(f"-{name}={port}" for name, port in ports.items()),
        "-filer", f"-filer.localSocket={folder}/filer.sock", f"-volume.max={VOLUMES}", "-volume.preStopSeconds=0",
        "-master.volumeSizeLimitMB=64",
        "-s3", f"-s3.port={s3}", f"-s3.port.grpc={s3_grpc}", f"-s3.config={config}", "-s3.iam=false",
        "-s3.port.iceberg=0", "-s3.port.lance=0", "-s3.autoCreateBucket=false", f"-s3.localSocket={folder}/s3.sock",
    ]  # fmt: skip


def _await_ready(process: subprocess.Popen[bytes], server: S3Server) -> None:
    """Wait until an object that was written can be read; answering requests comes earlier than that."""
    from botocore.exceptions import BotoCoreError

    fs = server.fs()
    fs.retries = 1
    made = False

    def is_ready() -> bool:
        nonlocal made
        if process.poll() is not None:
            raise RuntimeError(f"the S3 server ended with {process.returncode} while it was starting")
        try:
            if not made:
                fs.mkdir("ready")
                made = True
            fs.pipe_file("ready/probe", b"x")
            return bool(fs.cat_file("ready/probe") == b"x")
        except BotoCoreError as error:
            raise OSError(f"the S3 server does not answer yet: {error!r}") from error

    wait_until("the S3 server is ready", is_ready)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.kill()  # a shutdown in order takes seconds, and nobody needs the files
    process.wait()


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for sock in sockets:
            sock.bind(("127.0.0.1", 0))
        return [sock.getsockname()[1] for sock in sockets]


def die_with_parent() -> None:
    """Have Linux end the server with the test run, even one that is killed."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
