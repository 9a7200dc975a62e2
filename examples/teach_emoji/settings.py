"""How the embedded model learns them."""

from __future__ import annotations

from typing import Any

__all__ = ["SETTINGS"]

SETTINGS: dict[str, Any] = {
    "max_steps": 3600,
    "batch_size": 64,
    "learning_rate": 1e-3,
    "weight_decay": 0.02,
    "temperature": 0.05,
    "learn_temperature": True,
    "symmetric": True,
    "check_rows": False,  # to look at a row is to draw it
    "kept_tokens": 10**6,  # all graphs of so small a network fit in memory: nothing is computed twice
}
