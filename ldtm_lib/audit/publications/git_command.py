"""git in one folder without interaction: no hooks, signatures, prompts or variables that name another repository."""

import os
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

from ldtm_lib.errors import PublicationFailed

TIMEOUT_SECONDS = 120
_OTHER_REPOSITORY = {
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_DIR",
    "GIT_INDEX_FILE",
    "GIT_NAMESPACE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
    "GIT_WORK_TREE",
}
"""Variables that git sets for its hooks, and variables that would point it to another repository."""
_ENVIRONMENT = {
    "GIT_GRAFT_FILE": os.devnull,
    "GIT_LITERAL_PATHSPECS": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "LC_ALL": "C",
}
"""Grafts and replaced objects would show a history other than the committed one."""
_SETTINGS = (
    "core.hooksPath=/dev/null",
    "core.autocrlf=false",
    "core.fsync=committed",
    "core.quotePath=false",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Git:
    """The command `git` in a folder."""

    folder: Path
    settings: tuple[str, ...] = ()
    """Additional settings, such as `user.name=LDTM`."""

    def __call__(self, *arguments: str, stdin: bytes = b"") -> bytes:
        """The output of a command; raises PublicationFailed with the error message of a command that fails."""
        answer = self._run(arguments, stdin)
        if answer.returncode != 0:
            said = answer.stderr.decode(errors="replace").strip().replace("\n", " ") or f"status {answer.returncode}"
            raise PublicationFailed(f"{self.folder}: git {arguments[0]}: {said}")
        return answer.stdout

    def line(self, *arguments: str) -> str | None:
        """The one line that a command prints; None if it fails, for commands that say no by failing."""
        answer = self._run(arguments, b"")
        return answer.stdout.decode(errors="replace").strip() if answer.returncode == 0 else None

    def _run(self, arguments: tuple[str, ...], stdin: bytes) -> "subprocess.CompletedProcess[bytes]":
        settings = [part for setting in (*_SETTINGS, *self.settings) for part in ("-c", setting)]
        environment = {name: value for name, value in os.environ.items() if name not in _OTHER_REPOSITORY}
        try:
            process = subprocess.Popen(
                ["git", "-C", str(self.folder), *settings, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=environment | _ENVIRONMENT,
                start_new_session=True,
            )
        except FileNotFoundError:
            raise PublicationFailed("git is not installed; install it, or remove publish.git") from None
        with process:
            try:
                out, err = process.communicate(stdin, timeout=TIMEOUT_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                raise PublicationFailed(
                    f"{self.folder}: git {arguments[0]} did not end within {TIMEOUT_SECONDS} s; try it by hand there"
                ) from None
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)
