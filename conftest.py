"""For all tests: what a machine cannot run is skipped, and examples in Markdown find their files."""

from __future__ import annotations

import gc
import os
from importlib.util import find_spec
from pathlib import Path

import pytest

# Processes of tests beside one another have a core each; with threads of their own they wait for one another.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# Without a GPU, Triton's kernels are interpreted; it is asked for before anything imports Triton.
if not Path("/dev/nvidiactl").exists():
    os.environ.setdefault("TRITON_INTERPRET", "1")

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray would tell its makers

# Examples of what needs an extra are run where it is installed.
EXAMPLES = {
    "lancedb": [
        "README.md",
        "docs/index_files.md",
        "vlm2vec/index/index.py",
        "vlm2vec/integrations/lancedb.py",
    ],
    "mteb": ["docs/integrations/mteb.md", "vlm2vec/integrations/mteb.py"],
    "langchain_core": ["docs/integrations/langchain.md", "vlm2vec/integrations/langchain.py"],
    "llama_index": ["docs/integrations/llamaindex.md", "vlm2vec/integrations/llamaindex.py"],
    "haystack": ["docs/integrations/haystack.md", "vlm2vec/integrations/haystack.py"],
    "chromadb": ["docs/integrations/vector_stores.md", "vlm2vec/integrations/chroma.py"],
    "qdrant_client": ["docs/integrations/vector_stores.md"],
    "faiss": ["docs/integrations/vector_stores.md"],
    "ray": ["docs/integrations/ray.md", "vlm2vec/integrations/ray"],
    "triton": ["vlm2vec/blocks/fused_kernels.py"],
}
# As modules with examples, several would be imported under one name.
collect_ignore_glob = ["tests/**/conftest.py"]
collect_ignore = [path for package, paths in EXAMPLES.items() if not find_spec(package) for path in paths]


def pytest_collection_finish() -> None:
    gc.collect()
    gc.freeze()  # what was imported stays, so that no collection looks through it again: each `fit` makes one


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu"):
        import torch

        if not torch.cuda.is_available():
            pytest.skip("there is no CUDA device")


@pytest.fixture(scope="session")
def after_demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which `vlm2vec demo` was run: `vlm2vec-demo/` is there."""
    from vlm2vec.world.samples import write_samples

    folder = tmp_path_factory.mktemp("reader")
    write_samples(folder / "vlm2vec-demo")
    (folder / "vlm2vec-demo" / "gallery.html").write_text("<!doctype html>")  # the demo writes one too
    return folder


@pytest.fixture(autouse=True)
def _reader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.node.path.suffix == ".md":
        monkeypatch.chdir(request.getfixturevalue("after_demo"))
