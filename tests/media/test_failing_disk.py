"""Disks and networks that fail after a file was opened: one failing input each."""

from __future__ import annotations

import errno
import io
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from vlm2vec import VLM2Vec
from vlm2vec.errors import MediaError, VLM2VecError
from vlm2vec.media.source import Source
from vlm2vec.training.data.rows import check_row
from vlm2vec.world.samples import write_samples

ENDLESS = 10**9


class FailingFile(io.FileIO):
    """Reads in pieces, of which only some come."""

    left = ENDLESS

    def _read(self) -> None:
        FailingFile.left -= 1
        if FailingFile.left < 0:
            raise OSError(errno.EIO, "Input/output error")

    def readinto(self, buffer: Any) -> int | None:
        self._read()
        return super().readinto(memoryview(buffer)[:1000])

    def readall(self) -> bytes:
        self._read()
        return super().readall()


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("samples")
    write_samples(folder)
    frames = folder / "frames"
    frames.mkdir()
    for number in range(3):
        PIL.Image.effect_noise((60, 60), 20 + number).convert("RGB").save(frames / f"{number}.png")
    (folder / "note.txt").write_text("a red circle", encoding="utf-8")
    return {
        "image": next(folder.glob("*.png")),
        "jpeg": next(folder.glob("*.jpg")),
        "clip": next(folder.glob("*.mp4")),
        "frames": frames,
        "text": folder / "note.txt",
        "pdf": next(folder.glob("*.pdf")),
    }


@pytest.mark.parametrize("kind", ["image", "jpeg", "clip", "frames", "text", "pdf"])
@pytest.mark.parametrize(
    "share", [0.1, 0.7, *(pytest.param(share, marks=pytest.mark.slow) for share in (0.0, 0.4, 0.95))]
)
def test_a_read_that_fails_is_one_failing_input(
    embedded: VLM2Vec, samples: dict[str, Path], kind: str, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, plain = samples[kind], Path.open

    def opened(self: Path, mode: str = "r", *arguments: Any, **settings: Any) -> Any:
        if mode == "rb" and path in (self, self.parent):
            return io.BufferedReader(FailingFile(self), 1000)
        return plain(self, mode, *arguments, **settings)

    monkeypatch.setattr(Path, "open", opened)
    monkeypatch.setattr(FailingFile, "left", ENDLESS)
    whole = embedded.encode(["a cat", path])
    reads = ENDLESS - FailingFile.left
    FailingFile.left = int(share * reads)
    told: list[VLM2VecError] = []
    vectors = embedded.encode(["a cat", path], on_error=lambda _, error: told.append(error))
    (error,) = told
    assert isinstance(error, MediaError)
    assert error.index == 1
    assert path.name in str(error)
    assert "Input/output error" in str(error)
    np.testing.assert_allclose(vectors[0], whole[0], atol=5e-7)
    assert np.isnan(vectors[1]).all()


@pytest.mark.skipif(
    not Path("/proc/self/mem").exists(), reason="Linux has a file that opens and cannot be read"
)
def test_a_file_that_opens_and_cannot_be_read(embedded: VLM2Vec) -> None:
    path = Path("/proc/self/mem")
    for value in (path, {"image": path}, {"video": path}, {"pdf": path}):
        with pytest.raises(MediaError, match="/proc/self/mem"):
            embedded.encode([value])
        with pytest.raises(MediaError, match="train, row 3"):
            check_row({"query": value, "document": "a"}, number=3, open_files=True)
    vectors = embedded.encode(["a cat", path, "a dog"], on_error="nan")
    assert np.isnan(vectors).any(axis=1).tolist() == [False, True, False]


def test_a_folder_that_cannot_be_looked_up_later_is_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Source.from_path(tmp_path)

    def stale(*_: object, **__: object) -> None:
        raise OSError(errno.ESTALE, "Stale file handle")

    monkeypatch.setattr(Path, "stat", stale)
    assert not source.is_folder
    with pytest.raises(MediaError, match=r"cannot be reached \(Stale file handle\)"):
        source.check_exists()
