"""Forecast a ticker's three prices from its daily bars with a file that LDTM exported; needs numpy and onnxruntime.

    python serve_onnx.py AAPL.onnx AAPL.csv

The CSV has date,open,high,low,close,volume, oldest first, without a missing session in the newest 30, adjusted for
splits. 280 bars give the forecast of LDTM itself; 60 differ a little in the RSI, fewer than 49 are too few.
"""

import json
import sys

import numpy as np
import onnxruntime


def wilder(moves):
    """Averages of Wilder's RSI, one more than moves: the first bar has no move."""
    averages = np.full(len(moves) + 1, np.nan)
    averages[14] = moves[:14].mean()
    for at in range(14, len(moves)):
        averages[at + 1] = averages[at] + (moves[at] - averages[at]) / 14
    return averages


def inputs_of(bars):
    """The eleven inputs (bars, 11) of a network, NaN during their warm-up; `bars` has five columns."""
    close, early = bars[:, 3], np.full(19, np.nan)
    gain, loss = (wilder(np.maximum(sign * np.diff(close), 0)) for sign in (1, -1))
    rsi = np.where(gain + loss == 0, 50, 100 * gain / np.where(gain + loss == 0, 1, gain + loss))
    returns = [np.log(close / np.append(early[:n], close[:-n])) for n in (1, 5)]
    means = [np.append(early[: n - 1], np.lib.stride_tricks.sliding_window_view(close, n).mean(1)) for n in (5, 10, 20)]
    return np.column_stack([bars, *returns, rsi, *(close / mean for mean in means)])


def forecast(model_path, csv_path, ticker=None):
    """Prices by horizon, after the newest bar; a file of several networks needs the ticker."""
    session = onnxruntime.InferenceSession(model_path, providers=["CPUExecutionProvider"])
    described = json.loads(session.get_modelmeta().custom_metadata_map["ldtm"])
    network = next(n for n in described["networks"] if ticker in (None, n["ticker"]))
    length = described["window_sessions"]
    bars = np.genfromtxt(csv_path, delimiter=",", skip_header=1, usecols=range(1, 6))
    inputs = inputs_of(bars[-length - described["warmup_bars"] :])[-length:].astype(np.float32)
    low, high = inputs.min(0), inputs.max(0)
    rounding = np.finfo(np.float32).eps * np.maximum(abs(low), abs(high))
    window = (inputs - low) / np.where(high - low > rounding, high - low, np.float32(np.inf))
    nothing = np.zeros((1, *window.shape), np.float32)
    feeds = {value.name: nothing for value in session.get_inputs()} | {network["input"]["name"]: window[None]}
    (scaled,) = session.run([network["output"]["name"]], feeds)
    lowest, highest = bars[-length:, 3].min(), bars[-length:, 3].max()
    prices = lowest + scaled[0].astype(np.float64) * (highest - lowest if highest > lowest else 1)
    return dict(zip(described["horizons"], prices.tolist(), strict=True))


if __name__ == "__main__":
    print(json.dumps(forecast(*sys.argv[1:])))
