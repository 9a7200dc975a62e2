"""Averages over tasks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from vlm2vec.errors import InputError
from vlm2vec.mmeb.averages import coverage, groups, members, summarize
from vlm2vec.mmeb.tasks import list_tasks

SIZES = {
    "image": 36,
    "video": 18,
    "visdoc": 24,
    "overall": 78,
    "I-CLS": 10,
    "I-QA": 10,
    "I-RET": 12,
    "I-VG": 4,
    "V-CLS": 5,
    "V-QA": 5,
    "V-RET": 5,
    "V-MR": 3,
    "VD-ViDoRe-V1": 10,
    "VD-ViDoRe-V2": 4,
    "VD-VisRAG": 6,
    "VD-OOD": 4,
}


@dataclass(frozen=True)
class Own:
    name: str
    modality: str
    meta_task: str


OWN = [Own("a", "image", "X"), Own("b", "image", "X"), Own("c", "visdoc", "Y")]


def _random_scores() -> dict[str, float]:
    random = np.random.default_rng(0)
    return {task.name: float(random.uniform(0, 100)) for task in list_tasks()}


def test_the_averages_have_as_many_tasks_as_the_paper_says() -> None:
    assert {key: len(names) for key, names in groups().items()} == SIZES
    assert list(groups()) == list(SIZES)


def test_each_average_is_the_unweighted_mean_of_its_tasks() -> None:
    scores = _random_scores()
    means = summarize(scores)
    assert list(means) == list(SIZES)
    for key, mean in means.items():
        values = [
            scores[task.name] for task in list_tasks() if key in (task.modality, task.meta_task, "overall")
        ]
        assert len(values) == SIZES[key]
        assert mean == pytest.approx(sum(values) / len(values), abs=1e-10)


def test_the_order_of_the_scores_does_not_matter() -> None:
    scores = _random_scores()
    assert summarize(dict(reversed(scores.items()))) == summarize(scores)


def test_a_modality_is_the_mean_of_its_tasks_not_of_its_meta_tasks() -> None:
    means = summarize({"ImageNet-1K": 0.0, "SUN397": 0.0, "N24News": 0.0, "MSCOCO": 100.0})
    assert means["image"] == 25.0
    assert (means["I-CLS"], means["I-VG"]) == (0.0, 100.0)


def test_missing_tasks_are_left_out_and_coverage_tells() -> None:
    scores = {"K700": 10.0, "UCF101": 30.0}
    assert summarize(scores) == {"video": 20.0, "overall": 20.0, "V-CLS": 20.0}
    assert coverage(scores) == {
        key: ({"video": 2, "overall": 2, "V-CLS": 2}.get(key, 0), size) for key, size in SIZES.items()
    }


def test_complete_scores_are_covered_completely() -> None:
    assert all(present == of for present, of in coverage(_random_scores()).values())


def test_no_scores_have_no_average() -> None:
    assert summarize({}) == {}


@pytest.mark.parametrize(
    ("wrong", "right"), [("ImageNet1K", "ImageNet-1K"), ("MomentSeeker_1k8", "MomentSeeker")]
)
def test_an_unknown_task_is_refused_with_the_closest(wrong: str, right: str) -> None:
    for function in (summarize, coverage, members):
        with pytest.raises(InputError, match=f"'{wrong}'.*'{right}'"):
            function({wrong: 50.0})


@pytest.mark.parametrize("score", [float("nan"), float("inf"), -0.1, 100.1, None, "FILE_N/A"])
def test_what_is_no_percentage_is_refused(score: float) -> None:
    with pytest.raises(InputError, match="'K700' is no percentage"):
        summarize({"K700": score})


def test_scores_of_numpy_are_taken() -> None:
    assert summarize({"K700": np.float32(12.5), "MSVD": np.float64(37.5)})["video"] == 25.0


def test_another_benchmark_has_its_own_averages() -> None:
    scores = {"a": 10.0, "b": 30.0, "c": 50.0}
    assert summarize(scores, tasks=OWN) == {
        "image": 20.0,
        "visdoc": 50.0,
        "overall": 30.0,
        "X": 20.0,
        "Y": 50.0,
    }
    assert coverage({"a": 1.0}, tasks=OWN)["X"] == (1, 2)
    with pytest.raises(InputError, match="no task 'K700'"):
        summarize({"K700": 1.0}, tasks=OWN)
