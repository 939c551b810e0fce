"""False discovery rate: the share of tickers found good that are due to chance, when many are tested at once."""

from collections.abc import Mapping

import numpy as np


def q_values(p_values: Mapping[str, float]) -> dict[str, float]:
    """The smallest false discovery rate at which each of a family of tests would be a discovery.

    Y. Benjamini and D. Yekutieli, "The control of the false discovery rate in multiple testing under dependency",
    Annals of Statistics 29, 2001. It holds under any dependence of the tests: tickers move together, and inverse funds
    against them.
    """
    from scipy import stats  # pyright: ignore[reportMissingTypeStubs]  # takes half a second, so not at the start

    adjusted = stats.false_discovery_control(  # pyright: ignore[reportUnknownMemberType]
        np.array(list(p_values.values()), dtype=np.float64), method="by"
    )
    return dict(zip(p_values, np.asarray(adjusted, dtype=np.float64).tolist(), strict=True))
