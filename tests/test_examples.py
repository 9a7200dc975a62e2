"""Each example runs as it stands, offline, and prints what it says it prints."""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

EXAMPLES = Path(__file__).parent.parent / "examples"
SAYS = {
    "text_image_search.py": "'a large blue diamond in the top right': scene-blue-diamond.jpg",
    "async_app.py": "called off: True and goes on: a red star",
    "video_search.py": "first and second half of clip-",
    "index_folder.py": "'a large red ring moving down' in 16 rows:",
    "pdf_search.py": "broken.pdf): the PDF cannot be opened",
    "encode_a_corpus.py": " were there, ",
    "instructions.py": "same instruction, same vector: 1.0000",
    "load_published_checkpoint.py": "profile vlm2vec-embedded",
    "evaluate.py": "the same scores: True",
    "evaluate_any_model.py": "mini-I-RET",
    "compare_with_published.py": "overall               78   56.20   55.37       +0.83    0.002 **",
    "fine_tune.py": "40 steps, 1,600 rows in ",
    "hard_negatives.py": "not to be taken for it: a ",
    "train_on_two_processes.py": "1 processes\nstep 1: loss ",
}
LONG = {"evaluate.py", "hard_negatives.py"}
Run = Callable[..., str]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """What a script prints, in this process: others would import torch again for each script."""

    def run(name: str, *arguments: str) -> str:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", [name, *arguments])
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        return capsys.readouterr().out

    return run


def test_every_example_is_tested_and_short() -> None:
    scripts = sorted(EXAMPLES.glob("*.py"))
    assert [script.name for script in scripts] == sorted(SAYS)
    for script in scripts:
        assert len(script.read_text(encoding="utf-8").splitlines()) < 60, script.name


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow) if name in LONG else name
        for name in sorted(SAYS.keys() - {"fine_tune.py", "train_on_two_processes.py"})
    ],
)
def test_example_runs(name: str, run: Run) -> None:
    assert SAYS[name] in run(name)


@pytest.mark.slow
def test_fine_tuning_teaches_the_words(run: Run) -> None:
    printed = run("fine_tune.py")
    assert SAYS["fine_tune.py"] in printed
    before, after, loaded = (int(share) for share in re.findall(r"(\d+)%", printed))
    assert before < 50
    assert after >= before + 25
    assert abs(loaded - after) <= 2  # equal to rounding, which may turn a close call


@pytest.mark.slow
def test_two_processes_have_the_losses_of_one(run: Run, tmp_path: Path) -> None:
    script = str(EXAMPLES / "train_on_two_processes.py")
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", script]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        launch, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    alone = run("train_on_two_processes.py")
    assert SAYS["train_on_two_processes.py"] in alone
    losses = [[float(loss) for loss in re.findall(r"loss (.+)", text)] for text in (done.stdout, alone)]
    assert done.stdout.startswith("2 processes\n")
    assert len(losses[0]) == 5
    assert losses[0] == pytest.approx(losses[1], abs=0.02)


def test_a_checkpoint_in_the_published_layout_loads_with_its_profile(golden: Path, run: Run) -> None:
    folder = str(golden / "tiny_qwen2vl")
    printed = run("load_published_checkpoint.py", folder, "--profile", "vlm2vec-v2")
    assert "profile vlm2vec-v2" in printed


@pytest.mark.parametrize(
    "command", [("pdf_search.py", "."), ("pdf_search.py", "--help"), ("text_image_search.py", "missing")]
)
def test_wrong_usage_of_an_example_is_one_line(
    command: tuple[str, ...], run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        run(*command)
    assert ended.value.code == 2
    assert re.fullmatch(rf"usage: {command[0]} .+\n", capsys.readouterr().err)


def test_a_broken_image_does_not_stop_the_search(run: Run, tmp_path: Path) -> None:
    for colour in ("red", "blue"):
        Image.new("RGB", (60, 60), colour).save(tmp_path / f"{colour}.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "red.png").read_bytes()[:60])
    printed = run("text_image_search.py", ".", "a red circle")
    assert "left out: input 1 (cut.png): " in printed
    assert "most like blue.png: red.png" in printed
