"""The pins of constraints.txt agree with what the CUDA build of torch requires, as the package index states it.

pip itself asks the index, with the configuration of this machine. It reads the metadata of the wheels alone, about
3 MB, by PEP 658 files or by HTTP range requests; releases of pip before 26 download 0.5 GB instead.
"""

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.repository import REPOSITORY

CUDA_MACHINE = {
    **default_environment(),
    "os_name": "posix",
    "sys_platform": "linux",
    "platform_system": "Linux",
    "platform_machine": "x86_64",
    "python_version": "3.11",
    "python_full_version": "3.11.0",
    "implementation_name": "cpython",
    "platform_python_implementation": "CPython",
}
"""The markers of the machine that the default installation is for."""
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64", "linux_x86_64")
METADATA_ONLY = Version("26.0")
PIP_TIMEOUT_SECONDS = 120


def pinned(constraints: Path) -> dict[str, Version]:
    """The pinned version of every package, by its normalized name."""
    pins = [line.split("==") for line in constraints.read_text().splitlines() if line]
    return {canonicalize_name(name): Version(version) for name, version in pins}


def contradictions(requirements: list[Requirement], pins: dict[str, Version]) -> list[str]:
    """One line for every requirement that the pins leave open or contradict."""
    found: list[str] = []
    for requirement in requirements:
        pin = pins.get(canonicalize_name(requirement.name))
        if pin is None:
            found.append(f"{requirement} has no pin")
        elif not requirement.specifier.contains(pin, prereleases=True):
            found.append(f"{requirement} is contradicted by the pin {pin}")
    return found


def applicable(lines: list[str], extras: set[str]) -> list[Requirement]:
    """The requirements of a wheel that hold on the machine with CUDA, with some of the wheel's extras."""
    requirements = [Requirement(line) for line in lines]
    return [
        requirement
        for requirement in requirements
        if requirement.marker is None
        or any(requirement.marker.evaluate({**CUDA_MACHINE, "extra": extra}) for extra in extras | {""})
    ]


def requirements_on_the_index(name: str, pin: Version, folder: Path) -> list[str]:
    """The `Requires-Dist` lines of a release on the index; skips the test when the index cannot be asked.

    `===` takes the release with exactly this version: `2.13.0+cpu` in a local folder is another one.
    """
    report = folder / f"{name}.json"
    command = [
        *(sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--no-deps", "--quiet"),
        *("--use-feature=fast-deps", "--no-input", "--retries", "1", "--timeout", "15"),
        *("--only-binary", ":all:", "--python-version", "3.11", "--implementation", "cp", "--target", str(folder)),
        *(word for platform in PLATFORMS for word in ("--platform", platform)),
        *("--report", str(report), f"{name}==={pin}"),
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PIP_TIMEOUT_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip(f"the package index did not state the requirements of {name} {pin} in {PIP_TIMEOUT_SECONDS} s")
    if done.returncode != 0:
        reason = next((line for line in reversed(done.stderr.splitlines()) if line.startswith("ERROR")), done.stderr)
        pytest.skip(f"the package index does not state the requirements of {name} {pin}: {reason}")
    [release] = json.loads(report.read_text())["install"]
    return release["metadata"].get("requires_dist", [])


def test_pins_agree_with_the_requirements_of_the_cuda_wheel_of_torch(tmp_path: Path) -> None:
    if Version(version("pip")) < METADATA_ONLY:
        pytest.skip(
            f"pip {version('pip')} would download 0.5 GB to read the requirements; `make install` brings pip 26"
        )
    pins = pinned(REPOSITORY / "constraints.txt")
    of_torch = applicable(requirements_on_the_index("torch", pins["torch"], tmp_path), set())
    by_name = {requirement.name: requirement for requirement in of_torch}
    assert "triton" in by_name, "this is not the CUDA wheel, which requires triton"
    assert contradictions(of_torch, pins) == []
    toolkit = by_name["cuda-toolkit"]
    of_toolkit = requirements_on_the_index("cuda-toolkit", pins["cuda-toolkit"], tmp_path)
    assert contradictions(applicable(of_toolkit, toolkit.extras), pins) == []


def test_a_pin_that_the_wheel_excludes_is_reported() -> None:
    requirement = Requirement('triton==3.7.1; platform_system == "Linux" and python_version < "3.15"')
    assert contradictions([requirement], {"triton": Version("3.9.0")}) == [
        f"{requirement} is contradicted by the pin 3.9.0"
    ]
    assert contradictions([requirement], {"triton": Version("3.7.1")}) == []
    assert contradictions([requirement], {}) == [f"{requirement} has no pin"]
