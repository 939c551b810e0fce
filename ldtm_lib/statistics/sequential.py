"""Sequential tests, valid at every look: the evidence of a growing record against a bound.

A test at 5% that is repeated daily rejects every good model in the end. These tests bet instead: a gambler starts
with 1 and stakes a part of the capital every day on the record being worse than the bound. If it is not worse, no such
bet gains on average, the capital is a nonnegative supermartingale, and by Ville's inequality the chance that it *ever*
reaches 1 / a is at most a, however long one watches and whenever one stops. The capital is the evidence (an e-value);
its maximum so far counts. Instead of choosing one stake, the capital is spread over all of them.

Both tests assume only that on each day, given the days before it, the chance of a right call or the expected error
keeps the bound. Days need not be independent or alike. There is no bet on a day without a call or an error; whether
a day has one is known before its outcome.

Sources: Ville, "Étude critique de la notion de collectif" (1939); Robbins, "Statistical methods related to the law of
the iterated logarithm", Ann. Math. Statist. 41 (1970), for the mixtures; Waudby-Smith and Ramdas, "Estimating means of
bounded random variables by betting", J. R. Stat. Soc. B 86 (2024), for the bets.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

NUM_STAKES = 64
"""Number of stakes on errors. Twice as many change the logarithm of the evidence by less than 0.01 wherever it affects
a decision."""
SMALLEST_SHARE = 1e-250
"""Smallest share of a beta distribution: below it betainc loses digits and then underflows."""

Counts = npt.NDArray[np.int64]
Values = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class EValue:
    """The strongest evidence so far against a bound, and when it was reached."""

    log_e: float
    """Natural logarithm of the largest e-value, at least 0, its value before any outcome; may be infinite."""
    num_outcomes: int
    """Number of outcomes up to then."""

    @property
    def p_value(self) -> float:
        """Upper bound on the chance that a record that keeps the bound ever looks so bad, however often one looks."""
        return min(1.0, math.exp(-self.log_e))


NO_EVIDENCE = EValue(log_e=0.0, num_outcomes=0)


def shortfall(is_right_D: npt.NDArray[np.bool_], share: float) -> EValue:
    """Evidence that outcomes, given in order, are right with a chance below `share`, which is within (0, 1)."""
    num_right_D = np.cumsum(is_right_D, dtype=np.int64)
    return _largest(log_shortfall(num_right_D, np.arange(1, len(num_right_D) + 1), share))


def excess(errors_D: Values, bound: float) -> EValue:
    """Evidence that errors, given in order and none of them negative, have a mean above `bound`.

    The bet of stake s on error e multiplies the capital by 1 + s (e / bound - 1), s in (0, 1): it cannot lose more than
    its stake, however small the error, and gains nothing on average if the mean keeps the bound, however heavy the
    errors' tail. Unlike an asymptotic confidence sequence, it is therefore exact without assuming a largest error and
    without clipping. The capital is spread evenly over 64 stakes.
    """
    if bound <= 0:
        return _largest(np.where(errors_D > 0, math.inf, 0.0))
    stakes_S = (np.arange(NUM_STAKES) + 0.5) / NUM_STAKES
    log_capital_DS = np.cumsum(np.log1p(stakes_S * (errors_D[:, None] / bound - 1)), axis=0)
    return _largest(np.logaddexp.reduce(log_capital_DS, axis=1) - math.log(NUM_STAKES))


def log_shortfall(num_right: Counts, num_outcomes: Counts, share: float) -> Values:
    """Logarithm of the capital after k right outcomes of n, spread evenly over all chances q below p, the `share`.

    It is the mean over q of the likelihood ratio (q/p)^k ((1-q)/(1-p))^(n-k) of q and p. The integral is an incomplete
    beta function, I_p(k+1, n-k+1) B(k+1, n-k+1) / (p^(k+1) (1-p)^(n-k)). Where I_p is too small for a float64, because
    the record is far better than the bound, the same number is (1-p)/(k+1) F(n+2, 1; k+2; p) (DLMF 8.17.8), whose
    series has only positive terms and converges fast there. The relative error of the capital is below 1e-9 up to
    n = 100,000.
    """
    from scipy.special import betainc, betaln  # pyright: ignore[reportMissingTypeStubs] takes 0.4 s

    k, n = np.asarray(num_right, np.float64), np.asarray(num_outcomes, np.float64)
    below = betainc(k + 1, n - k + 1, share)
    is_tail = below < SMALLEST_SHARE
    with np.errstate(divide="ignore"):
        log_e = np.log(below) + betaln(k + 1, n - k + 1) - (k + 1) * math.log(share) - (n - k) * math.log1p(-share)
    if is_tail.any():
        log_e[is_tail] = np.log((1 - share) / (k[is_tail] + 1) * _series(k[is_tail], n[is_tail], share))
    return log_e


def _series(k: Values, n: Values, share: float) -> Values:
    """F(n+2, 1; k+2; share), where k/n is well above the share."""
    total, term = np.ones_like(k), np.ones_like(k)
    place = 0
    while (term > 1e-17 * total).any():
        term *= (n + 2 + place) * share / (k + 2 + place)
        total += term
        place += 1
    return total


def _largest(log_e_D: Values) -> EValue:
    if not len(log_e_D):
        return NO_EVIDENCE
    at = int(np.argmax(log_e_D))
    return EValue(log_e=float(log_e_D[at]), num_outcomes=at + 1) if log_e_D[at] > 0 else NO_EVIDENCE
