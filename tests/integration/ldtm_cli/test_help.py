"""Help of every command at 80 and 120 columns, and the commands that have a kept output."""

import io
from collections.abc import Iterator
from contextlib import redirect_stdout
from typing import Any

import pytest
import typer
from typer import rich_utils

from ldtm_cli.main import app
from tests.integration.ldtm_cli.kept_outputs import OUTPUTS, WIDTHS, compare

ROOT: Any = typer.main.get_command(app)
GROUPS = {name for name, command in ROOT.commands.items() if hasattr(command, "commands")}


def commands(group: Any, *path: str) -> Iterator[tuple[str, ...]]:
    """A group, its commands and those of its groups, as words after `ldtm`."""
    yield path
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, *path, name)
        else:
            yield (*path, name)


WITHOUT = {
    "dashboard": "serves pages until it is stopped",
    "logs": "prints the lines of a log as they are",
    "serve": "serves pages until it is stopped",
    "up": "starts Dagster",
}
"""Commands without a kept output, with the reason."""


def help_of(words: tuple[str, ...]) -> str:
    """Help of one command, as it is printed."""
    with redirect_stdout(io.StringIO()) as printed:
        status = ROOT.main([*words, "--help"], prog_name="ldtm", standalone_mode=False)
    assert status == 0
    return printed.getvalue()


def test_every_command_has_a_kept_output() -> None:
    kept = {file.name.partition(".")[0] for file in OUTPUTS.iterdir()}
    names = {"-".join(words) for words in commands(ROOT) if words and words[-1] not in GROUPS}
    lacking = {name for name in names if not any(each == name or each.startswith(f"{name}-") for each in kept)}
    assert lacking == set(WITHOUT)


@pytest.mark.parametrize("width", WIDTHS)
def test_the_help_of_every_command_is_the_kept_output(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rich_utils, "MAX_WIDTH", width)
    monkeypatch.setattr(rich_utils, "FORCE_TERMINAL", False)
    printed = {" ".join(["ldtm", *words, "--help"]): help_of(words) for words in commands(ROOT)}
    lacking = [line for line, text in printed.items() if not ("--config" in text and "--version" in text)]
    assert lacking == [], "global options may follow every command"
    compare("help", "\n".join(f"$ {line}\n{text}" for line, text in printed.items()), width=width)
