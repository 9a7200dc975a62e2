"""`Encoder` and `encode_dataset`: what a column is, what fails, and jobs whose processes are killed."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("ray")

import pyarrow as pa
import ray.data
from ray.exceptions import RayActorError

import vlm2vec
from vlm2vec import VLM2Vec, encode_to, read_vectors
from vlm2vec.errors import InputError, VectorsMismatchError, VLM2VecError
from vlm2vec.integrations.ray import Encoder, encode_dataset, loading, pool
from vlm2vec.integrations.ray.pieces import Piece, pieces_of_shards
from vlm2vec.integrations.ray.shard_worker import Counts, ShardWorker, WorkerSettings
from vlm2vec.world.samples import write_samples

TOLERANCE = 5e-7


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("samples")
    write_samples(folder)
    return folder


@pytest.fixture(scope="module")
def picture(samples: Path) -> Path:
    return min(samples.glob("*.jpg"))


@pytest.fixture(scope="module")
def files(samples: Path) -> list[Path]:
    return sorted(samples.glob("*.*g")) + sorted(samples.glob("*.mp4"))[:1]


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """Ray on this machine alone, with as little memory as will do."""
    ray.init(
        num_cpus=3,
        include_dashboard=False,
        log_to_driver=False,
        object_store_memory=128 * 2**20,
        runtime_env={"env_vars": {"OMP_NUM_THREADS": "1"}},
    )
    ray.data.DataContext.get_current().enable_progress_bars = False
    yield
    ray.shutdown()


def vectors_of(table: pa.Table, name: str = "vector") -> np.ndarray:
    return np.stack(table[name].to_pylist()).astype(np.float32)


# What a column is.


def test_text_is_text_even_where_it_names_a_file(embedded: VLM2Vec, picture: Path) -> None:
    table = Encoder("text")(pa.table({"text": [str(picture)]}))
    np.testing.assert_allclose(vectors_of(table)[0], embedded.encode_document(str(picture)), atol=TOLERANCE)


def test_paths_are_files_where_that_is_said(embedded: VLM2Vec, picture: Path) -> None:
    table = Encoder("path", paths=True)(pa.table({"path": [str(picture)]}))
    np.testing.assert_allclose(vectors_of(table)[0], embedded.encode_document(picture), atol=TOLERANCE)


def test_bytes_arrays_and_structs_are_media(embedded: VLM2Vec, picture: Path) -> None:
    data, pixels = picture.read_bytes(), np.asarray(PIL.Image.open(picture).convert("RGB"))
    wanted = embedded.encode_document(picture)
    columns: dict[str, Any] = {
        "bytes": pa.array([data]),
        "struct": pa.array([{"bytes": data, "path": None}]),
        "struct of a path": pa.array([{"bytes": None, "path": str(picture)}]),
        "composed": pa.array([{"text": None, "image": {"bytes": data, "path": None}}]),
        "part of a list": pa.array([[data]]),
    }
    for name, column in columns.items():
        found = vectors_of(Encoder("column")(pa.table({"column": column})))
        np.testing.assert_allclose(found[0], wanted, atol=TOLERANCE, err_msg=name)
    batch = {"column": pixels[None]}  # as Ray passes it, unless another batch_format is asked for
    np.testing.assert_allclose(vectors_of(Encoder("column")(batch))[0], wanted, atol=TOLERANCE)


def test_nulls_are_left_out_at_each_depth(embedded: VLM2Vec) -> None:
    parts = [{"type": "text", "text": "a red ring"}, {"type": "image", "image": None, "text": None}]
    message = {"role": "user", "content": parts[:1]}
    rows = pa.array([[message], [{"role": "user", "content": parts[1:]}]])
    table = Encoder("chat")(pa.table({"chat": rows}))
    assert table["error"][0].as_py() == ""
    np.testing.assert_allclose(
        vectors_of(table[:1])[0], embedded.encode_document([[message]])[0], atol=TOLERANCE
    )


def test_an_empty_path_is_not_the_current_folder(monkeypatch: pytest.MonkeyPatch, picture: Path) -> None:
    monkeypatch.chdir(picture.parent)
    table = Encoder("path", paths=True)(pa.table({"path": ["", picture.name]}))
    assert table["vector"].is_null().to_pylist() == [True, False]
    assert "the text is empty" in table["error"][0].as_py()


def test_pictures_of_several_sizes_and_frames(embedded: VLM2Vec) -> None:
    pictures = [np.full((56, 84, 3), 90, np.uint8), np.full((84, 56, 3), 200, np.uint8)]
    column = np.empty(2, object)
    column[:] = pictures
    found = vectors_of(Encoder("column")({"column": column}))
    np.testing.assert_allclose(found, embedded.encode_document(pictures), atol=TOLERANCE)
    clip = np.random.default_rng(0).integers(0, 255, (1, 4, 56, 56, 3), np.uint8)
    found = vectors_of(Encoder("column")({"column": clip}))
    np.testing.assert_allclose(found, embedded.encode_document(list(clip)), atol=TOLERANCE)


def test_queries_and_settings_reach_the_model(embedded: VLM2Vec) -> None:
    encoder = Encoder("text", role="query", truncate_dim=64, vector_column="v", error_column="why")
    table = encoder(pa.table({"text": ["a red ring"]}))
    assert table.column_names == ["text", "v", "why"]
    wanted = embedded.encode_query(["a red ring"], truncate_dim=64)
    np.testing.assert_allclose(vectors_of(table, "v"), wanted, atol=TOLERANCE)


# What fails.


def test_a_bad_row_costs_itself_alone_and_its_error_has_no_position(embedded: VLM2Vec) -> None:
    table = Encoder("text")(pa.table({"text": ["a cat", None, "", "a dog"]}))
    assert table["vector"].is_null().to_pylist() == [False, True, True, False]
    assert [error[:4] for error in table["error"].to_pylist()] == ["", "None", "text", ""]
    assert "input 1" not in table["error"][1].as_py()
    kept = vectors_of(table.filter(table["vector"].is_valid()))
    np.testing.assert_allclose(kept, embedded.encode_document(["a cat", "a dog"]), atol=TOLERANCE)


@pytest.mark.parametrize("texts", [[], ["a cat"], [None]])
def test_columns_have_the_same_types_in_every_batch(texts: list[str | None]) -> None:
    table = Encoder("text")(pa.table({"text": pa.array(texts, pa.string())}))
    assert table.schema.field("vector").type == pa.list_(pa.float32(), 224)
    assert table.schema.field("error").type == pa.string()
    assert table["error"].null_count == 0


def test_columns_that_are_not_there_or_there_already_are_refused() -> None:
    encoder = Encoder("text")
    with pytest.raises(InputError, match=r'there is no column "text"\. There are caption'):
        encoder(pa.table({"caption": ["a cat"]}))
    with pytest.raises(InputError, match='there is a column "error" already'):
        encoder(pa.table({"text": ["a cat"], "error": [""]}))


def test_arguments_that_make_no_sense_are_refused_at_once() -> None:
    with pytest.raises(InputError, match='role is text "querry"'):
        Encoder("text", role="querry")  # type: ignore[arg-type]
    with pytest.raises(InputError, match='are both "out"'):
        Encoder("text", vector_column="out", error_column="out")


def test_an_encoder_pickles_without_its_weights() -> None:
    encoder = Encoder("text", truncate_dim=64)
    data = pickle.dumps(encoder)
    assert len(data) < 1000
    batch = pa.table({"text": ["a cat"]})
    assert pickle.loads(data)(batch).equals(encoder(batch))  # noqa: S301


def test_a_model_that_is_loaded_is_refused(embedded: VLM2Vec) -> None:
    with pytest.raises(InputError, match="Pass the folder or hub id"):
        Encoder("text", model=embedded)  # type: ignore[arg-type]


@pytest.mark.parametrize(("ids", "device"), [({"GPU": ["0"]}, None), ({"GPU": []}, "cpu"), ({}, "cpu")])
def test_an_actor_without_a_gpu_computes_on_the_cpu(
    ids: dict[str, list[str]], device: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Context:
        def get_actor_id(self) -> str:
            return "an actor"

        def get_accelerator_ids(self) -> dict[str, list[str]]:
            return ids

    given: dict[str, Any] = {}
    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    monkeypatch.setattr(ray, "get_runtime_context", Context)
    monkeypatch.setattr("vlm2vec.model.VLM2Vec", lambda name, **arguments: given.update(arguments))
    loading.load_model(None, {"dtype": "float32"})
    assert given == {"dtype": "float32", **({} if device is None else {"device": device})}


# Shards.


@given(st.lists(st.integers(0, 9)), st.integers(1, 7))
def test_shards_are_the_same_however_rows_lie_in_blocks(lengths: list[int], size: int) -> None:
    blocks = [Piece(number, 0, length) for number, length in enumerate(lengths)]
    rows = [(number, row) for number, length in enumerate(lengths) for row in range(length)]
    found = [
        [(piece.block, row) for piece in shard for row in range(piece.start, piece.stop)]
        for shard in pieces_of_shards(blocks, size)
    ]
    assert found == [rows[start : start + size] for start in range(0, len(rows), size)]


def test_what_cannot_be_a_job_is_refused_before_anything_is_started(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="dataset is "):
        encode_dataset(["a cat"], "item", output=tmp_path)
    with pytest.raises(InputError, match="Pass a folder that all machines share"):
        encode_dataset(["a cat"], "item", output="s3://bucket/vectors")


def worker_settings(folder: Path, **changes: Any) -> WorkerSettings:
    settings = WorkerSettings(
        folder=folder,
        column="text",
        id_column=None,
        paths=False,
        model=None,
        model_kwargs=None,
        role="document",
        instruction=None,
        retry_failed=False,
        rows_per_shard=4,
        truncate=False,
        truncate_dim=None,
        max_tokens_per_batch=None,
    )
    return replace(settings, **changes)


def test_a_worker_does_the_shards_of_encode_to_from_whichever_blocks(tmp_path: Path) -> None:
    texts = ["a", "b", "", "d", "e", "f"]
    encode_to(tmp_path / "straight", texts, rows_per_shard=4)
    (tmp_path / "ray").mkdir()
    worker = ShardWorker(worker_settings(tmp_path / "ray"))
    assert worker.start() == 4
    blocks = [pa.table({"text": texts[:3]}), pa.table({"text": texts[3:]})]
    assert worker.do(1, [(1, 3)], blocks[1]) == Counts(encoded=2)
    assert worker.do(0, [(0, 3), (0, 1)], *blocks) == Counts(encoded=4, failed=1)
    assert worker.do(0, [(0, 3), (0, 1)], *blocks) == Counts(kept=4, failed=1, failed_before=1)
    left = tmp_path / "ray" / "shard-000001.npy.123.part"
    left.write_bytes(b"of an actor that was killed")
    worker.finish(6)
    assert not left.exists()
    (vectors, rows), (straight, wanted) = read_vectors(tmp_path / "ray"), read_vectors(tmp_path / "straight")
    assert rows == wanted
    np.testing.assert_allclose(vectors, straight, atol=TOLERANCE)


def test_a_machine_that_does_not_see_the_folder_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="one of the machines does not see this folder"):
        ShardWorker(worker_settings(tmp_path / "elsewhere")).start()
    assert not list(tmp_path.iterdir())


def test_an_id_that_is_missing_is_named_with_its_row(tmp_path: Path) -> None:
    worker = ShardWorker(worker_settings(tmp_path, id_column="id"))
    block = pa.table({"text": ["a", "b"], "id": ["first", None]})
    with pytest.raises(InputError, match=r'input 9 \(column "id"\): an id is None'):
        worker.do(2, [(0, 2)], block)


def test_rows_at_which_actors_die_again_and_again_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def get(_: Any) -> None:
        raise RayActorError

    monkeypatch.setattr(ray, "get", get)
    with pytest.raises(VLM2VecError, match="rows 0 to 19: an actor died, and again"):
        pool._result("a call", "rows 0 to 19")


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
class TestOnRay:
    def test_an_encoder_is_a_stage_of_a_pipeline(
        self, embedded: VLM2Vec, files: list[Path], tmp_path: Path
    ) -> None:
        broken = tmp_path / "broken.png"
        broken.write_bytes(b"no picture")
        paths = [*files, broken]
        dataset = ray.data.from_items([{"path": str(path)} for path in paths]).repartition(4)
        done = dataset.map_batches(
            Encoder,
            fn_constructor_kwargs={"column": "path", "paths": True},
            compute=ray.data.ActorPoolStrategy(size=1),
            batch_size=5,
        )
        done.write_parquet(str(tmp_path / "table"))
        table = pa.parquet.read_table(tmp_path / "table")
        rows = {row["path"]: row for row in table.to_pylist()}
        assert len(table) == len(rows) == len(paths)
        failed = rows.pop(str(broken))
        assert failed["vector"] is None
        assert "broken.png" in failed["error"]
        found = np.array([rows[str(path)]["vector"] for path in files])
        np.testing.assert_allclose(found, embedded.encode_document(files), atol=TOLERANCE)

    def test_a_dataset_becomes_the_folder_that_encode_to_writes(
        self, embedded: VLM2Vec, files: list[Path], tmp_path: Path
    ) -> None:
        inputs = [*files, Path("gone.png"), *(f"caption {number}" for number in range(10))]
        items = [
            {"item": {"image" if path.suffix != ".mp4" else "video": str(path)}, "name": path.name}
            for path in [*files, Path("gone.png")]
        ] + [{"item": {"text": f"caption {number}"}, "name": f"caption-{number}"} for number in range(10)]
        dataset = ray.data.from_items(items, override_num_blocks=7)
        names = [item["name"] for item in items]
        encode_to(tmp_path / "straight", [item["item"] for item in items], ids=names, rows_per_shard=8)
        arguments: dict[str, Any] = {"output": tmp_path / "ray", "id_column": "name"}
        report = encode_dataset(dataset, "item", rows_per_shard=8, concurrency=2, **arguments)
        assert (report.rows, report.encoded, report.failed) == (len(inputs), len(inputs), 1)
        (vectors, rows), (straight, wanted) = read_vectors(report.path), read_vectors(tmp_path / "straight")
        assert rows == wanted
        np.testing.assert_allclose(vectors, straight, atol=TOLERANCE)
        assert [row.id for row in report.failures()] == ["gone.png"]
        assert not dataset.context.execution_options.preserve_order

        # Either goes on with what the other began, and with more behind it.
        more = [*items, {"item": {"text": "one more"}, "name": "last"}]
        report = encode_dataset(ray.data.from_items(more), "item", **arguments)
        assert (report.encoded, report.kept, report.failed_before) == (1, len(inputs), 1)
        again = encode_to(report.path, [item["item"] for item in more], ids=[item["name"] for item in more])
        assert (again.encoded, again.kept) == (0, len(more))

        # Another model, setting or dataset is refused in the words of `encode_to`.
        with pytest.raises(VectorsMismatchError, match="dimensions is 224 there, and 64 here"):
            encode_dataset(dataset, "item", truncate_dim=64, **arguments)
        with pytest.raises(VectorsMismatchError, match="it is called"):
            encode_dataset(ray.data.from_items(items[::-1]), "item", **arguments)
        with pytest.raises(VectorsMismatchError, match=f"these are {len(items):,}"):
            encode_dataset(dataset, "item", **arguments)

    def test_files_as_bytes_and_parquet(self, embedded: VLM2Vec, files: list[Path], tmp_path: Path) -> None:
        binary = ray.data.read_binary_files([str(path) for path in files], include_paths=True)
        encode_dataset(binary, "bytes", id_column="path", output=tmp_path / "files", rows_per_shard=4)
        vectors, rows = read_vectors(tmp_path / "files")
        assert [row.id for row in rows] == [str(path) for path in files]
        np.testing.assert_allclose(vectors, embedded.encode_document(files), atol=TOLERANCE)
        for part in range(3):
            texts = [f"caption {number}" for number in range(part * 10, part * 10 + 10)]
            pa.parquet.write_table(pa.table({"id": range(10), "text": texts}), tmp_path / f"{part}.parquet")
        table = ray.data.read_parquet([str(tmp_path / f"{part}.parquet") for part in range(3)])
        encode_dataset(table, "text", output=tmp_path / "texts", rows_per_shard=7)
        vectors, _ = read_vectors(tmp_path / "texts")
        wanted = embedded.encode_document([f"caption {number}" for number in range(30)])
        np.testing.assert_allclose(vectors, wanted, atol=TOLERANCE)

    def test_rows_keep_their_order_where_the_first_are_done_last(
        self, embedded: VLM2Vec, samples: Path, tmp_path: Path
    ) -> None:
        document, marker = str(min(samples.glob("*.pdf"))), tmp_path / "another is done"

        def pages(row: dict[str, Any]) -> list[dict[str, Any]]:
            deadline = time.monotonic() + 60
            while row["item"] == 0 and not marker.exists() and time.monotonic() < deadline:
                time.sleep(0.01)
            if row["item"] == 0:
                time.sleep(1)  # longer than Ray takes to notice the other
            marker.touch()
            page = {"pdf": document, "page": 1}
            return [{"id": row["item"] * 10, "page": page}, {"id": row["item"] * 10 + 1, "page": page}]

        dataset = ray.data.from_items([0, 1, 2], override_num_blocks=3).flat_map(pages)
        report = encode_dataset(dataset, "page", id_column="id", output=tmp_path / "pages", rows_per_shard=4)
        vectors, rows = read_vectors(report.path)
        assert [(row.index, row.id, row.page) for row in rows] == [
            (index, name, 1) for index, name in enumerate([0, 1, 10, 11, 20, 21])
        ]
        wanted = embedded.encode_document({"pdf": document, "page": 1})
        np.testing.assert_allclose(vectors, np.tile(wanted, (6, 1)), atol=TOLERANCE)

    def test_lance(self, embedded: VLM2Vec, tmp_path: Path) -> None:
        lance = pytest.importorskip("lance")
        texts = ["a red circle", "a blue square", ""]
        lance.write_dataset(pa.table({"text": texts}), str(tmp_path / "in.lance"))
        dataset = ray.data.read_lance(str(tmp_path / "in.lance"))
        assert encode_dataset(dataset, "text", output=tmp_path / "vectors").failed == 1
        vectors, _ = read_vectors(tmp_path / "vectors")
        np.testing.assert_allclose(vectors[:2], embedded.encode_document(texts[:2]), atol=TOLERANCE)

    def test_actors_that_leave_no_cpu_for_reading_are_refused(self, tmp_path: Path) -> None:
        dataset = ray.data.from_items(["a cat"])
        with pytest.raises(InputError, match="the actors would take 3 CPUs, of 3 that Ray has"):
            encode_dataset(dataset, "item", output=tmp_path, concurrency=3)

    def test_a_column_that_is_not_there_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r'the dataset has no column "text"\. It has item'):
            encode_dataset(ray.data.from_items(["a cat"]), "text", output=tmp_path)
        assert not list(tmp_path.iterdir())


# Processes that are killed.

_JOB = """
import sys
import ray.data
from vlm2vec.integrations.ray import encode_dataset

listing, output = sys.argv[1:]
ray.init(num_cpus=3, include_dashboard=False, object_store_memory=128 * 2**20,
         runtime_env={"env_vars": {"OMP_NUM_THREADS": "1"}})
ray.data.DataContext.get_current().enable_progress_bars = False
with open(listing) as lines:
    paths = lines.read().splitlines()
dataset = ray.data.from_items([{"path": path} for path in paths], override_num_blocks=9)
report = encode_dataset(dataset, "path", paths=True, output=output, rows_per_shard=20, concurrency=2)
assert "torch" not in sys.modules
print(report.encoded, report.kept, report.failed)
ray.shutdown()
"""


def mixed_files(samples: Path, folder: Path, count: int, broken: int) -> list[Path]:
    """Pictures, clips, PDFs and texts; as many as that of them cannot be read."""
    folder.mkdir()
    pictures = sorted(samples.glob("*.jpg")) + sorted(samples.glob("*.png"))
    clips, documents = sorted(samples.glob("*.mp4")), sorted(samples.glob("*.pdf"))
    kinds = [pictures, pictures, pictures, clips, pictures, documents, pictures, []]
    paths = []
    for number in range(count):
        kind = kinds[number % len(kinds)]
        source = kind[number // len(kinds) % len(kind)] if kind else None
        path = folder / f"{number:04}{source.suffix if source else '.txt'}"
        if number % (count // broken) == 7:
            path = path.with_suffix(".jpg")
            if number % 2:
                path.write_bytes(b"\xff\xd8\xff\xe0 cut off")  # the others are not there
        elif source is None:
            path.write_text(f"What stands in file {number}.")
        else:
            path.write_bytes(source.read_bytes())
        paths.append(path)
    return paths


def wait_for(condition: Callable[[], Any], process: subprocess.Popen[bytes] | None = None) -> Any:
    """What a condition gives once it holds, while a process runs."""
    deadline = time.monotonic() + 300
    while not (found := condition()):
        assert process is None or process.poll() is None, "the process has ended"
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.005)
    return found


def has_ended(process: psutil.Process) -> bool:
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)  # where nobody asks for what it returned
    except psutil.NoSuchProcess:
        return True


def actors_of(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """Actors that are at work on a shard: Ray names a process by what it does."""
    found = []
    for child in psutil.Process(process.pid).children(recursive=True):
        with suppress(psutil.Error):  # it has ended meanwhile
            if "ShardWorker.do" in " ".join(child.cmdline()):
                found.append(child)
    return found


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system cannot kill like that")
def test_an_actor_and_then_the_driver_are_killed_and_no_row_is_lost_or_there_twice(
    embedded: VLM2Vec, samples: Path, tmp_path: Path
) -> None:
    paths = mixed_files(samples, tmp_path / "files", count=500, broken=25)
    listing, output = tmp_path / "files.txt", tmp_path / "vectors"
    listing.write_text("\n".join(map(str, paths)))
    command = [sys.executable, "-c", _JOB, str(listing), str(output)]
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(vlm2vec.__file__).parents[1]),
    }

    def shards() -> dict[str, tuple[int, int]]:
        there = [output / f"{path.stem}.npy" for path in output.glob("shard-*.jsonl")]
        return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in there}

    with (tmp_path / "log.txt").open("wb") as log:
        first = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    children: list[psutil.Process] = []
    try:
        wait_for(lambda: len(shards()) >= 4, first)
        victim = wait_for(lambda: actors_of(first), first)[0]
        victim.kill()
        before = len(shards())
        wait_for(lambda: len(shards()) >= before + 4, first)
    finally:
        with suppress(psutil.NoSuchProcess):
            children = psutil.Process(first.pid).children(recursive=True)
        first.kill()
        first.wait()
    # Ray's agents notice after a minute that they are alone; nothing of the job runs in them.
    agents = [child for child in children if not has_ended(child) and "Agent" in child.name()]
    try:
        wait_for(lambda: all(has_ended(child) for child in children if child not in agents))
    finally:
        for child in children:
            with suppress(psutil.NoSuchProcess):
                child.kill()
    kept = shards()
    assert 8 <= len(kept) < 25, "it was killed half way"

    second = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=600
    )
    assert second.returncode == 0, second.stderr
    assert kept.items() <= shards().items(), "a shard was written twice"
    assert not list(output.glob("*.part"))
    encoded, there, failed = map(int, second.stdout.split()[-3:])
    assert (encoded + there, there, failed) == (500, 20 * len(kept), 25)

    vectors, rows = read_vectors(output)
    assert [(row.index, row.source) for row in rows] == [(i, str(path)) for i, path in enumerate(paths)]
    failures = [row for row in rows if row.error is not None]
    assert len(failures) == 25
    assert {row.error_type for row in failures} == {"MediaError"}
    wanted = embedded.encode_document(paths, on_error="nan")
    np.testing.assert_allclose(vectors, wanted, atol=TOLERANCE, equal_nan=True)
