"""A web server on the loopback that takes what is posted to it."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SECRET = "T0KEN-that-nobody-may-see"


class Receiver(ThreadingHTTPServer):
    """Takes what is posted and answers as configured."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Taking)
        self.answer = 200
        self.location: str | None = None
        self.said = b""
        """The body of each answer."""
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.taken: list[tuple[str, str, dict[str, object]]] = []
        """Path, content type and body of each post."""

    @property
    def shown_as(self) -> str:
        return f"json://127.0.0.1:{self.server_port}"

    @property
    def url(self) -> str:
        """Its address for alerts."""
        return f"{self.shown_as}/services/{SECRET}"

    @property
    def messages(self) -> list[tuple[str, str]]:
        """Title and text of what was posted as JSON."""
        return [(str(body["title"]), str(body["message"])) for _, _, body in self.taken]


class Taking(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.taken.append((self.path, self.headers["Content-Type"], json.loads(body)))
        self.server.may_answer.wait(30)
        self.send_response(self.server.answer)
        if self.server.location:
            self.send_header("Location", self.server.location)
        self.end_headers()
        self.wfile.write(self.server.said)

    do_PUT = do_POST

    def do_GET(self) -> None:
        self.server.taken.append((self.path, "", {}))
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        del format, args


@contextmanager
def listening() -> Iterator[Receiver]:
    with Receiver() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()
