"""`ldtm bootstrap` before its run: a new installation needs a source with bars, an existing one may not."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ldtm_cli.commands import bootstrap, demo, init
from ldtm_cli.commands.bootstrap import require_source
from ldtm_cli.main import app
from ldtm_lib.database.connection import Database
from ldtm_lib.project import Project, home_of
from ldtm_lib.settings import Settings, load_settings
from tests.integration.ldtm_cli.kept_outputs import compare, compare_at_all_widths
from tests.integration.ldtm_cli.shell import run_ldtm

CONFIG = 'tickers = ["AAPL", "MSFT"]\n[source]\nkind = "files"\nfolder = "bars"\nbasis = "adjusted"\n'


def test_the_next_steps_are_printed(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (bootstrap, demo):
        monkeypatch.setattr(module, "ldtm_command", lambda: "ldtm")
    off = Project(settings=settings, home=Path(), database=Database(url="", schema="ldtm"))
    on = replace(off, settings=settings.replace(automation=settings.automation.replace(enabled=True)))
    for name, project in (("bootstrap-next-steps", off), ("bootstrap-next-steps-automated", on)):
        compare_at_all_widths(name, partial(bootstrap.print_next_steps, project=project))
    compare_at_all_widths("demo-epilogue", demo.print_epilogue)


def test_a_new_project_and_its_next_steps_are_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(init, "ldtm_command", lambda: "ldtm")
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["init", "--tickers", "AAPL,MSFT"])
    assert done.exit_code == 0, done.output
    compare("init", done.output, width=80)
    for source in ("ib", "url"):
        compare(f"init-{source}", init.next_steps(Path("universe.toml"), source), width=80)


def test_a_source_without_bars_is_refused_before_anything_is_created(tmp_path: Path, database: Database) -> None:
    config = tmp_path / "universe.toml"
    config.write_text(CONFIG)
    (tmp_path / "bars").mkdir()
    refused = run_ldtm(tmp_path, database.url, "bootstrap", COLUMNS="200")
    assert refused.returncode == 1
    assert "none for AAPL, MSFT; add a file named after each, such as AAPL.csv" in refused.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bars", "universe.toml"]
    home_of(load_settings(config)).mkdir(parents=True)
    require_source(config)
