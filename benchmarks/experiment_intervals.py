"""Measure coverage, width and score of prediction intervals on real bars, and coverage after the volatility doubles.

(a) AAPL, GOOG, IBM and MSFT, the last test sessions of the sample. The forecasts are those of no change and of a ridge
regression on the scaled window, which is fitted for every fold on the training rows of a network of that fold. With
`--stored`, they are those of the newest backtests in a database. Sessions before the scored ones warm up the intervals.
All methods run over the same forecasts and pool the four tickers.
(b) A walk with normal returns whose volatility doubles in the middle: coverage in the sessions after it.

Run: nice python benchmarks/experiment_intervals.py [--stored postgresql://... --schema ldtm | --networks FOLDER]
     FOLDER: the cache of benchmarks/experiment_models.py, with the variant "short" on both kinds of folds
"""

import argparse
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ldtm_lib.backtest.folds import plan_folds
from ldtm_lib.database.connection import Database
from ldtm_lib.features.window_set import WindowSet
from ldtm_lib.features.windows import windows_of
from ldtm_lib.prices.sources.sample import SampleSource
from ldtm_lib.sessions import HORIZONS, LONGEST_SESSIONS, Calendar, Sessions, exchange_calendar
from ldtm_lib.settings import BacktestConfig, IntervalsConfig, TrainingConfig, WindowConfig
from ldtm_lib.statistics.conformal import LEVELS, Lane, walk

TICKERS = ("AAPL", "GOOG", "IBM", "MSFT")
FIRST, LAST = date(2000, 3, 1), date(2013, 3, 1)
NUM_FOLDS, TEST_SESSIONS, WARM_UP_FOLDS = 4, 126, 4
OVERLAPS = tuple(LONGEST_SESSIONS[horizon] for horizon in HORIZONS)
PENALTY = 100.0
Values = npt.NDArray[np.float64]
DEFAULT = IntervalsConfig()
PLAIN, ADAPTIVE = "plain split conformal", "adaptive, rate 0.01 (default)"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Forecasts:
    """Forecasts of one ticker and the actual prices, oldest first."""

    sessions: Sessions
    targets: Sessions
    close: Values
    volatility: Values
    predictions: Values
    actuals: Values


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stored", help="URL of a database: score the newest backtests in it instead")
    parser.add_argument("--schema", default="ldtm", help="schema in that database")
    parser.add_argument("--networks", type=Path, help="cache of experiment_models.py: score its networks of seed 0")
    asked = parser.parse_args()
    calendar = exchange_calendar()
    if asked.stored:
        table("stored backtests", stored(Database(url=asked.stored, schema=asked.schema), calendar), num_scored=None)
        return
    windows = windows_of(SampleSource().fetch(list(TICKERS), FIRST, LAST).bars, calendar, WindowConfig())
    if asked.networks:
        made = [networks(windows[ticker], asked.networks) for ticker in TICKERS]
        table("networks", made, num_scored=NUM_FOLDS * TEST_SESSIONS)
        return
    for name, forecast in (("no change", no_change), ("ridge", ridge)):
        made = [forecast(windows[ticker]) for ticker in TICKERS]
        table(name, made, num_scored=NUM_FOLDS * TEST_SESSIONS)
    shift(calendar)


def no_change(windows: WindowSet) -> Forecasts:
    rows = np.concatenate([plan.test_rows for plan in folds(windows)])
    return forecasts(windows, rows, np.repeat(windows.close[rows, None], len(HORIZONS), axis=1))


def ridge(windows: WindowSet) -> Forecasts:
    """Ridge regression of the move from the last scaled close, which networks with residual heads learn too."""
    found: list[Values] = []
    plans = folds(windows)
    for plan in plans:
        inputs = features(windows, plan.training_rows)
        last = inputs[:, -1:]
        moves = windows.targets[plan.training_rows] - last
        square = inputs.T @ inputs + PENALTY * np.eye(inputs.shape[1])
        weights = np.linalg.solve(square, inputs.T @ moves)
        tested = features(windows, plan.test_rows)
        found.append(windows.unscale(tested[:, -1:] + tested @ weights, plan.test_rows))
    return forecasts(windows, np.concatenate([plan.test_rows for plan in plans]), np.concatenate(found))


def networks(windows: WindowSet, folder: Path) -> Forecasts:
    """Forecasts of cached networks on the selection folds and on the test folds after them."""
    paths = [p for which in ("selection", "test") for p in folder.glob(f"short-{which}-{windows.ticker}-*-0.json")]
    made = {row["session"]: row for path in paths for row in json.loads(path.read_text())}
    rows = np.searchsorted(windows.sessions, np.array(sorted(made), "datetime64[D]"))
    moves = np.array([[made[session][f"{horizon}_move"] for horizon in HORIZONS] for session in sorted(made)])
    return forecasts(windows, rows, (1 + moves) * windows.close[rows, None])


def folds(windows: WindowSet) -> list:
    config = BacktestConfig(num_folds=NUM_FOLDS + WARM_UP_FOLDS, test_sessions=TEST_SESSIONS)
    return plan_folds(windows, config, TrainingConfig())


def features(windows: WindowSet, rows: npt.NDArray[np.integer]) -> Values:
    """Flat scaled windows (n, 331), the last close once more in the last column."""
    inputs = windows.gather(rows).astype(np.float64)
    return np.concatenate([inputs.reshape(len(rows), -1), inputs[:, -1, 3:4]], axis=1)


def forecasts(windows: WindowSet, rows: npt.NDArray[np.integer], predictions: Values) -> Forecasts:
    return Forecasts(
        sessions=windows.sessions[rows],
        targets=windows.target_sessions[rows],
        close=windows.close[rows],
        volatility=windows.volatility(rows),
        predictions=predictions,
        actuals=windows.target_prices[rows],
    )


def stored(database: Database, calendar: Calendar) -> list[Forecasts]:
    """The newest backtest with volatility of every ticker."""
    statement = """select p.session, p.close, p.volatility, p.next_day_pred, p.next_monday_pred, p.one_month_pred,
        p.next_day_actual, p.next_monday_actual, p.one_month_actual
        from (select distinct on (ticker) ticker, backtest_id from backtest order by ticker, backtest_id desc) b
        join backtest_prediction p using (backtest_id) where b.ticker = %s and p.volatility > 0 order by p.session"""
    found: list[Forecasts] = []
    with database.connect() as conn:
        tickers = [ticker for (ticker,) in conn.execute("select distinct ticker from backtest order by ticker")]
        for ticker in tickers:
            rows = conn.execute(statement, (ticker,)).fetchall()
            if rows:
                sessions = np.array([row[0] for row in rows], "datetime64[D]")
                figures = np.array([row[1:] for row in rows], np.float64)
                found.append(
                    Forecasts(
                        sessions=sessions,
                        targets=calendar.targets_of(sessions),
                        close=figures[:, 0],
                        volatility=figures[:, 1],
                        predictions=figures[:, 2:5],
                        actuals=figures[:, 5:8],
                    )
                )
    return found


def half_widths(lane: Lane, config: IntervalsConfig) -> Values:
    """Half-widths (n, 2) that each past forecast of a lane would have had."""
    course = walk([lane], config)
    return np.array([course.quantiles([session])[0] for session in lane.sessions])


def undivided(lane: Lane, config: IntervalsConfig) -> Values:
    """Half-widths with the undivided rate for every outcome, although outcomes overlap."""
    return half_widths(replace(lane, overlap=1), config)


def tracked(lane: Lane, config: IntervalsConfig) -> Values:
    """Quantile tracking: the half-width itself follows the misses, by a share of the largest of the newest scores.

    Angelopoulos, Candes and Tibshirani, "Conformal PID control for time series prediction", NeurIPS 2023, equation 3.
    """
    known = np.searchsorted(lane.targets, lane.sessions, side="right")
    widths_NV, changes_NV = np.full((len(known), len(LEVELS)), np.nan), np.zeros((len(known) + 1, len(LEVELS)))
    begin: Values | None = None
    for n, num_known in enumerate(known):
        changes_NV[n + 1] = changes_NV[n]
        if num_known >= config.min_residuals:
            if begin is None:
                begin = np.quantile(lane.scores[:num_known], LEVELS, method="higher")
            widths_NV[n] = begin + changes_NV[num_known]
            largest = lane.scores[max(0, num_known - 252) : num_known].max()
            changes_NV[n + 1] += config.rate * largest * ((lane.scores[n] > widths_NV[n]) - (1 - np.array(LEVELS)))
    return widths_NV


Method = Callable[[Lane, IntervalsConfig], Values]
METHODS: dict[str, tuple[Method, IntervalsConfig]] = {
    PLAIN: (half_widths, IntervalsConfig(rate=0.0)),
    "adaptive, rate 0.005": (half_widths, IntervalsConfig(rate=0.005)),
    ADAPTIVE: (half_widths, DEFAULT),
    "adaptive, rate 0.03": (half_widths, IntervalsConfig(rate=0.03)),
    "adaptive, 252 residuals": (half_widths, IntervalsConfig(calibration_forecasts=252)),
    "adaptive, rate not divided": (undivided, DEFAULT),
    "quantile tracking, rate 0.02": (tracked, IntervalsConfig(rate=0.02)),
}


def table(name: str, made: list[Forecasts], *, num_scored: int | None) -> None:
    """Print coverage, mean width over that of a normal walk, interval score in percent, and share without interval."""
    print(f"\n{name}: {len(made)} tickers, {len(made[0].sessions)} sessions each, {num_scored or 'all'} of them scored")
    print(f"{'':32}" + "".join(f"{horizon.replace('_', ' '):^42}" for horizon in HORIZONS))
    print(f"{'':32}" + "".join(f"  {f'{level:.0%}':>4} width score none" for _ in HORIZONS for level in LEVELS))
    for method in METHODS:
        cells = [cell(made, at, place, method, num_scored) for at in range(3) for place in range(len(LEVELS))]
        print(f"{method:32}" + "".join(cells))


def cell(made: Iterable[Forecasts], at: int, place: int, method: str, num_scored: int | None) -> str:
    inside: list[Values] = []
    relative: list[Values] = []
    scores: list[Values] = []
    (half_widths_of, config), num = METHODS[method], 0
    z = (1.2815515655446004, 1.959963984540054)[place]
    for each in made:
        distance = np.abs(each.actuals[:, at] - each.predictions[:, at]) / (each.close * each.volatility)
        lane = Lane(sessions=each.sessions, targets=each.targets[:, at], scores=distance, overlap=OVERLAPS[at])
        widths = half_widths_of(lane, config)[-num_scored if num_scored else 0 :, place]
        distance, volatility = distance[-len(widths) :], each.volatility[-len(widths) :]
        steps = np.busday_count(each.sessions, each.targets[:, at])[-len(widths) :] if at == 1 else OVERLAPS[at]
        has = np.isfinite(widths)
        num += len(widths)
        inside.append((distance <= widths)[has].astype(float))
        relative.append((widths / z / np.sqrt(steps))[has])
        missed = np.maximum(distance - widths, 0)
        scores.append((200 * volatility * (widths + missed / (1 - LEVELS[place])))[has])
    hits = np.concatenate(inside)
    return (
        f"  {100 * hits.mean():4.1f} {np.concatenate(relative).mean():5.2f} {np.concatenate(scores).mean():5.2f} "
        f"{100 * (1 - len(hits) / num):3.0f}%"
    )


def shift(calendar: Calendar) -> None:
    """Print the coverage in the first sessions after the volatility of a walk doubled, by method, mean of 50 walks."""
    random = np.random.default_rng(0)
    num, num_walks = 1008, 50
    days = calendar.days[-2 * num - 30 : -num]
    print("\nvolatility doubles: coverage of the next-day interval in the 252 sessions after it (80%, 95%), in percent")
    for unit in ("close", "close x volatility of 30 sessions"):
        for method in (PLAIN, ADAPTIVE):
            hits: list[Values] = []
            for _ in range(num_walks):
                returns = random.normal(0, 0.01, num + 30) * np.repeat([1, 2], (num + 30) // 2)
                volatility = np.lib.stride_tricks.sliding_window_view(returns, 29).std(axis=1, ddof=1)[:num]
                scale = volatility if unit != "close" else np.ones(num)
                scores = np.abs(np.expm1(returns[29 : 29 + num])) / scale
                lane = Lane(sessions=days[:num], targets=calendar.targets_of(days[:num])[:, 0], scores=scores)
                after = (num + 30) // 2 - 29
                course = walk([lane], METHODS[method][1])
                widths = np.array([course.quantiles([day])[0] for day in days[after : after + 252]])
                hits.append((scores[after : after + 252, None] <= widths).mean(axis=0))
            found = 100 * np.mean(hits, axis=0)
            print(f"  scores in units of {unit:34} {method:32} {found[0]:5.1f} {found[1]:5.1f}")


if __name__ == "__main__":
    main()
