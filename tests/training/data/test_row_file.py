"""Rows written as JSON lines are the rows that a mixture reads."""

from __future__ import annotations

import base64
import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from vlm2vec import Video, VLM2Vec, pdf_pages
from vlm2vec.errors import InputError, MediaError
from vlm2vec.inputs.replace import sources_of
from vlm2vec.training import Mixture, mine_hard_negatives, write_rows
from vlm2vec.world import Sample, write_samples

PICTURE = io.BytesIO()
Image.new("RGB", (56, 56), "red").save(PICTURE, "PNG")


@pytest.fixture(scope="module")
def samples(tmp_path_factory: Any) -> list[Sample]:
    return write_samples(tmp_path_factory.mktemp("data") / "media")


def read(path: Path) -> list[dict[str, Any]]:
    config = path.with_suffix(".yaml")
    config.write_text(f"sources: {{mined: {{loader: rows, file: {path.name}}}}}\n", encoding="utf-8")
    mixture = Mixture.from_yaml(config).checked(open_files=True)
    return [mixture[0, row] for row in range(len(mixture))]


def test_mined_rows_come_back_through_a_mixture(embedded: VLM2Vec, samples: list[Sample]) -> None:
    pictures = [sample for sample in samples if sample.path.suffix in (".png", ".jpg")]
    rows = [
        {"query": sample.caption, "document": sample.path, "query_instruction": "Find it."}
        for sample in pictures
    ]
    rows += [{"query": {"image": str(sample.path)}, "document": sample.caption} for sample in pictures]
    mined, _ = mine_hard_negatives(embedded, rows, num_negatives=2, relative_margin=None)
    path = pictures[0].path.parent.parent / "mined.jsonl"
    write_rows(mined, path)
    assert str(path.parent) not in path.read_text(encoding="utf-8")
    back = read(path)
    assert len(back) == len(mined) == 12
    for old, new in zip(mined, back, strict=True):
        assert old.keys() == new.keys()
        assert old.get("query_instruction") == new.get("query_instruction")
        for one, other in zip(
            [old["query"], old["document"], *old["negatives"]],
            [new["query"], new["document"], *new["negatives"]],
            strict=True,
        ):
            assert np.allclose(embedded.encode([one]), embedded.encode([other]), atol=5e-7)


def test_every_form_with_a_path_is_written(embedded: VLM2Vec, samples: list[Sample], tmp_path: Path) -> None:
    media = tmp_path / "media"
    shutil.copytree(samples[0].path.parent, media)
    picture, clip, pdf = (next(media.glob(f"*.{suffix}")) for suffix in ("png", "mp4", "pdf"))
    note = media / "note.txt"
    note.write_text("a note")
    frames = [picture, str(picture), picture]
    values: list[tuple[Any, Any]] = [
        (picture, {"image": f"media/{picture.name}"}),
        (clip, {"video": f"media/{clip.name}"}),
        (note, "a note"),
        (Video([picture], frame_rate=4), {"video": [f"media/{picture.name}"], "frame_rate": 4.0}),
        (Video(clip, num_frames=4, end=1), {"video": f"media/{clip.name}", "num_frames": 4, "end": 1.0}),
        ({"text": "look", "video": Video(frames)}, ["look", {"video": [f"media/{picture.name}"] * 3}]),
        (pdf_pages(pdf)[1], {"pdf": f"media/{pdf.name}", "page": 2}),
        ({"pdf": pdf, "pages": range(1, 3)}, {"pdf": f"media/{pdf.name}", "pages": [1, 2]}),
        (("what?", picture), ["what?", {"image": f"media/{picture.name}"}]),
        (
            {"prompt": "<|image_pad|> what?", "images": [picture], "max_pixels": np.int64(3136)},
            {"prompt": "<|image_pad|> what?", "images": [f"media/{picture.name}"], "max_pixels": 3136},
        ),
        (
            [
                {
                    "role": "user",
                    "content": [{"type": "image", "image": str(picture)}, {"type": "text", "text": "?"}],
                }
            ],
            [{"image": f"media/{picture.name}"}, "?"],
        ),
        (
            [{"role": "user", "content": [{"type": "image", "path": str(picture)}]}],
            {"image": f"media/{picture.name}"},
        ),
        (
            {"instruction": "Find it.", "video": [Video(clip), Video(clip, num_frames=2)]},
            [
                {"role": "system", "content": "Find it."},
                {
                    "role": "user",
                    "content": [
                        {"type": "video", "video": f"media/{clip.name}"},
                        {"type": "video", "video": f"media/{clip.name}", "num_frames": 2},
                    ],
                },
            ],
        ),
        (
            {"image": picture, "video": Video(clip, max_pixels=9000)},
            [{"image": f"media/{picture.name}"}, {"video": f"media/{clip.name}", "max_pixels": 9000}],
        ),
        ({"text": "a", "instruction": "b"}, {"text": "a", "instruction": "b"}),
        (
            {"image": (tiny := PICTURE.getvalue())},
            {"image": f"data:image/png;base64,{base64.b64encode(tiny).decode()}"},
        ),
    ]
    path = tmp_path / "rows.jsonl"
    write_rows([{"query": "which?", "document": given} for given, _ in values], path)
    written = [json.loads(line)["document"] for line in path.read_text(encoding="utf-8").splitlines()]
    assert written == [expected for _, expected in values]
    for (given, _), row in zip(values, read(path), strict=True):
        assert np.allclose(embedded.encode([given]), embedded.encode([row["document"]]), atol=5e-7)


def test_paths_are_relative_to_the_file_wherever_it_lies(tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "real" / "rows").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "real" / "rows", target_is_directory=True)
    Image.new("RGB", (56, 56)).save(tmp_path / "a.png")
    monkeypatch.chdir(tmp_path)
    for folder, expected in (
        ("real", "../a.png"),
        ("real/rows", "../../a.png"),
        ("link", "../../a.png"),
        (".", "a.png"),
    ):
        path = Path(folder, "rows.jsonl")
        write_rows([{"query": "a", "document": {"image": "a.png"}}], path)
        assert json.loads(path.read_text())["document"] == {"image": expected}
        (source,) = sources_of(read(path)[0]["document"])
        assert source.path.samefile("a.png")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (Image.new("RGB", (56, 56)), "PIL image 56x56 has no path"),
        ({"image": np.zeros((56, 56, 3), np.uint8)}, r"array \(56, 56, 3\) uint8 has no path"),
        (["look", Image.new("RGB", (56, 56))], "PIL image 56x56 has no path"),
        (Video([Image.new("RGB", (56, 56))]), "PIL image 56x56 has no path"),
    ],
)
def test_media_without_a_path_are_an_error_that_names_the_row(
    value: Any, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("kept")
    good = {"query": "a", "document": "b"}
    with pytest.raises(InputError, match=f"rows.jsonl, row 1: negatives: {message}.*Save it as a file"):
        write_rows([good, {**good, "negatives": [value]}], path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["rows.jsonl"]
    assert path.read_text() == "kept"


def test_media_that_json_cannot_hold_beside_a_prompt_are_refused(
    samples: list[Sample], tmp_path: Path
) -> None:
    clip, picture = (next(s.path for s in samples if s.path.suffix == suffix) for suffix in (".mp4", ".png"))
    page = pdf_pages(next(s.path for s in samples if s.path.suffix == ".pdf"))[0]
    prompt = "<|image_pad|><|video_pad|>"
    for value, message in (
        ({"prompt": prompt, "image": picture, "video": Video(clip, max_pixels=9000)}, "options of their own"),
        ({"prompt": "<|video_pad|>" * 2, "video": [Video(clip), Video(clip)]}, "several clips"),
        ({"prompt": "<|image_pad|>" * 3, "images": [picture, page, picture]}, "alternate"),
    ):
        with pytest.raises(InputError, match=message):
            write_rows([{"query": "a", "document": value}], tmp_path / "rows.jsonl")


def test_rows_that_could_not_be_read_again_are_not_written(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    with pytest.raises(InputError, match="row 0: the row has no document"):
        write_rows([{"query": "a"}], path)
    with pytest.raises(MediaError, match=r"row 0: document .*does not exist"):
        write_rows([{"query": "a", "document": tmp_path / "gone.png"}], path)
    assert not list(tmp_path.iterdir())


def test_addresses_and_none_stay_as_they_are(tmp_path: Path) -> None:
    row = {
        "query": "a",
        "document": {"image": "https://example.org/a.png"},
        "negatives": [{"image": "data:image/png;base64,iVBORw0KGgo="}],
        "query_instruction": None,
    }
    write_rows([row], tmp_path / "rows.jsonl")
    assert json.loads((tmp_path / "rows.jsonl").read_text()) == row
