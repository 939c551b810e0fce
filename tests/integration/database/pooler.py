"""A connection pooler that drops the startup parameter `options`, as pgbouncer does where it is told to ignore it."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def pooler(server_socket: str) -> Iterator[int]:
    """The port of a pooler before the server that listens on a Unix socket."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=_serve, args=(client, server_socket), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


def _serve(client: socket.socket, server_socket: str) -> None:
    with client, socket.socket(socket.AF_UNIX) as server:
        server.connect(server_socket)
        length = int.from_bytes(_exactly(client, 4))
        packet = _exactly(client, length - 4)
        words = packet[4:].rstrip(b"\0").split(b"\0")
        kept = [word for pair in zip(words[::2], words[1::2], strict=True) if pair[0] != b"options" for word in pair]
        body = packet[:4] + b"\0".join(kept) + b"\0\0"
        server.sendall((len(body) + 4).to_bytes(4) + body)
        back = threading.Thread(target=_pump, args=(server, client), daemon=True)
        back.start()
        _pump(client, server)
        back.join()


def _exactly(source: socket.socket, num_bytes: int) -> bytes:
    received = b""
    while len(received) < num_bytes:
        received += source.recv(num_bytes - len(received))
    return received


def _pump(source: socket.socket, target: socket.socket) -> None:
    while block := source.recv(1 << 16):
        target.sendall(block)
    target.shutdown(socket.SHUT_WR)
