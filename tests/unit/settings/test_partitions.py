"""What Dagster's partitions of daily runs are: a decision that a large universe must take."""

from datetime import date
from pathlib import Path

import pytest

from ldtm_cli.commands.init import create_project
from ldtm_lib.errors import ConfigurationError
from ldtm_lib.settings import PartitionConfig, load_settings
from ldtm_lib.settings.operation import MOST_TICKERS_UNASKED

MANY = [f"T{number}" for number in range(MOST_TICKERS_UNASKED + 1)]


def _file(folder: Path, tickers: list[str], more: str = "") -> Path:
    path = folder / "universe.toml"
    path.write_text(f"tickers = {tickers}\n[partitions]\nfirst_session = 2025-01-02\n{more}")
    return path


def test_more_tickers_than_the_default_is_for_must_choose(tmp_path: Path) -> None:
    assert load_settings(_file(tmp_path, MANY[:-1])).partitions.by == "date_and_ticker"
    with pytest.raises(ConfigurationError, match=r"`tickers` holds 201 tickers; for more than 200, set partitions\.by"):
        load_settings(_file(tmp_path, MANY))
    for by in ("date", "date_and_ticker"):
        assert load_settings(_file(tmp_path, MANY, f'by = "{by}"\n')).partitions.by == by


def test_a_new_project_of_many_tickers_has_sessions_alone(tmp_path: Path) -> None:
    config = tmp_path / "universe.toml"
    create_project(config, MANY, "files")
    assert load_settings(config).partitions.by == "date"
    create_project(tmp_path / "few" / "universe.toml", MANY[:3], "files")
    assert load_settings(tmp_path / "few" / "universe.toml").partitions.by == "date_and_ticker"


def test_the_key_of_a_partition_follows_the_setting() -> None:
    day = date(2026, 11, 20)
    assert PartitionConfig().key(day, "AAPL") == "2026-11-20|AAPL"
    assert PartitionConfig(by="date").key(day, "AAPL") == "2026-11-20"
