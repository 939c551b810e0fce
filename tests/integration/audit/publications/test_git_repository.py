"""Seals in a real git repository with a real bare remote."""

import os
import shutil
import subprocess
import time
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ldtm_lib.audit.publications import git_command
from ldtm_lib.audit.publications.git_repository import GitRepository
from ldtm_lib.audit.publications.protocol import publish_missing
from ldtm_lib.audit.publications.seal_lines import line_of
from ldtm_lib.errors import PublicationFailed
from tests.integration.audit.publications.chains import chain, resealed

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed here")
SEALS = chain(8)
SEAL_2 = "seals/2026/000002.json"


@pytest.fixture(autouse=True)
def own_git_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody's settings, and no identity."""
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")


def git(folder: Path, *arguments: str) -> str:
    """git as the owner runs it."""
    identity = ["-c", "user.name=Owner", "-c", "user.email=owner@example.org", "-c", "core.hooksPath=/dev/null"]
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> GitRepository:
    """A repository with a commit of the owner's."""
    folder = tmp_path / "record"
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch=main")
    (folder / "README").write_text("mine\n")
    git(folder, "add", "README")
    git(folder, "commit", "--quiet", "--message", "Mine")
    return GitRepository(folder=folder)


@pytest.fixture
def pushed(repository: GitRepository, tmp_path: Path) -> GitRepository:
    """The same with a bare remote."""
    git(tmp_path, "init", "--quiet", "--bare", "--initial-branch=main", "remote.git")
    git(repository.folder, "remote", "add", "origin", str(tmp_path / "remote.git"))
    return GitRepository(folder=repository.folder, push=True)


def test_what_is_committed_is_read_and_publishing_again_changes_nothing(repository: GitRepository) -> None:
    assert publish_missing(repository, SEALS[:3]) == 3
    assert publish_missing(repository, SEALS[:4]) == 1
    head = git(repository.folder, "rev-parse", "HEAD")
    assert publish_missing(repository, SEALS[:4]) == 0
    repository.publish(SEALS[:4])
    assert git(repository.folder, "rev-parse", "HEAD") == head
    published = repository.read()
    assert (published.problems, published.notes) == ((), ())
    assert [(s.sha256, s.leaves) for s in published.seals.values()] == [(s.sha256, s.leaves) for s in SEALS[:4]]
    assert git(repository.folder, "log", "--format=%an <%ae> %s") == (
        "LDTM <ldtm@localhost> Seal 3 of 2026-01-05\n"
        "LDTM <ldtm@localhost> Seals 0 to 2, until 2026-01-04\n"
        "Owner <owner@example.org> Mine"
    )
    assert git(repository.folder, "status", "--porcelain") == ""
    assert git(repository.folder, "fsck", "--strict") == ""


def test_the_files_in_order_are_the_seal_file(repository: GitRepository) -> None:
    repository.publish(SEALS)
    files = sorted((repository.folder / "seals").rglob("*.json"))
    assert b"".join(file.read_bytes() for file in files) == b"".join(map(line_of, SEALS))


def test_the_owners_identity_is_used_where_there_is_one(repository: GitRepository) -> None:
    git(repository.folder, "config", "user.name", "Ada")
    git(repository.folder, "config", "user.email", "ada@example.org")
    repository.publish(SEALS)
    assert git(repository.folder, "log", "-1", "--format=%an <%ae>") == "Ada <ada@example.org>"


def test_the_first_commit_of_a_repository_can_be_a_seal(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet", "fresh")
    repository = GitRepository(folder=tmp_path / "fresh")
    assert repository.read().notes == (f"{tmp_path / 'fresh'} has no commit yet",)
    assert publish_missing(repository, SEALS) == 8
    assert len(repository.read().seals) == 8


def test_no_other_file_staged_or_not_is_touched(repository: GitRepository) -> None:
    (repository.folder / "README").write_text("staged\n")
    (repository.folder / "seals").mkdir()
    (repository.folder / "seals" / "mine.txt").write_text("untracked\n")
    git(repository.folder, "add", "README")
    (repository.folder / "README").write_text("not staged\n")
    repository.publish(SEALS[:1])
    assert git(repository.folder, "show", "--stat", "--format=", "HEAD").split()[0] == "seals/2026/000000.json"
    assert git(repository.folder, "show", "HEAD:README") == "mine"
    assert git(repository.folder, "show", ":README") == "staged"
    assert git(repository.folder, "status", "--porcelain").split("\n") == ["MM README", "?? seals/mine.txt"]


def test_hooks_signatures_and_ignored_names_are_no_hindrance(repository: GitRepository) -> None:
    hooks = repository.folder / ".git" / "hooks"
    for name in ("pre-commit", "commit-msg", "post-commit", "prepare-commit-msg"):
        (hooks / name).write_text(f"#!/bin/sh\ntouch {repository.folder}/hook-ran\nexit 1\n")
        (hooks / name).chmod(0o755)
    git(repository.folder, "config", "commit.gpgSign", "true")
    git(repository.folder, "config", "gpg.program", "/bin/false")
    git(repository.folder, "config", "core.autocrlf", "true")
    git(repository.folder, "config", "core.safecrlf", "true")
    (repository.folder / ".gitignore").write_text("*.json\n")
    repository.publish(SEALS)
    assert repository.read().problems == ()
    assert not (repository.folder / "hook-ran").exists()


def test_the_variables_that_git_sets_for_its_hooks_do_not_lead_elsewhere(
    repository: GitRepository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(tmp_path, "init", "--quiet", "other")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "other" / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "other" / ".git" / "index"))
    repository.publish(SEALS)
    monkeypatch.delenv("GIT_DIR")
    monkeypatch.delenv("GIT_INDEX_FILE")
    assert len(repository.read().seals) == 8


def test_a_repository_that_would_store_other_bytes_is_refused_before_anything_is_committed(
    repository: GitRepository,
) -> None:
    (repository.folder / ".gitattributes").write_text("*.json filter=upper\n")
    git(repository.folder, "config", "filter.upper.clean", "tr a-z A-Z")
    head = git(repository.folder, "rev-parse", "HEAD")
    with pytest.raises(PublicationFailed, match=r"git would not store seals unchanged; add `seals/\*\* -text -filter`"):
        repository.publish(SEALS)
    assert git(repository.folder, "rev-parse", "HEAD") == head
    (repository.folder / ".gitattributes").write_text("*.json filter=upper\nseals/** -text -filter\n")
    assert publish_missing(repository, SEALS) == 8
    assert repository.read().problems == ()


def test_a_crash_before_the_commit_is_a_note_and_the_next_publication_commits(repository: GitRepository) -> None:
    repository.publish(SEALS[:2])
    (repository.folder / SEAL_2).write_bytes(line_of(SEALS[2])[:50])
    git(repository.folder, "add", SEAL_2)
    published = repository.read()
    assert published.problems == ()
    assert published.notes == (f"{repository.folder}: 1 file of seals not committed; publishing again commits them",)
    assert publish_missing(repository, SEALS) == 6
    assert repository.read().notes == ()
    assert repository.read().problems == ()


def test_a_changed_or_missing_file_of_the_work_tree_is_a_problem(repository: GitRepository) -> None:
    repository.publish(SEALS)
    file = repository.folder / SEAL_2
    file.write_bytes(line_of(resealed(SEALS[2], first_event=9)))
    git(repository.folder, "update-index", "--assume-unchanged", SEAL_2)
    assert repository.read().problems == (
        f"{file} differs from its commit; compare them with `git diff HEAD -- {SEAL_2}`",
    )
    file.unlink()
    assert repository.read().problems == (f"{file} is missing; restore it with `git checkout HEAD -- {SEAL_2}`",)
    assert len(repository.read().seals) == 8


def test_a_commit_that_changed_a_seal_stays_a_problem_after_it_was_changed_back(repository: GitRepository) -> None:
    repository.publish(SEALS)
    file = repository.folder / SEAL_2
    file.write_bytes(line_of(resealed(SEALS[2], first_event=9)))
    git(repository.folder, "commit", "--quiet", "--all", "--message", "Change")
    change = git(repository.folder, "rev-parse", "--short", "HEAD")
    problems = repository.read().problems
    assert f"{repository.folder}: commit {change} changed {SEAL_2}; see it with `git show {change} -- {SEAL_2}`" in (
        problems
    )
    assert any("the previous_sha256 of seal 3 is not the sha256 before it" in problem for problem in problems)
    git(repository.folder, "rm", "--quiet", SEAL_2)
    git(repository.folder, "commit", "--quiet", "--message", "Remove")
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(line_of(SEALS[2]))
    git(repository.folder, "add", SEAL_2)
    git(repository.folder, "commit", "--quiet", "--message", "Back")
    problems = repository.read().problems
    assert [problem.split("; ")[0].split(": commit ")[1][8:] for problem in problems] == [
        f"removed {SEAL_2}",
        f"changed {SEAL_2}",
    ]


def test_a_change_that_only_a_merged_side_branch_ever_had_is_found(repository: GitRepository) -> None:
    repository.publish(SEALS)
    git(repository.folder, "switch", "--quiet", "--create", "side")
    git(repository.folder, "rm", "--quiet", SEAL_2)
    git(repository.folder, "commit", "--quiet", "--message", "Remove")
    git(repository.folder, "switch", "--quiet", "main")
    git(repository.folder, "merge", "--quiet", "--no-ff", "--strategy=ours", "--message", "Merge", "side")
    problems = repository.read().problems
    assert len(problems) == 1
    assert f"removed {SEAL_2}" in problems[0]


def test_a_change_that_only_a_merge_itself_made_is_found(repository: GitRepository) -> None:
    repository.publish(SEALS)
    git(repository.folder, "switch", "--quiet", "--create", "side")
    (repository.folder / "README").write_text("more\n")
    git(repository.folder, "commit", "--quiet", "--all", "--message", "More")
    git(repository.folder, "switch", "--quiet", "main")
    git(repository.folder, "merge", "--quiet", "--no-ff", "--no-commit", "side")
    git(repository.folder, "rm", "--quiet", SEAL_2)
    git(repository.folder, "commit", "--quiet", "--message", "Merge")
    file = repository.folder / SEAL_2
    file.write_bytes(line_of(SEALS[2]))
    git(repository.folder, "add", SEAL_2)
    git(repository.folder, "commit", "--quiet", "--message", "Back")
    problems = repository.read().problems
    assert problems
    assert all(f"removed {SEAL_2}" in problem for problem in problems)


def test_an_owner_who_works_on_branches_and_merges_them_has_no_problem(repository: GitRepository) -> None:
    repository.publish(SEALS[:3])
    git(repository.folder, "switch", "--quiet", "--create", "side")
    (repository.folder / "README").write_text("more\n")
    git(repository.folder, "commit", "--quiet", "--all", "--message", "More")
    git(repository.folder, "switch", "--quiet", "main")
    repository.publish(SEALS[:5])
    git(repository.folder, "merge", "--quiet", "--message", "Merge", "side")
    repository.publish(SEALS)
    assert (repository.read().problems, len(repository.read().seals)) == ((), 8)


def test_a_commit_is_pushed_and_one_that_could_not_be_waits_for_the_next_time(
    pushed: GitRepository, tmp_path: Path
) -> None:
    remote = tmp_path / "remote.git"
    publish_missing(pushed, SEALS[:2])
    assert git(remote, "rev-parse", "main") == git(pushed.folder, "rev-parse", "HEAD")
    remote.rename(tmp_path / "away.git")
    with pytest.raises(PublicationFailed, match=r"git push: .*the commits stay, and the next publication"):
        publish_missing(pushed, SEALS[:3])
    with pytest.raises(PublicationFailed, match=r"git push: "):
        publish_missing(pushed, SEALS[:4])
    published = pushed.read()
    assert (len(published.seals), published.problems) == (4, ())
    assert published.notes == (f"{pushed.folder}: 2 commits not pushed yet; publishing again pushes them",)
    (tmp_path / "away.git").rename(remote)
    assert publish_missing(pushed, SEALS[:4]) == 0
    assert git(remote, "rev-parse", "main") == git(pushed.folder, "rev-parse", "HEAD")
    assert pushed.read().notes == ()


def test_a_branch_is_pushed_to_where_it_is_configured_to_go(pushed: GitRepository, tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet", "--bare", "second.git")
    git(pushed.folder, "remote", "add", "second", str(tmp_path / "second.git"))
    git(pushed.folder, "config", "branch.main.remote", "second")
    git(pushed.folder, "config", "branch.main.merge", "refs/heads/record")
    publish_missing(pushed, SEALS)
    assert git(tmp_path / "second.git", "rev-parse", "record") == git(pushed.folder, "rev-parse", "HEAD")
    assert git(tmp_path / "remote.git", "for-each-ref") == ""
    assert pushed.read().notes == ()


def test_a_history_that_no_longer_contains_what_was_pushed_is_a_problem(pushed: GitRepository) -> None:
    publish_missing(pushed, SEALS)
    git(pushed.folder, "reset", "--quiet", "--hard", "HEAD~1")
    problem = (
        f"{pushed.folder}: HEAD does not contain origin/main, so commits of origin/main are missing from it; "
        "see them with `git log HEAD..origin/main` and restore them with `git merge origin/main`"
    )
    assert pushed.read().problems == (problem,)
    publish_missing_refused = pytest.raises(PublicationFailed, match="git push: ")
    with publish_missing_refused:
        publish_missing(pushed, chain(3, world="rewritten"))
    assert pushed.read().problems == (problem,)
    assert GitRepository(folder=pushed.folder).read().problems == (problem,)


def test_the_time_of_a_commit_is_that_of_its_seals(repository: GitRepository) -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    publish_missing(repository, SEALS[:3])
    published = repository.read()
    assert published.witness is not None
    assert {seal.published_at for seal in published.seals.values()} <= {before, before + timedelta(seconds=1)}
    assert all(seal.sealed_at < before for seal in SEALS[:3]), "one commit of today holds them all"


def test_a_remote_is_asked_what_it_holds(pushed: GitRepository, tmp_path: Path) -> None:
    """Another clone has pushed, so that the push of this one is refused; only a question to the remote tells."""
    publish_missing(pushed, SEALS[:2])
    other = tmp_path / "other"
    git(tmp_path, "clone", "--quiet", str(tmp_path / "remote.git"), str(other))
    publish_missing(GitRepository(folder=other, push=True), SEALS[:3])
    with pytest.raises(PublicationFailed, match="git push: "):
        publish_missing(pushed, chain(4, world="rewritten")[:2] + SEALS[2:4])
    assert pushed.read().problems == (), "what this folder remembers of the remote is old"
    assert pushed.ask_remote() is None
    (problem,) = pushed.read().problems
    assert "HEAD does not contain origin/main, so commits of origin/main are missing from it" in problem


def test_a_remote_that_cannot_be_asked_is_named_and_one_that_is_not_pushed_to_is_not_asked(
    pushed: GitRepository, tmp_path: Path
) -> None:
    publish_missing(pushed, SEALS[:2])
    assert pushed.ask_remote() is None
    (tmp_path / "remote.git").rename(tmp_path / "gone.git")
    reason = pushed.ask_remote()
    assert reason is not None
    assert reason.startswith(f"{pushed.folder}: git fetch: ")
    assert GitRepository(folder=pushed.folder).ask_remote() is None


def test_a_repository_without_a_remote_or_a_branch_cannot_be_pushed(
    repository: GitRepository, pushed: GitRepository
) -> None:
    git(pushed.folder, "switch", "--quiet", "--detach")
    with pytest.raises(PublicationFailed, match="has no remote or no branch"):
        publish_missing(pushed, SEALS)
    git(pushed.folder, "branch", "--force", "main", "HEAD")
    git(pushed.folder, "switch", "--quiet", "main")
    assert publish_missing(pushed, SEALS) == 0
    assert (pushed.read().notes, len(pushed.read().seals)) == ((), 8)


def test_a_remote_that_hangs_is_given_up_and_nothing_of_it_goes_on(
    pushed: GitRepository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    GitRepository(folder=pushed.folder).publish(SEALS)
    git(pushed.folder, "config", "protocol.ext.allow", "always")
    git(pushed.folder, "remote", "set-url", "origin", f"ext::sh {tmp_path}/hangs")
    (tmp_path / "hangs").write_text(f"echo $$ > {tmp_path}/pid; exec sleep 60\n")
    monkeypatch.setattr(git_command, "TIMEOUT_SECONDS", 3)
    began = time.monotonic()
    with pytest.raises(PublicationFailed, match="git push did not end within 3 s; try it by hand there; the commits"):
        publish_missing(pushed, SEALS)
    assert time.monotonic() - began < 30
    command = Path("/proc", (tmp_path / "pid").read_text().strip(), "cmdline")
    for _ in range(100):
        if not command.exists() or command.read_bytes() == b"":
            return
        time.sleep(0.05)
    pytest.fail("the remote's process goes on")


def test_a_chain_that_was_written_again_is_not_committed_over_the_first(repository: GitRepository) -> None:
    repository.publish(SEALS[:3])
    head = git(repository.folder, "rev-parse", "HEAD")
    with pytest.raises(PublicationFailed, match="seal 3 in the database does not follow what was published as seal 2"):
        publish_missing(repository, chain(6, world="rewritten"))
    assert git(repository.folder, "rev-parse", "HEAD") == head


def test_a_folder_that_is_no_repository_says_what_it_is(repository: GitRepository, tmp_path: Path) -> None:
    def refusal(folder: Path) -> str:
        publication = GitRepository(folder=folder)
        with pytest.raises(PublicationFailed) as refused:
            publication.publish(SEALS)
        assert publication.read().problems == (str(refused.value),)
        return str(refused.value)

    missing, plain, inside, bare = (tmp_path / n for n in ("missing", "plain", "record/inside", "bare.git"))
    plain.mkdir()
    inside.mkdir()
    git(tmp_path, "init", "--quiet", "--bare", "bare.git")
    assert refusal(missing) == f"there is no folder {missing}; run `git init {missing}`, or clone one"
    assert "not a git repository" in refusal(plain)
    assert refusal(inside) == f"{inside} is the folder inside/ of another repository; run `git init {inside}`"
    assert refusal(bare) == f"{bare} is a bare repository; name one with a work tree in publish.git"


def test_git_that_is_not_installed_is_said(repository: GitRepository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert repository.read().problems == ("git is not installed; install it, or remove publish.git",)


def test_a_damaged_repository_is_a_problem_and_no_crash(repository: GitRepository) -> None:
    repository.publish(SEALS)
    blob = git(repository.folder, "rev-parse", f"HEAD:{SEAL_2}")
    file = repository.folder / ".git" / "objects" / blob[:2] / blob[2:]
    kept = file.read_bytes()
    file.unlink()
    missing = f"{repository.folder}: HEAD:{SEAL_2} is missing; run `git fsck`, and restore the repository from a clone"
    assert repository.read().problems == (missing,)
    with pytest.raises(PublicationFailed, match="run `git fsck`, and restore"):
        publish_missing(repository, SEALS)
    file.write_bytes(kept[:20])
    assert repository.read().problems == (missing,)
    (repository.folder / ".git" / "HEAD").write_text("nonsense")
    assert "not a git repository" in repository.read().problems[0]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read and write everything")
def test_folders_without_permission_are_said(repository: GitRepository) -> None:
    repository.publish(SEALS[:3])
    (repository.folder / SEAL_2).chmod(0)
    assert repository.read().problems == (
        f"{repository.folder / SEAL_2} cannot be read: Permission denied; make it readable",
    )
    (repository.folder / ".git" / "ldtm.lock").unlink()
    (repository.folder / ".git").chmod(0o555)
    with pytest.raises(PublicationFailed, match=r"\.git cannot be written to: Permission denied; make it writable"):
        repository.publish(SEALS)
    (repository.folder / ".git").chmod(0o755)


def test_a_lock_that_git_left_behind_is_said_and_nothing_is_lost(repository: GitRepository) -> None:
    lock = repository.folder / ".git" / "index.lock"
    lock.touch()
    with pytest.raises(PublicationFailed, match=r"git add: .*index\.lock.*"):
        publish_missing(repository, SEALS)
    lock.unlink()
    assert publish_missing(repository, SEALS) == 8


def _publish_one_by_one(folder: Path) -> None:
    for upto in range(1, len(SEALS) + 1):
        publish_missing(GitRepository(folder=folder), SEALS[:upto])


def test_two_processes_at_once_commit_every_seal_once(repository: GitRepository) -> None:
    with ProcessPoolExecutor(3) as processes:
        list(processes.map(_publish_one_by_one, [repository.folder] * 3))
    published = repository.read()
    assert (len(published.seals), published.problems) == (8, ())
    changes = git(repository.folder, "log", "--format=", "--name-status", "--", "seals").splitlines()
    assert sorted(changes) == [f"A\tseals/2026/{seal.seal_id:06d}.json" for seal in SEALS]


def test_a_shallow_clone_says_that_its_past_is_out_of_sight(pushed: GitRepository, tmp_path: Path) -> None:
    publish_missing(pushed, SEALS[:4])
    publish_missing(pushed, SEALS)
    git(tmp_path, "clone", "--quiet", "--depth=1", f"file://{tmp_path}/remote.git", "shallow")
    published = GitRepository(folder=tmp_path / "shallow").read()
    assert (len(published.seals), published.problems) == (8, ())
    assert published.notes == (f"{tmp_path}/shallow is a shallow clone; its earlier history cannot be checked",)
