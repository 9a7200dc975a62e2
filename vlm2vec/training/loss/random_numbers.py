"""The random numbers that dropout draws, on the host and on a device: their state, and drawing them again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

__all__ = ["drawn_again", "random_state", "set_random_state"]


def random_state(device: torch.device) -> list[Tensor]:
    """What the next numbers follow from, of the host and then of the device."""
    states = [torch.get_rng_state()]
    if device.type != "cpu":
        states.append(torch.get_device_module(device).get_rng_state(device))
    return states


def set_random_state(states: Sequence[Tensor], device: torch.device) -> None:
    """Draw on from what `random_state` gave."""
    torch.set_rng_state(states[0])
    if device.type != "cpu":
        torch.get_device_module(device).set_rng_state(states[1], device)


@contextmanager
def drawn_again(states: Sequence[Tensor], device: torch.device) -> Iterator[None]:
    """Draws as from these states; what comes after the block draws on as if nothing had been drawn."""
    with torch.random.fork_rng([] if device.type == "cpu" else [device], device_type=device.type):
        set_random_state(states, device)
        yield
