"""Forecast a ticker's three prices from its daily bars with an ONNX file of LDTM; needs numpy and onnxruntime.

    python serve_onnx.py AAPL.onnx AAPL.csv
    python serve_onnx.py universe.onnx AAPL.csv AAPL

The CSV has the columns date,open,high,low,close,volume, with the oldest bar first. Prices must be adjusted for splits,
and the newest 30 bars must be those of 30 consecutive sessions. With 280 bars the result equals the forecast of LDTM;
with fewer bars the RSI differs. The program needs at least 49 bars.
"""

import json
import sys

import numpy as np
import onnxruntime


def wilder(moves):
    """Wilder's averages of the moves between bars, for the RSI: one per bar, NaN for the first 14 bars."""
    averages = np.full(len(moves) + 1, np.nan)
    averages[14] = moves[:14].mean()
    for at in range(14, len(moves)):
        averages[at + 1] = averages[at] + (moves[at] - averages[at]) / 14
    return averages


def inputs_of(bars):
    """Inputs (n, 11) of a network, NaN during their warm-up; `bars` (n, 5) are open, high, low, close and volume."""
    close, early = bars[:, 3], np.full(19, np.nan)
    gain, loss = (wilder(np.maximum(sign * np.diff(close), 0)) for sign in (1, -1))
    rsi = np.where(gain + loss == 0, 50, 100 * gain / np.where(gain + loss == 0, 1, gain + loss))
    returns = [np.log(close / np.append(early[:n], close[:-n])) for n in (1, 5)]
    means = [np.append(early[: n - 1], np.lib.stride_tricks.sliding_window_view(close, n).mean(1)) for n in (5, 10, 20)]
    return np.column_stack([bars, *returns, rsi, *(close / mean for mean in means)])


def forecast(model_path, csv_path, ticker=None):
    """Forecast prices by horizon from the newest bars of a CSV; a file of several networks needs the ticker."""
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
