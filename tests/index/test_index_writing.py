"""Writers of an index: one at a time, readers beside them, nothing torn by a stop or a full disk."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_files import write_picture

from vlm2vec import Index, VLM2Vec
from vlm2vec.errors import IndexStoreError
from vlm2vec.index.manifest import Manifest
from vlm2vec.index.rows import Rows
from vlm2vec.index.writer import Writer


class Stopped(BaseException):
    """Stands for a process that dies."""


def ids(index: Index) -> list[str]:
    return sorted(row["id"] for row in index.to_arrow().to_pylist())


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (Rows, "delete_files"),
        (Rows, "append"),
        (Manifest, "put"),
        (Writer, "_note_version"),
        (Rows, "compact"),
        (Rows, "clean"),
    ],
)
@pytest.mark.parametrize("after", [False, True])
def test_a_stop_at_any_step_of_a_write_leaves_the_old_state_or_the_new(
    model: VLM2Vec, folder: Path, monkeypatch: pytest.MonkeyPatch, kind: type, name: str, after: bool
) -> None:
    index = Index(folder, model)
    index.sync(show_progress_bar=False)
    before = {row["id"]: row["vector"] for row in index.to_arrow().to_pylist()}
    write_picture(folder / "a.png", 30)
    write_picture(folder / "new.png", 31)
    (folder / "words.txt").unlink()
    original: Callable[..., Any] = getattr(kind, name)

    def stopping(*args: Any, **settings: Any) -> Any:
        if after:
            original(*args, **settings)
        raise Stopped

    monkeypatch.setattr("vlm2vec.index.writer._PIECES", 0)  # so that the table is tidied
    monkeypatch.setattr(kind, name, stopping)
    with pytest.raises(Stopped):
        Index(folder, model).sync(show_progress_bar=False)
    monkeypatch.undo()
    # Whatever is there is whole: each row once, as many as are noted, and each file with its own vector.
    reader = Index(folder, model)
    rows = reader.to_arrow().to_pylist()
    assert len({row["id"] for row in rows}) == len(rows) == len(reader)
    for row in rows:
        if row["id"] not in ("a.png", "new.png"):
            assert row["vector"] == before[row["id"]]
    assert reader.search("a red circle")
    Index(folder, model).sync(show_progress_bar=False)
    assert ids(Index(folder, model)) == ["a.png", "below/b.png", "below/deep/c.png", "new.png"]
    found = {row["id"]: row["vector"] for row in Index(folder, model).to_arrow().to_pylist()}
    for changed in ("a.png", "new.png"):
        np.testing.assert_allclose(found[changed], model.encode_document(folder / changed), atol=5e-7)


def test_a_second_writer_is_refused_and_a_reader_is_not(
    model: VLM2Vec, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Index(folder, model).sync(show_progress_bar=False)
    write_picture(folder / "new.png", 31)
    said: list[Any] = []
    append = Rows.append

    def beside(self: Rows, *args: Any) -> None:
        append(self, *args)
        reader = Index(folder, model)
        said.append([hit.id for hit in reader.search("x")])
        with pytest.raises(IndexStoreError, match="another process is writing into it"):
            Index(folder, model).sync(show_progress_bar=False)

    monkeypatch.setattr(Rows, "append", beside)
    Index(folder, model).sync(show_progress_bar=False)
    (seen,) = said
    assert len(seen) == 4
    assert "new.png" not in seen  # what is not noted yet is not found
    assert "new.png" in ids(Index(folder, model))


def test_a_reader_searches_while_a_writer_writes(model: VLM2Vec, folder: Path) -> None:
    index = Index(folder, model)
    index.sync(show_progress_bar=False)
    reader, wrong = Index(folder, model), []
    ended = threading.Event()

    def read() -> None:
        while not ended.is_set():
            try:
                found = [hit.id for hit in reader.search("a red circle", k=99)]
                if len(found) != len(set(found)) or "words.txt#passage=1" not in found:
                    wrong.append(found)
            except Exception as error:  # told below
                wrong.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    for turn in range(6):
        write_picture(folder / "a.png", 50 + turn)
        write_picture(folder / f"{turn}.png", 60 + turn)
        index.sync(show_progress_bar=False)
    index.compact()
    ended.set()
    thread.join()
    assert wrong == []
    assert len(reader.search("x", k=99)) == 10


def test_an_index_that_cannot_be_written_is_searched(model: VLM2Vec, folder: Path) -> None:
    index = Index(folder, model)
    index.sync(show_progress_bar=False)
    for path in [index.store, *index.store.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        assert Index(folder, model).search("x")
        assert Index(folder, model).stats().rows == 4
    finally:
        for path in [index.store, *index.store.rglob("*")]:
            path.chmod(0o755 if path.is_dir() else 0o644)


FULL = """
import sys
from pathlib import Path
import numpy as np
from vlm2vec import Index, VLM2Vec
folder, store = Path(sys.argv[1]), Path(sys.argv[2])
index = Index(store)
print(len(index))
index.sync(folder, batch_size=16, show_progress_bar=False)
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can mount a disk")
def test_a_full_disk_is_an_error_that_says_so_and_leaves_what_was_there(
    tmp_path: Path, model: VLM2Vec
) -> None:
    files, disk = tmp_path / "files", tmp_path / "disk"
    disk.mkdir()
    for number in range(20):
        write_picture(files / f"{number}.png", number)
    mount, unmount = shutil.which("mount"), shutil.which("umount")
    command = [str(mount), "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)]
    if not mount or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        index = Index(disk / "store", model)
        index.sync(files, show_progress_bar=False)
        before = ids(index)
        assert len(before) == 20
        (disk / "ballast").write_bytes(bytes(3_700_000))
        for number in range(20, 400):
            write_picture(files / f"{number}.png", number)
        command = [sys.executable, "-c", FULL, str(files), str(disk / "store")]
        said = subprocess.run(command, capture_output=True, text=True, check=False)
        assert said.stdout.split() == ["20"]
        last = said.stderr.strip().splitlines()[-1]
        assert last.startswith("vlm2vec.errors.IndexStoreError: ")
        assert "the disk has no room for it (" in last
        assert last.endswith("What was indexed before is whole; free some space, and do it again.")
        reader = Index(disk / "store", model)
        kept = ids(reader)
        assert set(before) <= set(kept)
        assert len(kept) == len(reader) < 400
        assert reader.search("x")
        (disk / "ballast").unlink()
        Index(disk / "store", model).sync(files, show_progress_bar=False)
        assert len(Index(disk / "store", model)) == 400
    finally:
        subprocess.run([str(unmount), "-l", str(disk)], check=False)
