"""Comparison of printed text with the kept outputs: the files in the folder `outputs` next to this module.

After an intended change, run the test with LDTM_WRITE_OUTPUTS=1, which rewrites its files, and read the diff.
"""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

OUTPUTS = Path(__file__).parent / "outputs"
WIDTHS = (80, 120)
MOMENT = {
    r"\b20[2-9]\d-\d\d-\d\d \d\d:\d\d(?!:)": "2026-11-30 12:34",
    r"\b20[2-9]\d-\d\d-\d\d \d\d:\d\d:\d\d": "2026-11-30 12:34:56",
}
"""Masks of dates with a time of day, for outputs whose moments depend on the time of the test."""


def masked(value: Any, masks: Mapping[str, str]) -> Any:
    """Return a value with patterns replaced in all of its texts, which may be fields of dataclasses and items of lists.

    Data that are masked before they are printed cannot change the layout of the output.
    """
    if isinstance(value, str):
        for pattern, text in masks.items():
            value = re.sub(pattern, text, value)
        return value
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{each.name: masked(getattr(value, each.name), masks) for each in fields(value)})
    if isinstance(value, Mapping):
        return {masked(key, masks): masked(item, masks) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(masked(item, masks) for item in value)
    return value


def print_at(width: int, show: Callable[[Console], object]) -> str:
    """Return what a print function prints on a console of a given width, without colours."""
    console = Console(width=width, color_system=None, force_terminal=False, force_jupyter=False)
    with console.capture() as capture:
        show(console)
    return capture.get()


def compare_at_all_widths(
    name: str, show: Callable[[Console], object], *, masks: Mapping[str, str] | None = None, unwrapped: str = ""
) -> None:
    """Compare what a print function prints on consoles of 80 and 120 columns with the kept outputs of a name."""
    for width in WIDTHS:
        compare(name, print_at(width, show), width=width, masks=masks, unwrapped=unwrapped)


def compare(
    name: str,
    printed: str,
    *,
    width: int | None,
    masks: Mapping[str, str] | None = None,
    folder: Path | None = None,
    unwrapped: str = "",
) -> None:
    """Compare a text with the kept output NAME.WIDTH.txt, or with NAME.txt if no width changes the text.

    `masks` maps patterns to fixed values of the same width, so that they cannot change the layout. Only lines that name
    `folder`, which is masked too, and lines whose beginning matches the pattern `unwrapped` may be longer than `width`:
    commands leave them to the terminal to wrap. Only such lines may hold text of varying width.
    """
    if folder is not None:
        printed = printed.replace(str(folder), "/home/ldtm")
    for pattern, value in (masks or {}).items():
        assert {len(found) for found in re.findall(f"(?:{pattern})", printed)} <= {len(value)}, "a mask keeps the width"
        printed = re.sub(pattern, value, printed)
    printed = re.sub(r"(?m) +$", "", printed)
    if width is not None:
        wide = [line for line in printed.splitlines() if len(line) > width and "/home/ldtm" not in line]
        assert [line for line in wide if not unwrapped or not re.match(unwrapped, line)] == []
    assert "…" not in printed
    file = OUTPUTS / (f"{name}.txt" if width is None else f"{name}.{width}.txt")
    if os.environ.get("LDTM_WRITE_OUTPUTS"):
        file.write_text(printed)
    kept = file.read_text() if file.exists() else ""
    assert printed == kept, "after an intended change, rewrite it with LDTM_WRITE_OUTPUTS=1 and read the diff"
