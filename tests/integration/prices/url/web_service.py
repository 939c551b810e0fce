"""A web service of daily bars on the loopback, over HTTP or HTTPS, with the faults of real ones."""

import ipaddress
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

KEY = "k3y/that+nobody&may=see"
"""A key with characters that an address quotes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One answer, and how it is sent."""

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    missing_bytes: int = 0
    """Bytes that Content-Length promises beyond those that are sent."""
    wait_seconds: float = 0.0
    """Time before the status line."""
    drip_seconds: float = 0.0
    """Time between two bytes of the body."""


@dataclass(frozen=True, slots=True)
class Received:
    """One request."""

    path: str
    headers: Mapping[str, str]


class WebService(ThreadingHTTPServer):
    """Answers a request for /TICKER with what `replies` has for it: a reply, or one after the other."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.scheme = "http"
        self.replies: dict[str, Reply | list[Reply] | Callable[[Received], Reply]] = {}
        self.received: list[Received] = []
        self.lock = threading.Lock()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server_port}"

    @property
    def url(self) -> str:
        """Its address, without a slash at the end."""
        return f"{self.scheme}://{self.host}"

    def num_requests(self, ticker: str) -> int:
        return sum(request.path.partition("?")[0] == f"/{ticker}" for request in self.received)

    def reply_to(self, request: Received) -> Reply:
        with self.lock:
            self.received.append(request)
            found = self.replies.get(request.path.partition("?")[0].removeprefix("/"), Reply(status=404))
            if isinstance(found, list):
                return found.pop(0) if len(found) > 1 else found[0]
        return found if isinstance(found, Reply) else found(request)

    def serve_by_tls(self, certificate: Path) -> Self:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.scheme = "https"
        return self

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hung up or did not trust the certificate is no fault of the service."""


class _Handler(BaseHTTPRequestHandler):
    server: WebService

    def do_GET(self) -> None:
        reply = self.server.reply_to(Received(self.path, {name.lower(): value for name, value in self.headers.items()}))
        time.sleep(reply.wait_seconds)
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        if reply.status != 304:
            self.send_header("Content-Length", str(len(reply.body) + reply.missing_bytes))
        self.end_headers()
        if not reply.drip_seconds:
            self.wfile.write(reply.body)
            return
        for byte in reply.body:
            time.sleep(reply.drip_seconds)
            self.wfile.write(bytes([byte]))
            self.wfile.flush()

    def log_message(self, format: str, *args: object) -> None:
        del format, args


@contextmanager
def serving(certificate: Path | None = None) -> Iterator[WebService]:
    """A service that runs meanwhile."""
    with WebService() as service:
        if certificate is not None:
            service.serve_by_tls(certificate)
        thread = threading.Thread(target=service.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield service
        finally:
            service.shutdown()
            thread.join()


def make_certificate(folder: Path, host: str = "127.0.0.1") -> Path:
    """A PEM file with a private key and a certificate of a host that signs itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    now = datetime.now(UTC)
    try:
        alternative: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        alternative = x509.DNSName(host)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([alternative]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / f"{host}.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    return path
