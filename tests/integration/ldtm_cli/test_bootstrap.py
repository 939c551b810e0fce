"""`ldtm bootstrap` before its run: a new installation needs a source with bars, an existing one may not."""

from pathlib import Path

from ldtm_cli.commands.bootstrap import require_source
from ldtm_lib.database.connection import Database
from ldtm_lib.project import home_of
from ldtm_lib.settings import load_settings
from tests.integration.ldtm_cli.shell import run_ldtm

CONFIG = 'tickers = ["AAPL", "MSFT"]\n[source]\nkind = "files"\nfolder = "bars"\nbasis = "adjusted"\n'


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
