"""Partitions of a training: a picture for each ticker of a universe of the usual size, none for each of thousands."""

import dagster as dg
import pytest

from ldtm_assets.training import stage
from ldtm_assets.training.stage import partitions_of
from ldtm_lib.registry.trained_network import TrainedNetwork
from ldtm_lib.training.report import TrainingOutcome

NETWORK = TrainedNetwork(
    fold=None,
    num_training_rows=300,
    num_validation_rows=30,
    num_epochs=12,
    best_epoch=2,
    validation_loss=0.25,
    no_change_loss=0.2,
    horizon_errors=None,
    no_change_errors=None,
    training_losses=(0.3, 0.2),
    validation_losses=(0.3, 0.25),
    duration_seconds=2.0,
    device="cuda:0",
    gpu_index=0,
    vram_peak_mib=600.0,
    training_method="one network after the other, after all networks fused: PTXASError",
)


def test_of_many_tickers_no_picture_is_drawn_and_the_dashboard_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    trained = {
        ticker: TrainingOutcome.of_networks(ticker, "checkpoint", "trained", [NETWORK]) for ticker in ("AAA", "BBB")
    }
    short = TrainingOutcome.without_networks("CCC", "checkpoint", "too few bars", "CCC has 97 labelled windows")
    drawn: list[str] = []

    def losses(outcome: TrainingOutcome) -> dg.MetadataValue | None:
        drawn.append(outcome.ticker)
        return dg.MetadataValue.md(f"losses of {outcome.ticker}")

    assert partitions_of(trained, losses).done["AAA"]["losses"] == dg.MetadataValue.md("losses of AAA")
    assert drawn == ["AAA", "BBB"]
    monkeypatch.setattr(stage, "MOST_PICTURES", 2)
    many = partitions_of({**trained, "CCC": short}, losses).done
    assert drawn == ["AAA", "BBB"]
    assert many["AAA"]["losses"] == dg.MetadataValue.text("the page Models of `ldtm dashboard` draws them")
    assert many["AAA"]["trained by"] == NETWORK.training_method
    assert "losses" not in many["CCC"]
