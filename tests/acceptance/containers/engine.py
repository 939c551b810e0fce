"""A Docker engine of its own in a folder, and a base image that is made without a registry."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from tests.databases import reaper_of

FOLDER_VARIABLE = "LDTM_TEST_DOCKER_FOLDER"
"""A folder that keeps engine and images between test runs; a temporary one when absent."""
PROGRAMS = {"dockerd": "docker.io", "docker": "docker.io", "debootstrap": "debootstrap"}
PACKAGES = "python3,python3-venv,python3-pip,ca-certificates,postgresql-15,nginx-light,apache2-utils,openssl"
BASE_IMAGE = "ldtm-test/base:3.11"
AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")
TORCH = ("torch", "torchgen", "functorch")


def missing_for_an_engine() -> str | None:
    """The reason why no engine can be started here; None where one can."""
    if os.geteuid() != 0:
        return "only root can start a Docker engine"
    missing = sorted({package for name, package in PROGRAMS.items() if not shutil.which(name)})
    if compose_command() is None:
        missing.append("docker-compose")
    if missing:
        return f"a Docker engine needs {', '.join(missing)}, which .ci/install-for-tests installs on Debian"
    if sys.version_info[:2] != (3, 11):
        return "the base image of Debian 12 has Python 3.11, and torch is copied into it from this environment"
    return None


def compose_command() -> list[str] | None:
    """`docker compose`, or version 1 of Compose; None where neither is installed."""
    plugin = ["docker", "compose"]
    if (
        shutil.which("docker")
        and subprocess.run([*plugin, "version"], capture_output=True, check=False).returncode == 0
    ):
        return plugin
    return ["docker-compose"] if shutil.which("docker-compose") else None


@dataclass(slots=True)
class Engine:
    """A Docker daemon with its own images, containers and socket."""

    folder: Path
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def socket(self) -> Path:
        return self.folder / "docker.sock"

    def start(self) -> None:
        command = [
            *("dockerd", "--data-root", str(self.folder / "data"), "--exec-root", str(self.folder / "run")),
            *("-H", f"unix://{self.socket}", "--pidfile", str(self.folder / "pid"), "--bridge=none"),
        ]
        with (self.folder / "engine.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        for _ in range(300):
            if (
                subprocess.run(["docker", "info"], env=self.environment(), capture_output=True, check=False).returncode
                == 0
            ):
                return
            assert self.process.poll() is None, self.log()
            time.sleep(0.2)
        raise AssertionError(f"the engine does not answer: {self.log()}")

    def kill_as_a_power_cut(self) -> None:
        """Kill the engine and every process of every container, at once, and unmount all, as a reboot does."""
        assert self.process is not None
        pids = self.docker("ps", "-q").split()
        inits = self.docker("inspect", "--format", "{{.State.Pid}}", *pids).split() if pids else []
        self.process.kill()
        self._kill(*inits)
        self.process.wait()
        self._end()

    def stop(self) -> None:
        """Stop the engine and its containers."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(timeout=60)
        self._end()

    def _end(self) -> None:
        """Kill what is left of containerd and its shims, and remove their mounts and state."""
        for _ in range(20):
            if not (left := _processes_with(str(self.folder / "run"))):
                break
            self._kill(*left)
            time.sleep(0.2)
        mounts = re.findall(rf"^\S+ ({re.escape(str(self.folder))}\S*)", Path("/proc/mounts").read_text(), re.MULTILINE)
        for mount in sorted(mounts, reverse=True):
            subprocess.run(["umount", "-l", mount], check=False, capture_output=True)
        (self.folder / "pid").unlink(missing_ok=True)
        shutil.rmtree(self.folder / "run", ignore_errors=True)

    def _kill(self, *pids: str) -> None:
        for pid in pids:
            subprocess.run(["kill", "-9", pid], check=False, capture_output=True)

    def environment(self, **more: str) -> dict[str, str]:
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("LDTM_", "DOCKER_", "COMPOSE_"))
        }
        return {**kept, "DOCKER_HOST": f"unix://{self.socket}", "DOCKER_BUILDKIT": "0", **more}

    def docker(self, *words: str, expect: int | None = 0, timeout: float = 300, input: str | None = None) -> str:
        """What a command of the client printed."""
        done = subprocess.run(
            ["docker", *words],
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=timeout,
            input=input,
            check=False,
        )
        assert expect is None or done.returncode == expect, (
            f"docker {words}: {done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        )
        return done.stdout + (done.stderr if expect != 0 else "")

    def log(self) -> str:
        return (self.folder / "engine.log").read_text(errors="replace")[-2000:]

    def build_base(self) -> None:
        """An image like a slim Python that has torch already, and PostgreSQL 15 and nginx in place of their images."""
        if self.docker("images", "-q", BASE_IMAGE):
            return
        root = self.folder / "base"
        shutil.rmtree(root, ignore_errors=True)
        _run("debootstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm", str(root))
        shutil.copyfile(AUTHORITIES, root / AUTHORITIES.relative_to("/"))
        packages = root / "usr/local/lib/python3.11/dist-packages"
        for found in Path(sysconfig.get_path("purelib")).iterdir():
            if found.name in TORCH or re.fullmatch(r"torch-[\w.+]+\.dist-info", found.name):
                shutil.copytree(found, packages / found.name, symlinks=True)
        entrypoint = root / "usr/local/bin/postgres-entrypoint"
        shutil.copyfile(Path(__file__).with_name("postgres-entrypoint.sh"), entrypoint)
        entrypoint.chmod(0o755)
        shutil.rmtree(root / "var/cache/apt", ignore_errors=True)
        with subprocess.Popen(["tar", "-C", str(root), "-c", "."], stdout=subprocess.PIPE) as tar:
            done = subprocess.run(
                ["docker", "import", "-", BASE_IMAGE],
                env=self.environment(),
                stdin=tar.stdout,
                capture_output=True,
                check=False,
            )
        assert done.returncode == 0, done.stderr
        shutil.rmtree(root)


@contextmanager
def docker_engine() -> Iterator[Engine]:
    """An engine with the base image; all of it is stopped and removed at the end."""
    kept = os.environ.get(FOLDER_VARIABLE)
    with tempfile.TemporaryDirectory(prefix="ldtm-docker-", ignore_cleanup_errors=True, dir="/var/tmp") as temporary:
        engine = Engine(Path(kept or temporary))
        engine.folder.mkdir(parents=True, exist_ok=True)
        with nullcontext() if kept else reaper_of(engine.folder):
            engine.start()
            try:
                engine.build_base()
                yield engine
            finally:
                engine.stop()


def _processes_with(text: str) -> list[str]:
    """The processes whose command line has a text: containerd and its shims name the engine's folder."""
    found: list[str] = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if text.encode() in path.read_bytes() and int(path.parent.name) != os.getpid():
                found.append(path.parent.name)
        except OSError:
            continue
    return found


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
