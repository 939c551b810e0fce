"""Packages that only exports need, imported when they are used; the error for a missing one names the remedy."""

import importlib
from types import ModuleType
from typing import Any

from ldtm_lib.errors import MissingExtra
from ldtm_lib.installation import pip_command


def onnx_package() -> Any:
    """The package `onnx`; raises MissingExtra."""
    for submodule in ("onnx.checker", "onnx.helper", "onnx.numpy_helper"):
        _imported(submodule, extra="export")
    return _imported("onnx", extra="export")


def onnxruntime_package() -> Any:
    """The package `onnxruntime`; raises MissingExtra."""
    return _imported("onnxruntime", extra="export")


def _imported(module: str, *, extra: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise MissingExtra(
            f"package {package} cannot be imported: {error}; install it: {install_extra(extra)}"
        ) from None


def install_extra(extra: str) -> str:
    """The shell command that installs an extra of LDTM."""
    return pip_command("install", f"ldtm[{extra}]")
