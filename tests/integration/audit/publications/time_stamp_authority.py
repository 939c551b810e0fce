"""A real time stamp authority on the loopback: certificates and tokens by openssl, and the faults of real ones."""

import contextlib
import shutil
import subprocess
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import pytest

from ldtm_lib.audit.publications.time_stamps import TimeStamps

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed here")

Fault = Literal[
    "hangs",
    "drips",
    "hangs up",
    "answers HTML",
    "answers 500",
    "redirects",
    "answers nonsense",
    "answers an empty reply",
    "answers too much",
    "rejects",
    "stamps another imprint",
    "answers another request",
    "is signed by a stranger",
    "alters its signature",
]

CONFIG = """
[req]
distinguished_name = name
[name]
[ca]
default_ca = issuing
[issuing]
database = index.txt
new_certs_dir = .
rand_serial = yes
default_md = sha256
unique_subject = no
policy = any
[any]
commonName = supplied
[for_authorities]
basicConstraints = critical, CA:true
keyUsage = critical, keyCertSign
subjectKeyIdentifier = hash
[for_signers]
basicConstraints = critical, CA:false
keyUsage = critical, digitalSignature
extendedKeyUsage = critical, timeStamping
"""
STAMPING = """
[{name}]
serial = {name}.serial
signer_cert = {name}.pem
signer_key = {name}.key
certs = {issuer}-chain.pem
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = {digests}
accuracy = secs:1
ess_cert_id_alg = sha256
"""


class TimeStampAuthority:
    """A root, an intermediate, a signer and the web server that hands out their tokens; a fault can be set any time.

    Use it as a context manager; `stop` ends it for good, so that whoever asks is refused.
    """

    fault: Fault | None = None

    def __init__(self, folder: Path, *, lifetime: timedelta = timedelta(days=30)) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "index.txt").touch()
        sections = [
            ("signer", "intermediate", "sha256, sha512"),
            ("stranger", "strange", "sha256"),
            ("strict", "strange", "sha512"),
        ]
        stamping = "".join(STAMPING.format(name=n, issuer=i, digests=d) for n, i, d in sections)
        (folder / "openssl.cnf").write_text(CONFIG + stamping)
        end = datetime.now(UTC) + lifetime
        self._issue("root", "for_authorities", "root", end)
        self._issue("intermediate", "for_authorities", "root", end)
        self._issue("signer", "for_signers", "intermediate", end)
        self._issue("strange", "for_authorities", "strange", end)
        self._issue("stranger", "for_signers", "strange", end)
        self._issue("strict", "for_signers", "strange", end)
        parts = [(folder / f"{name}.pem").read_text() for name in ("intermediate", "root")]
        (folder / "intermediate-chain.pem").write_text("".join(parts))
        (folder / "strange-chain.pem").write_text((folder / "strange.pem").read_text())
        self.num_asked = 0
        self._turns = threading.Lock()
        self._released = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/tsr"

    @property
    def root(self) -> Path:
        """The PEM file that an owner configures."""
        return self.folder / "root.pem"

    @property
    def strange_root(self) -> Path:
        """That of an authority nobody trusts."""
        return self.folder / "strange.pem"

    def time_stamps(self, folder: Path, *, timeout_seconds: float = 5.0) -> TimeStamps:
        """A publication with this authority."""
        return TimeStamps(url=self.url, certificates=self.root, folder=folder, timeout_seconds=timeout_seconds)

    def stop(self) -> None:
        self._released.set()
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, at: TracebackType | None
    ) -> None:
        self.stop()

    def reply(self, query: bytes, signer: str = "signer") -> bytes:
        """What openssl answers."""
        with self._turns:
            (self.folder / "query.tsq").write_bytes(query)
            self._openssl(
                "ts",
                "-reply",
                "-config",
                "openssl.cnf",
                "-section",
                signer,
                "-queryfile",
                "query.tsq",
                "-out",
                "reply.tsr",
            )
            return (self.folder / "reply.tsr").read_bytes()

    def query(self, content: bytes, digest: str = "sha256") -> bytes:
        """A request of somebody else's."""
        with self._turns:
            (self.folder / "content").write_bytes(content)
            self._openssl("ts", "-query", "-data", "content", f"-{digest}", "-cert", "-out", "other.tsq")
            return (self.folder / "other.tsq").read_bytes()

    def _issue(self, name: str, extensions: str, issuer: str, end: datetime) -> None:
        key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", f"{name}.key")
        self._openssl(
            "req", "-new", *key, "-config", "openssl.cnf", "-subj", f"/CN=LDTM test {name}", "-out", f"{name}.csr"
        )
        start = datetime.now(UTC) - timedelta(hours=1)
        dates = ("-startdate", f"{start:%y%m%d%H%M%SZ}", "-enddate", f"{end:%y%m%d%H%M%SZ}")
        by = ("-selfsign",) if issuer == name else ("-cert", f"{issuer}.pem")
        files = ("-keyfile", f"{issuer}.key", "-in", f"{name}.csr", "-out", f"{name}.pem")
        self._openssl(
            "ca", "-batch", "-notext", "-config", "openssl.cnf", *by, *files, "-extensions", extensions, *dates
        )

    def _openssl(self, *arguments: str) -> None:
        done = subprocess.run(["openssl", *arguments], cwd=self.folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        authority = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                query = self.rfile.read(int(self.headers["Content-Length"]))
                authority.num_asked += 1
                assert self.headers["Content-Type"] == "application/timestamp-query"
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    authority._answer(self, query)

            def log_message(self, format: str, *args: object) -> None:
                pass

        return Handler

    def _answer(self, handler: BaseHTTPRequestHandler, query: bytes) -> None:
        def send(content: bytes, kind: str = "application/timestamp-reply", status: int = 200) -> None:
            handler.send_response(status)
            handler.send_header("Content-Type", kind)
            handler.send_header("Content-Length", str(len(content)))
            handler.end_headers()
            handler.wfile.write(content)

        match self.fault:
            case None:
                send(self.reply(query))
            case "hangs":
                self._released.wait(60)
            case "drips":
                handler.send_response(200)
                handler.send_header("Content-Type", "application/timestamp-reply")
                handler.end_headers()
                while not self._released.wait(0.1):
                    handler.wfile.write(b"\x30")
            case "hangs up":
                handler.connection.close()
            case "answers HTML":
                send(b"<html>Please log in</html>", kind="text/html; charset=utf-8")
            case "answers 500":
                send(b"<html>Sorry</html>", kind="text/html", status=500)
            case "redirects":
                handler.send_response(302)
                handler.send_header("Location", "/login")
                handler.end_headers()
            case "answers nonsense":
                send(b"\x30\x82\x10\x00nonsense")
            case "answers an empty reply":
                send(b"")
            case "answers too much":
                send(b"\x30" * (3 << 20))
            case "rejects":
                send(self.reply(query, "strict"))
            case "stamps another imprint":
                send(self.reply(self.query(b"something else")))
            case "answers another request":
                send(self.reply(self.query((self.folder / "wanted").read_bytes())))
            case "is signed by a stranger":
                send(self.reply(query, "stranger"))
            case "alters its signature":
                send(self.reply(query)[:-1] + b"\x00")
