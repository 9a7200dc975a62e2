"""The tutorial on emoji, with small packages in the layout of those that it downloads."""

from __future__ import annotations

import json
import re
import sys
import tarfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

import teach_emoji.__main__
from teach_emoji import compare_settings, measure
from teach_emoji.drawings import HELD_OUT, PACKAGES, TRAINED, draw, on_paper, read_concepts
from teach_emoji.measure import asked_for, scores, scores_table
from teach_emoji.pictures import contact_sheet
from teach_emoji.rows import VariedRows, drawn, plain_rows, vary
from vlm2vec import VLM2Vec

pytest.importorskip("resvg_py")

COLOURS = {
    "2764": "red",
    "1f499": "blue",
    "1f49a": "green",
    "1f49b": "gold",
    "1f5a4": "black",
    "1f90e": "brown",
}
HEART_NAMES = {code: f"{colour} heart" for code, colour in COLOURS.items()}
LEFT_OUT = {
    "1f468-200d-1f680": "man astronaut",  # joined
    "1f44b-1f3fb": "waving hand: light skin tone",
    "1f9e1": "orange heart",  # which one vendor lacks
}


RADII = {vendor: radius for radius, vendor in enumerate((*TRAINED, HELD_OUT), start=2)}


def body(colour: str, vendor: str) -> str:
    """Each vendor draws in a size of its own."""
    return f'<circle cx="8" cy="8" r="{RADII[vendor]}" fill="{colour}"/>'


def write_packages(folder: Path) -> None:
    for vendor in (*TRAINED, HELD_OUT):
        package = folder / vendor / "package"
        package.mkdir(parents=True)
        drawn = {
            name.replace(" ", "-"): {"body": body(COLOURS[code], vendor)}
            for code, name in HEART_NAMES.items()
        }
        names = {code: name.replace(" ", "-") for code, name in HEART_NAMES.items()}
        for code, name in LEFT_OUT.items():
            if vendor == HELD_OUT and name == "orange heart":
                continue
            names[code], drawn[name] = name, {"body": body("orange", vendor)}
        names["2764-fe0f"] = names.pop("2764")  # as some packages write it
        aliases = {"blue-heart": {"parent": "heart-in-blue"}}
        drawn["heart-in-blue"] = drawn.pop("blue-heart")
        icons = {"prefix": vendor, "icons": drawn, "aliases": aliases, "width": 16, "height": 16}
        kinds = {"Smileys & Emotion": list(names.values())[:3], "Symbols": list(names.values())[3:]}
        for file, content in (("icons", icons), ("chars", names), ("metadata", {"categories": kinds})):
            (package / f"{file}.json").write_text(json.dumps(content), encoding="utf-8")
    said = {
        "".join(chr(int(point, 16)) for point in code.split("-")): {"tts": [name], "default": name.split()}
        for code, name in {**HEART_NAMES, **LEFT_OUT}.items()
    }
    said["\u2665"] = {"tts": ["red heart"], "default": ["card"]}  # a name that is given twice
    said["\u2666"] = {"default": ["no name"]}
    annotations = folder / "names" / "package" / "annotations" / "en" / "annotations.json"
    annotations.parent.mkdir(parents=True)
    annotations.write_text(json.dumps({"annotations": {"annotations": said}}), encoding="utf-8")


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    write_packages(tmp_path / "packages")
    return tmp_path / "packages"


def test_concepts_are_what_all_vendors_drew(packages: Path) -> None:
    concepts = read_concepts(packages)
    assert sorted(concept.name for concept in concepts) == sorted(HEART_NAMES.values())
    red = next(concept for concept in concepts if concept.name == "red heart")
    assert (red.characters, red.keywords) == ("\u2764", ("red", "heart"))
    assert sorted(red.drawings) == sorted((*TRAINED, HELD_OUT))
    assert all(f'r="{radius}"' in red.drawings[vendor] for vendor, radius in RADII.items())
    assert Counter(concept.kind for concept in concepts) == {"Symbols": 3, "Smileys & Emotion": 3}


def test_a_drawing_is_drawn_as_it_says(packages: Path) -> None:
    blue = next(concept for concept in read_concepts(packages) if concept.name == "blue heart")
    picture = draw(blue.drawings[HELD_OUT], 64)
    assert picture.size == (64, 64)
    assert picture.getpixel((32, 32)) == (0, 0, 255, 255)
    assert picture.getpixel((0, 0)) == (0, 0, 0, 0)
    assert on_paper(picture, "yellow").getpixel((0, 0)) == (255, 255, 0)


def test_rows_stay_the_same_and_vary_each_drawing(packages: Path) -> None:
    rows = VariedRows(read_concepts(packages), variations=3)
    pairs = len(COLOURS) * len(TRAINED)
    assert {vendor for _, vendor in rows.pairs} == set(TRAINED)
    assert len(rows) == 3 * pairs
    assert rows[4]["query"] == rows[4 + pairs]["query"]
    first, again, varied = (np.asarray(rows[number]["document"]) for number in (4, 4, 4 + pairs))
    assert (first == again).all()
    assert (first != varied).any()


def test_intervals_are_wilsons() -> None:
    never, often = (
        dict.fromkeys((*TRAINED, HELD_OUT), (0.0, 0.0)),
        dict.fromkeys((*TRAINED, HELD_OUT), (0.8, 1.0)),
    )
    *_, last = scores_table(never, often, 100).splitlines()
    # R: binom::binom.confint(c(0, 80, 100), 100, methods = "wilson")
    assert last == f"| {HELD_OUT}, never seen | 0.0 → 80.0 (71.1 to 86.7) | 0.0 → 100.0 (96.3 to 100.0) |"
    *_, last = scores_table(often, never, 100).splitlines()
    assert last == f"| {HELD_OUT}, never seen | 80.0 → 0.0 (0.0 to 3.7) | 100.0 → 0.0 (0.0 to 3.7) |"


class Colours:
    """A model that takes brown for black, and all else for what it is."""

    names = ("red", "blue", "green", "gold", "black")

    def encode_query(self, texts: list[str]) -> Any:
        return self.one_hot([text.split()[0].replace("brown", "black") for text in texts])

    def encode_document(self, pictures: list[PIL.Image.Image]) -> Any:
        seen = {(255, 0, 0): "red", (0, 0, 255): "blue", (0, 128, 0): "green", (255, 215, 0): "gold"}
        middles = [picture.getpixel((42, 42)) for picture in pictures]
        return self.one_hot(
            [seen.get(middle, "black" if middle == (0, 0, 0) else "other") for middle in middles]
        )

    def one_hot(self, names: list[str]) -> Any:
        return np.array([[float(name == other) for other in self.names] for name in names])


def test_a_sheet_frames_what_is_right(packages: Path) -> None:
    concepts = read_concepts(packages)
    sheet = contact_sheet(Colours(), concepts, HELD_OUT, lines=5)  # type: ignore[arg-type]
    green = (np.asarray(sheet) == (10, 143, 60)).all(axis=-1)
    left, right = np.split(green, 2, axis=1)
    rows, columns = np.nonzero(left)
    assert len(np.unique((rows - 9) // 96)) == 5
    assert columns.min() > 250
    assert columns.max() < 262 + 96  # in the first place
    rows, columns = np.nonzero(right)
    assert len(np.unique((rows[columns > 262 + 96] - 9) // 96)) == 1  # brown alone


def test_the_tutorial_runs(
    packages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    pytest.importorskip("matplotlib")
    output = tmp_path / "model"
    monkeypatch.setattr(
        sys, "argv", ["teach_emoji", "--packages", str(packages), "--output", str(output), "--steps", "2"]
    )
    monkeypatch.setitem(teach_emoji.__main__.SETTINGS, "batch_size", 8)
    teach_emoji.__main__.main()
    printed = capsys.readouterr().out
    assert "2 steps, 16 rows in " in printed
    assert len(re.findall(r"\| \d+\.\d → \d+\.\d \(\d+\.\d to \d+\.\d\)", printed)) == 2 * len(
        (*TRAINED, HELD_OUT)
    )
    assert {"curve.svg", f"{TRAINED[0]}.png", f"{HELD_OUT}.png"} <= {path.name for path in output.iterdir()}
    curve = (output / "curve.svg").read_text(encoding="utf-8")
    named = re.findall(r"(?:<!-- |>)([a-z-]+)(?: -->|<)", curve)  # as paths with a comment, or as text
    assert [name in named for name in (TRAINED[0], HELD_OUT, TRAINED[1])] == [True, True, False]
    assert VLM2Vec(output).encode("red heart").shape == (224,)
    teach_emoji.__main__.main()  # again: it goes on from the end
    assert "0 of the steps" in capsys.readouterr().out


def test_a_hard_negative_is_another_drawing_of_the_same_vendor(packages: Path, embedded: VLM2Vec) -> None:
    concepts = read_concepts(packages)
    rows = compare_settings.with_negatives(embedded, concepts)
    assert len(rows.mistaken) == len(concepts)
    assert all(other.name != name for name, other in rows.mistaken.items())
    concept, vendor = rows.pairs[0]
    (negative,) = rows[0]["negatives"]
    expected = vary(drawn(rows.mistaken[concept.name].drawings[vendor]), np.random.default_rng((0, 1)))
    assert vendor in TRAINED
    assert (np.asarray(negative) == np.asarray(expected)).all()


def test_scores_are_of_each_vendors_own_drawings(packages: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    concepts = read_concepts(packages)
    monkeypatch.setattr(measure, "row_evaluator", lambda rows: lambda model: model(rows))

    def share_of_ink(rows: list[dict[str, Any]]) -> dict[str, float]:
        ink = np.mean([(np.asarray(row["document"]) != 255).any(axis=-1).mean() for row in rows])
        return {"cosine_accuracy@1": float(ink), "cosine_accuracy@5": 1.0}

    found = scores(share_of_ink, concepts)  # type: ignore[arg-type]
    for vendor, radius in RADII.items():
        assert found[vendor][0] == pytest.approx(np.pi * radius**2 / 16**2, rel=0.15)


def test_sources_by_kind_are_all_rows(packages: Path) -> None:
    concepts = read_concepts(packages)
    sources = compare_settings.by_kind(concepts)
    assert sum(len(source) for source in sources.values()) == len(VariedRows(concepts))


def test_scores_are_of_the_same_names_each_time() -> None:
    numbers: Any = list(range(1367))
    asked = asked_for(numbers)
    assert len(set(map(str, asked))) == 1000
    assert asked == asked_for(numbers)


def test_packages_are_brought_by_npm(packages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packed = tmp_path / "packed"
    packed.mkdir()
    for name in PACKAGES:
        with tarfile.open(packed / f"{name}.tgz", "w:gz") as archive:
            archive.add(packages / name / "package", "package")
    asked: list[str] = []

    def check_output(command: list[str], *, cwd: Path, text: bool) -> str:
        name = next(name for name, package in PACKAGES.items() if package == command[-1])
        asked.append(command[-1])
        (cwd / f"{name}.tgz").write_bytes((packed / f"{name}.tgz").read_bytes())
        return f"{name}.tgz\n"

    monkeypatch.setattr("teach_emoji.drawings.subprocess.check_output", check_output)
    monkeypatch.setattr("teach_emoji.drawings.shutil.which", lambda name: f"/usr/bin/{name}")
    for _ in range(2):
        assert read_concepts(tmp_path / "new") == read_concepts(packages)
    assert sorted(asked) == sorted(PACKAGES.values())
    monkeypatch.setattr("teach_emoji.drawings.shutil.which", lambda name: None)
    with pytest.raises(SystemExit, match="npm, which comes with"):
        read_concepts(tmp_path / "elsewhere")


def test_rows_to_score_with_are_not_varied(packages: Path) -> None:
    rows = plain_rows(read_concepts(packages), HELD_OUT)
    assert {row["document"].getpixel((0, 0)) for row in rows} == {(255, 255, 255)}
