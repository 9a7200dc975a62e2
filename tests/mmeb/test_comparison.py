"""Comparisons of scores, task by task."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pytest

from vlm2vec.errors import InputError
from vlm2vec.mmeb.averages import groups, summarize
from vlm2vec.mmeb.comparison import compare
from vlm2vec.mmeb.published import published

PAGES = {"ViDoSeek-page", "MMLongBench-page"}


@dataclass(frozen=True)
class Own:
    name: str
    modality: str = "image"
    meta_task: str = "X"


def _t_value(first: Mapping[str, float], second: Mapping[str, float]) -> float:
    """Mean of the differences over its standard error."""
    differences = [first[task] - second[task] for task in first]
    mean = sum(differences) / len(differences)
    variance = sum((value - mean) ** 2 for value in differences) / (len(differences) - 1)
    return mean / math.sqrt(variance / len(differences))


def _p_value(t: float, degrees: int) -> float:
    """Two-sided tail of Student's t, by the trapezoid rule over its density."""
    constant = math.exp(math.lgamma((degrees + 1) / 2) - math.lgamma(degrees / 2))
    constant /= math.sqrt(degrees * math.pi)
    grid = np.linspace(0, abs(t), 200_001)
    density = constant * (1 + grid**2 / degrees) ** (-(degrees + 1) / 2)
    return 1 - 2 * float(np.trapezoid(density, grid))


def test_all_tasks_of_two_published_models_are_tested_in_pairs() -> None:
    ours, gme = published("VLM2Vec-V2.0", "table6"), published("GME-2B", "table6")
    overall = compare(ours, gme).means["overall"]
    assert (overall.tasks, overall.of) == (78, 78)
    assert overall.t == pytest.approx(_t_value(ours.scores, gme.scores))
    assert overall.p == pytest.approx(_p_value(overall.t, 77), abs=1e-7)
    assert overall.difference == pytest.approx(58.06 - 54.12, abs=0.01)


def test_each_average_is_tested_over_its_own_tasks() -> None:
    ours, gme = published("VLM2Vec-V2.0").scores, published("GME-2B").scores
    found = compare("VLM2Vec-V2.0", "GME-2B").means
    assert set(found) == set(groups())
    for key, names in groups().items():
        first, second = ({name: side[name] for name in names} for side in (ours, gme))
        assert (found[key].tasks, found[key].of) == (len(names), len(names))
        assert found[key].first == pytest.approx(summarize(ours)[key])
        assert found[key].second == pytest.approx(summarize(gme)[key])
        assert found[key].t == pytest.approx(_t_value(first, second))
        assert found[key].p == pytest.approx(_p_value(found[key].t, len(names) - 1), abs=1e-6)


def test_swapping_the_sides_changes_the_sign_only() -> None:
    one, other = compare("GME-2B", "GME-7B"), compare("GME-7B", "GME-2B")
    for key, mean in one.means.items():
        assert mean.difference == pytest.approx(-other.means[key].difference)
        assert mean.t == pytest.approx(-other.means[key].t)
        assert mean.p == pytest.approx(other.means[key].p)


@pytest.mark.parametrize(("p", "stars"), [(0.06, ""), (0.04, "*"), (0.009, "**"), (0.0009, "***")])
def test_stars_are_those_of_the_paper(p: float, stars: str) -> None:
    mean = compare("GME-2B", "GME-7B").means["overall"]
    assert replace(mean, p=p).stars == stars


def test_there_is_no_test_where_it_is_not_defined() -> None:
    first = {"K700": 50.0, "MSVD": 30.1, "VATEX": 70.7}
    one = compare(first, {"K700": 40.0}).means["overall"]
    alike = compare(first, {task: score + 0.1 for task, score in first.items()}).means["overall"]
    for mean in (one, alike):
        assert math.isnan(mean.t)
        assert math.isnan(mean.p)
        assert mean.stars == ""
    assert alike.difference == pytest.approx(-0.1)


def test_tasks_of_one_side_only_are_left_out_of_every_mean() -> None:
    found = compare({"K700": 50.0, "MSVD": 30.0}, {"K700": 40.0, "VATEX": 90.0}, model="a", baseline="b")
    assert list(found.tasks) == ["K700"]
    assert found.left_out == {"MSVD": "no score of b", "VATEX": "no score of a"}
    assert (found.means["overall"].first, found.means["overall"].second) == (50.0, 40.0)
    assert "V-RET" not in found.means


@pytest.mark.parametrize("version", ["table6", "v2.0.0", "v2.0.1"])
def test_tasks_on_other_data_are_left_out(version: str) -> None:
    mine = dict(published("GME-7B").scores)
    found = compare(mine, "VLM2Vec-V2.0", version=version)
    expected = PAGES | ({"MomentSeeker"} if version == "v2.0.0" else set())
    assert set(found.left_out) == expected
    assert found.left_out["ViDoSeek-page"] == "other data (page labels fixed against page labels off by one)"
    assert found.means["overall"].tasks == 78 - len(expected)


def test_scores_on_old_data_are_compared_when_told_so() -> None:
    mine = dict(published("GME-7B", "v2.0.0").scores)
    assert compare(mine, "VLM2Vec-V2.0", version="v2.0.0", data="v2.0.0").means["overall"].tasks == 78
    newest = compare(mine, "VLM2Vec-V2.0", data="v2.0.0")
    assert set(newest.left_out) == PAGES | {"MomentSeeker"}


def test_two_versions_of_one_model_say_which_they_are() -> None:
    found = compare(published("GME-7B", "table6"), published("GME-7B", "v2.1"))
    assert (found.first, found.second) == ("GME-7B (table6)", "GME-7B (v2.1)")
    assert set(found.left_out) == PAGES | {"ViDoSeek-doc", "MMLongBench-doc"}
    assert found.left_out["ViDoSeek-doc"] == "no score of GME-7B (v2.1)"
    assert ["Table 6" in source for source in found.sources] == [True, False]


def test_what_is_odd_about_a_published_score_is_noted() -> None:
    mine = dict(published("GME-7B").scores)
    notes = {task: row.note for task, row in compare(mine, "VLM2Vec-V2.0").tasks.items() if row.note}
    assert set(notes) == {
        "NExTQA",
        "ViDoRe_esg_reports_human_labeled_v2",
        "ViDoSeek-doc",
        "MMLongBench-doc",
    }
    # Both sides have the same wrong grades: no matter of their difference.
    assert compare("GME-7B", "GME-2B").tasks["ViDoSeek-doc"].note == ""
    assert compare("GME-7B", "VLM2Vec-V2.0").tasks["NExTQA"].note == notes["NExTQA"]


def test_nothing_in_common_is_refused() -> None:
    with pytest.raises(InputError, match="no task can be compared"):
        compare({"K700": 1.0}, {"MSVD": 1.0})
    with pytest.raises(InputError, match=r"'K-700'.*'K700'"):
        compare({"K-700": 1.0}, "GME-2B")
    with pytest.raises(InputError, match=r"'v9'"):
        compare({"K700": 1.0}, "GME-2B", data="v9")


def test_another_benchmark_is_compared_by_its_own_tasks() -> None:
    found = compare({"a": 10.0, "b": 20.0}, {"a": 5.0, "b": 25.0}, tasks=[Own("a"), Own("b")])
    assert list(found.means) == ["image", "overall", "X"]
    assert found.means["X"].difference == 0.0
    assert found.means["X"].t == 0.0


def test_the_table_of_averages_shows_versions_counts_and_what_is_left_out() -> None:
    mine = {"K700": 48.0, "UCF101": 70.0, "MSCOCO": 60.0, "ViDoSeek-page": 70.0}
    text = str(compare(mine, "GME-2B", version="table6", model="mine"))
    lines = text.splitlines()
    assert lines[0] == "mine against GME-2B (table6): 3 of 78 tasks"
    assert "  V-CLS              2/5   59.00   43.80      +15.20    0.100" in lines
    assert "source: GME-2B (table6), Table 6 of the VLM2Vec-V2 paper" in text
    assert "left out, other data (page labels fixed against page labels off by one): ViDoSeek-page" in lines
    assert "left out, no score of mine: ImageNet-1K, " in text
    assert "and 68 more" in text
    assert max(map(len, lines)) < 150


def test_the_table_of_tasks_begins_with_the_largest_gain() -> None:
    found = compare({"K700": 48.0, "UCF101": 50.0, "NExTQA": 60.0}, "VLM2Vec-V2.0", version="table6")
    lines = found.per_task().splitlines()
    assert [line.split()[0] for line in lines[:4]] == ["task", "NExTQA", "K700", "UCF101"]
    assert lines[1] == "NExTQA   60.00   20.90      +39.10  at chance level, cause unknown"
    assert lines[-1].startswith("left out, no score of first: ")
