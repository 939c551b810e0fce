"""The wheel, built from the tracked files and installed into a virtual environment outside of the repository.

Third-party packages are those of this environment, by links; the packages of LDTM come from the wheel alone.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

from tests.repository import REPOSITORY

OURS = ("ldtm", "_ldtm", "__editable__.ldtm", "__editable___ldtm")


def environment_with_wheel(folder: Path) -> Path:
    """Build the wheel and install it into a virtual environment below a folder."""
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, check=True, capture_output=True, text=True)
    for name in filter(None, tracked.stdout.split("\0")):
        copy = folder / "source" / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        if (REPOSITORY / name).is_file():
            shutil.copyfile(REPOSITORY / name, copy)
    pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(folder / "source"))
    [wheel] = folder.glob("ldtm-*.whl")
    shutil.rmtree(folder / "source")
    venv.create(folder / "venv", with_pip=False, symlinks=True)
    pip("--python", str(folder / "venv/bin/python"), "install", "--no-deps", "--no-index", str(wheel))
    third_party = folder / "third-party"
    third_party.mkdir()
    for path in Path(sysconfig.get_path("purelib")).iterdir():
        if not path.name.startswith(OURS):
            (third_party / path.name).symlink_to(path)
    [packages] = (folder / "venv/lib").glob("python*/site-packages")
    (packages / "third_party.pth").write_text(f"{third_party}\n")
    return folder / "venv"


def shell(environment: Path) -> dict[str, str]:
    """The variables of a shell in which the virtual environment is active and nothing else is known of LDTM."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LDTM_", "PYTHON", "DAGSTER"))}
    return {**kept, "PATH": f"{environment / 'bin'}:{os.environ['PATH']}", "COLUMNS": "200"}


def pip(*arguments: str) -> None:
    without = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, env=without, capture_output=True, text=True, cwd="/", check=False)
    assert done.returncode == 0, done.stdout + done.stderr
