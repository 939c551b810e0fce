"""Loss curves in the UI: charts of the losses on record, as pictures in the metadata."""

import dagster as dg

from ldtm_assets.materialization import picture
from ldtm_lib.plots.loss_curves import LossCurve, fold_losses, network_losses, universe_losses
from ldtm_lib.registry.trained_network import TrainedNetwork
from ldtm_lib.training.report import TrainingOutcome, TrainingReport, median_loss
from ldtm_lib.wording import counted

LOSSES = "losses by epoch"


def picture_of_network(final: TrainingOutcome, walk: TrainingOutcome | None) -> dg.MetadataValue | None:
    """Chart of a ticker's final network, with its backtest's folds behind it; None if no losses are on record."""
    curves = [curve_of(network) for network in final.networks]
    if not curves or curves[0] is None:
        return None
    (network,) = final.networks
    title = f"{final.ticker}: validation loss {network.validation_loss:.4f} at epoch {network.best_epoch}"
    folds = [curve for fold in (walk.networks if walk else ()) if (curve := curve_of(fold)) is not None]
    png = network_losses(title, curves[0], folds=folds, no_change_loss=network.no_change_loss)
    return picture(png, of=LOSSES)


def picture_of_folds(walk: TrainingOutcome) -> dg.MetadataValue | None:
    """Chart of the networks of a backtest's folds; None if no losses are on record."""
    curves = {n.fold: curve for n in walk.networks if n.fold is not None and (curve := curve_of(n)) is not None}
    if not curves:
        return None
    num_folds = counted(len(walk.networks), "fold")
    title = f"{walk.ticker}: {num_folds}, mean validation loss {walk.validation_loss:.4f} (dotted: training)"
    return picture(fold_losses(title, curves), of=LOSSES)


def picture_of_universe(report: TrainingReport) -> dg.MetadataValue:
    """One chart of every ticker's final network; tickers whose training failed are listed by name."""
    finals = report.of("checkpoint").values()
    failed = sorted({outcome.ticker for outcome in report.outcomes if outcome.status == "failed"})
    curves = {o.ticker: curve.validation for o in finals for n in o.networks if (curve := curve_of(n)) is not None}
    loss = median_loss(outcome.validation_loss for outcome in finals)
    title = f"{counted(len(curves), 'network')}" + (f": median validation loss {loss:.4f}" if loss is not None else "")
    no_change = median_loss(outcome.no_change_loss for outcome in finals)
    return picture(universe_losses(title, curves, failed=failed, no_change_loss=no_change), of=LOSSES)


def curve_of(network: TrainedNetwork) -> LossCurve | None:
    """The losses of a network; None if they are not on record."""
    if network.training_losses is None or network.validation_losses is None:
        return None
    return LossCurve(
        training=network.training_losses, validation=network.validation_losses, best_epoch=network.best_epoch
    )
