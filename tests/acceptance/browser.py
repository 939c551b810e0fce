"""A headless Chromium, driven by the DevTools protocol."""

import json
import os
import shutil
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
OPTIONS = ("--headless=new", "--disable-gpu", "--no-first-run", "--remote-debugging-port=0", "--remote-allow-origins=*")
DEADLINE_SECONDS = 60


class Tab:
    """One tab, with the events that the browser has reported of it."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.events: list[dict[str, Any]] = []
        self.number = 0
        for domain in ("Page", "Network", "Runtime"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """The result of a command of the protocol."""
        self.number += 1
        self.connection.send(json.dumps({"id": self.number, "method": method, "params": params}))
        while True:
            message = json.loads(self.connection.recv(timeout=DEADLINE_SECONDS))
            if message.get("id") == self.number:
                assert "error" not in message, message
                return message["result"]
            self.events.append(message)

    def open(self, url: str) -> None:
        """Go to a page, as by the address bar, and wait until it has loaded."""
        self.events.clear()
        self.call("Page.navigate", url=url)
        self.wait_for("document.readyState === 'complete'")

    def js(self, expression: str) -> Any:
        """The value of an expression in the page; promises are awaited."""
        told = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in told, told
        return told["result"].get("value")

    def wait_for(self, expression: str) -> None:
        """Wait until an expression in the page is true."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not self.js(expression):
            assert time.monotonic() < deadline, f"{expression} did not come true; the page says: {self.text()[:2000]}"
            time.sleep(0.2)

    def text(self) -> str:
        """What the page shows."""
        return self.js("document.body ? document.body.innerText : ''")

    def seen(self, method: str) -> list[dict[str, Any]]:
        """The parameters of the events of a kind since the page was opened."""
        self.js("0")
        return [event["params"] for event in self.events if event.get("method") == method]

    def failures(self) -> list[tuple[int, str]]:
        """The answers with an error since the page was opened."""
        answers = [event["response"] for event in self.seen("Network.responseReceived")]
        return [(answer["status"], answer["url"]) for answer in answers if answer["status"] >= 400]


@contextmanager
def browser(*options: str) -> Iterator[Tab]:
    """A browser with an empty profile, and its tab."""
    assert CHROMIUM is not None
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        as_root = ["--no-sandbox"] if os.geteuid() == 0 else []
        process = subprocess.Popen(
            [CHROMIUM, *OPTIONS, *as_root, f"--user-data-dir={profile}", *options, "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            with connect(_tab_url(Path(profile)), max_size=None) as connection:
                yield Tab(connection)
        finally:
            process.terminate()
            process.wait(timeout=30)


def _tab_url(profile: Path) -> str:
    """The websocket of the first tab, once the browser has written its port."""
    note = profile / "DevToolsActivePort"
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not (note.exists() and note.read_text().count("\n")):
        assert time.monotonic() < deadline, "the browser did not start"
        time.sleep(0.1)
    with urllib.request.urlopen(f"http://127.0.0.1:{note.read_text().splitlines()[0]}/json", timeout=30) as reply:
        return next(target["webSocketDebuggerUrl"] for target in json.load(reply) if target["type"] == "page")
