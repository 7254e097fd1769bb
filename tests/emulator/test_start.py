"""How an emulator starts."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from airflow_provider_batch.emulator.testing import Emulator


class Stranger(BaseHTTPRequestHandler):
    """A server that is no emulator."""

    def do_GET(self) -> None:
        body = json.dumps({"detail": "Not Found"}).encode()
        self.send_response(404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_a_port_that_another_server_has_taken_is_left_to_it(tmp_path: Path) -> None:
    emulator = Emulator(tmp_path, {})
    with HTTPServer(("127.0.0.1", emulator.port), Stranger) as stranger:
        threading.Thread(target=stranger.serve_forever, daemon=True).start()
        taken = emulator.port
        try:
            emulator.start()
            assert emulator.port != taken
            assert emulator.state()["batches"] == []
            port = emulator.port
            emulator.stop()
            emulator.start()  # clients know it by now
            assert emulator.port == port
        finally:
            emulator.stop()
            stranger.shutdown()


def test_a_start_that_fails_says_why(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="did not start"):
        Emulator(tmp_path, {"progress": "sometimes"}).start()
