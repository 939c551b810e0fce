"""An archive that is damaged, forged or of another version is refused before anything is changed."""

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from ldtm_lib.backup.archive import open_archive
from ldtm_lib.database.connection import Database
from ldtm_lib.errors import RestoreRefused
from tests.databases import create_database, drop_database, url_of
from tests.integration.backup.installation import Installation

Members = dict[str, bytes]


@pytest.fixture
def archive(saved: tuple[Installation, Path]) -> Path:
    return saved[1]


@pytest.fixture(scope="module")
def untouched(server_url: str) -> Iterator[Database]:
    """A database that stays empty, since every archive is refused."""
    name = f"ldtm_untouched_{os.getpid()}"
    create_database(server_url, name, None)
    yield Database(url=url_of(server_url, name), schema="ldtm")
    drop_database(server_url, name)


@pytest.fixture
def target(saved: tuple[Installation, Path], untouched: Database, tmp_path: Path) -> Installation:
    """An empty folder and database."""
    return saved[0].elsewhere(tmp_path / "second", untouched)


def members_of(archive: Path) -> Members:
    with tarfile.open(archive, "r:") as tar:
        return {info.name: tar.extractfile(info).read() for info in tar}  # type: ignore[union-attr]


def write(path: Path, members: Members, alter: Callable[[tarfile.TarInfo], None] = lambda info: None) -> None:
    """A tar with the same members as Python writes it, whose headers a function may alter."""
    with tarfile.open(path, "w:", format=tarfile.GNU_FORMAT) as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            alter(info)
            tar.addfile(info, io.BytesIO(content))


def forged(archive: Path, change: Callable[[dict[str, Any]], None]) -> Members:
    """The members with another manifest, whose hash fits."""
    members = members_of(archive)
    manifest = json.loads(members["manifest.json"])
    change(manifest)
    members["manifest.json"] = json.dumps(manifest).encode()
    sha256 = hashlib.sha256(members["manifest.json"]).hexdigest()
    members["manifest.json.sha256"] = f"{sha256}  manifest.json\n".encode()
    return members


def refusal(target: Installation, path: Path) -> str:
    """The message of a restore that must be refused and change nothing."""
    assert not list(target.folder.iterdir())
    with pytest.raises(RestoreRefused) as refused:
        target.restore(path)
    assert not list(target.folder.iterdir()), "nothing is written"
    with target.database.connect() as conn:
        assert conn.execute("select to_regnamespace('ldtm')").fetchone() == (None,)
    return str(refused.value)


def test_the_archive_as_python_would_write_it_is_accepted(archive: Path, tmp_path: Path) -> None:
    write(tmp_path / "again.tar", members_of(archive))
    with open_archive(tmp_path / "again.tar") as again:
        assert again.content("home/database.json") == members_of(archive)["home/database.json"]


def positions(archive: Path) -> Iterator[tuple[str, int]]:
    """A byte in the header, the content and the padding of every member, and in the end of the archive."""
    with tarfile.open(archive, "r:") as tar:
        for info in tar:
            yield f"header of {info.name}", info.offset + 3
            yield f"size of {info.name}", info.offset + 124 + 9
            yield f"content of {info.name}", info.offset_data + info.size // 2
            if info.size % 512:
                yield f"padding of {info.name}", info.offset_data + info.size
    yield "end", archive.stat().st_size - 1


def test_a_flipped_byte_is_found_wherever_it_is(archive: Path, tmp_path: Path) -> None:
    content = archive.read_bytes()
    damaged = tmp_path / "damaged.tar"
    accepted: list[str] = []
    for what, position in positions(archive):
        altered = bytearray(content)
        altered[position] ^= 1
        damaged.write_bytes(altered)
        with suppress(RestoreRefused), open_archive(damaged):
            accepted.append(what)
    assert accepted == []


def test_a_flipped_byte_of_the_dump_is_named_with_both_hashes(
    archive: Path, target: Installation, tmp_path: Path
) -> None:
    members = members_of(archive)
    dump = bytearray(members["database.dump"])
    dump[-5] ^= 1
    write(tmp_path / "damaged.tar", members | {"database.dump": bytes(dump)})
    message = refusal(target, tmp_path / "damaged.tar")
    assert f"damaged.tar is damaged: database.dump was altered: its SHA-256 is {hashlib.sha256(dump).hexdigest()}" in (
        message
    )
    assert "Use another copy or another backup; nothing was changed" in message


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9, 0.999])
def test_a_truncated_archive_is_refused(archive: Path, target: Installation, tmp_path: Path, part: float) -> None:
    content = archive.read_bytes()
    (tmp_path / "cut.tar").write_bytes(content[: int(len(content) * part)])
    assert "cut.tar is damaged: it" in refusal(target, tmp_path / "cut.tar")


def test_what_is_no_archive_is_refused(target: Installation, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no archive at all\n" * 100)
    assert "text is not an archive of `ldtm backup`; nothing was changed" in refusal(target, tmp_path / "text")
    (tmp_path / "empty").write_bytes(b"")
    assert "its end with manifest.json is missing" in refusal(target, tmp_path / "empty")
    assert "nowhere.tar cannot be read: No such file or directory" in refusal(target, tmp_path / "nowhere.tar")


@pytest.mark.parametrize(
    "name",
    [
        "/etc/ldtm.toml",
        "../universe.toml",
        "home/../../universe.toml",
        "home/checkpoints/../../x.pt",
        "home/checkpoints/.hidden.pt",
        "home/checkpoints/deep/er/x.pt",
        "notes.txt",
        "home/postgres/PG_VERSION",
    ],
)
def test_a_member_that_is_not_of_a_backup_is_refused(
    archive: Path, target: Installation, tmp_path: Path, name: str
) -> None:
    write(tmp_path / "more.tar", {name: b"x"} | members_of(archive))
    assert f"it holds {name!r}, which is not part of a backup" in refusal(target, tmp_path / "more.tar")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_folders_and_special_files_are_refused(
    archive: Path, target: Installation, tmp_path: Path, kind: bytes
) -> None:
    def alter(info: tarfile.TarInfo) -> None:
        if info.name == "home/database.json":
            info.type, info.linkname, info.size = kind, "/etc/passwd", 0

    write(tmp_path / "link.tar", members_of(archive), alter)
    assert "home/database.json is not a plain file" in refusal(target, tmp_path / "link.tar")


def test_a_member_that_stands_twice_is_refused(archive: Path, target: Installation, tmp_path: Path) -> None:
    content = archive.read_bytes()
    with tarfile.open(archive, "r:") as tar:
        first, second = tar.next(), tar.next()
    assert first is not None
    assert second is not None
    (tmp_path / "twice.tar").write_bytes(content[: second.offset] + content)
    assert "it holds configuration.toml twice" in refusal(target, tmp_path / "twice.tar")


def test_members_that_differ_from_the_manifest_are_refused(archive: Path, target: Installation, tmp_path: Path) -> None:
    members = members_of(archive)
    del members["home/seals.jsonl"]
    write(tmp_path / "less.tar", members)
    assert "its members are not those of its manifest: home/seals.jsonl" in refusal(target, tmp_path / "less.tar")
    members = members_of(archive)
    members["configuration.toml"] += b"\n"
    write(tmp_path / "longer.tar", members)
    assert "configuration.toml has 28 bytes, and 27 in the manifest" in refusal(target, tmp_path / "longer.tar")


def test_an_archive_of_a_newer_format_is_refused(archive: Path, target: Installation, tmp_path: Path) -> None:
    def newer(manifest: dict[str, Any]) -> None:
        manifest |= {"format_version": 2, "ldtm_version": "9.1.0", "colour": "blue"}

    write(tmp_path / "newer.tar", forged(archive, newer))
    message = refusal(target, tmp_path / "newer.tar")
    assert "newer.tar has format 2 and was made by LDTM 9.1.0; this version reads format 1: update LDTM" in message


def test_an_archive_with_unknown_migrations_is_refused(archive: Path, target: Installation, tmp_path: Path) -> None:
    def newer(manifest: dict[str, Any]) -> None:
        manifest["migrations"]["0999_future.sql"] = "0" * 64

    write(tmp_path / "newer.tar", forged(archive, newer))
    message = refusal(target, tmp_path / "newer.tar")
    assert "its schema has 0999_future.sql applied, which this version does not have: update LDTM" in message


def test_a_manifest_of_another_shape_is_refused(archive: Path, target: Installation, tmp_path: Path) -> None:
    write(tmp_path / "odd.tar", forged(archive, lambda manifest: manifest.pop("installation_id")))
    assert "manifest.json of " in (message := refusal(target, tmp_path / "odd.tar"))
    assert "(installation_id: Field required)" in message


def test_a_dump_of_another_record_than_the_manifest_states_is_rolled_back(
    archive: Path, target: Installation, tmp_path: Path
) -> None:
    write(tmp_path / "odd.tar", forged(archive, lambda manifest: manifest.update(num_events=7)))
    with pytest.raises(RestoreRefused, match="the dump does not hold the record that its manifest states"):
        target.restore(tmp_path / "odd.tar")
    with target.database.connect() as conn:
        assert conn.execute("select to_regnamespace('ldtm')").fetchone() == (None,)
