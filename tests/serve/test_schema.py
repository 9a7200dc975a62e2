"""A thousand requests made up from the server's own description: never a fault of the server, and no hang."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from search_cases import searching

from vlm2vec import Index, VLM2Vec
from vlm2vec.serve.run import bind, url_of
from vlm2vec.serve.settings import ServeSettings

schemathesis = pytest.importorskip("schemathesis")
uvicorn = pytest.importorskip("uvicorn")

pytestmark = pytest.mark.slow

REQUESTS = 1000
ANSWER_SECONDS = 30
MIB = 2**20


def memory() -> float:
    """Of this process, in MiB."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return float(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024


@pytest.fixture(scope="module")
def url(embedded: VLM2Vec, index: Index) -> Iterator[str]:
    with searching(embedded, index, max_request_bytes=MIB, max_inputs=64) as app, served(app) as address:
        yield address


class served:  # noqa: N801 - used as a function
    """An application behind a socket, in a thread."""

    def __init__(self, app: FastAPI) -> None:
        self.socket = bind(ServeSettings(port=0))
        self.server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, lifespan="off"))
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [self.socket]})

    def __enter__(self) -> str:
        address = url_of(self.socket)
        self.thread.start()
        while not self.server.started:
            time.sleep(0.01)
        return address

    def __exit__(self, *_: object) -> None:
        self.server.should_exit = True
        self.thread.join()


def test_requests_made_from_the_description_are_answered_and_memory_stays(url: str) -> None:
    operations = [
        found.ok() for found in schemathesis.openapi.from_url(f"{url}/openapi.json").get_all_operations()
    ]
    modes = list(schemathesis.GenerationMode)
    each = -(-2 * REQUESTS // (len(operations) * len(modes)))  # many of them take no input
    statuses: Counter[tuple[str, int]] = Counter()
    slowest = 0.0
    levels = []
    for mode in modes:
        for operation in operations:

            @settings(
                max_examples=each,
                deadline=None,
                database=None,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            @given(case=operation.as_strategy(generation_mode=mode))
            def fire(case: Any) -> None:
                nonlocal slowest
                start = time.monotonic()
                answer = case.call(timeout=ANSWER_SECONDS)
                slowest = max(slowest, time.monotonic() - start)
                statuses[case.operation.path, answer.status_code] += 1
                assert answer.status_code < 500, (case, answer.text)

            with suppress(Unsatisfiable):  # where nothing is sent, nothing can be wrong
                fire()
        levels.append(memory())
    assert sum(statuses.values()) >= REQUESTS
    assert {status for _, status in statuses} >= {200, 400}
    assert slowest < ANSWER_SECONDS
    # The first round loads what is loaded once.
    assert levels[-1] - levels[0] < 150, levels
    print(statuses, slowest, levels)  # noqa: T201
