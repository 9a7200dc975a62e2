"""How sure a share is."""

from __future__ import annotations

import math

__all__ = ["wilson_interval"]

_Z = 1.959964
"""Standard deviations that hold 95 % of a normal distribution."""


def wilson_interval(hits: int, total: int) -> tuple[float, float]:
    """The 95 % confidence interval of a share, after Wilson (1927), which also holds near 0 and 1.

    Args:
        hits: Successes.
        total: Trials, at least one.

    Example:
        >>> low, high = wilson_interval(95, 100)
        >>> round(low, 3), round(high, 3)
        (0.888, 0.978)
    """
    share = hits / total
    middle = share + _Z**2 / (2 * total)
    reach = _Z * math.sqrt(share * (1 - share) / total + _Z**2 / (4 * total**2))
    widening = 1 + _Z**2 / total
    return max(0.0, (middle - reach) / widening), min(1.0, (middle + reach) / widening)
