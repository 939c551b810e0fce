"""The eleven inputs of a network by name, in their order; `indicators` computes them."""

INPUTS = (
    "open",
    "high",
    "low",
    "close",
    "volume",
    "log_return_1",
    "log_return_5",
    "rsi_14",
    "close_to_ma_5",
    "close_to_ma_10",
    "close_to_ma_20",
)
CLOSE = INPUTS.index("close")
