"""Seals in a git repository of the owner: one file per seal, committed when it is published, pushed if requested.

Every file is the line of its seal, so that all of them in order are the file of `seal_file`. A single growing file
would store a copy of itself with every commit, and checking its history would take minutes.
"""

import fcntl
import re
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

from ldtm_lib.atomic_io import write_whole
from ldtm_lib.audit.publications.git_command import Git
from ldtm_lib.audit.publications.protocol import Published
from ldtm_lib.audit.publications.seal_lines import SealLine, continuation, line_of, lines_of, read_chain
from ldtm_lib.audit.seal import Seal
from ldtm_lib.errors import PublicationFailed
from ldtm_lib.wording import counted

SEALS = "seals"
_SEAL_PATH = re.compile(rf"{SEALS}/\d{{4}}/\d{{6,}}\.json")
_IDENTITY = {"user.name": "LDTM", "user.email": "ldtm@localhost"}
"""Committer in a repository that configures none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """The remote branch that a branch is pushed to."""

    remote: str
    target: str
    tracking: str
    """The local ref with the last known state of the remote branch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GitRepository:
    """One repository and its current branch; other content of it is left alone."""

    folder: Path
    push: bool = False

    @property
    def name(self) -> str:
        """The folder."""
        return f"git repository {self.folder}"

    def read(self) -> Published:
        """Read the seals at HEAD; checks that the work tree agrees, and that no commit ever changed or removed one."""
        try:
            self._check_folder()
            if self._git.line("rev-parse", "--verify", "--quiet", "HEAD") is None:
                return Published(seals={}, notes=(f"{self.folder} has no commit yet",))
            contents = self._contents_at_head()
            published = read_chain(_lines(contents))
            problems = [*self._work_tree_problems(contents), *self._history_problems(), *self._upstream_problems()]
            added_at = self._commit_times()
            return Published(
                seals={n: replace(seal, published_at=added_at.get(n)) for n, seal in published.seals.items()},
                problems=(*published.problems, *problems),
                notes=(*published.notes, *self._notes(contents)),
                witness="the clock of the committer",
            )
        except PublicationFailed as error:
            return Published(seals={}, problems=(str(error),))
        except OSError as error:
            return Published(
                seals={}, problems=(f"{error.filename} cannot be read: {error.strerror}; make it readable",)
            )

    def ask_remote(self) -> str | None:
        """Fetch the remote that seals are pushed to, so that `read` compares it; returns the reason for a failure.

        Returns None on success, and if nothing is pushed.
        """
        if not self.push:
            return None
        try:
            self._check_folder()
            upstream = self._upstream()
            if upstream is None:
                return f"{self.folder} has no remote or no branch"
            self._git(
                *("fetch", "--quiet", "--no-tags", "--recurse-submodules=no", "--no-write-fetch-head"),
                upstream.remote,
                f"+{upstream.target}:{upstream.tracking}",
            )
        except PublicationFailed as error:
            return str(error)
        return None

    def publish(self, seals: Sequence[Seal]) -> None:
        """Commit the seals that HEAD does not have, only their files, and push all commits that have not been pushed.

        The next call pushes the commits that a failed push left behind, even if its sequence is empty.
        """
        if not seals and not self.push:
            return
        self._check_folder()
        with self._locked():
            more = continuation(read_chain(_lines(self._contents_at_head())), seals)
            if more.seals:
                self._commit(more.seals)
            if self.push:
                self._push()
        if more.refusal is not None:
            raise PublicationFailed(f"{self.folder}: {more.refusal}")

    @property
    def _git(self) -> Git:
        return Git(folder=self.folder)

    def _check_folder(self) -> None:
        """Raises PublicationFailed unless the folder is the top of a work tree."""
        try:
            is_there = self.folder.is_dir()
        except OSError as error:
            raise PublicationFailed(f"{self.folder} cannot be reached: {error.strerror}; make it readable") from None
        if not is_there:
            raise PublicationFailed(f"there is no folder {self.folder}; run `git init {self.folder}`, or clone one")
        if self._git.line("rev-parse", "--is-inside-work-tree") != "true":
            self._git("rev-parse", "--git-dir")
            raise PublicationFailed(f"{self.folder} is a bare repository; name one with a work tree in publish.git")
        if inside := self._git("rev-parse", "--show-prefix").decode().strip():
            raise PublicationFailed(
                f"{self.folder} is the folder {inside} of another repository; run `git init {self.folder}`"
            )

    @contextmanager
    def _locked(self) -> Generator[None]:
        """Keep other processes from publishing here meanwhile."""
        git_folder = Path(self._git("rev-parse", "--absolute-git-dir").decode().rstrip("\n"))
        try:
            lock = (git_folder / "ldtm.lock").open("w")
        except OSError as error:
            raise PublicationFailed(f"{git_folder} cannot be written to: {error.strerror}; make it writable") from None
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _contents_at_head(self) -> dict[str, bytes]:
        """The files of seals at HEAD, in the order of their numbers; none if nothing is committed."""
        if self._git.line("rev-parse", "--verify", "--quiet", "HEAD") is None:
            return {}
        listed = self._git("ls-tree", "-r", "-z", "--name-only", "HEAD", "--", f"{SEALS}/").decode(errors="replace")
        paths = sorted(filter(_SEAL_PATH.fullmatch, listed.split("\0")), key=lambda path: int(PurePosixPath(path).stem))
        return dict(zip(paths, self._contents(f"HEAD:{path}" for path in paths), strict=True))

    def _contents(self, names: Iterable[str]) -> list[bytes]:
        """The contents of objects."""
        answer = self._git("cat-file", "--batch", stdin="".join(f"{name}\n" for name in names).encode())
        contents: list[bytes] = []
        at = 0
        while at < len(answer):
            header_end = answer.index(b"\n", at)
            name, _, size_or_error = answer[at:header_end].decode(errors="replace").rpartition(" ")
            if not size_or_error.isdigit():
                raise PublicationFailed(
                    f"{self.folder}: {name} is {size_or_error}; run `git fsck`, and restore the repository from a clone"
                )
            size = int(size_or_error)
            contents.append(answer[header_end + 1 : header_end + 1 + size])
            at = header_end + 1 + size + 1
        return contents

    def _work_tree_problems(self, contents: dict[str, bytes]) -> Generator[str]:
        for path, content in contents.items():
            file = self.folder / path
            if not file.is_file():
                yield f"{file} is missing; restore it with `git checkout HEAD -- {path}`"
            elif file.read_bytes() != content:
                yield f"{file} differs from its commit; compare them with `git diff HEAD -- {path}`"

    def _history_problems(self) -> Generator[str]:
        """Every change of a seal's file other than its addition, on any branch of the history."""
        history = ("--full-history", "-m", "--no-renames", "--name-status", "--diff-filter=a", "--format=commit %h")
        commit = ""
        for line in self._git("log", *history, "HEAD", "--", f"{SEALS}/").decode(errors="replace").splitlines():
            status, _, path = line.partition("\t")
            if not path:
                commit = line or commit
            elif _SEAL_PATH.fullmatch(path):
                how = "removed" if status == "D" else "changed"
                yield f"{self.folder}: {commit} {how} {path}; see it with `git show {commit.split()[-1]} -- {path}`"

    def _commit_times(self) -> dict[int, datetime]:
        """Time at which the file of each seal was committed, by the committer's clock; the newest of several times."""
        history = ("--full-history", "-m", "--no-renames", "--name-only", "--diff-filter=A", "--format=at %ct")
        times: dict[int, datetime] = {}
        moment = 0
        for line in self._git("log", *history, "HEAD", "--", f"{SEALS}/").decode(errors="replace").splitlines():
            if line.startswith("at "):
                moment = int(line[3:])
            elif _SEAL_PATH.fullmatch(line):
                number, at = int(PurePosixPath(line).stem), datetime.fromtimestamp(moment, UTC)
                times[number] = max(times.get(number, at), at)
        return times

    def _upstream_problems(self) -> Generator[str]:
        upstream = self._upstream()
        if upstream is None or self._git.line("rev-parse", "--verify", "--quiet", upstream.tracking) is None:
            return
        if self._git.line("merge-base", "--is-ancestor", upstream.tracking, "HEAD") is None:
            short = upstream.tracking.removeprefix("refs/remotes/")
            yield (
                f"{self.folder}: HEAD does not contain {short}, so commits of {short} are missing from it; see them "
                f"with `git log HEAD..{short}` and restore them with `git merge {short}`"
            )

    def _notes(self, contents: dict[str, bytes]) -> Generator[str]:
        found = (path.relative_to(self.folder).as_posix() for path in (self.folder / SEALS).glob("*/*.json"))
        if num_waiting := sum(path not in contents for path in found if _SEAL_PATH.fullmatch(path)):
            yield f"{self.folder}: {counted(num_waiting, 'file')} of seals not committed; publishing again commits them"
        if self._git.line("rev-parse", "--is-shallow-repository") == "true":
            yield f"{self.folder} is a shallow clone; its earlier history cannot be checked"
        upstream = self._upstream() if self.push else None
        if upstream is None:
            return
        if self._git.line("rev-parse", "--verify", "--quiet", upstream.tracking) is None:
            yield f"{self.folder}: nothing has been pushed to {upstream.remote} yet"
        elif (waiting := self._git.line("rev-list", "--count", f"{upstream.tracking}..HEAD")) not in (None, "0"):
            yield f"{self.folder}: {counted(int(waiting), 'commit')} not pushed yet; publishing again pushes them"

    def _commit(self, seals: Sequence[Seal]) -> None:
        files = {f"{SEALS}/{seal.session.year}/{seal.seal_id:06d}.json": line_of(seal) for seal in seals}
        try:
            for path, content in files.items():
                (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
                write_whole(self.folder / path, content)
        except OSError as error:
            raise PublicationFailed(
                f"{self.folder} cannot be written to: {error.strerror}; make room or make it writable"
            ) from None
        paths = "".join(f"{path}\0" for path in files).encode()
        from_stdin = ("--pathspec-from-file=-", "--pathspec-file-nul")
        self._git("add", "--force", *from_stdin, stdin=paths)
        if self._contents(f":{path}" for path in files) != list(files.values()):
            self._git("rm", "--cached", "--force", "--quiet", *from_stdin, stdin=paths)
            raise PublicationFailed(
                f"{self.folder}: git would not store seals unchanged; add `{SEALS}/** -text -filter` to .gitattributes"
            )
        identity = tuple(f"{k}={v}" for k, v in _IDENTITY.items() if not self._git.line("config", "--get", k))
        quietly = ("--quiet", "--no-verify", "--no-gpg-sign", "--no-status", "--only")
        committing = Git(folder=self.folder, settings=identity)
        committing("commit", *quietly, "--message", _subject(seals), *from_stdin, stdin=paths)

    def _upstream(self) -> Upstream | None:
        """The upstream of the current branch; None without a branch or a remote."""
        branch = self._git.line("symbolic-ref", "--quiet", "--short", "HEAD")
        remotes = self._git("remote").decode(errors="replace").split()
        if branch is None or not remotes:
            return None
        configured = self._git.line("config", "--get", f"branch.{branch}.remote")
        remote = configured or (remotes[0] if len(remotes) == 1 else "origin")
        target = (configured and self._git.line("config", "--get", f"branch.{branch}.merge")) or f"refs/heads/{branch}"
        tracking = f"refs/remotes/{remote}/{target.removeprefix('refs/heads/')}"
        return Upstream(remote=remote, target=target, tracking=tracking)

    def _push(self) -> None:
        upstream = self._upstream()
        if upstream is None:
            raise PublicationFailed(
                f"{self.folder} has no remote or no branch; give it one with `git remote add` or `git switch`"
            )
        if self._git.line("rev-parse", "--verify", "--quiet", "HEAD") is None:
            return
        if self._git.line("merge-base", "--is-ancestor", "HEAD", upstream.tracking) is not None:
            return
        alone = ("--quiet", "--no-verify", "--no-signed", "--no-follow-tags", "--recurse-submodules=no")
        try:
            self._git("push", *alone, upstream.remote, f"HEAD:{upstream.target}")
        except PublicationFailed as error:
            raise PublicationFailed(f"{error}; the commits stay, and the next publication pushes them") from None


def _lines(contents: dict[str, bytes]) -> Generator[SealLine]:
    for path, content in contents.items():
        yield from lines_of(path, content)


def _subject(seals: Sequence[Seal]) -> str:
    first, last = seals[0], seals[-1]
    if first is last:
        return f"Seal {first.seal_id} of {first.session}"
    return f"Seals {first.seal_id} to {last.seal_id}, until {last.session}"
