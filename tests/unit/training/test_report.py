"""A retraining at a glance."""

from dataclasses import replace
from datetime import date

import pytest

from ldtm_lib.registry.trained_network import Part, TrainedNetwork
from ldtm_lib.training.report import Status, TrainingOutcome, TrainingReport, summary_rows, summary_text


def network(fold: int | None = None, *, loss: float = 0.25, seconds: float | None = 2.0, gpu: int | None = None):
    return TrainedNetwork(
        fold=fold,
        num_training_rows=300,
        num_validation_rows=30,
        num_epochs=12,
        best_epoch=2,
        validation_loss=loss,
        no_change_loss=0.2,
        horizon_errors=(0.03, 0.09, 0.6),
        no_change_errors=(0.03, 0.09, 0.6),
        training_losses=None,
        validation_losses=None,
        duration_seconds=seconds,
        device="cpu",
        gpu_index=gpu,
        vram_peak_mib=None,
    )


def test_errors_by_horizon_are_shown_beside_those_of_no_change() -> None:
    trained = replace(network(), horizon_errors=(0.03, 0.045, 0.6), no_change_errors=(0.03, 0.09, 0.5))
    assert outcome("AAPL", "checkpoint", "trained", trained).relative_errors == (
        "next day 1.000, next Monday 0.500, one month 1.200"
    )
    older = replace(network(), horizon_errors=None, no_change_errors=None)
    assert outcome("AAPL", "checkpoint", "trained", older).relative_errors is None


def outcome(ticker: str, part: Part, status: Status, *networks: TrainedNetwork, reason: str | None = None):
    return TrainingOutcome(ticker=ticker, part=part, status=status, networks=networks, reason=reason)


def report(*outcomes: TrainingOutcome) -> TrainingReport:
    return TrainingReport(trained_on=date(2026, 11, 20), outcomes=()).including(outcomes)


def test_the_table_is_aligned_and_names_every_ticker_gpu_duration_status_and_loss() -> None:
    text = summary_text(
        report(
            outcome("^GSPC", "checkpoint", "failed", reason="^GSPC final: in epoch 3 the training loss is nan"),
            outcome("BRK.B", "checkpoint", "trained", network(loss=0.21344, gpu=1)),
            outcome("BRK.B", "backtest", "trained", network(1, seconds=100.0, loss=0.3), network(2, loss=0.1)),
            outcome("FB", "checkpoint", "up to date", network()),
            outcome("FB", "backtest", "too few bars", reason="FB has 97 labelled windows"),
        )
    )
    assert text.splitlines() == [
        "trained on bars up to 2026-11-20: 3 tickers, "
        "1 trained; 1 checkpoint up to date, backtest too few bars; 1 failed",
        "3 networks trained, 36 epochs, 104.0 s in total",
        "ticker  GPU  duration  status                                        val_loss  no change  folds' val_loss",
        "BRK.B     1   104.0 s  trained                                         0.2134     0.2000           0.2000",
        "FB        -     2.0 s  checkpoint up to date, backtest too few bars    0.2500     0.2000                -",
        "^GSPC     -         -  failed                                               -          -                -",
        "FB backtest too few bars: FB has 97 labelled windows",
        "^GSPC checkpoint failed: ^GSPC final: in epoch 3 the training loss is nan",
    ]


def test_a_training_of_backtests_alone_has_no_loss_of_a_final_network() -> None:
    (row,) = summary_rows(report(outcome("AAPL", "backtest", "trained", network(1), network(2, seconds=None))))
    assert (row.status, row.validation_loss, row.fold_validation_loss, row.duration_seconds) == (
        "trained",
        None,
        0.25,
        2,
    )


def test_nothing_to_train_is_said_in_words() -> None:
    assert summary_text(report()).splitlines()[0] == "trained on bars up to 2026-11-20: 0 tickers, nothing to do"


@pytest.mark.parametrize("num_tickers", [1, 103])
def test_there_is_one_row_a_ticker_in_order(num_tickers: int) -> None:
    names = [f"T{n:03}" for n in range(num_tickers)]
    many = [outcome(n, part, "trained", network()) for n in reversed(names) for part in ("checkpoint", "backtest")]
    assert [row.ticker for row in summary_rows(report(*many))] == names
