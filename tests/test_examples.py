"""Each example runs as it stands, offline, and prints what it says it prints."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
SAYS = {
    "text_image_search.py": "'a large blue diamond in the top right': scene-blue-diamond.jpg",
    "video_search.py": "first and second half of clip-",
    "pdf_search.py": "broken.pdf: the PDF cannot be opened",
    "instructions.py": "same instruction, same vector: 1.0000",
    "load_published_checkpoint.py": "profile vlm2vec-embedded",
}


def run(name: str, *arguments: str, cwd: Path) -> str:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name), *arguments],
        cwd=cwd,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_example_is_tested_and_short() -> None:
    scripts = sorted(EXAMPLES.glob("*.py"))
    assert [script.name for script in scripts] == sorted(SAYS)
    for script in scripts:
        assert len(script.read_text(encoding="utf-8").splitlines()) < 60, script.name


@pytest.mark.parametrize("name", sorted(SAYS))
def test_example_runs(name: str, tmp_path: Path) -> None:
    assert SAYS[name] in run(name, cwd=tmp_path)


def test_a_checkpoint_in_the_published_layout_loads_with_its_profile(golden: Path, tmp_path: Path) -> None:
    folder = str(golden / "tiny_qwen2vl")
    printed = run("load_published_checkpoint.py", folder, "--profile", "vlm2vec-v2", cwd=tmp_path)
    assert "profile vlm2vec-v2" in printed
