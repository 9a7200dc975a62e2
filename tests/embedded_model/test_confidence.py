"""Confidence intervals of shares."""

from __future__ import annotations

import numpy as np
import pytest

from embedded_model.confidence import wilson_interval


@pytest.mark.parametrize(("hits", "total"), [(0, 20), (1, 30), (95, 100), (470, 500), (200, 200)])
def test_the_ends_are_the_shares_that_would_just_be_rejected(hits, total):
    """Wilson's interval holds the shares p for which |hits/n - p| is at most 1.96 standard errors of p."""
    grid = np.linspace(0, 1, 200_001)
    kept = grid[np.abs(hits / total - grid) <= 1.959964 * np.sqrt(grid * (1 - grid) / total)]
    low, high = wilson_interval(hits, total)
    assert low == pytest.approx(kept.min(), abs=2e-5) and high == pytest.approx(kept.max(), abs=2e-5)
