"""Retrainings through Dagster's job, in this process, on real PostgreSQL: what the UI shows of them."""

import base64
import io
import re
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path

import dagster as dg
import numpy as np
import pytest
from PIL import Image

from ldtm_assets.definitions import definitions_for
from ldtm_assets.partitions import partition_range
from ldtm_assets.training import stage
from ldtm_lib.daily_run.freshness import not_retrained
from ldtm_lib.database.connection import Connection, Database
from ldtm_lib.features.look_ahead import SAMPLED_WINDOWS
from ldtm_lib.sessions import Calendar
from ldtm_lib.settings import Settings, load_settings
from tests.integration.dagster_storage import dagster_instance
from tests.integration.ledger_rows import LedgerRows

CONFIG = """
tickers = [{tickers}]
[architecture]
hidden = 6
head_hidden = 4
[training]
max_epochs = {max_epochs}
min_training_rows = 60
horizon_weights = "equal"
max_target_move = 1e30
[backtest]
num_folds = 2
test_sessions = 40
"""
SOUND = ("AAA", "BRK.B")
NOBODY: Mapping[str, str] = {}
Retraining = Callable[..., dg.ExecuteInProcessResult]


@pytest.fixture
def bars(conn: Connection, calendar: Calendar) -> None:
    """Random walks of AAA and BRK.B; WILD is flat until a jump of which, unbounded, float32 cannot hold the loss."""
    days = calendar.between(date(2005, 1, 3), date(2012, 12, 31))[-330:]
    flat = np.where(np.arange(len(days)) == 200, 1e25, 50.0)
    walks = {
        name: 50 * np.exp(np.cumsum(np.random.default_rng(n).normal(0, 0.02, 330))) for n, name in enumerate(SOUND)
    }
    with conn.cursor() as cursor:
        for ticker, closes in {**walks, "WILD": flat}.items():
            cursor.executemany(
                "insert into bar values (%s, %s, now(), %s, %s, %s, %s, 1000, 'test')",
                [(ticker, day, c, c * 1.01, c * 0.99, c) for day, c in zip(days, closes.tolist(), strict=True)],
            )
    conn.commit()


@pytest.fixture
def retraining(
    bars: None, tmp_path: Path, database: Database, calendar: Calendar, monkeypatch: pytest.MonkeyPatch
) -> Retraining:
    """Runs the retraining of some tickers."""
    monkeypatch.setenv("LDTM_DATABASE_URL", database.url)

    def run(
        *tickers: str, max_epochs: int = 2, retired: Mapping[str, str] = NOBODY, **step: object
    ) -> dg.ExecuteInProcessResult:
        config = tmp_path / "universe.toml"
        names = ", ".join(f'"{ticker}"' for ticker in tickers)
        left = "\n".join(f'"{ticker}" = {since}' for ticker, since in retired.items())
        config.write_text(CONFIG.format(tickers=names, max_epochs=max_epochs) + f"[retired]\n{left}\n")
        job = definitions_for(load_settings(config), calendar).resolve_job_def("retraining_job")
        with dagster_instance(database, tmp_path) as instance:
            return job.execute_in_process(
                instance=instance,
                tags=partition_range(tickers[0], tickers[-1]),
                run_config={
                    "ops": {"retraining": {"config": {"device": "cpu", **step}}},
                    "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
                },
                raise_on_error=False,
            )

    return run


def shown(result: dg.ExecuteInProcessResult, asset: str) -> dict[str, dict[str, object]]:
    """The metadata of an asset's materializations, by ticker."""
    return {
        str(event.partition): {
            name: value.value for name, value in event.step_materialization_data.materialization.metadata.items()
        }
        for event in result.get_asset_materialization_events()
        if event.asset_key == dg.AssetKey(asset)
    }


def training_check(result: dg.ExecuteInProcessResult) -> dg.AssetCheckEvaluation:
    (found,) = [e for e in result.get_asset_check_evaluations() if e.check_name == "no_training_failed"]
    return found


def picture(markdown: object) -> np.ndarray:
    """The pixels of a picture inside markdown."""
    found = re.fullmatch(r"!\[losses by epoch\]\(data:image/png;base64,([A-Za-z0-9+/=]+)\)", str(markdown))
    assert found, "nothing but a picture, so that no ticker's name can break it"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(found[1]))).convert("RGB"))


def test_every_ticker_is_shown_with_its_figures_and_its_losses(retraining: Retraining) -> None:
    result = retraining(*SOUND)
    assert result.success
    finals, walks = shown(result, "checkpoints"), shown(result, "backtests")
    for ticker in SOUND:
        figures = finals[ticker]
        assert figures["status"] == "trained"
        assert (figures["epochs"], figures["device"]) == ("2", "cpu")
        assert figures["best epoch"] in ("1", "2")
        assert {"val_loss", "val_loss of no change", "duration", "training rows", "validation rows"} < set(figures)
        assert not {"GPU index", "VRAM peak (MiB)"} & set(figures), "there is no GPU"
        assert (walks[ticker]["folds"], walks[ticker]["epochs"], walks[ticker]["test rows"]) == ("2", "4", "80")
    pictures = [picture(of[ticker]["losses"]) for of in (finals, walks) for ticker in SOUND]
    assert all(image.shape == (300, 540, 3) for image in pictures)
    assert len({image.tobytes() for image in pictures}) == 4
    check = training_check(result)
    assert check.passed
    assert check.partition is None, "once a run, not once a ticker"
    assert (check.metadata["tickers"].value, check.metadata["failures"].value) == (2, 0)
    table = check.metadata["summary"]
    assert isinstance(table, dg.TableMetadataValue)
    assert [(row.data["ticker"], row.data["GPU"], row.data["status"]) for row in table.records] == [
        ("AAA", "-", "trained"),
        ("BRK.B", "-", "trained"),
    ]
    final = float(str(finals["BRK.B"]["val_loss"]))
    assert float(str(table.records[1].data["val_loss"])) == pytest.approx(final, abs=5e-5)
    assert picture(check.metadata["losses"].value).shape == (300, 540, 3)


def test_a_rerun_that_trains_nothing_shows_the_same_figures_and_pictures(retraining: Retraining) -> None:
    first, again = retraining(*SOUND), retraining(*SOUND)
    for asset in ("checkpoints", "backtests"):
        before, after = shown(first, asset), shown(again, asset)
        assert after == {ticker: {**figures, "status": "up to date"} for ticker, figures in before.items()}
    assert training_check(again).metadata["losses"] == training_check(first).metadata["losses"]


def test_tickers_that_fail_are_named_by_the_check_and_take_no_other_with_them(retraining: Retraining) -> None:
    result = retraining("AAA", "NONE", "WILD")
    assert not result.success
    assert set(shown(result, "checkpoints")) == {"AAA"} == set(shown(result, "backtests"))
    check = training_check(result)
    assert not check.passed
    assert check.severity == dg.AssetCheckSeverity.ERROR
    lines = str(check.metadata["failed"].value).splitlines()
    assert [line.split(":")[0] for line in lines] == [
        "- NONE backtest",
        "- NONE checkpoint",
        "- WILD backtest",
        "- WILD checkpoint",
    ]
    assert "NONE has no bars; materialize price_history first" in lines[0]
    assert "loss" in lines[3]
    red = (picture(check.metadata["losses"].value) == [0xB3, 0x26, 0x1E]).all(axis=2)
    assert red.any(), "the failed are named in the picture"


def test_networks_of_one_epoch_have_a_picture_too(retraining: Retraining) -> None:
    result = retraining(*SOUND, max_epochs=1)
    assert shown(result, "checkpoints")["AAA"]["epochs"] == "1"
    blue = (picture(shown(result, "checkpoints")["AAA"]["losses"]) == [0x17, 0x50, 0x8F]).all(axis=2)
    assert (
        blue.any() or (picture(shown(result, "checkpoints")["AAA"]["losses"]) == [0xC8, 0x60, 0x0C]).all(axis=2).any()
    )


def test_windows_are_searched_for_leaks_and_what_was_found_is_on_record(
    retraining: Retraining, conn: Connection
) -> None:
    assert retraining(*SOUND).success
    rows = conn.execute("select ticker, window_leaks from backtest order by ticker").fetchall()
    assert rows == [(ticker, {"sampled": SAMPLED_WINDOWS}) for ticker in SOUND]
    assert conn.execute("select distinct leaks from backtest_fold").fetchall() == [({},)]
    assert conn.execute("select distinct leaks from checkpoint").fetchall() == [({},)]


LEFT = {"NONE": "2010-01-04", "WILD": "2020-01-02"}


def test_the_weekly_retraining_leaves_out_who_left_the_universe_and_a_person_gets_whom_a_person_asks_for(
    retraining: Retraining, conn: Connection
) -> None:
    """One without bars failed it every Saturday."""
    weekly = retraining("AAA", "NONE", "WILD", "BRK.B", retired=LEFT, universe_alone=True)
    assert weekly.success
    for asset in ("backtests", "checkpoints", "registry"):
        found = shown(weekly, asset)
        assert {ticker: found[ticker] for ticker in LEFT} == {
            ticker: {"left the universe": since} for ticker, since in LEFT.items()
        }
        assert "left the universe" not in found["AAA"] | found["BRK.B"]
    for table in ("checkpoint", "training_failure", "gate_verdict"):
        assert {ticker for (ticker,) in conn.execute(f"select ticker from {table}")} <= {*SOUND}
    conn.commit()
    by_hand = retraining("AAA", "NONE", "WILD", "BRK.B", retired=LEFT)
    assert [line.split(":")[0] for line in str(training_check(by_hand).metadata["failed"].value).splitlines()] == [
        "- NONE backtest",
        "- NONE checkpoint",
        "- WILD backtest",
        "- WILD checkpoint",
    ]


def test_a_retraining_makes_models_fresh_also_of_a_ticker_with_too_few_bars(
    retraining: Retraining, conn: Connection, calendar: Calendar
) -> None:
    for table in ("bar", "gate_verdict"):
        conn.execute(f"alter table {table} disable trigger user")
    conn.execute("delete from bar where ticker = 'WILD' and session > (select min(session) + 30 from bar)")
    conn.execute("update bar set recorded_at = now() - interval '9 days'")
    conn.commit()
    settings = Settings(path=Path("universe.toml"), tickers=(*SOUND, "WILD"))

    def old() -> list[str]:
        found = not_retrained(conn, settings, date(2013, 1, 2))
        conn.commit()
        return [line.split()[0] for line in found]

    assert old() == [*SOUND, "WILD"]
    retraining(*SOUND, "WILD")
    assert old() == []
    conn.execute("update gate_verdict set decided_at = now() - interval '9 days'")
    assert old() == [], "no bar has come since"
    for ticker in settings.tickers:
        LedgerRows(conn, calendar).bar(ticker, date(2013, 1, 2), 50)
    conn.commit()
    assert old() == [*SOUND, "WILD"]
    retraining(*SOUND, "WILD")
    assert old() == []


def test_a_training_in_groups_of_tickers_makes_the_networks_of_a_training_of_all(
    retraining: Retraining, conn: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    conn.execute(
        "insert into bar select 'OLD', session, now(), open, high, low, close, volume, source from bar"
        " where ticker = 'AAA' and session < (select max(session) - 14 from bar)"
    )
    conn.commit()
    tickers = ("AAA", "BRK.B", "OLD", "NONE")
    monkeypatch.setattr(stage, "TICKERS_AT_ONCE", 1)
    grouped = shown(retraining(*tickers), "checkpoints")
    assert {ticker: metadata["status"] for ticker, metadata in grouped.items()} == dict.fromkeys(tickers[:3], "trained")
    monkeypatch.setattr(stage, "TICKERS_AT_ONCE", 500)
    at_once = retraining(*tickers)
    for asset in ("checkpoints", "backtests"):
        assert {metadata["status"] for metadata in shown(at_once, asset).values()} == {"up to date"}
    assert "NONE has no bars; materialize price_history first" in str(at_once.get_step_failure_events())
    (newest,) = conn.execute("select max(session) from bar").fetchone() or (None,)
    trained_on = conn.execute("select distinct ticker, trained_on from checkpoint order by ticker").fetchall()
    assert trained_on == [(ticker, newest) for ticker in tickers[:3]], "one session, also for a ticker without its bar"
