"""`encode_to`: goes on where it was, refuses what does not belong there, and keeps what failed."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

import vlm2vec
from vlm2vec import VLM2Vec, encode_to, read_vectors
from vlm2vec.errors import InputError, VectorsMismatchError, VLM2VecError
from vlm2vec.jobs import EncodingReport, Row

WORDS = [
    f"a {colour} {shape}"
    for colour in ("red", "blue", "green")
    for shape in ("circle", "square", "star", "ring")
]

Job = Callable[..., EncodingReport]


@pytest.fixture
def job(embedded: VLM2Vec, tmp_path: Path) -> Job:
    """`encode_to` into one folder, with five rows in a shard."""

    def job(inputs: Any, **settings: Any) -> EncodingReport:
        settings = {"model": embedded, "rows_per_shard": 5, **settings}
        return encode_to(tmp_path / "vectors", inputs, **settings)

    return job


@pytest.fixture
def encoded(embedded: VLM2Vec, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of all inputs that the model gets, in order."""
    found: list[str] = []
    stream = VLM2Vec.encode_stream

    def spied(self: VLM2Vec, inputs: list[Any], **settings: Any) -> Any:
        found.extend(item.describe() for item in inputs)
        return stream(self, inputs, **settings)

    monkeypatch.setattr(VLM2Vec, "encode_stream", spied)
    return found


def stops_after(count: int, inputs: list[Any] = WORDS) -> Iterator[Any]:
    """Inputs whose source breaks down."""
    yield from inputs[:count]
    raise ConnectionError("the source is gone")


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name[0] != "."}


# what is written


def test_vectors_are_those_of_encode_document(job: Job, embedded: VLM2Vec, tmp_path: Path) -> None:
    report = job(WORDS)
    assert (report.rows, report.encoded, report.kept, report.failed) == (12, 12, 0, 0)
    vectors, rows = read_vectors(report.path)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, embedded.encode_document(WORDS), atol=5e-7)
    assert [row.index for row in rows] == list(range(12))
    assert rows[2].source == 'text "a red star"'


def test_shards_are_read_without_this_package(job: Job, embedded: VLM2Vec) -> None:
    folder = job(WORDS, ids=[f"row {index}" for index in range(12)]).path
    vectors = np.concatenate([np.load(path) for path in sorted(folder.glob("shard-*.npy"))])
    np.testing.assert_allclose(vectors, embedded.encode_document(WORDS), atol=5e-7)
    lines = [line for path in sorted(folder.glob("shard-*.jsonl")) for line in path.read_text().splitlines()]
    assert [json.loads(line)["id"] for line in lines] == [f"row {index}" for index in range(12)]
    assert json.loads((folder / "manifest.json").read_text())["rows"] == 12


def test_queries_and_instructions_are_as_in_encode(embedded: VLM2Vec, tmp_path: Path) -> None:
    expected = {
        "query": embedded.encode_query(WORDS[:2]),
        "all": embedded.encode(WORDS[:2], instruction="Say it."),
        "each": embedded.encode(WORDS[:2], instruction=["Say it.", None], prompt_name="document"),
    }
    settings = {
        "query": {"role": "query"},
        "all": {"instruction": "Say it."},
        "each": {"instruction": iter(["Say it.", None])},
    }
    for name, vectors in expected.items():
        encode_to(tmp_path / name, WORDS[:2], model=embedded, **settings[name])
        np.testing.assert_allclose(read_vectors(tmp_path / name)[0], vectors, atol=5e-7)


def test_vectors_that_are_cut(job: Job, embedded: VLM2Vec) -> None:
    vectors, _ = read_vectors(job(WORDS, truncate_dim=64).path)
    np.testing.assert_allclose(vectors, embedded.encode_document(WORDS, truncate_dim=64), atol=5e-7)


def test_a_model_that_cuts_its_vectors_can_be_asked_for_longer_ones(tmp_path: Path) -> None:
    cut = VLM2Vec(truncate_dim=64, device="cpu")
    for asked in (None, 128):
        encode_to(tmp_path / f"{asked}", WORDS, model=cut, truncate_dim=asked)
        assert read_vectors(tmp_path / f"{asked}")[0].shape[1] == (asked or 64)
    with pytest.raises(VectorsMismatchError, match="dimensions is 128 there, and 64 here"):
        encode_to(tmp_path / "128", WORDS, model=cut)


def test_one_input_and_none_at_all(job: Job, embedded: VLM2Vec, tmp_path: Path) -> None:
    assert job("a red circle").rows == 1
    assert encode_to(tmp_path / "none", [], model=embedded).rows == 0
    vectors, rows = read_vectors(tmp_path / "none")
    assert vectors.shape == (0, 224)
    assert rows == []


def test_rows_name_files_pages_and_moments(job: Job, after_demo: Path) -> None:
    folder = after_demo / "vlm2vec-demo"
    pdf, clip = next(folder.glob("*.pdf")), next(folder.glob("*.mp4"))
    inputs = [
        *vlm2vec.pdf_pages(pdf)[:1],
        {"video": clip, "start": 0.5, "end": 1},
        {"text": "what is it?", "image": next(folder.glob("*.png"))},
        np.zeros((56, 56, 3), np.uint8),
    ]
    _, rows = read_vectors(job(inputs).path)
    assert (rows[0].source, rows[0].page) == (str(pdf), 1)
    assert (rows[1].source, rows[1].start, rows[1].end) == (str(clip), 0.5, 1.0)
    assert rows[2].source.endswith(".png")
    assert rows[3].source == "array (56, 56, 3) uint8"
    assert all(row.error is None for row in rows)


def test_an_address_is_kept_without_its_query(embedded: VLM2Vec, tmp_path: Path) -> None:
    model = VLM2Vec(device="cpu", allow_urls=True)
    encode_to(tmp_path / "v", [{"image": "http://127.0.0.1:9/a.png?key=secret"}], model=model)
    (row,) = read_vectors(tmp_path / "v")[1]
    assert row.source == "http://127.0.0.1:9/a.png"
    assert row.error is not None
    assert not any(b"secret" in data for data in files(tmp_path / "v").values())


# going on


def test_a_job_that_broke_off_goes_on(job: Job, encoded: list[str], tmp_path: Path) -> None:
    with pytest.raises(ConnectionError):
        job(stops_after(8))
    assert len(encoded) == 5  # of the second shard nothing: its inputs did not all come
    report = job(iter(WORDS))
    assert (report.encoded, report.kept) == (7, 5)
    assert encoded == [f'text "{words}"' for words in WORDS]


def test_the_files_of_a_resumed_job_are_those_of_a_straight_one(
    job: Job, embedded: VLM2Vec, tmp_path: Path
) -> None:
    inputs = [*WORDS, None, tmp_path / "missing.png", *WORDS]
    for count in (3, 8, 20):
        with pytest.raises(ConnectionError):
            job(stops_after(count, inputs))
    job(inputs)
    encode_to(tmp_path / "straight", inputs, model=embedded, rows_per_shard=5)
    assert files(tmp_path / "vectors") == files(tmp_path / "straight")


def test_a_finished_job_has_nothing_to_do(job: Job, encoded: list[str]) -> None:
    before = files(job(WORDS).path)
    del encoded[:]
    report = job(WORDS)
    assert (report.rows, report.encoded, report.kept, encoded) == (12, 0, 12, [])
    assert files(report.path) == before


def test_files_whose_rows_are_there_are_not_opened(job: Job, after_demo: Path, tmp_path: Path) -> None:
    pictures = [tmp_path / f"{index}.png" for index in range(6)]
    for path in pictures:
        path.write_bytes(next((after_demo / "vlm2vec-demo").glob("*.png")).read_bytes())
    job(pictures)
    for path in pictures:
        path.unlink()
    report = job(iter(pictures))
    assert (report.encoded, report.kept, report.failed) == (0, 6, 0)


def test_more_inputs_may_follow_at_the_end(job: Job, encoded: list[str], embedded: VLM2Vec) -> None:
    job(WORDS[:7])
    del encoded[:]
    report = job(WORDS)
    assert (report.encoded, report.kept) == (5, 7)
    assert encoded == [f'text "{words}"' for words in WORDS[7:]]
    np.testing.assert_allclose(read_vectors(report.path)[0], embedded.encode_document(WORDS), atol=5e-7)


def test_the_size_of_shards_is_remembered(job: Job) -> None:
    job(WORDS)
    assert job(WORDS, rows_per_shard=None).kept == 12
    with pytest.raises(InputError, match="its shards have 5 rows, and rows_per_shard is 6"):
        job(WORDS, rows_per_shard=6)


# refusals


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"instruction": "Say it."}, "instruction is 'Represent the content.' there, and 'Say it.' here"),
        ({"instruction": ["Say it."] * 12}, "instructions is 'one for all' there, and 'one for each' here"),
        ({"role": "query"}, "role is 'document' there, and 'query' here"),
        ({"truncate": True}, "truncate is False there, and True here"),
        ({"truncate_dim": 64}, "dimensions is 224 there, and 64 here"),
    ],
)
def test_other_settings_are_refused_by_name(job: Job, settings: dict[str, Any], named: str) -> None:
    before = files(job(WORDS).path)
    with pytest.raises(VectorsMismatchError) as caught:
        job(WORDS, **settings)
    assert named in str(caught.value)
    assert files(job(WORDS).path) == before


def test_another_model_is_refused(job: Job, tiny: VLM2Vec) -> None:
    job(WORDS)
    with pytest.raises(
        VectorsMismatchError, match=r"weights are of .*embedded there, and of .*tiny_qwen2vl here"
    ):
        job(WORDS, model=tiny)


def test_other_pixels_or_frames_are_refused_by_name(job: Job, after_demo: Path) -> None:
    clip = next((after_demo / "vlm2vec-demo").glob("*.mp4"))
    job([clip])
    with pytest.raises(VectorsMismatchError, match=f"input 0 .*{clip.name} with other content, options or"):
        job([{"video": clip, "num_frames": 4}])


@pytest.mark.parametrize("kind", [list, iter])
def test_other_inputs_are_refused_by_name_and_index(job: Job, kind: Callable[[Any], Any]) -> None:
    job(WORDS)
    other = [*WORDS[:7], "a dog", *WORDS[8:]]
    with pytest.raises(VectorsMismatchError) as caught:
        job(kind(other))
    assert caught.value.index == 7
    assert caught.value.cause == 'the vector there is of text "a blue ring", and this is text "a dog"'


def test_other_ids_are_refused(job: Job) -> None:
    job(WORDS[:2], ids=["a", "b"])
    with pytest.raises(VectorsMismatchError, match=r"input 1 .*called 'b' there, and 'c' here"):
        job(WORDS[:2], ids=["a", "c"])


def test_own_instructions_belong_to_an_input(job: Job) -> None:
    job(WORDS[:2], instruction=["Say it.", None])
    with pytest.raises(VectorsMismatchError, match=r"input 1 .*other content, options or instruction"):
        job(WORDS[:2], instruction=["Say it.", "Say it."])


@pytest.mark.parametrize("count", [3, 5, 10, 11])
def test_fewer_inputs_are_refused(job: Job, count: int) -> None:
    job(WORDS)
    with pytest.raises(VectorsMismatchError, match=f"there are vectors of more than {count} inputs"):
        job(WORDS[:count])
    assert job(WORDS).kept == 12


@pytest.mark.parametrize(
    "settings",
    [
        {"model": 3},
        {"role": "title"},
        {"part": (3, 2)},
        {"part": 4},
        {"part": (0, 2)},
        {"rows_per_shard": 0},
        {"on_error": "skip"},
        {"truncate_dim": 1000},
        {"max_tokens_per_batch": 0},
        {"ids": "abcdefghijkl"},
        {"ids": ["a"]},
        {"instruction": ["Say it."]},
        {"instruction": 3},
    ],
    ids=str,
)
def test_settings_that_make_no_sense_leave_no_folder(
    job: Job, tmp_path: Path, settings: dict[str, Any]
) -> None:
    with pytest.raises(InputError):
        job(WORDS, **settings)
    assert not (tmp_path / "vectors").exists()


@pytest.mark.parametrize(
    ("ids", "cause"), [([1.5] * 12, "an id is float 1.5"), (iter("ab"), "there are 2 ids")]
)
def test_ids_that_make_no_sense(job: Job, ids: Any, cause: str) -> None:
    with pytest.raises(InputError, match=cause):
        job(WORDS, ids=ids)


def test_a_folder_of_other_files_is_refused(job: Job, tmp_path: Path) -> None:
    (tmp_path / "vectors").mkdir()
    (tmp_path / "vectors" / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match=r"other files, such as thesis.txt, and no manifest.json"):
        job(WORDS)
    assert files(tmp_path / "vectors") == {"thesis.txt": b"mine"}


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ('{"format": 2}', "its format is 2, and this version of vlm2vec reads 1"),
        ("{}", "it is no manifest of vectors"),
        ("[1]", "it is no manifest of vectors"),
        ('{"format"', "it is no manifest of vectors"),
    ],
)
def test_a_manifest_that_cannot_be_read_is_not_replaced(job: Job, text: str, cause: str) -> None:
    path = job(WORDS).path / "manifest.json"
    path.write_text(text)
    with pytest.raises(InputError, match=cause):
        job(WORDS)
    assert path.read_text() == text


def test_two_jobs_never_write_into_one_folder(job: Job, encoded: list[str]) -> None:
    refused: list[str] = []

    def inputs() -> Iterator[str]:
        for settings in ({}, {"part": (1, 2)}):
            with pytest.raises(InputError, match="another job is writing into this folder") as caught:
                job(WORDS, **settings)
            refused.append(str(caught.value))
        yield from WORDS

    assert job(inputs()).encoded == 12
    assert "remove .part-1-of-1.lock" in refused[0]
    assert len(encoded) == 12


# failures


def broken(folder: Path) -> Path:
    path = folder / "cut.png"
    PIL.Image.new("RGB", (60, 60), "red").save(path)
    path.write_bytes(path.read_bytes()[:60])
    return path


def test_what_fails_is_a_row_of_nan_with_its_error(job: Job, tmp_path: Path) -> None:
    report = job([*WORDS[:3], broken(tmp_path), None, "a dog"])
    assert (report.rows, report.failed) == (6, 2)
    vectors, rows = read_vectors(report.path)
    assert np.isnan(vectors[3:5]).all()
    assert np.isfinite(vectors[[0, 1, 2, 5]]).all()
    assert rows[3].error_type == "MediaError"
    assert [row.index for row in report.failures()] == [3, 4]
    assert [row.index for row in rows if row.error] == [3, 4]
    assert str(report).endswith("; 2 have no vector")


def test_a_callable_is_told_of_each_failure(job: Job, tmp_path: Path) -> None:
    told: list[tuple[int | None, str]] = []
    inputs = [*WORDS[:6], None, broken(tmp_path)]
    job(inputs, on_error=lambda index, error: told.append((index, type(error).__name__)))
    assert told == [(6, "InputError"), (7, "MediaError")]


def test_a_job_that_raises_keeps_the_shards_before(job: Job, encoded: list[str], tmp_path: Path) -> None:
    with pytest.raises(VLM2VecError) as caught:
        job([*WORDS[:7], broken(tmp_path), *WORDS[7:]], on_error="raise")
    assert caught.value.index == 7
    del encoded[:]
    assert job([*WORDS[:7], broken(tmp_path), *WORDS[7:]]).kept == 5


def test_failures_are_not_tried_again_unless_asked(job: Job, encoded: list[str], tmp_path: Path) -> None:
    path = broken(tmp_path)
    inputs = [*WORDS[:3], path, *WORDS[3:]]
    before, _ = read_vectors(job(inputs).path)
    del encoded[:]
    report = job([*inputs, None])
    assert (report.failed, report.failed_before, encoded) == (2, 1, [])
    assert str(report).endswith(
        "; 2 have no vector, 1 since an earlier run: retry_failed=True tries them again"
    )
    inputs.append(None)
    report = job(inputs, retry_failed=True)
    assert (report.failed, report.failed_before) == (2, 0)
    assert [name[-7:] for name in encoded] == ["cut.png"]
    PIL.Image.new("RGB", (60, 60), "red").save(path)
    report = job(inputs, retry_failed=True)
    assert (report.encoded, report.kept, report.failed) == (2, 12, 1)
    after, rows = read_vectors(report.path)
    np.testing.assert_array_equal(np.delete(after, [3, 13], 0), np.delete(before, 3, 0))
    assert np.isfinite(after[:13]).all()
    assert rows[3].error is None


def test_another_input_takes_the_place_of_one_that_failed_if_asked(job: Job, embedded: VLM2Vec) -> None:
    job([*WORDS[:3], None])
    with pytest.raises(VectorsMismatchError, match='has failed, and this is text "a dog"') as caught:
        job([*WORDS[:3], "a dog"])
    assert "retry_failed" in caught.value.fix
    vectors, _ = read_vectors(job([*WORDS[:3], "a dog"], retry_failed=True).path)
    np.testing.assert_allclose(vectors[3], embedded.encode_document("a dog"), atol=5e-7)


# parts


def test_parts_together_are_the_whole(embedded: VLM2Vec, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"model": embedded, "rows_per_shard": 2}
    encode_to(tmp_path / "whole", WORDS, **settings)
    for number in (3, 1, 2):
        report = encode_to(tmp_path / "shared", WORDS, part=(number, 3), **settings)
        assert report.rows == 4
        own = encode_to(tmp_path / f"own-{number}", iter(WORDS), part=(number, 3), **settings)
        assert own.encoded == 4
    assert files(tmp_path / "shared") == files(tmp_path / "whole")
    expected, rows = read_vectors(tmp_path / "whole")
    merged, merged_rows = read_vectors([tmp_path / f"own-{number}" for number in (1, 2, 3)])
    np.testing.assert_array_equal(merged, expected)
    assert merged_rows == rows


def test_a_call_without_a_part_does_what_is_missing(job: Job) -> None:
    job(WORDS, part=(2, 3))
    report = job(WORDS)
    assert (report.encoded, report.kept) == (7, 5)


def test_inputs_of_other_parts_are_not_read(job: Job) -> None:
    read: list[int] = []

    class Column(Sequence[str]):
        def __len__(self) -> int:
            return len(WORDS)

        def __getitem__(self, index: Any) -> Any:
            read.append(index)
            return WORDS[index]

    job(Column(), part=(2, 3))
    assert read == [5, 6, 7, 8, 9]


def test_two_parts_are_done_in_one_folder_at_a_time(job: Job) -> None:
    def inputs() -> Iterator[str]:
        assert job(WORDS, part=(2, 2)).encoded == 5
        with pytest.raises(InputError, match="another job"):
            job(WORDS, part=(1, 3))
        yield from WORDS

    assert job(inputs(), part=(1, 2)).encoded == 7


# where inputs come from


def test_a_column_of_a_dataset_is_compared_without_decoding(
    job: Job, after_demo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    datasets = pytest.importorskip("datasets")
    pictures = [str(path) for path in sorted((after_demo / "vlm2vec-demo").glob("*.png"))]
    dataset = datasets.Dataset.from_dict({"image": pictures}).cast_column(
        "image", datasets.Image(decode=False)
    )
    count = len(pictures)
    assert job(dataset["image"]).encoded == count
    monkeypatch.setattr(PIL.Image, "open", lambda *_, **__: pytest.fail("a picture was opened"))
    report = job(dataset["image"])
    assert (report.encoded, report.kept) == (0, count)


def test_pictures_in_memory_are_known_again(job: Job) -> None:
    def pictures(colour: str) -> Iterator[Any]:
        for side in (56, 84):
            file = io.BytesIO()
            PIL.Image.new("RGB", (side, side), colour).save(file, "PNG")
            yield PIL.Image.open(file)
            yield file.getvalue()
            yield np.asarray(PIL.Image.open(file))

    assert job(pictures("red")).encoded == 6
    assert job(pictures("red")).kept == 6
    with pytest.raises(VectorsMismatchError, match=r"input 0 .*other content"):
        job(pictures("blue"))


def test_memory_holds_a_shard_of_inputs_at_most(job: Job) -> None:
    alive: set[int] = set()
    most = 0

    class Picture(np.ndarray):
        def __del__(self) -> None:
            alive.discard(id(self))

    def pictures() -> Iterator[Any]:
        nonlocal most
        for index in range(30):
            picture = np.full((56, 56, 3), index, np.uint8).view(Picture)
            alive.add(id(picture))
            most = max(most, len(alive))
            yield picture
            del picture

    assert job(pictures()).encoded == 30
    assert most <= 12  # of this shard, and what of the last is still in the engine


# how far it is


def test_progress_is_logged(
    job: Job, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vlm2vec.jobs.progress._SECONDS_BETWEEN_LINES", 0.0)
    job(WORDS[:7])
    caplog.set_level(logging.INFO, "vlm2vec.jobs")
    job([*WORDS, None])
    lines = [record.getMessage() for record in caplog.records if record.name.startswith("vlm2vec.jobs")]
    assert len(lines) == 6
    assert lines[0].startswith("8 of 13 rows, ")
    assert lines[-1].startswith("13 of 13 rows, ")
    assert lines[-1].endswith(" rows a second, 0.0 s remain, 1 failed")


def test_the_bar_counts_what_was_there_and_not_its_time(job: Job, capsys: pytest.CaptureFixture[str]) -> None:
    job(WORDS[:10])
    job(WORDS, show_progress_bar=True)
    printed = capsys.readouterr().err
    assert "12/12" in printed
    assert "Encoding" in printed


def test_it_is_found_where_it_is_said_to_be() -> None:
    assert vlm2vec.encode_to is encode_to
    assert vlm2vec.jobs.Row is Row
