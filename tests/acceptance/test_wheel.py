"""The wheel, built from the tracked files and used in a virtual environment outside of the repository.

Third-party packages are those of this environment, by links; the packages of LDTM come from the wheel alone.
`test_bootstrap.py` does the rest of what a person does with the wheel.
"""

import json
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.acceptance.wheel_environment import environment_with_wheel, shell
from tests.databases import server_home
from tests.repository import REPOSITORY

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(900)]

FILES = ("dagster.yaml", "demo.toml", "universe.toml", "verify_proof.py", "workspace.yaml")

Ldtm = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def environment() -> Iterator[Path]:
    """A virtual environment with the wheel in it, which the user that the embedded server runs as can reach."""
    with tempfile.TemporaryDirectory(prefix="ldtm-wheel-") as folder:
        Path(folder).chmod(0o755)
        yield environment_with_wheel(Path(folder))


@pytest.fixture(scope="module")
def project() -> Iterator[Path]:
    """An empty folder with a space in its name, which the user that the embedded server runs as can reach."""
    with server_home() as folder:
        project = folder / "my stocks"
        project.mkdir()
        yield project


@pytest.fixture(scope="module")
def ldtm(environment: Path, project: Path) -> Iterator[Ldtm]:
    """The wheel's command, called in the project's folder."""

    def call(*arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [str(environment / "bin/ldtm"), *arguments]
        return subprocess.run(command, cwd=project, env=shell(environment), capture_output=True, text=True, check=False)

    yield call
    call("down", "--all")


def test_packages_and_files_come_from_the_wheel_alone(environment: Path, project: Path) -> None:
    program = (
        "import json, ldtm_lib, ldtm_assets, ldtm_cli; from ldtm_lib.installation import FILES;"
        "print(json.dumps([m.__file__ for m in (ldtm_lib, ldtm_assets, ldtm_cli)] + [str(FILES)]))"
    )
    command = [str(environment / "bin/python"), "-c", program]
    done = subprocess.run(command, cwd=project, env=shell(environment), capture_output=True, text=True, check=True)
    *modules, files = [Path(name) for name in json.loads(done.stdout)]
    assert all(path.is_relative_to(environment) for path in (*modules, files)), done.stdout
    assert {path.name for path in files.iterdir()} - {"__pycache__"} == {*FILES, "sql"}
    for name in FILES:
        assert (files / name).read_bytes() == (REPOSITORY / name).read_bytes()
    packaged = sorted(path.relative_to(files) for path in files.rglob("*.sql"))
    assert packaged == sorted(path.relative_to(REPOSITORY) for path in (REPOSITORY / "sql").rglob("*.sql"))


def test_init_writes_a_project_once(ldtm: Ldtm, project: Path) -> None:
    done = ldtm("init", "--tickers", "AAPL, MSFT")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("created universe.toml\ncreated data/bars\n\nNext steps:\n")
    assert "ldtm doctor" in done.stdout
    assert "ldtm up" in done.stdout
    written = (project / "universe.toml").read_text()
    assert 'tickers = ["AAPL", "MSFT"]' in written
    assert (project / "data/bars").is_dir()
    again = ldtm("init")
    assert again.returncode == 2
    assert "universe.toml exists; `ldtm init` overwrites nothing" in again.stderr
    assert (project / "universe.toml").read_text() == written


def test_init_refuses_what_is_no_ticker_and_leaves_nothing(ldtm: Ldtm, project: Path) -> None:
    done = ldtm("--config", str(project / "other.toml"), "init", "--tickers", "AAPL,not a ticker")
    assert done.returncode == 2, done.stdout
    assert not (project / "other.toml").exists()


def test_doctor_finds_the_packages_and_names_the_bars_that_are_missing(ldtm: Ldtm, project: Path) -> None:
    findings = {finding["what"]: finding for finding in json.loads(ldtm("doctor", "--json").stdout)}
    assert findings["configuration"]["level"] == "ok"
    assert findings["packages"]["level"] == "ok"
    assert findings["source"]["level"] == "fail"
    assert "none for AAPL, MSFT" in findings["source"]["found"]


def test_the_demo_keeps_its_state_in_the_working_folder(ldtm: Ldtm, project: Path) -> None:
    """With the least of training: the figures of the demo are tested elsewhere."""
    bundled = (REPOSITORY / "demo.toml").read_text()
    shortened = re.sub(r"^max_epochs = \d+", "max_epochs = 1", bundled, flags=re.MULTILINE)
    assert shortened != bundled
    (project / "demo.toml").write_text(shortened)
    done = ldtm("demo")
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"\bldtm -c demo.toml up\b", done.stdout), done.stdout
    assert (project / "demo.toml").read_text() == shortened
    assert (project / ".ldtm/ldtm_demo/checkpoints").is_dir()
    board = json.loads(ldtm("-c", "demo.toml", "leaderboard", "--simulated", "--json").stdout)
    assert board["universe"]["num_filled"] == 29 * 4
    assert {row["ticker"] for row in board["rows"]} == {"AAPL", "FB", "GOOG", "IBM", "MSFT"}
    assert json.loads(ldtm("-c", "demo.toml", "audit", "verify", "--json").stdout)["intact"] is True


def test_the_version_is_that_of_the_project_file(ldtm: Ldtm) -> None:
    version = re.search(r'^version = "(.*)"$', (REPOSITORY / "pyproject.toml").read_text(), re.MULTILINE)
    assert version is not None
    assert ldtm("--version").stdout == f"ldtm {version[1]}\n"
