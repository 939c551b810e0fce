"""The command line as a whole: global options at every place, and words for an interrupt."""

import os
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from ldtm_cli.commands.demo import demo_config
from ldtm_cli.interrupts import BY_COMMAND, Interrupted, exit_status
from ldtm_cli.main import app
from tests.repository import REPOSITORY

ROOT: Any = typer.main.get_command(app)


@pytest.mark.parametrize(
    "words",
    [
        "-c FILE settings",
        "settings -c FILE",
        "settings --config=FILE",
        "-c FILE settings -c FILE",
    ],
)
def test_the_configuration_may_be_named_before_and_after_the_command(
    words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "mine.toml"
    config.write_text('tickers = ["AAPL"]\n[source]\nkind = "sample"\n')
    monkeypatch.setenv("LDTM_CONFIG", "nowhere.toml")
    done = CliRunner().invoke(app, [word.replace("FILE", str(config)) for word in words.split()])
    assert done.exit_code == 0, done.output
    assert os.environ["LDTM_CONFIG"] == str(config)


def test_two_different_configurations_are_refused(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["-c", str(tmp_path / "a.toml"), "registry", "list", "-c", str(tmp_path / "b.toml")])
    assert done.exit_code == 2
    assert "--config names both" in done.output


def test_the_version_is_printed_after_a_command_as_well() -> None:
    outputs = {CliRunner().invoke(app, words).output for words in (["--version"], ["registry", "list", "--version"])}
    assert len(outputs) == 1
    assert outputs.pop().startswith("ldtm ")


def test_every_command_says_what_an_interrupt_leaves() -> None:
    assert set(BY_COMMAND) == set(ROOT.commands)


def test_an_interrupted_process_ends_with_the_number_of_its_signal() -> None:
    assert [exit_status(KeyboardInterrupt()), exit_status(Interrupted(2)), exit_status(Interrupted(15))] == [
        130,
        130,
        143,
    ]


def test_the_demo_writes_the_bundled_configuration_where_there_is_none(tmp_path: Path) -> None:
    config = demo_config(tmp_path)
    assert config.read_bytes() == (REPOSITORY / "demo.toml").read_bytes()
    config.write_text("mine")
    assert demo_config(tmp_path).read_text() == "mine"
