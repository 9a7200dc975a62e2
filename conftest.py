"""The examples in README.md and docs run where a reader is after `vlm2vec demo`: beside `vlm2vec-demo/`."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def after_demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from vlm2vec.world.samples import write_samples

    folder = tmp_path_factory.mktemp("reader")
    write_samples(folder / "vlm2vec-demo")
    return folder


@pytest.fixture(autouse=True)
def _reader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.node.path.suffix == ".md":
        monkeypatch.chdir(request.getfixturevalue("after_demo"))
