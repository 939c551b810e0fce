"""The neutral band: fixed, or a multiple of the volatility of each window."""

import numpy as np
import pytest

from ldtm_lib.features.neutral_band import neutral_band, neutral_bands
from ldtm_lib.settings import ForecastConfig

FIXED, OWN = ForecastConfig(neutral_band=0.002), ForecastConfig(neutral_band=0.002, neutral_band_volatilities=0.25)


def test_the_fixed_band_is_the_default_whatever_the_volatility_is() -> None:
    assert ForecastConfig().neutral_band_volatilities is None
    assert neutral_bands(FIXED, np.array([0.01, np.nan, 0.0])).tolist() == [0.002, 0.002, 0.002]


def test_the_band_of_its_own_is_a_multiple_of_each_volatility_and_the_fixed_one_where_that_is_unknown() -> None:
    assert neutral_bands(OWN, np.array([0.008, 0.04, 0.0, np.nan])).tolist() == [0.002, 0.01, 0.0, 0.002]


@pytest.mark.parametrize("config", [FIXED, OWN])
@pytest.mark.parametrize("volatility", [0.0, 0.0123456789, 0.3])
def test_one_forecast_has_the_band_that_it_has_among_others_to_the_bit(
    config: ForecastConfig, volatility: float
) -> None:
    assert neutral_band(config, volatility) == neutral_bands(config, np.array([0.5, volatility]))[1]


def test_without_a_window_the_fixed_band_is_left() -> None:
    assert neutral_band(OWN, None) == 0.002
