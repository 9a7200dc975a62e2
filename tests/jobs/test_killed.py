"""A job that is killed, and then goes on, writes the very files of one that was not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="this system cannot fork")

# The model is loaded once; each run is a child of that process, which forks before any thread has started.
_SCRIPT = """
import os, random, signal, sys, time
from pathlib import Path
import torch
from vlm2vec import VLM2Vec, encode_to
from vlm2vec.encoding.settings import EngineSettings
from vlm2vec.world.samples import write_samples

kills, count, folder = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
torch.set_num_threads(1)
model = VLM2Vec(device="cpu")
model.engine_settings = EngineSettings(kernel="torch")  # each process would choose its own
write_samples(folder / "samples")
files = sorted((folder / "samples").glob("*.*g"))
(folder / "cut.png").write_bytes(b"\\x89PNG\\r\\n\\x1a\\n")

def kind(i):
    file = files[i % len(files)]
    return folder / "cut.png" if i % 17 == 5 else [f"caption {i}", file, [f"is it {i}?", file]][i % 3]

inputs = [kind(i) for i in range(count)]

def job(name):
    return encode_to(folder / name, inputs, model=model, rows_per_shard=8)

def fork(name):
    pid = os.fork()
    if not pid:
        code = 1
        try:
            job(name)
            code = 0
        finally:
            os._exit(code)
    return pid

def shards():
    return {p.name: (p.stat().st_ino, p.stat().st_mtime_ns) for p in (folder / "killed").glob("shard-*.*")
            if (folder / "killed" / f"{p.stem}.jsonl").exists() and p.suffix != ".part"}

start = time.perf_counter()
assert os.waitpid(fork("straight"), 0)[1] == 0
straight = time.perf_counter() - start
moments = random.Random(kills)
killed = 0
for _ in range(kills):
    before = shards() if killed else {}
    pid = fork("killed")
    time.sleep(moments.uniform(0, 4 * straight / kills))
    os.kill(pid, signal.SIGKILL)
    killed += os.WIFSIGNALED(os.waitpid(pid, 0)[1])
    after = shards()
    assert before.items() <= after.items(), "a shard was written twice"
before = shards()
assert os.waitpid(fork("killed"), 0)[1] == 0
assert before.items() <= shards().items()
contents = [
    {p.name: p.read_bytes() for p in (folder / name).iterdir() if p.name[0] != "."}
    for name in ("straight", "killed")
]
assert contents[0] == contents[1], "other files"
assert sum(b"MediaError" in data for data in contents[1].values())
print(killed, "killed,", len(before) // 2, "shards of", len(contents[0]) // 2, "before the last run")
"""


def run(kills: int, count: int, folder: Path) -> str:
    command = [sys.executable, "-c", _SCRIPT, str(kills), str(count), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_a_job_killed_three_times(tmp_path: Path) -> None:
    assert "killed," in run(3, 60, tmp_path)


@pytest.mark.slow
def test_a_job_killed_at_twenty_random_moments(tmp_path: Path) -> None:
    # The others had come to their end, which is sooner where the first run shared the cores.
    assert int(run(20, 300, tmp_path).split()[0]) >= 5
