"""The neutral band: the predicted next-day return within which a forecast names no direction."""

import numpy as np

from ldtm_lib.features.scaling import Float64s
from ldtm_lib.settings import ForecastConfig


def neutral_bands(config: ForecastConfig, volatility: Float64s) -> Float64s:
    """The band (n,) of each forecast, as a fraction of its close, from the volatility (n,) of its window.

    It is the fixed `neutral_band`, or with `neutral_band_volatilities` that multiple of the volatility. If the
    volatility is not known (NaN, in backtests stored without it), it is the fixed band.
    """
    fixed = np.full(len(volatility), config.neutral_band)
    if config.neutral_band_volatilities is None:
        return fixed
    return np.where(np.isnan(volatility), fixed, config.neutral_band_volatilities * volatility)


def neutral_band(config: ForecastConfig, volatility: float | None) -> float:
    """The band of one forecast; see `neutral_bands`."""
    return float(neutral_bands(config, np.array([np.nan if volatility is None else volatility]))[0])
