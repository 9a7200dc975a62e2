"""What all tests of media need."""

import os

import pytest


@pytest.fixture(autouse=True)
def ordinary_scheduling():
    """SVT-AV1, which writes some clips here, makes the thread that starts it a real-time one where it may.

    What that thread starts later inherits it, and nothing else on the machine gets a core from it.
    """
    _schedule_as_usual()
    yield
    _schedule_as_usual()


def _schedule_as_usual() -> None:
    if hasattr(os, "sched_setscheduler"):
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
