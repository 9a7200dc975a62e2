"""Killed at any moment, an index is what it was at its last batch, and the next `sync` goes on from there."""

from __future__ import annotations

import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from small_files import write_picture

from vlm2vec import Index, VLM2Vec

KILLED = Path(__file__).parent / "killed_sync.py"
BATCH = 16
KILLS = 10  # each takes the start of a process; twenty pass as well


def rows_of(store: Path) -> dict[str, np.ndarray]:
    """Rows by id; each id once, and each of a file that the manifest has noted with that number of rows."""
    index = Index(store)
    if not len(index):
        return {}
    table = index.to_arrow()
    ids = table.column("id").to_pylist()
    assert len(set(ids)) == len(ids) == len(index)
    noted = {record.path: record.rows for record in index._open_manifest().files().values() if record.rows}
    assert Counter(name.partition("#")[0] for name in ids) == noted
    return dict(zip(ids, np.array(table.column("vector").to_pylist()), strict=True))


@pytest.mark.slow
def test_sync_that_is_killed_again_and_again_ends_as_one_that_is_not(tmp_path: Path) -> None:
    files, chance = tmp_path / "files", random.Random(0)  # noqa: S311
    for number in range(280):
        write_picture(files / f"{number % 7}" / f"{number}.png", number)
    for number in range(20):
        (files / f"broken{number}.jpg").write_bytes(b"no picture %d" % number)
    for number in range(10):
        (files / f"{number}.md").write_text(f"words {number}\n\nmore words", encoding="utf-8")
    store, log = tmp_path / "store", tmp_path / "log"
    killed_in_work = 0
    encoded: Counter[str] = Counter()
    for turn in range(KILLS + 1):
        moment = (0, 0.0) if turn == KILLS else (chance.randint(1, 40), chance.uniform(0, 0.1))
        before = set(rows_of(store)) if store.exists() else set()
        subprocess.run(
            [sys.executable, str(KILLED), str(files), str(store), str(log), *map(str, moment)],
            check=False,
            timeout=300,
        )
        lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        killed_in_work += any(line.startswith("encode") for line in lines) and "done" not in lines
        after = rows_of(store)
        assert before <= set(after)
        given = Counter(line.rpartition("/")[2] for line in lines if line.startswith("encode"))
        new = {name.rpartition("/")[2].partition("#")[0] for name in after.keys() - before}
        # Lost is at most the batch that was being encoded, and one that was read ahead of it.
        lost = sum(given.values()) - len(new)
        assert lost <= 2 * BATCH + 10, (turn, lost)
        encoded += given
        if turn < KILLS:
            for name in changed_names(turn):
                write_picture(files / name, 1000 + turn)
    straight = tmp_path / "straight"
    Index(straight, VLM2Vec(device="cpu")).sync(files, show_progress_bar=False)
    killed, whole = rows_of(store), rows_of(straight)
    assert killed.keys() == whole.keys()
    for name, vector in whole.items():
        np.testing.assert_allclose(killed[name], vector, atol=5e-7)
    assert [str(each) for each in Index(store).failures()] == [
        str(each) for each in Index(straight).failures()
    ]
    assert killed_in_work >= 0.75 * KILLS, "the kills came too late"


def changed_names(turn: int) -> list[str]:
    """Files that get another content after a turn."""
    return [f"{number % 7}/{number}.png" for number in (turn, turn + 100)] if turn >= 0 else []


BEGUN = """
import os, sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("PRAGMA cache_size = 1")  # pages are written before they are committed
db.execute("BEGIN IMMEDIATE")
db.execute("DELETE FROM files")
db.executemany("INSERT INTO facts VALUES (?, ?)", [(str(n), "0" * 1000) for n in range(1000)])
os._exit(9)
"""


@pytest.mark.parametrize("when", ["opened before", "opened after"])
def test_what_a_killed_writer_had_begun_to_note_is_undone_by_the_next_reader(
    tmp_path: Path, model: VLM2Vec, when: str
) -> None:
    write_picture(tmp_path / "files" / "one.png", 1)
    index = Index(tmp_path / "store", model)
    index.sync(tmp_path / "files", show_progress_bar=False)
    (noted,) = (tmp_path / "store").glob("*/manifest.sqlite")
    reader = Index(tmp_path / "store", model)
    if when == "opened before":
        assert len(reader.search("red")) == 1
    subprocess.run([sys.executable, "-c", BEGUN, str(noted)], check=False, timeout=60)
    assert noted.with_name("manifest.sqlite-journal").stat().st_size > 512
    reader = reader if when == "opened before" else Index(tmp_path / "store", model)
    assert [hit.name for hit in reader.search("red")] == ["one.png"]
    assert reader.failures() == []
