"""The page as a whole: well-formed, self-contained, escaped, and the same for the same results."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from html_tree import Element, tree
from PIL import Image
from small_data import LABELS, TASKS, scored, write

from vlm2vec.cli import main
from vlm2vec.errors import InputError
from vlm2vec.mmeb import write_report
from vlm2vec.mmeb.results import Results
from vlm2vec.mmeb.task_result import Failure

HOSTILE = "\"'><script>alert(1)</script><img src=x onerror=alert(2)>&lt;b&gt;"
TAGS = {
    *(
        "html",
        "head",
        "meta",
        "title",
        "style",
        "body",
        "header",
        "section",
        "nav",
        "footer",
        "article",
        "div",
    ),
    *(
        "h1",
        "h2",
        "h3",
        "h4",
        "p",
        "b",
        "i",
        "span",
        "small",
        "sup",
        "a",
        "img",
        "ol",
        "ul",
        "li",
        "dl",
        "dt",
    ),
    *("dd", "table", "thead", "tbody", "tr", "th", "td", "details", "summary", "wbr", ""),
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def results(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Results:
    return scored(tmp_path_factory.mktemp("results"), data)


def page_of(results: Results, folder: Path, **arguments: object) -> Element:
    write_report(results, folder / "r.html", offline=True, **arguments)  # type: ignore[arg-type]
    return tree((folder / "r.html").read_text(encoding="utf-8"))


def test_nothing_is_fetched_and_pictures_are_in_the_page(
    results: Results, data: Path, tmp_path: Path
) -> None:
    page = page_of(results, tmp_path, data_dir=data)
    assert {element.tag for element in page.all()} <= TAGS
    pictures = list(page.all("img"))
    assert pictures
    for picture in pictures:
        head, encoded = picture.attributes["src"].split(",")
        assert head == "data:image/webp;base64"
        size = Image.open(io.BytesIO(base64.b64decode(encoded))).size
        assert size == (int(picture.attributes["width"]), int(picture.attributes["height"]))
    targets = {element.attributes["id"] for element in page.all("section")}
    assert {link.attributes["href"] for link in page.all("a")} <= {f"#{name}" for name in targets}
    sources = [element.attributes["src"] for element in page.all() if "src" in element.attributes]
    assert len(sources) == len(pictures)
    assert not re.search(r"url\(|@import|https?:", (tmp_path / "r.html").read_text(encoding="utf-8"))
    policy = [one.attributes["content"] for one in page.all("meta") if "http-equiv" in one.attributes]
    assert policy == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]


def test_whatever_comes_from_outside_is_escaped(tmp_path: Path) -> None:
    data = write(tmp_path / "data", [HOSTILE, "plain", "simple"])
    results = scored(tmp_path / "results", data, name=HOSTILE)
    failed = replace(results.tasks[0], failures=(Failure("query", HOSTILE, HOSTILE),))
    results = replace(results, tasks=(failed, *results.tasks[1:]))
    page = page_of(results, tmp_path, data_dir=data)
    assert {element.tag for element in page.all()} <= TAGS
    assert not [name for element in page.all() for name in element.attributes if name.startswith("on")]
    texts = [element.text for element in page.all() if HOSTILE in element.text]
    assert page.first("h1").text == HOSTILE
    assert HOSTILE in texts  # labels, and the caption that is a query
    assert HOSTILE in [element.text for element in page.section("gallery").all("p", "text")]
    assert HOSTILE in page.section("failures").text
    assert HOSTILE in page.section("provenance").text


def test_equal_results_give_equal_pages(results: Results, data: Path, tmp_path: Path) -> None:
    write_report(results, tmp_path / "1.html", data_dir=data, offline=True)
    write_report(results, tmp_path / "2.html", data_dir=data, offline=True)
    assert (tmp_path / "1.html").read_bytes() == (tmp_path / "2.html").read_bytes()


def test_without_data_there_are_scores_and_no_pictures(results: Results, tmp_path: Path) -> None:
    page = page_of(results, tmp_path)
    assert not list(page.all("img"))
    told = page.section("gallery").first("p", "warning").text
    assert all(name in told for name in TASKS)
    assert "No data folder was given" in told
    assert f"{results.scores['MSCOCO_t2i']:.2f}" in page.section("tasks").text


def test_data_that_are_others_now_are_not_shown(results: Results, tmp_path: Path) -> None:
    changed = write(tmp_path / "changed")
    Image.new("RGB", (40, 30), "olive").save(changed / "image-tasks" / "MMEB" / "ImageNet-1K" / "3.png")
    page = page_of(results, tmp_path, data_dir=changed)
    gallery = page.section("gallery")
    assert "ImageNet-1K. The data are not those that were scored" in gallery.first("p", "warning").text
    assert [one.first("b").text for one in gallery.all("details", "task")] == ["MSCOCO_t2i"]


def test_data_that_are_missing_are_told(results: Results, tmp_path: Path) -> None:
    part = write(tmp_path / "part")
    for file in (part / "annotations").rglob("ImageNet-1K/*.jsonl"):
        file.unlink()
    gallery = page_of(results, tmp_path, data_dir=part).section("gallery")
    assert "ImageNet-1K. Its data cannot be read" in gallery.first("p", "warning").text
    assert [one.first("b").text for one in gallery.all("details", "task")] == ["MSCOCO_t2i"]


def test_pictures_take_no_more_than_they_may(results: Results, data: Path, tmp_path: Path) -> None:
    def spent(page: Element) -> int:
        return sum(len(one.attributes["src"].split(",")[1]) for one in page.all("img"))

    whole = page_of(results, tmp_path, data_dir=data)
    shown = len(list(whole.all("img")))
    assert f"{shown} of {shown} pictures" in whole.section("gallery").text
    limit = spent(whole) // 2
    part = page_of(results, tmp_path, data_dir=data, max_megabytes=limit / 1e6)
    left = len(list(part.all("img")))
    assert 0 < spent(part) <= limit
    assert f"{left} of {shown} pictures" in part.section("gallery").text
    assert f"{shown - left} were left out" in part.section("gallery").text
    assert len([one for one in part.all("p", "gone") if "left out" in one.text]) == shown - left


def test_a_broken_picture_leaves_its_place_empty(tmp_path: Path) -> None:
    data = write(tmp_path / "data")
    (data / "image-tasks" / "MMEB" / "ImageNet-1K" / "0.png").write_bytes(b"no picture")
    results = scored(tmp_path / "results", data, ["ImageNet-1K"])
    gallery = page_of(results, tmp_path, data_dir=data, queries=len(LABELS)).section("gallery")
    assert [one.text for one in gallery.all("p", "gone")] == ["cannot be read"]
    assert "11 of 12 pictures" in gallery.text
    assert "1 cannot be read" in gallery.text


def test_failures_are_listed_the_first_of_many(results: Results, tmp_path: Path) -> None:
    assert page_of(results, tmp_path).section("failures").first("p").text == "Every sample was embedded."
    many = tuple(Failure("document", f"key {number}", "it is broken") for number in range(60))
    failed = replace(results.tasks[0], failures=many)
    page = page_of(replace(results, tasks=(failed, *results.tasks[1:])), tmp_path)
    lines = [one.text for one in page.section("failures").all("li")]
    assert lines[:2] == ["document key 0 it is broken", "document key 1 it is broken"]
    assert lines[-1] == "and 10 more"
    assert len(lines) == 51
    assert "60 samples failed" in page.first("header").text


def test_no_queries_no_gallery(results: Results, data: Path, tmp_path: Path) -> None:
    page = page_of(results, tmp_path, data_dir=data, queries=0)
    assert not list(page.all("article"))
    assert "No queries were asked for" in page.section("gallery").text
    for wrong in ({"queries": -1}, {"candidates": 0}):
        with pytest.raises(InputError, match="cannot be shown"):
            write_report(results, tmp_path / "r.html", **wrong)  # type: ignore[arg-type]


def test_the_head_has_the_day_on_which_results_were_written(results: Results, tmp_path: Path) -> None:
    written = results.written
    assert written is not None
    assert abs((datetime.now(UTC) - written).total_seconds()) < 3600
    assert f"results of {written:%Y-%m-%d}" in page_of(results, tmp_path).first("header").text
    fresh = Results(results.model, results.tasks)
    assert fresh.written is None
    assert "results written" in page_of(fresh, tmp_path).section("provenance").text


def test_provenance_has_model_and_data(results: Results, tmp_path: Path) -> None:
    provenance = page_of(results, tmp_path).section("provenance")
    told = dict(
        zip(
            [one.text for one in provenance.all("dt")],
            [one.text for one in provenance.all("dd")],
            strict=True,
        )
    )
    assert told["model"] == told["function"] == "chance"
    assert told["compat"].startswith("none")
    assert all(str(result.made_of["data"]) in provenance.text for result in results.tasks)


def test_the_old_method_warns_and_writes_the_same_page(results: Results, tmp_path: Path) -> None:
    write_report(results, tmp_path / "1.html", compare=["GME-2B"])
    with pytest.warns(DeprecationWarning, match=r"goes in vlm2vec 0\.3.*mmeb\.write_report"):
        results.report(tmp_path / "2.html", compare=["GME-2B"])
    assert (tmp_path / "1.html").read_bytes() == (tmp_path / "2.html").read_bytes()


def test_the_command_writes_the_same_page(results: Results, data: Path, tmp_path: Path) -> None:
    write_report(results, tmp_path / "1.html", data_dir=data, offline=True, compare=["GME-2B"])
    arguments = ["mmeb", "report", str(results.folder), "-o", str(tmp_path / "2.html"), "--data", str(data)]
    with pytest.raises(SystemExit) as end:
        main([*arguments, "--offline", "--compare", "GME-2B"])
    assert not end.value.code
    assert (tmp_path / "1.html").read_bytes() == (tmp_path / "2.html").read_bytes()
    with pytest.raises(SystemExit) as end:
        main([*arguments[:-2], "--compare", "nobody"])
    assert end.value.code == 1
