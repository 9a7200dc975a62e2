"""Each example of an adapter runs as it stands, offline, and prints what it says it prints."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples" / "integrations"
# Script: the package that it needs, and a part of what it prints.
SAYS: dict[str, tuple[str, str]] = {
    "with_mteb.py": ("mteb", "ndcg_at_5 of vlm2vec/embedded: 1.0"),
    "with_haystack.py": ("haystack", "left out: input 16 (gone.png): the file does not exist."),
    "with_langchain.py": ("langchain_core", "page 3 of 3"),
    "with_llamaindex.py": ("llama_index", "scene-orange-heart-black-cross-pink-ring.png"),
    "with_ray.py": ("ray", "1 failed"),
    "with_chroma.py": ("chromadb", "  scene-blue-diamond.jpg"),
    "with_lancedb.py": ("lancedb", "no vector: broken.jpg"),
}


def test_every_example_is_tested_and_short() -> None:
    scripts = sorted(EXAMPLES.glob("*.py"))
    assert [script.name for script in scripts] == sorted(SAYS)
    for script in scripts:
        assert len(script.read_text(encoding="utf-8").splitlines()) < 40, script.name


@pytest.mark.parametrize("name", sorted(SAYS))
def test_example_runs(name: str, tmp_path: Path) -> None:
    package, says = SAYS[name]
    if not find_spec(package):
        pytest.skip(f"{package} is not installed")
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(EXAMPLES.parents[1])}
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert says in done.stdout
