"""The lock, the audit of known vulnerabilities, and the list of licences agree with constraints.txt."""

import json
import re
import subprocess
import sys
import zipfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from tests.repository import REPOSITORY

OUTSIDE_OF_THE_LOCK = {"aeventkit", "ib-async"}
"""The extra `ib-async`, which no installation for development has."""
RECORD = {
    "id": "GHSA-made-up",
    "affected": [
        {
            "package": {"ecosystem": "PyPI", "name": "Typing_Extensions"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "4.10"}, {"introduced": "5"}]}],
            "versions": ["4.12.1"],
        }
    ],
}


def pins() -> dict[str, str]:
    lines = (REPOSITORY / "constraints.txt").read_text().splitlines()
    return {canonicalize_name(name): pin for name, pin in (line.split("==") for line in lines if line)}


def test_the_lock_has_every_pin_with_hashes_and_nothing_of_another_version() -> None:
    """After a change of constraints.txt: make lock."""
    blocks = re.split(r"\n(?=\S)", (REPOSITORY / "requirements.lock").read_text())
    locked = dict[str, str]()
    for block in blocks:
        found = re.match(r"([a-z0-9-]+)==(\S+)", block)
        assert found, block
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", block), block
        if "sys_platform == 'win32'" not in block:
            locked[found[1]] = found[2]
    assert locked == {name: pin for name, pin in pins().items() if name not in OUTSIDE_OF_THE_LOCK}


def audit(constraints: Path, database: str) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, str(REPOSITORY / "supply_chain" / "audit.py"), str(constraints), database]
    return subprocess.run(words, capture_output=True, text=True, check=False)


@pytest.fixture
def constraints(tmp_path: Path) -> Path:
    path = tmp_path / "constraints.txt"
    path.write_text("typing_extensions==4.9.0\nsix==1.17.0\n")
    return path


@pytest.mark.parametrize("suffix", ["json", "zip"])
def test_a_vulnerable_pin_fails_the_audit(constraints: Path, tmp_path: Path, suffix: str) -> None:
    database = tmp_path / f"all.{suffix}"
    if suffix == "json":
        database.write_text(json.dumps([RECORD]))
    else:
        with zipfile.ZipFile(database, "w") as archive:
            archive.writestr("GHSA-made-up.json", json.dumps(RECORD))
    done = audit(constraints, str(database))
    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        "typing-extensions 4.9.0: GHSA-made-up",
        "1 vulnerabilities in 2 pins, by 1 records",
    ]


@pytest.mark.parametrize(("pin", "status"), [("4.10", 0), ("4.12.1", 1), ("5.1", 1), ("4.16.0", 0)])
def test_ranges_and_listed_versions_decide(constraints: Path, tmp_path: Path, pin: str, status: int) -> None:
    constraints.write_text(f"typing_extensions=={pin}\n")
    database = tmp_path / "all.json"
    database.write_text(json.dumps(RECORD))
    assert audit(constraints, str(database)).returncode == status


def test_an_audit_without_a_database_says_that_it_is_skipped(constraints: Path) -> None:
    done = audit(constraints, "")
    assert (done.returncode, done.stdout[:14]) == (0, "AUDIT SKIPPED:")


@pytest.mark.parametrize("content", [None, "", "[]", '"x"', '[{"affected": [{"package": 1}]}]'])
def test_an_unusable_database_is_no_pass(constraints: Path, tmp_path: Path, content: str | None) -> None:
    database = tmp_path / "all.json"
    if content is not None:
        database.write_text(content)
    done = audit(constraints, str(database))
    assert (done.returncode, done.stdout[:13]) == (2, "AUDIT FAILED:")


def test_the_list_of_licences_is_that_of_the_installed_packages() -> None:
    """After a change of constraints.txt: make licences."""
    script = [sys.executable, str(REPOSITORY / "supply_chain" / "licences.py"), str(REPOSITORY / "constraints.txt")]
    printed = subprocess.run(script, capture_output=True, text=True, check=True).stdout
    listed = (REPOSITORY / "docs" / "licences.md").read_text()
    rows = {line.split(" | ")[0].removeprefix("| "): line for line in printed.splitlines() if line.startswith("| ")}
    for name, pin in pins().items():
        assert re.search(rf"(^\| |[ ,]){re.escape(name)}( \||,|\.)", listed.replace("_", "-").lower(), re.MULTILINE)
        try:
            is_as_pinned = version(name) == pin
        except PackageNotFoundError:
            continue
        row = next((row for written, row in rows.items() if canonicalize_name(written) == name), None)
        if is_as_pinned and row is not None:
            assert row in listed.splitlines()
