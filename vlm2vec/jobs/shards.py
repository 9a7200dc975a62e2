"""Vectors in a folder, as `encode_to` writes them: shards of `.npy` and JSON lines, and a manifest.

`shard-000000.npy` holds `(n, dim)` float32, `shard-000000.jsonl` a line for each of its rows, and
`manifest.json` what all of them depend on. A shard is there when its lines are, which are written last; each
file is whole or not there. A row failed exactly where its vector is NaN, and its line says why.
"""

from __future__ import annotations

import json
import os
import re
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from vlm2vec._version import __version__
from vlm2vec.atomic_write import Stream, replacing
from vlm2vec.errors import InputError, VLM2VecError
from vlm2vec.folder_lock import locked
from vlm2vec.vectors_identity import VectorsIdentity

__all__ = ["ROWS_PER_SHARD", "Manifest", "Row", "Shard", "VectorShards"]

FORMAT = 1
"""Number of this layout of files; another one is not read."""

ROWS_PER_SHARD = 1024
"""Of a new folder, where the caller says nothing else."""

_MANIFEST = "manifest.json"
_SHARD = re.compile(r"shard-(\d{6,})\.jsonl")
_UNFINISHED = re.compile(r"shard-(\d{6,})\.(?:jsonl|npy)\.\d+\.part")


@dataclass(frozen=True)
class Row:
    """What is known of one vector.

    Attributes:
        index: Position of its input among all inputs of the job.
        id: What the caller calls it; the index where no ids were given.
        source: The input's file or address; what it is in a few words where it has none.
        page: The page of a PDF that it is, the first being 1; `None` for all else.
        start: First moment of a clip, in seconds, where one was asked for.
        end: Last moment, in the same way.
        input: Digest by which an input is known again; no file was read for it.
        error: Why there is no vector; `None` where there is one.
        error_type: Name of the error's class.
    """

    index: int
    id: str | int
    source: str
    input: str
    page: int | None = None
    start: float | None = None
    end: float | None = None
    error: str | None = None
    error_type: str | None = None

    def failed(self, error: VLM2VecError) -> Row:
        """The same row, without a vector for this reason."""
        why = f"{error.cause}. {error.fix}" if error.fix else f"{error.cause}."
        return replace(self, error=why, error_type=type(error).__name__)


@dataclass(frozen=True)
class Shard:
    """Rows that lie behind one another, and their vectors.

    Attributes:
        number: Its place among the shards.
        rows: What is known of each vector.
        vectors: `(len(rows), dim)` float32, NaN where a row failed.
        torn: Whether its two files are of two times: a process died between them.
    """

    number: int
    rows: list[Row]
    vectors: npt.NDArray[np.float32]
    torn: bool = False


@dataclass(frozen=True)
class Manifest:
    """What all shards of a folder have in common.

    Attributes:
        identity: What vectors depend on besides their inputs.
        rows_per_shard: Rows of each shard but the last.
        rows: Of the whole job; `None` while no run has come to the end of its inputs.
        vlm2vec: Version of the package that began the folder.
    """

    identity: VectorsIdentity
    rows_per_shard: int
    rows: int | None = None
    vlm2vec: str = __version__

    @classmethod
    def load(cls, folder: Path) -> Manifest | None:
        """That of a folder; `None` where it has none.

        Raises:
            InputError: It is damaged, or of a later version of this package.
        """
        path = folder / _MANIFEST
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            if values["format"] != FORMAT:
                raise InputError(
                    f"its format is {values['format']}, and this version of vlm2vec reads {FORMAT}",
                    fix="Use a version that wrote it, or another folder.",
                    source=str(path),
                )
            identity = VectorsIdentity.from_dict(values["identity"])
            return cls(identity, int(values["rows_per_shard"]), values["rows"], values["vlm2vec"])
        except FileNotFoundError:
            return None
        except VLM2VecError:
            raise
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(
                "it is no manifest of vectors", fix="Use another folder.", source=str(path)
            ) from error

    def save(self, folder: Path) -> None:
        """Write it, in one go."""
        values = {
            "format": FORMAT,
            "vlm2vec": self.vlm2vec,
            "rows_per_shard": self.rows_per_shard,
            "rows": self.rows,
            "identity": self.identity.as_dict(),
        }
        _write(folder / _MANIFEST, (json.dumps(values, indent=1, ensure_ascii=False) + "\n").encode())


class VectorShards:
    """A folder of shards.

    Args:
        folder: Where it is.
        manifest: Its manifest.
    """

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder = folder
        self.manifest = manifest

    @classmethod
    def open(cls, folder: Path) -> VectorShards:
        """One that is there.

        Raises:
            InputError: It is none.
        """
        manifest = Manifest.load(folder)
        if manifest is None:
            raise InputError(
                "there are no vectors: it has no manifest.json",
                fix="Pass a folder that vlm2vec.encode_to or `vlm2vec encode` has written.",
                source=str(folder),
            )
        return cls(folder, manifest)

    @classmethod
    def make(
        cls, folder: Path, identity: VectorsIdentity, *, rows_per_shard: int | None, default: int
    ) -> VectorShards:
        """One that is there and has the same identity, or a new one.

        Args:
            folder: Where; it is made.
            identity: What vectors depend on now.
            rows_per_shard: Rows of a shard; `None` for those that a folder has.
            default: For a new folder.

        Raises:
            InputError: The folder holds something else, or shards of another size.
            VectorsMismatchError: Its vectors are others.
        """
        folder.mkdir(parents=True, exist_ok=True)
        with _manifest_of(folder):
            manifest = Manifest.load(folder)
            if manifest is None:
                _check_empty(folder)
                manifest = Manifest(identity, rows_per_shard or default)
                manifest.save(folder)
        if rows_per_shard not in (None, manifest.rows_per_shard):
            raise InputError(
                f"its shards have {manifest.rows_per_shard:,} rows, and rows_per_shard is {rows_per_shard:,}",
                fix="Leave rows_per_shard out, or use another folder.",
                source=str(folder),
            )
        manifest.identity.check(identity, source=str(folder))
        return cls(folder, manifest)

    def numbers(self) -> list[int]:
        """Of the shards that are there, in order."""
        found = (_SHARD.fullmatch(entry.name) for entry in os.scandir(self.folder))
        return sorted(int(match[1]) for match in found if match)

    def read(self, number: int, *, mapped: bool = False) -> Shard | None:
        """A shard; `None` where it is not there.

        Args:
            number: Which.
            mapped: Whether its vectors stay on the disk until they are looked at.

        Raises:
            InputError: It is damaged.
        """
        lines, array = self._files(number)
        try:
            rows = [Row(**json.loads(line)) for line in lines.read_text(encoding="ascii").splitlines()]
        except FileNotFoundError:
            return None
        except (ValueError, TypeError) as error:
            raise _damaged(lines) from error
        try:
            vectors = np.load(array, mmap_mode="r" if mapped else None, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise _damaged(array) from error
        width = self.manifest.identity.dimensions
        if vectors.dtype != np.float32 or vectors.shape[1:] != (width,) or len(vectors) < len(rows):
            raise _damaged(array)
        # Where a job died between the two files, the array is the newer one: it has more rows, or vectors of
        # rows that failed before.
        torn = len(vectors) > len(rows)
        for place, row in enumerate(rows):
            if row.error is not None and not np.isnan(vectors[place, 0]):
                rows[place], torn = replace(row, error=None, error_type=None), True
        return Shard(number, rows, vectors[: len(rows)], torn)

    def write(self, shard: Shard) -> None:
        """Write a shard, whole or not at all; one of this number is replaced."""
        lines, array = self._files(shard.number)
        with replacing(array) as unfinished, unfinished.open("wb") as file:
            np.save(Stream(file), np.ascontiguousarray(shard.vectors, dtype=np.float32))
            file.flush()
            os.fsync(file.fileno())
        # In ASCII, because a name may hold characters that end a line elsewhere, or none that can be written.
        _write(lines, "".join(json.dumps(asdict(row)) + "\n" for row in shard.rows).encode())

    def clean(self, mine: range) -> None:
        """Remove what processes that died have left of shards that this one is to write."""
        for entry in os.scandir(self.folder):
            match = _UNFINISHED.fullmatch(entry.name)
            if match and int(match[1]) in mine:
                Path(entry).unlink(missing_ok=True)

    def finish(self, rows: int) -> None:
        """Note how many rows all inputs together have."""
        with _manifest_of(self.folder):
            manifest = Manifest.load(self.folder) or self.manifest
            if manifest.rows != rows:
                self.manifest = replace(manifest, rows=rows)
                self.manifest.save(self.folder)

    def _files(self, number: int) -> tuple[Path, Path]:
        name = f"shard-{number:06d}"
        return self.folder / f"{name}.jsonl", self.folder / f"{name}.npy"


def _manifest_of(folder: Path) -> AbstractContextManager[None]:
    """Held while a manifest is looked at and written."""
    refusal = InputError("other jobs hold the manifest", fix="Try it again.", source=str(folder))
    return locked(folder / ".manifest.lock", refusal, seconds=60)


def _check_empty(folder: Path) -> None:
    there = [entry.name for entry in os.scandir(folder) if not entry.name.startswith(".")]
    there = [name for name in there if not name.startswith(f"{_MANIFEST}.")]  # of a process that died
    if there:
        raise InputError(
            f"it holds other files, such as {min(there)}, and no manifest.json",
            fix="Use a new folder, or an empty one.",
            source=str(folder),
        )


def _write(path: Path, data: bytes) -> None:
    """Write a file in one go, and on the disk before it has its name."""
    with replacing(path) as unfinished, unfinished.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _damaged(path: Path) -> InputError:
    return InputError(
        "it is damaged, or not there",
        fix=f"Remove {path.stem}.npy and {path.stem}.jsonl and run the job again: it makes them anew.",
        source=str(path),
    )
