"""
Take pictures of Airflow's pages for the handbook while a job waits: ``python -m demo.pictures FOLDER``.

Needs Chromium (``--browser`` names its program), which is controlled through its debugging port.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import subprocess
import tempfile
import urllib.request
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from demo.airflow_processes import AirflowProcesses
from demo.job import DAG_ID, DAGS, TASK_ID, connection, demo_emulator
from demo.stdlib_docstrings import write_table

#: Pixels.
WIDTH, HEIGHT = 1280, 680

#: Seconds that a page needs to be drawn, and seconds from the start of the wait to the first picture.
DRAWN, UNDER_WAY = 8.0, 25.0

#: Opens an address without the proxies of the environment.
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Page:
    """
    One page of a browser.

    :param socket: WebSocket to the page's DevTools.
    """

    def __init__(self, socket: Any) -> None:
        self._socket = socket
        self._calls = 0

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """
        Send a command of the DevTools protocol, and return its result.

        :param method: Name of the command.
        :param parameters: Parameters of the command.
        """
        self._calls += 1
        await self._socket.send(json.dumps({"id": self._calls, "method": method, "params": parameters}))
        while True:
            answer = json.loads(await self._socket.recv())
            if answer.get("id") == self._calls:
                return dict(answer.get("result", {}))

    async def open(self, url: str, scheme: str) -> None:
        """
        Show an address, and wait until it is drawn.

        :param url: Address to show.
        :param scheme: ``light`` or ``dark``.
        """
        await self.call(
            "Emulation.setDeviceMetricsOverride", width=WIDTH, height=HEIGHT, deviceScaleFactor=1, mobile=False
        )
        await self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        await self.call("Page.navigate", url=url)
        await asyncio.sleep(DRAWN)

    async def run(self, script: str) -> None:
        """
        Run JavaScript, then wait until the page is drawn.

        :param script: JavaScript source.
        """
        await self.call("Runtime.evaluate", expression=script)
        await asyncio.sleep(DRAWN / 4)

    async def type(self, text: str) -> None:
        """
        Type into the focused element, and press Enter.

        :param text: Text to type.
        """
        await self.call("Input.insertText", text=text)
        await asyncio.sleep(DRAWN / 4)
        for kind in ("keyDown", "keyUp"):
            await self.call("Input.dispatchKeyEvent", type=kind, key="Enter", code="Enter", windowsVirtualKeyCode=13)
        await asyncio.sleep(DRAWN / 4)

    async def picture(self) -> bytes:
        """Return a screenshot as PNG."""
        answer = await self.call("Page.captureScreenshot")
        return base64.b64decode(answer["data"])


def main() -> None:
    """Take the pictures, and write them to a folder."""
    parser = argparse.ArgumentParser(prog="python -m demo.pictures", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--browser", default="chromium")
    given = parser.parse_args()
    with ExitStack() as running:
        work = Path(running.enter_context(tempfile.TemporaryDirectory(prefix="pictures-")))
        emulator = running.enter_context(demo_emulator("hold"))
        connections = {"openai_default": connection(emulator)}
        airflow = running.enter_context(AirflowProcesses(DAGS, connections=connections))
        airflow.wait_for_dags([DAG_ID])
        write_table(work / "docstrings.parquet", None)
        paths = {"source": str(work / "docstrings.parquet"), "destination": str(work / "summaries")}
        run_id = airflow.api.trigger(DAG_ID, paths)
        airflow.api.wait_for_task(DAG_ID, run_id, TASK_ID, ["deferred"])
        emulator.configure(progress=f"seconds:{10 * UNDER_WAY:g}")
        task = f"{airflow.api.base_url}/dags/{DAG_ID}/runs/{run_id}/tasks/{TASK_ID}"
        pictures = with_browser(given.browser, work, lambda page: take(page, airflow.api.base_url, task))
    for name, picture in pictures.items():
        (given.folder / f"{name}.png").write_bytes(picture)


async def take(page: Page, airflow: str, task: str) -> dict[str, bytes]:
    """
    Return pictures by name: the waiting task, and the form of a connection.

    :param page: Page of a browser.
    :param airflow: Address of Airflow.
    :param task: Address of the task's page.
    """
    pictures = {}
    await asyncio.sleep(UNDER_WAY)
    for scheme in ("light", "dark"):
        await page.open(task, scheme)
        pictures[f"task-{scheme}"] = await page.picture()
        await page.open(f"{airflow}/connections", scheme)
        await page.run("[...document.querySelectorAll('button')].find(b => /Add Conn/.test(b.innerText)).click()")
        await page.run("document.querySelector('[role=dialog] [role=combobox]').focus()")
        await page.type("openai_batch")
        pictures[f"connection-{scheme}"] = await page.picture()
    return pictures


def with_browser(browser: str, work: Path, what: Callable[[Page], Awaitable[dict[str, bytes]]]) -> dict[str, bytes]:
    """
    Run a browser, and return what a function makes with its page.

    :param browser: Program of the browser.
    :param work: Folder for the browser's profile.
    :param what: Function that takes the pictures.
    """
    import websockets

    options = ("--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0", "--remote-allow-origins=*")
    command = [browser, *options, f"--user-data-dir={work / 'browser'}", "about:blank"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            line = next(line for line in process.stderr if "DevTools listening on" in line)
            port = line.rpartition("/devtools/")[0].rpartition(":")[2]
            with OPENER.open(f"http://127.0.0.1:{port}/json") as answer:
                address = next(page["webSocketDebuggerUrl"] for page in json.load(answer) if page["type"] == "page")

            async def drive() -> dict[str, bytes]:
                async with websockets.connect(address, max_size=None, proxy=None) as socket:
                    page = Page(socket)
                    await page.call("Page.enable")
                    return await what(page)
                raise AssertionError("the browser's page has closed")

            return asyncio.run(drive())
        finally:
            process.terminate()


if __name__ == "__main__":
    main()
