"""Vectors are the same from threads that share a model, and from a process that was forked."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from vlm2vec import VLM2Vec
from vlm2vec.world.samples import write_samples


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Pictures, clips and PDFs."""
    folder = tmp_path_factory.mktemp("samples")
    write_samples(folder)
    return sorted(path for path in folder.iterdir() if path.is_file())


def test_eight_threads_encode_files_of_all_kinds(embedded: VLM2Vec, files: list[Path]) -> None:
    alone = embedded.encode(files)
    orders = [np.roll(np.arange(len(files)), number) for number in range(8)]
    with ThreadPoolExecutor(8) as threads:
        rows = list(threads.map(lambda order: embedded.encode([files[i] for i in order]), orders))
    for order, vectors in zip(orders, rows, strict=True):
        np.testing.assert_allclose(vectors, alone[order], atol=5e-7)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not fork by default")
def test_a_forked_process_encodes_what_its_parent_did(files: list[Path]) -> None:
    code = (
        "import multiprocessing, sys\n"
        "from pathlib import Path\n"
        "import numpy as np, torch\n"
        "from vlm2vec import VLM2Vec\n"
        "torch.set_num_threads(1)\n"  # OpenMP's threads do not come along
        "files = [Path(name) for name in sys.argv[1:]]\n"
        "model = VLM2Vec(device='cpu')\n"
        "parent = model.encode(files)\n"
        "context = multiprocessing.get_context('fork')\n"
        "with context.Pool(1) as pool:\n"
        "    child = pool.map_async(model.encode, [files]).get(60)[0]\n"
        "np.testing.assert_allclose(child, parent, atol=5e-7)\n"
    )
    subprocess.run([sys.executable, "-c", code, *map(str, files)], check=True, timeout=120)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_a_pool_whose_worker_was_killed_gives_every_row_or_says_so(embedded: VLM2Vec) -> None:
    texts = [f"word {number}" for number in range(30)]
    pool = embedded.start_multi_process_pool(["cpu", "cpu"])
    try:
        worker = pool["processes"][0]
        os.kill(worker.pid, signal.SIGKILL)
        worker.join()
        try:  # the other worker may take all of it before the loss is seen
            rows = embedded.encode(texts, pool=pool, chunk_size=5)
        except RuntimeError as error:
            assert "died unexpectedly" in str(error)
        else:
            np.testing.assert_allclose(rows, embedded.encode(texts), atol=5e-7)
    finally:
        embedded.stop_multi_process_pool(pool)
