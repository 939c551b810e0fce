"""Retention of exported files: those of active versions stay, those of others are removed."""

import re
from collections.abc import Collection
from pathlib import Path
from typing import get_args

from ldtm_lib.errors import CertificateRefused
from ldtm_lib.export.certificate import Precision, read_certificate
from ldtm_lib.export.tensorrt_kinds import Flavour

ENGINE_NAME = re.compile(
    rf"(?P<stem>.+)\.(?:{'|'.join(get_args(Flavour))})\.(?:{'|'.join(get_args(Precision))})"
    r"\.engine(?:\.json|\.certificate\.json)?"
)
"""Names of engines, their records and their certificates: `AAPL_1f0c.tensorrt-rtx.fp32.engine.json`."""


def remove_retired(folder: Path, kept: Collection[str]) -> list[str]:
    """Remove the exported files of other versions than those kept, which are stems; returns the removed names.

    Timing caches, which belong to no version, and files that LDTM did not write are left alone.
    """
    removed: list[str] = []
    for path in sorted(folder.iterdir()):
        stem = version_stem(path)
        if stem is not None and stem not in kept:
            path.unlink()
            removed.append(path.name)
    return removed


def version_stem(path: Path) -> str | None:
    """The stem of the version that an exported file belongs to; None for any other file."""
    if engine := ENGINE_NAME.fullmatch(path.name):
        return engine["stem"]
    is_exported = path.suffix == ".onnx" or (path.suffix == ".json" and _is_certificate(path))
    return path.stem if is_exported else None


def _is_certificate(path: Path) -> bool:
    try:
        read_certificate(path)
    except CertificateRefused:
        return False
    return True
