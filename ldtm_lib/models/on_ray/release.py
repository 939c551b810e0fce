"""The release that a node of a cluster runs, since nodes have their own installations."""

import platform
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version

from ldtm_lib.installation import code_sha256, installed_version


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """The versions that must be the same on all nodes and on the machine that started the training."""

    ldtm: str
    """The version, with the first digits of the hash of the code."""
    python: str
    torch: str
    """The version without the part after `+`: a host without a GPU may have the CPU build."""
    ray: str

    def __str__(self) -> str:
        return f"ldtm {self.ldtm}, Python {self.python}, torch {self.torch}, ray {self.ray}"


@cache
def release_here() -> Release:
    """The release of this process's installation."""
    return Release(
        ldtm=f"{installed_version()} ({code_sha256()[:12]})",
        python=platform.python_version(),
        torch=_version("torch").partition("+")[0],
        ray=_version("ray"),
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
