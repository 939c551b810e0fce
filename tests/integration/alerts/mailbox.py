"""A mail server on the loopback that takes what is sent to it: as much of SMTP as a client needs."""

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import cast

ANSWERS = {b"EHLO": b"250 loopback", b"HELO": b"250 loopback", b"QUIT": b"221 bye"}


class Mailbox(socketserver.ThreadingTCPServer):
    """Takes mail, or refuses some recipients."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Taking)
        self.refuses = False
        self.mails: list[EmailMessage] = []

    @property
    def url(self) -> str:
        return f"mailto://127.0.0.1:{self.server_address[1]}?from=ldtm@example.org&to=owner@example.org&mode=insecure"


class Taking(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        mailbox = cast(Mailbox, self.server)
        self.wfile.write(b"220 loopback\r\n")
        for line in self.rfile:
            verb = line[:4].upper()
            if verb == b"DATA":
                self.wfile.write(b"354 go on\r\n")
                lines = list(iter(self.rfile.readline, b".\r\n"))
                content = b"".join(line[1:] if line.startswith(b".") else line for line in lines)
                mailbox.mails.append(cast(EmailMessage, message_from_bytes(content, policy=policy.default)))
            elif verb == b"RCPT" and mailbox.refuses:
                self.wfile.write(b"550 no such mailbox\r\n")
                continue
            self.wfile.write(ANSWERS.get(verb, b"250 fine") + b"\r\n")
            if verb == b"QUIT":
                return


@contextmanager
def mailbox() -> Iterator[Mailbox]:
    with Mailbox() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()
