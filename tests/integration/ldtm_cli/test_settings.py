"""`ldtm settings`, as a shell runs it: no database, no server."""

import json
import re
from pathlib import Path

import pytest

from ldtm_lib.settings import Settings
from ldtm_lib.settings.listing import listed
from tests.integration.ldtm_cli.shell import run_ldtm

FILE = (
    'tickers = ["AAPL", "MSFT"]\n[gate]\nmin_folds = 3\n[publish]\ntimestamp_url = "https://me:hunter2@tsa.example/x"\n'
    'timestamp_certificates = "tsa.pem"\n'
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "universe.toml").write_text(FILE)
    return tmp_path


def test_every_setting_is_printed_with_value_default_and_description(folder: Path) -> None:
    done = run_ldtm(folder, "", "settings")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert max(map(len, lines[1:])) <= 80
    at = lines.index("* min_folds = 3")
    assert lines[at + 1 : at + 3] == ["      default: 2", "      Completed backtest folds that a candidate needs."]
    assert "  max_leakage_rows = 0" in lines
    assert any(line.startswith("[gate]  The rules that a candidate must pass") for line in lines)


def test_sections_can_be_named_and_an_unknown_one_is_refused_with_those_there_are(folder: Path) -> None:
    shown = run_ldtm(folder, "", "settings", "gpu", "partitions")
    assert shown.returncode == 0
    assert re.findall(r"(?m)^\[(\w+)\]", shown.stdout) == ["partitions", "gpu"]
    refused = run_ldtm(folder, "", "settings", "gpus")
    assert refused.returncode == 2
    assert "'gpus' is not a section of the configuration; the sections are window, " in refused.stderr


def test_a_password_in_a_setting_is_not_printed(folder: Path) -> None:
    for words in (["settings"], ["settings", "--json"]):
        shown = run_ldtm(folder, "", *words).stdout
        assert "https://tsa.example/x" in shown
        assert "hunter2" not in shown


def test_settings_as_json_and_their_schema_name_the_same_keys(folder: Path) -> None:
    settings = json.loads(run_ldtm(folder, "", "settings", "--json").stdout)
    schema = json.loads(run_ldtm(folder, "", "settings", "--schema").stdout)
    top = {one["name"] for one in settings if not one["section"]} | {one["section"] for one in settings} - {""}
    assert top == set(schema["properties"])
    assert schema["required"] == ["tickers"]
    gate = schema["$defs"]["GateConfig"]
    assert gate["properties"]["min_folds"] == {
        "default": 2,
        "description": "Completed backtest folds that a candidate needs.",
        "minimum": 1,
        "title": "Min Folds",
        "type": "integer",
    }
    assert [one["name"] for one in settings if one["is_changed"]] == [
        "min_folds",
        "timestamp_url",
        "timestamp_certificates",
    ]


def test_a_file_with_a_mistake_is_refused_with_exit_status_2(folder: Path) -> None:
    (folder / "universe.toml").write_text('tickers = ["AAPL"]\n[gate]\nmin_folds = 0\n')
    done = run_ldtm(folder, "", "settings")
    assert (done.returncode, done.stdout) == (2, "")
    assert "gate.min_folds is 0; it must be at least 1" in done.stderr


def test_every_setting_has_a_description() -> None:
    without = [one for one in listed(Settings(path=Path("x.toml"), tickers=("AAPL",))) if len(one.description) < 10]
    assert without == []
