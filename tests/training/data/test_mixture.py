"""Mixtures: rows by source and position, plans, and files that say what is wrong with them."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vlm2vec import Video
from vlm2vec.errors import InputError, MediaError
from vlm2vec.inputs import Clip, Input, parse_input
from vlm2vec.inputs.replace import with_num_frames
from vlm2vec.training import FitSettings, Mixture, SubBatchSampler
from vlm2vec.training.data.mixture import MixturePlan, PlannedBatches
from vlm2vec.training.sources import JsonLines, TrainingSource

PETS = [{"query": f"pet {i}", "document": f"photo {i}", "negatives": ["a car"]} for i in range(5)]
NUMBERS = [{"query": str(i), "document": str(-i), "query_instruction": "Negate."} for i in range(3)]


def mixture() -> Mixture:
    return Mixture([TrainingSource("pets", PETS, weight=3), TrainingSource("numbers", NUMBERS)])


def write_lines(path: Path, records: list[Any]) -> None:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_lines(tmp_path / "pets.jsonl", PETS)
    write_lines(tmp_path / "numbers.jsonl", NUMBERS)
    return tmp_path


def from_text(folder: Path, text: str, **settings: Any) -> Mixture:
    path = folder / "mix.yaml"
    path.write_text(text, encoding="utf-8")
    return Mixture.from_yaml(path, **settings)


def test_rows_come_by_source_and_position() -> None:
    mixed = mixture()
    assert (mixed.names, mixed.sizes, mixed.weights, len(mixed)) == (
        ["pets", "numbers"],
        [5, 3],
        [3.0, 1.0],
        8,
    )
    for source, rows in enumerate((PETS, NUMBERS)):
        assert [mixed[source, row] for row in range(len(rows))] == rows
        assert mixed[source, -1] == rows[-1]
    assert mixed[np.int64(1), np.int64(2)] == NUMBERS[2]
    for key in ((0, 5), (1, 3), (2, 0), (-1, 0), (0, -6)):
        with pytest.raises(IndexError):
            mixed[key]


def test_the_plan_has_the_shares_of_the_weights() -> None:
    plan = mixture().plan()
    assert [(line.source, line.rows, line.share) for line in plan.sources] == [
        ("pets", 5, 0.75),
        ("numbers", 3, 0.25),
    ]
    assert plan.rows == 8
    assert str(plan).splitlines()[1].split() == ["pets", "5", "3", "75.00%"]


def planned(sizes: dict[str, tuple[int, int]], **settings: Any) -> MixturePlan:
    """The plan of sources, each with so many rows and a weight."""
    sources = [TrainingSource(name, PETS[:1] * rows, weight=weight) for name, (rows, weight) in sizes.items()]
    return Mixture(sources).plan(FitSettings(**settings))


def test_the_plan_has_the_batches_steps_and_passes_of_a_run() -> None:
    plan = planned({"pets": (10, 3), "numbers": (40, 1)}, batch_size=20, sub_batch_size=5, max_steps=10)
    assert plan.batches == PlannedBatches(batch_size=20, sub_batch_size=5, steps=10, steps_per_epoch=3)
    # 200 rows are drawn, three quarters of them from the first source.
    assert plan.passes == (150 / 10, 50 / 40)
    text = str(plan)
    assert "20 rows: 4 sub-batches of 5, each of one source" in text
    assert "10: 200 rows, 4.0 passes over the data of 3 steps each" in text
    assert "from 1.2 over numbers to 15.0 over pets" in text
    assert "75.00%" in text.splitlines()[1]


def test_batches_are_described_as_they_are_drawn() -> None:
    two = {"pets": (10, 3), "numbers": (40, 1)}
    assert "20 rows, each of a source that it draws" in str(planned(two, batch_size=20, sub_batch_size=0))
    assert "20 rows: 1 sub-batch of 20, each" in str(planned(two, batch_size=20))
    assert "batch     4 rows\n" in str(planned({"pets": (10, 1)}, batch_size=4))


def test_a_source_adds_its_settings_and_leaves_the_rows_alone() -> None:
    rows = [{"query": {"video": "a.mp4"}, "document": "a", "negatives": [Video("b.mp4"), "b"]}]
    before = repr(rows)
    source = TrainingSource("clips", rows, query_instruction="Q", document_instruction="D", num_frames=4)
    row = source[0]
    assert row["query"].parts[0].num_frames == 4
    assert row["negatives"][0].parts[0].num_frames == 4
    assert (row["document"], row["negatives"][1]) == ("a", "b")
    assert (row["query_instruction"], row["document_instruction"]) == ("Q", "D")
    assert repr(rows) == before
    assert TrainingSource("numbers", NUMBERS, query_instruction="Q")[0]["query_instruction"] == "Negate."
    assert "negatives" not in TrainingSource("pets", PETS, negatives=False)[0]


def test_a_cap_takes_the_first_rows() -> None:
    source = TrainingSource("pets", PETS, cap=2)
    assert [source[i] for i in range(len(source))] == PETS[:2]
    assert len(TrainingSource("pets", PETS, cap=99)) == 5
    with pytest.raises(IndexError):
        source[2]


def test_num_frames_reach_every_form_of_clip_and_nothing_else(tmp_path: Path) -> None:
    clip, page = tmp_path / "clip.bin", tmp_path / "page.bin"
    clip.write_bytes(b"FLV\x01")
    page.write_bytes(b"%PDF-1.7")
    frames = np.zeros((3, 4, 4, 3), np.uint8)

    def given(value: Any) -> list[int | None]:
        """The number of frames of each clip in a row's input, after its files were opened."""
        row = TrainingSource("clips", [{"query": value, "document": "a"}], num_frames=4)[0]
        parts = parse_input(row["query"]).parts
        return [part.num_frames for part in parts if isinstance(part, Clip)]

    for value in (
        clip,
        frames,
        Video(clip),
        {"video": str(clip)},
        {"video": [Video(clip)]},
        [{"role": "user", "content": [{"type": "video", "video": str(clip)}, {"type": "text", "text": "?"}]}],
        {"role": "user", "content": [{"type": "video_url", "video_url": {"url": str(clip)}}]},
        {"prompt": "<|video_pad|> what?", "video": clip},
    ):
        assert given(value) == [4]
    assert given(["what?", clip, page]) == [4]
    assert given([Video(clip), Video(clip, num_frames=3)]) == [4, 3]
    for value in ("text", page, frames[0], {"pdf": str(page)}):
        assert given(value) == []
    assert given({"video": clip, "num_frames": 2}) == [2]
    assert given(Video(clip, fps=1.0)) == given({"video": clip, "fps": 1}) == [None]
    item = parse_input(page)
    assert with_num_frames(item, 4).parts == item.parts
    missing = {"query": Path("gone.mp4"), "document": {"videoo": "a.mp4"}}
    row = TrainingSource("clips", [missing], num_frames=4)[0]
    assert isinstance(row["query"], Input)  # that it is not there is found by the check of rows
    assert row["document"] is missing["document"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"weight": 0}, '"weight" is int 0. Pass a number above 0'),
        ({"weight": -1.5}, '"weight" is float -1.5'),
        ({"weight": float("inf")}, "weight"),
        ({"weight": float("nan")}, "weight"),
        ({"weight": "1"}, "weight"),
        ({"weight": True}, "weight"),
        ({"cap": 0}, "cap"),
        ({"cap": 1.5}, "cap"),
        ({"num_frames": 0}, "num_frames"),
        ({"query_instruction": 3}, "query_instruction"),
        ({"negatives": "no"}, "negatives"),
        ({"rows": iter(PETS)}, "rows"),
        ({"rows": "pets.jsonl"}, "rows"),
    ],
)
def test_wrong_settings_name_the_source(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as raised:
        TrainingSource(**{"name": "pets", "rows": PETS, **settings})
    assert str(raised.value).startswith('source "pets": ')


def test_mixtures_without_rows_or_with_equal_names_are_refused() -> None:
    with pytest.raises(InputError, match="no sources"):
        Mixture([])
    with pytest.raises(InputError, match='source "empty": it has no rows'):
        Mixture([TrainingSource("empty", [])])
    with pytest.raises(InputError, match='two sources are named "pets"'):
        Mixture([TrainingSource("pets", PETS), TrainingSource("pets", NUMBERS)])
    with pytest.raises(InputError, match="TrainingSource"):
        Mixture([PETS])  # type: ignore[list-item]


def test_checking_names_the_source_or_leaves_bad_rows_out() -> None:
    bad = [*PETS[:2], {"query": "", "document": "b"}, *PETS[2:], {"document": "b"}]
    mixed = Mixture([TrainingSource("numbers", NUMBERS), TrainingSource("pets", bad, cap=6, weight=2)])
    with pytest.raises(InputError, match=r"^pets, row 2: the query is empty"):
        mixed.checked()
    kept = mixed.checked(on_error="skip")
    assert kept.sizes == [3, 5]
    assert kept.weights == [1.0, 2.0]
    assert [kept[1, row] for row in range(5)] == PETS


def test_missing_files_are_found_by_the_check() -> None:
    rows = [{"query": Path("gone.png"), "document": "a"}]
    with pytest.raises(MediaError, match=r"^pets, row 0: query .*gone.png"):
        Mixture([TrainingSource("pets", rows, num_frames=2)]).checked()


def test_a_file_gives_the_mixture_it_describes(folder: Path) -> None:
    mixed = from_text(
        folder,
        """
description: two lists
model: some/model
profile: vlm2vec-v2
defaults: {loader: rows, num_frames: 8}
sources:
  pets: {file: pets.jsonl, weight: 3, cap: 4, document_instruction: Show it.}
  numbers: {file: numbers.jsonl}
training: {learning_rate: 5e-5, batch_size: 1_024, lora: {r: 16}}
""",
    )
    assert (mixed.names, mixed.sizes, mixed.weights) == (["pets", "numbers"], [4, 3], [3.0, 1.0])
    assert mixed[0, 1] == {**PETS[1], "document_instruction": "Show it."}
    assert mixed[1, 2] == NUMBERS[2]
    assert mixed.training == {"learning_rate": 5e-5, "batch_size": 1024, "lora": {"r": 16}}
    assert (mixed.model, mixed.profile, mixed.description) == ("some/model", "vlm2vec-v2", "two lists")


def test_folders_are_relative_to_the_file_to_its_root_or_to_the_given_one(tmp_path: Path) -> None:
    for place in ("a", "b/c"):
        (tmp_path / place).mkdir(parents=True)
    write_lines(tmp_path / "a" / "rows.jsonl", PETS[:1])
    write_lines(tmp_path / "b" / "c" / "rows.jsonl", PETS[:2])
    source = "sources: {pets: {loader: rows, file: rows.jsonl, root: %s}}"
    assert from_text(tmp_path, source % "a").sizes == [1]
    assert from_text(tmp_path, "root: b\n" + source % "c").sizes == [2]
    assert from_text(tmp_path, "root: nowhere\n" + source % "c", root=tmp_path / "b").sizes == [2]


SOURCE = "sources: {pets: {loader: rows, file: pets.jsonl, %s}}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sources: [", "the file is no YAML"),
        ("- a", "the file holds no mapping"),
        ("training: {}", "the file names no sources"),
        ("sources: {}", "the file names no sources"),
        ("sorces: {a: {}}", 'unknown key "sorces". Did you mean "sources"?'),
        ("sources: {a: b}", 'source "a" is text "b"'),
        ("sources: {a: {loader: rows}, a: {loader: rows}}", 'the key "a" is given twice'),
        ("profile: v3\nsources: {a: {loader: rows}}", 'there is no profile "v3". Choose one of'),
        ("training: 3\nsources: {a: {loader: rows}}", '"training" is int 3'),
        ("defaults: {file: a}\nsources: {a: {loader: rows}}", 'defaults: unknown key "file"'),
        ("sources: {a: {weight: 1}}", 'source "a": it has no loader. Choose one of'),
        ("sources: {a: {loader: mmeb-trian}}", 'there is no loader "mmeb-trian". Did you mean "mmeb-train"?'),
        ("sources: {a: {loader: mmeb-train}}", 'the loader "mmeb-train" needs "subset"'),
        ("sources: {a: {loader: rows, file: 3}}", '"file" is int 3'),
        ("sources: {a: {loader: rows, file: gone.jsonl}}", "gone.jsonl does not exist"),
        ("sources: {a: {loader: rows, file: %s}}" % ("x" * 300), "x does not exist"),
        (SOURCE % "wieght: 2", 'unknown key "wieght". Did you mean "weight"?'),
        (SOURCE % "frames: 2", 'unknown key "frames". Did you mean "num_frames"?'),
        (SOURCE % "subset: a", 'unknown key "subset"'),
        (SOURCE % "weight: 0", '"weight" is int 0. Pass a number above 0'),
        (SOURCE % "weight: -1", '"weight" is int -1'),
        (SOURCE % "cap: none", '"cap" is text "none"'),
        (SOURCE % "root: gone", "gone does not exist"),
        (SOURCE % ("root: " + "x" * 300), "x does not exist"),
        (SOURCE % "root: 3", '"root" is int 3'),
    ],
)
def test_a_wrong_file_is_named_with_the_source_and_the_fix(folder: Path, text: str, message: str) -> None:
    with pytest.raises(InputError) as raised:
        from_text(folder, text)
    assert message in str(raised.value)
    assert str(raised.value).startswith("mix.yaml")
    if message.startswith(('"w', '"cap', '"root', 'unknown key "w')):
        assert 'source "pets"' in str(raised.value)


def test_everything_is_checked_before_anything_is_opened(folder: Path) -> None:
    (folder / "pets.jsonl").unlink()
    text = """
sources:
  pets: {loader: rows, file: pets.jsonl}
  numbers: {loader: rows, file: numbers.jsonl, weight: 0}
"""
    with pytest.raises(InputError, match='source "numbers"'):
        from_text(folder, text)


def test_a_missing_file_lists_the_recipes() -> None:
    with pytest.raises(InputError, match=r"gone.yaml does not exist.*vlm2vec-v2-paper"):
        Mixture.from_yaml("gone.yaml")


def test_json_lines_are_read_at_random_and_survive_pickling(tmp_path: Path) -> None:
    records = [{"query": "ä" * i, "document": str(i)} for i in range(50)]
    path = tmp_path / "rows.jsonl"
    path.write_text(
        "\n\n".join(json.dumps(record, ensure_ascii=False) for record in records), encoding="utf-8"
    )
    lines = pickle.loads(pickle.dumps(JsonLines(path)))  # noqa: S301
    assert len(lines) == 50
    for i in np.random.default_rng(0).permutation(50):
        assert lines[int(i)] == records[i]
    assert lines[-1] == records[-1]
    assert list(JsonLines(path, limit=7)) == records[:7]
    with pytest.raises(IndexError):
        lines[50]


def test_broken_lines_are_errors_that_name_the_file(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"query": "a"}\n{"query": \n[1]\n{"query": "\xff"}\n')
    lines = JsonLines(path)
    assert lines[0] == {"query": "a"}
    for index, message in ((1, "is no JSON"), (2, "is no JSON object"), (3, "is no JSON")):
        with pytest.raises(InputError, match=f"^rows.jsonl: .*{message}"):
            lines[index]


def test_a_broken_line_is_skipped_and_counted(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    with (folder / "numbers.jsonl").open("a", encoding="utf-8") as file:
        file.write("{broken\n")
    mixed = from_text(folder, "sources: {numbers: {loader: rows, file: numbers.jsonl}}")
    assert mixed.checked(on_error="skip").sizes == [3]
    assert "1 with an unreadable record" in caplog.text


def test_memory_does_not_hold_the_rows(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    write_lines(path, [{"query": "q" * 2000, "document": "d" * 2000}] * 2000)  # 8 MB
    tracemalloc.start()
    mixed = from_text(tmp_path, "sources: {long: {loader: rows, file: rows.jsonl}}").checked()
    rows = [len(mixed[0, row]["query"]) for row in range(len(mixed))]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert rows == [2000] * 2000
    assert peak < 2_000_000


def test_a_mixture_takes_the_keys_of_the_sampler() -> None:
    mixed = mixture()
    batch = next(SubBatchSampler(mixed.sizes, mixed.weights, batch_size=6, sub_batch_size=3))
    rows = [mixed[key] for key in batch]
    assert [row in (PETS, NUMBERS)[source] for row, (source, _) in zip(rows, batch, strict=True)] == [
        True
    ] * 6


def test_reading_a_mixture_loads_no_torch(folder: Path) -> None:
    (folder / "mix.yaml").write_text("sources: {pets: {loader: rows, file: pets.jsonl}}", encoding="utf-8")
    code = f"""
import sys
from vlm2vec.training import Mixture
mixture = Mixture.from_yaml({str(folder / "mix.yaml")!r}).checked()
print(mixture.sizes, [name for name in ("torch", "transformers", "datasets") if name in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.strip() == "[5] []"
