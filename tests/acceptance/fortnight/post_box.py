"""Where messages to people end: a web server on the loopback that keeps what is posted to it."""

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

NUMBER = re.compile(r"\[message (\d+)(, perhaps a repeat)?\]")


class PostBox(ThreadingHTTPServer):
    """Takes everything with 200."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Taking)
        self.letters: list[dict[str, str]] = []
        """The bodies, in the order in which they came: `title`, `message`, `type`."""

    @property
    def address(self) -> str:
        """The URL by which apprise posts here."""
        return f"json://127.0.0.1:{self.server_port}/"

    def numbers(self) -> list[int]:
        """The number of each message that came, as it stands in its title."""
        return [int(found[1]) for letter in self.letters if (found := NUMBER.search(letter["title"]))]

    def about(self, *words: str) -> list[dict[str, str]]:
        """Messages that hold all of some words."""
        return [one for one in self.letters if all(word in f"{one['title']}\n{one['message']}" for word in words)]


class Taking(BaseHTTPRequestHandler):
    server: PostBox

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.letters.append(json.loads(body))
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        del format, args


@contextmanager
def open_post_box() -> Iterator[PostBox]:
    with PostBox() as box:
        thread = threading.Thread(target=box.serve_forever)
        thread.start()
        yield box
        box.shutdown()
        thread.join()
