"""`Index`: rows of vectors that follow folders of files, on disk, and a search in them."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import uuid4

import numpy as np
import numpy.typing as npt

from vlm2vec.arguments import possible_path, whole_number
from vlm2vec.describe import describe_value
from vlm2vec.errors import IndexStoreError, InputError, VLM2VecError
from vlm2vec.index import ann, exchange
from vlm2vec.index.added import added_row, check_beside, listed, parsed
from vlm2vec.index.ann import AnnReport
from vlm2vec.index.encoder import Encoder
from vlm2vec.index.manifest import Failure, Manifest
from vlm2vec.index.place import DEFAULT_NAME, Place, store_for
from vlm2vec.index.roots import Roots
from vlm2vec.index.rows import Rows, require_lancedb
from vlm2vec.index.search import PROBES, Hit, find, find_row, first_rows, query_vector
from vlm2vec.index.settings import IndexSettings, Storage
from vlm2vec.index.stats import IndexStats
from vlm2vec.index.sync import Synchroniser, SyncReport
from vlm2vec.index.walk import Patterns, walk
from vlm2vec.index.writer import Writer
from vlm2vec.inputs.parse import is_single
from vlm2vec.vectors_identity import VectorsIdentity

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from vlm2vec.media.limits import Limits
    from vlm2vec.model import VLM2Vec

__all__ = ["Index"]

T = TypeVar("T")


class Index:
    """Vectors of files and other inputs on disk, and a search in them; it needs the extra `index`.

    It knows its model, profile, document instruction, pixels, frames and `VECTORS_VERSION`, and refuses
    others. One process writes at a time, any number search meanwhile. Whenever the writer dies, all that it
    had noted is there, and nothing else.

    Args:
        store: The folder of the index, which is made when something is first written; or a folder of files,
            whose index is `.vlm2vec` in it.
        model: A model, or folder or repository of one, which is loaded when it is needed. By default the
            index's own; for a new index, the small model in the package.
        profile: Of a model that is named and does not say its own.
        instruction: What documents are encoded for; by default the model's own.
        dimensions: Components that are kept of each vector, for models that were trained so (Matryoshka).
        storage: "float32", or "float16" for half the room.
        segment_seconds: Length of the pieces of a video that have a row each: 10.
        passage_tokens: Most tokens of a passage of a text file: 512, and no more than the context holds.
        num_frames: Frames taken from each piece of a video; by default as the profile says.
        max_pixels: Greatest area of a picture, page or frame; by default as the profile says.
        limits: What one input may cost; of a model that is passed, its own hold.

    Raises:
        IndexMismatchError: The index was made with another model or other settings; each difference is named.
        IndexStoreError: It cannot be read, or LanceDB is not installed.
        InputError: A setting has a value that it cannot have.

    Example:
        >>> import tempfile
        >>> from vlm2vec.world.samples import write_samples
        >>> folder = Path(tempfile.mkdtemp())
        >>> samples = write_samples(folder)
        >>> index = Index(folder)
        >>> report = index.sync(show_progress_bar=False)
        >>> report.new == len({sample.path for sample in samples})
        True
        >>> hits = index.search("a large red ring moving down", k=3, where="kind = 'video'")
        >>> [hit.kind for hit in hits]
        ['video', 'video', 'video']
    """

    def __init__(
        self,
        store: str | Path,
        model: VLM2Vec | str | Path | None = None,
        *,
        profile: str | None = None,
        instruction: str | None = None,
        dimensions: int | None = None,
        storage: Storage | None = None,
        segment_seconds: float | None = None,
        passage_tokens: int | None = None,
        num_frames: int | None = None,
        max_pixels: int | None = None,
        limits: Limits | None = None,
    ) -> None:
        if limits is not None and not (model is None or isinstance(model, str | Path)):
            raise InputError(
                "limits are of the model, which is loaded already",
                fix="Pass them there: VLM2Vec(limits=...).",
            )
        given: dict[str, Any] = {
            "instruction": instruction,
            "dimensions": dimensions,
            "storage": storage,
            "segment_seconds": segment_seconds,
            "passage_tokens": passage_tokens,
            "num_frames": num_frames,
            "max_pixels": max_pixels,
        }
        self._given = {name: value for name, value in given.items() if value is not None}
        self._place = Place(store_for(Path(store).expanduser()))
        self._model = model
        self._profile = profile
        self._limits = limits
        self._lock = threading.RLock()
        self._manifest: Manifest | None = None
        self._rows: Rows | None = None
        self._checked: Path | None = None
        self._weights: str | None = None
        self._encoder = self._new_encoder(IndexSettings(**self._given))
        kept = self._opened()
        if kept is not None and not (model is None or isinstance(model, str | Path)):
            self._check(kept)

    @property
    def store(self) -> Path:
        """The folder of the index."""
        return self._place.folder

    @property
    def settings(self) -> IndexSettings:
        """How it cuts files into rows, and stores their vectors."""
        self._opened()
        return self._encoder.settings

    @property
    def model(self) -> VLM2Vec:
        """The model, which is loaded where it was not; for vectors that `search_vector` takes.

        From then on the index is held to it: when another process reindexes with another model, searches
        are an `IndexMismatchError`.

        Raises:
            IndexMismatchError: The index was made with another model or other settings.
        """
        kept = self._opened()
        model = self._encoder.load(kept)
        if kept is not None:
            self._check(kept)
        self._model = model
        return model

    @property
    def folders(self) -> dict[int, Path]:
        """The folders that are followed, by the number that `root` is in conditions."""
        return self._roots().folders

    @property
    def dimensions(self) -> int:
        """Components of a stored vector.

        Raises:
            IndexStoreError: There is no index yet.
        """
        return int(self._required()["identity"]["dimensions"])

    @property
    def metadata_types(self) -> dict[str, type]:
        """Names of metadata that rows may have, and the types of their values."""
        return {} if self._opened() is None else self._read(lambda: self._current_rows().metadata_types)

    def subfolders(self) -> dict[tuple[int, str], int]:
        """Files with rows, by the number of the folder that is followed and the name of the one in it.

        Files that lie in a folder itself have the name `""`; those further down count for the first folder.
        """
        return {} if self._opened() is None else self._open_manifest().subfolders()

    def sync(
        self,
        folder: str | Path | None = None,
        *,
        include: Sequence[str] | None = None,
        exclude: Sequence[str] | None = None,
        follow_links: bool | None = None,
        retry_failed: bool = False,
        batch_size: int = 128,
        show_progress_bar: bool = True,
    ) -> SyncReport:
        """Bring the index to what a folder holds now.

        New and changed files are encoded, found by size and time first and by content then; moved ones are
        not; of those that are gone the rows go. What could not be embedded is kept with the reason, and
        tried again when the file changes. It may be stopped, or killed, at any time: the next call goes on.

        Args:
            folder: Images, PDFs (a row a page), videos (a row a segment), `.txt` and `.md` (a row a
                passage), in it and below; by default all folders that are followed, or the one that the
                store lies in. Names that start with a dot are left out.
            include: Shell patterns of the files that are taken: of names, or, with a slash in them, of
                paths. By default those of the last time, at first all.
            exclude: The same of files and folders that are not.
            follow_links: Whether links to folders are followed; by default as the last time, at first not.
            retry_failed: Try files again that failed, though they are as they were.
            batch_size: Rows that are encoded and written at a time.
            show_progress_bar: Show how far it is, where standard error is a terminal.

        Returns:
            Counts, seconds, and one line for each broken file.

        Raises:
            IndexMismatchError: The index was made with another model or other settings.
            IndexStoreError: Another process writes, the folder is read-only, or the disk is full.
            InputError: There is no such folder, or it is empty all at once.
        """
        whole_number("batch_size", batch_size)
        patterns = {"include": include, "exclude": exclude, "follow_links": follow_links}
        total = SyncReport()
        for path in self._folders_to_follow(folder):
            if not path.is_dir():
                raise InputError("there is no such folder", fix="Pass a folder of files.", source=str(path))
            with self._place.writer():
                report = self._sync(
                    path,
                    {name: value for name, value in patterns.items() if value is not None},
                    retry_failed=retry_failed,
                    batch_size=batch_size,
                    show_progress_bar=show_progress_bar,
                )
            total = _summed(total, report)
        return total

    def _sync(
        self, folder: Path, patterns: dict[str, Any], *, show_progress_bar: bool, **how: Any
    ) -> SyncReport:
        kept = self._opened()
        if kept is not None:
            self._check(kept)
        roots = self._roots()
        root, taken = roots.number_of(folder), Patterns()
        if kept is not None and root is None:
            roots.check_apart(folder)
        if root is not None and self._manifest is not None:
            said = self._manifest.patterns(root)
            taken = replace(taken, **{name: _tuple(value) for name, value in said.items()})
        taken = replace(taken, **{name: _tuple(value) for name, value in patterns.items()})
        found = walk(folder, taken, store=self.store)
        if root is not None and not found.files and self._manifest is not None and self._manifest.files(root):
            raise InputError(
                "the folder is empty, and the index has files of it",
                fix="Is its drive there? If they are all gone, index.forget(folder) takes them out.",
                source=str(folder),
            )
        with self._writing() as writer:
            with writer.manifest.transaction():
                root = writer.manifest.add_root(roots.noted_as(folder), asdict(taken))
            job = Synchroniser(writer, root, folder, self._encoder, **how)
            report = job.run(found, show_progress_bar=show_progress_bar and _is_terminal())
            writer.tidy()
        return report

    def search(
        self,
        query: Any,
        k: int = 10,
        *,
        instruction: str | None = None,
        where: str | None = None,
        under: str | Path | None = None,
        per_file: int | None = None,
        exact: bool | None = None,
    ) -> list[Hit]:
        """What is nearest to a query.

        Args:
            query: One input, anything that `encode` takes: a text, a `Path`, a picture, a clip; a list is one
                input of several parts.
            k: How many hits at most.
            instruction: What to find for the query; by default the model's own.
            where: A condition in SQL over `path`, `kind`, `page`, `start`, `end`, `modified`, `text` and
                the names of your metadata, such as "kind = 'pdf' AND page < 3". A path is the one below the
                folder that was indexed.
            under: A folder: only files in it and below.
            per_file: How many hits of one file at most.
            exact: Compare with each row, or not if there is an ANN index; by default exactly below 100,000
                rows.

        Returns:
            Hits, best first.

        Raises:
            IndexMismatchError: The index was made with another model or other settings.
            InputError: There is no index yet, the query cannot be embedded, or `where` cannot be understood.
        """
        return self._search(
            lambda: self._encoder.query(query, instruction),
            k,
            where=where,
            under=under,
            per_file=per_file,
            exact=exact,
        )

    def search_vector(
        self,
        vector: npt.ArrayLike,
        k: int = 10,
        *,
        where: str | None = None,
        under: str | Path | None = None,
        per_file: int | None = None,
        exact: bool | None = None,
    ) -> list[Hit]:
        """What is nearest to the vector of a query, which was encoded elsewhere with `model`.

        Args:
            vector: `(dim,)`, of any length but 0, as `model.encode_query` gives it.
            k: As in `search`, like all that follow.
            where: A condition in SQL.
            under: A folder.
            per_file: How many hits of one file at most.
            exact: Compare with each row.

        Returns:
            Hits, best first.

        Raises:
            IndexMismatchError: The index was made with another model or other settings.
            InputError: There is no index yet, the vector has another number of components or none to compare,
                or `where` cannot be understood.
        """

        def checked() -> npt.NDArray[np.float32]:
            return query_vector(vector, self.dimensions)

        return self._search(checked, k, where=where, under=under, per_file=per_file, exact=exact)

    def row(self, name: str) -> Hit | None:
        """The row of this id, as a hit whose score is NaN; `None` where there is none."""
        if self._opened() is None:
            return None
        return self._read(lambda: find_row(self._current_rows(), name, self._roots().folders))

    def first(self, count: int = 12) -> list[Hit]:
        """One row of each of the first files, as hits whose score is NaN: what the index is about."""
        whole_number("count", count)
        if self._opened() is None:
            return []
        return self._read(lambda: first_rows(self._current_rows(), count, self._roots().folders))

    def _search(
        self,
        encoded: Callable[[], npt.NDArray[np.float32]],
        k: int,
        *,
        where: str | None,
        under: str | Path | None,
        per_file: int | None,
        exact: bool | None,
    ) -> list[Hit]:
        whole_number("k", k)
        if per_file is not None:
            whole_number("per_file", per_file)
        if not isinstance(where, str | None):
            raise InputError(f"where is {describe_value(where)}", fix="Pass a condition as a string.")

        def found() -> list[Hit]:
            self._check(self._required())
            vector = encoded()
            conditions = [f"({where})"] if where else []
            if under is not None:
                conditions.append(self._roots().condition(Path(under)))
            return find(
                self._current_rows(),
                vector,
                self._roots().folders,
                k=k,
                where=" AND ".join(conditions) or None,
                per_file=per_file,
                exact=exact,
                probes=int(self._open_manifest().fact("probes", PROBES)),
            )

        return self._read(found)

    def _read(self, read: Callable[[], T]) -> T:
        """What is read of the index; once more where another process reindexed it meanwhile."""
        before = self._manifest
        try:
            return read()
        except (RuntimeError, OSError, IndexStoreError):
            # Another thread may have opened the new one meanwhile, and closed what this one read.
            is_same = before is None or self._place.generation() == before.folder
            if is_same and self._manifest is before:
                raise
        self._required()
        return read()

    def add(
        self,
        inputs: Any,
        ids: Sequence[str] | None = None,
        metadata: Sequence[Mapping[str, Any]] | None = None,
        *,
        skip_broken: bool = False,
    ) -> list[str]:
        """Add inputs that are in no folder that is followed, or that have metadata.

        Args:
            inputs: What `encode` takes.
            ids: A name for each, in place of what had it before; by default new ones.
            metadata: For each a dict of strings, numbers and bools, which `where` can ask for.
            skip_broken: Keep inputs that cannot be embedded as failures, and add the others.

        Returns:
            The ids.

        Raises:
            InputError: Numbers of inputs, ids and metadata differ, ids are not all different, or metadata
                have a type or name that they cannot have.
            VLM2VecError: An input cannot be embedded; nothing was added then.
        """
        items = [inputs] if is_single(inputs) else list(inputs)
        names = [uuid4().hex for _ in items] if ids is None else [*([ids] if isinstance(ids, str) else ids)]
        said = [{} for _ in items] if metadata is None else listed(metadata)
        check_beside(items, names, said)
        with self._place.writer():
            kept = self._opened()
            if kept is not None:
                self._check(kept)
            ready = [parsed(item, index) for index, item in enumerate(items)]
            wrong: dict[int | None, VLM2VecError] = {}
            vectors = dict(self._encoder.documents(ready, on_error=wrong.__setitem__, window=128))
            if wrong and not skip_broken:
                raise next(iter(wrong.values()))
            rows = [
                added_row(names[index], ready[index], said[index]) for index in vectors if index not in wrong
            ]
            stacked = np.array([vectors[index] for index in vectors if index not in wrong], dtype=np.float32)
            failures = [
                Failure(names[index], "", f"{error.cause}. {error.fix}".strip())
                for index, error in wrong.items()
                if index is not None
            ]
            with self._writing() as writer:
                writer.add(rows, stacked, failures)
                writer.tidy()
        return names

    def remove(self, ids: str | Sequence[str]) -> int:
        """Remove rows by their ids, and say how many there were.

        A row of a file comes back when the file changes; `exclude` keeps it out.
        """
        self._required()
        with self._place.writer(), self._writing() as writer:
            return writer.remove([ids] if isinstance(ids, str) else list(ids))

    def forget(self, folder: str | Path) -> int:
        """Follow a folder no more, and remove its rows; says how many these were."""
        self._required()
        with self._place.writer():
            self._opened()
            roots = self._roots()
            root = roots.number_of(Path(folder).expanduser())
            if root is None:
                raise InputError("this folder is not followed", fix=f"There are {roots}.", source=str(folder))
            with self._writing() as writer:
                before = len(writer.rows)
                writer.forget(root)
                return before - len(writer.rows)

    def failures(self) -> list[Failure]:
        """What could not be embedded, each with the reason."""
        self._required()
        return self._open_manifest().failures()

    def reindex(
        self,
        model: VLM2Vec | str | Path | None = None,
        *,
        profile: str | None = None,
        show_progress_bar: bool = True,
        **settings: Any,
    ) -> SyncReport:
        """Encode everything again, with another model or other settings; the old rows are searched meanwhile.

        Killed, it begins anew, and the index is what it was.

        Args:
            model: Another model; by default the same.
            profile: Of a model that is named.
            show_progress_bar: As in `sync`.
            **settings: Those of `Index` that are to be others; the rest stays.

        Raises:
            InputError: There are rows of inputs that were added, and that the index does not have.
        """
        self._required()
        with self._place.writer():
            self._opened()
            added = self._current_rows().table.count_rows("file = 0")
            if added:
                raise InputError(
                    f"{added:,} rows are of inputs that were added, which an index does not keep",
                    fix="Make a new index and add them there, or remove them first.",
                )
            manifest = self._open_manifest()
            roots = self._roots()
            followed = [(path, manifest.patterns(number)) for number, path in roots.folders.items()]
            name = manifest.fact("described")["model"]["name"]
            fresh = replace(self._encoder.settings, **settings)
            if model is not None or self._model is None:
                self._model = name if model is None else model
            self._profile, self._weights = profile or self._profile, None
            self._given = {key: value for key, value in asdict(fresh).items() if value is not None}
            self._encoder = self._new_encoder(fresh)
            self._encoder.load()
            generation = self._place.next_generation()
            total = SyncReport()
            with self._made(generation) as writer:
                for folder, patterns in followed:
                    taken = Patterns(**{key: _tuple(value) for key, value in patterns.items()})
                    with writer.manifest.transaction():
                        root = writer.manifest.add_root(roots.noted_as(folder), asdict(taken))
                    job = Synchroniser(
                        writer, root, folder, self._encoder, batch_size=128, retry_failed=False
                    )
                    found = walk(folder, taken, store=self.store)
                    report = job.run(found, show_progress_bar=show_progress_bar and _is_terminal())
                    total = _summed(total, report)
                writer.tidy()
            self._close()
            self._place.use(generation)
        return total

    def build_ann(self) -> AnnReport:
        """Build the index for approximate search, used above 100,000 rows, and measure its recall.

        Rows that come later are found too, and join it when the table is tidied.

        Raises:
            InputError: There are less than 1,000 rows.
        """
        self._required()
        with self._place.writer(), self._writing() as writer:
            report = ann.build(writer.rows)
            with writer.manifest.transaction():
                writer.manifest.note("probes", report.probes)
            writer.note_version()
        return report

    def compact(self) -> None:
        """Join small pieces of the table, and free the room of old versions."""
        self._required()
        with self._place.writer(), self._writing() as writer:
            writer.tidy(now=True)

    def stats(self) -> IndexStats:
        """What it holds, and how large it is on disk."""
        kept = self._required()
        manifest, rows = self._open_manifest(), self._current_rows()
        identity = kept["identity"]
        kinds = {kind: count for kind, count in manifest.kinds().items() if kind not in ("broken", "other")}
        return IndexStats(
            rows=len(rows),
            files=kinds,
            failures=len(manifest.failures()),
            dimensions=int(identity["dimensions"]),
            storage=self._encoder.settings.storage,
            bytes=_size_of(self.store),
            model=str(identity["model"]),
            profile=str(identity["profile"]["name"]),
            folders=tuple(map(str, self._roots().folders.values())),
            ann=ann.is_built(rows),
        )

    def to_arrow(self, where: str | None = None) -> pa.Table:
        """All rows with their vectors, or those of a condition, as a table of Arrow; paths are in full."""
        self._required()
        return exchange.to_arrow(self._current_rows(), self._roots().folders, where)

    def to_pandas(self, where: str | None = None) -> pd.DataFrame:
        """The same as a data frame."""
        return self.to_arrow(where).to_pandas()

    def export(self, path: str | Path, where: str | None = None) -> int:
        """Write rows, vectors and what these depend on into a file of Parquet, and say how many rows."""
        kept = self._required()
        rows, roots = self._current_rows(), self._roots().folders
        return exchange.write_parquet(Path(path), rows, roots, kept["identity"], where)

    def import_rows(self, path: str | Path) -> int:
        """Add the rows of a file of Parquet, in the place of those with the same ids, and say how many.

        Args:
            path: What `export` wrote; or a file with columns `id` and `vector` of the model's vectors of
                documents, of unit length, and others, which are metadata.

        Raises:
            IndexMismatchError: Its vectors are of another model or of other settings.
            InputError: It has no ids or vectors, or vectors of another length.
        """
        with self._place.writer():
            kept = self._opened()
            if kept is not None:
                self._check(kept)
            with self._writing() as writer:
                identity = VectorsIdentity.from_dict(self._required()["identity"])
                count = writer.add_tables(exchange.read_parquet(Path(path), writer.rows, identity))
                writer.tidy()
        return count

    def __len__(self) -> int:
        """How many rows it has."""
        self._opened()
        return 0 if self._manifest is None else int(self._open_manifest().fact("rows", 0))

    def __repr__(self) -> str:
        return f"Index({str(self.store)!r}, {len(self):,} rows)"

    def __enter__(self) -> Index:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of files; the next call opens them again."""
        self._close()

    def _new_encoder(self, settings: IndexSettings) -> Encoder:
        return Encoder(
            self._model,
            settings=settings,
            profile=self._profile,
            limits=self._limits,
            source=str(self.store),
        )

    def _opened(self) -> dict[str, Any] | None:
        """What is kept of the index, opened where that has not been done; `None` where there is none."""
        with self._lock:
            generation = self._place.generation()
            if generation is None:
                return None
            if self._manifest is None or self._manifest.folder != generation:
                self._close()
                self._manifest = Manifest(generation)
                stored = IndexSettings.from_dict(self._manifest.fact("settings"))
                loaded, self._encoder = self._encoder, self._new_encoder(replace(stored, **self._given))
                weights = self._manifest.fact("described")["identity"]["weights"]
                if self._weights in (None, weights):  # another process may have reindexed with another model
                    self._encoder.take_model(loaded)
                self._weights = weights
            kept: dict[str, Any] = self._manifest.fact("described")
            return kept

    def _open_manifest(self) -> Manifest:
        if self._manifest is None:
            raise self._missing()
        return self._manifest

    def _required(self) -> dict[str, Any]:
        kept = self._opened()
        if kept is None:
            raise self._missing()
        return kept

    def _missing(self) -> IndexStoreError:
        folder = self.store.parent if self.store.name == DEFAULT_NAME else self.store
        return IndexStoreError(
            "there is no index yet",
            fix="Make one: index.sync(folder), or vlm2vec index FOLDER.",
            source=str(folder),
        )

    def _check(self, kept: dict[str, Any]) -> None:
        """Raise unless model and settings are those of the index, which is asked once for each generation."""
        manifest = self._open_manifest()
        if self._checked != manifest.folder:
            self._encoder.check(kept, self._kinds(manifest))
            self._checked = manifest.folder

    def _kinds(self, manifest: Manifest) -> set[str]:
        kinds = {kind for kind, _ in manifest.kinds().items() if kind not in ("broken", "other")}
        return kinds if not manifest.fact("added", 0) else {"text", "image", "video", "pdf"}

    @contextmanager
    def _writing(self) -> Iterator[Writer]:
        """The writer of the index, which is made where there is none; the caller holds its lock."""
        kept = self._opened()
        if kept is None:
            generation = self._place.next_generation()
            with self._made(generation):
                pass
            self._place.use(generation)
            kept = self._required()
            self._checked = generation
        folder = self._open_manifest().folder
        manifest = Manifest(folder, writable=True)
        try:
            yield Writer(folder, manifest)
            self._refresh(manifest, kept)
        finally:
            manifest.close()

    @contextmanager
    def _made(self, generation: Path) -> Iterator[Writer]:
        """A new generation, which nobody reads yet."""
        import shutil

        require_lancedb()
        described = self._encoder.described()
        shutil.rmtree(generation, ignore_errors=True)
        generation.mkdir(parents=True)
        settings = self._encoder.kept_settings
        rows = Rows.create(
            generation, dimensions=self._encoder.dimensions, half=settings.storage == "float16"
        )
        manifest = Manifest(generation, writable=True, create=True)
        try:
            with manifest.transaction():
                manifest.note("described", described)
                manifest.note("settings", asdict(settings))
                manifest.note("version", rows.version)
                manifest.note("rows", 0)
            yield Writer(generation, manifest)
        finally:
            manifest.close()

    def _refresh(self, manifest: Manifest, kept: dict[str, Any]) -> None:
        """Note the times and places that the files of the same model have now."""
        files = self._encoder.files()
        if files and files != kept["model"]["files"]:
            with manifest.transaction():
                manifest.note("described", {**kept, "model": {**kept["model"], "files": files}})

    def _current_rows(self) -> Rows:
        """The table as the manifest says that it is whole."""
        with self._lock:
            manifest = self._open_manifest()
            version = int(manifest.fact("version"))
            if self._rows is None or self._rows.version != version:
                self._rows = Rows(manifest.folder, version)
            return self._rows

    def _close(self) -> None:
        with self._lock:
            if self._manifest is not None:
                self._manifest.close()
            self._manifest = self._rows = self._checked = None

    def _folders_to_follow(self, folder: str | Path | None) -> list[Path]:
        if folder is not None:
            return [possible_path(folder).expanduser()]
        if followed := list(self._roots().folders.values()):
            return followed
        if self.store.name == DEFAULT_NAME:
            return [self.store.parent]
        if self.store.exists():
            cause, fix = "no folder is followed yet", "Pass one: index.sync(folder)."
        else:
            cause = "there is no such folder, and no folder is followed yet"
            fix = "Check its name, or pass the folder of files: index.sync(folder)."
        raise InputError(cause, fix=fix, source=str(self.store))

    def _roots(self) -> Roots:
        noted = {} if self._opened() is None else self._open_manifest().roots()
        return Roots(self.store, noted)


def _tuple(value: Any) -> Any:
    if isinstance(value, str):
        return (value,)
    return tuple(value) if isinstance(value, list | tuple) else value


def _summed(total: SyncReport, report: SyncReport) -> SyncReport:
    return SyncReport(
        **{name: getattr(total, name) + getattr(report, name) for name in SyncReport.__dataclass_fields__}
    )


def _size_of(folder: Path) -> int:
    """Bytes of all files in a folder, of which a writer may take some away meanwhile."""
    size = 0
    for place, _, names in os.walk(folder):  # unlike rglob, it goes on where a folder is gone
        for name in names:
            with suppress(FileNotFoundError):
                size += Path(place, name).stat().st_size
    return size


def _is_terminal() -> bool:
    import sys

    return sys.stderr.isatty()
