"""The recipes inside the package open on data in the public layouts, and add up to what is published."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import layout_making as making
import pytest
import yaml
from golden_stock import load

from vlm2vec import VLM2Vec
from vlm2vec.errors import InputError
from vlm2vec.inputs import Clip, parse_input
from vlm2vec.training import recipes
from vlm2vec.training.data.mixture import Mixture
from vlm2vec.training.sources import mmeb_train

SUBSETS = list(itertools.chain.from_iterable(mmeb_train.SUBSETS.values()))
BATCH_SIZES = {
    "image-small": 256,
    "vlm2vec-v1": 2048,
    "vlm2vec-v1-llava-next": 1024,
    "vlm2vec-v1-phi3v": 1024,
    "vlm2vec-v2-paper": 1024,
    "vlm2vec-v2-released": 1024,
}
# Recipes whose adapters name layers that the embedded model lacks, and their networks.
OTHER_NETWORKS = {"vlm2vec-v1-llava-next": "llava_next", "vlm2vec-v1-phi3v": "phi3v"}


def content(name: str) -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load(recipes.path(name).read_text(encoding="utf-8"))
    return read


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All sources, three rows each, where the recipes expect them."""
    root = tmp_path_factory.mktemp("data")
    for subset in SUBSETS:
        rows = [(f"<|image_1|>\nWhat is it? {i}\n", f"images/{subset}/{i}.jpg", f"{i}", "") for i in range(3)]
        making.mmeb_train(root / "MMEB-train", subset, "original", rows)
    texts: dict[str, list[Any]] = {"query": ["a?", "b?", "c?"]}
    making.pages(root / "colpali_train_set", {**texts, "answer": ["a", "b", "c"]})
    for kind in ("In-domain", "Synthetic"):
        making.pages(
            root / f"VisRAG-Ret-Train-{kind}-data", {**texts, "source": ["PlotQA", "Textbooks", "x"]}
        )
    clips = [(f"v_{i}", "<video>\nWhat?", f"{i}") for i in range(3)]
    for file in ("video_caption_300k.jsonl", "video_240k_caption_15k.jsonl"):
        making.llava_hound(root / "video", file, clips, frames=2)
    return root


@pytest.mark.parametrize("name", recipes.names())
def test_a_recipe_opens_and_all_its_rows_are_usable(name: str, root: Path) -> None:
    mixture = Mixture.from_yaml(recipes.path(name), root=root).checked(open_files=True)
    assert mixture.sizes == [3] * len(mixture.sources)
    assert mixture.training["batch_size"] == BATCH_SIZES[name]
    assert isinstance(mixture.training["learning_rate"], float)
    for source in range(len(mixture.sources)):
        for side in mixture[source, 0].values():
            for part in parse_input(side).parts:
                assert not isinstance(part, Clip) or part.num_frames == 8


@pytest.mark.parametrize(
    "name",
    [
        name if name == "vlm2vec-v2-released" else pytest.param(name, marks=pytest.mark.slow)
        for name in recipes.names()
    ],
)
def test_a_recipe_trains(name: str, root: Path) -> None:
    """Two steps on rows of its sources, with its own settings but for the size of the batch."""
    mixture = Mixture.from_yaml(recipes.path(name), root=root)
    mixture.sources = tuple(replace(source, weight=1) for source in mixture.sources)
    model = load(OTHER_NETWORKS[name]) if name in OTHER_NETWORKS else VLM2Vec()
    result = model.fit(
        mixture,
        batch_size=2 * len(mixture.sources),
        sub_batch_size=1,
        max_steps=2,
        logging_steps=1,
        show_progress_bar=False,
    )
    assert result.steps == 2
    assert not result.skipped
    assert all(0 < loss < 100 for _, loss in result.losses)
    settings = mixture.training["lora"]
    (config,) = model[0].model.peft_config.values()
    assert (config.r, config.lora_alpha, config.use_dora) == (
        settings["r"],
        settings["alpha"],
        settings["use_dora"],
    )
    assert set(config.target_modules) == set(settings["target_modules"])


def test_shares_of_the_released_mixture_are_the_published_ones(root: Path) -> None:
    plan = Mixture.from_yaml(recipes.path("vlm2vec-v2-released"), root=root).plan()
    share = {line.source: line.share for line in plan.sources}
    assert len(share) == 25
    assert sum(line.weight for line in plan.sources) == 52
    assert sum(share[name] for name in SUBSETS) == pytest.approx(0.288, abs=5e-4)
    assert share["colpali"] == pytest.approx(0.1923, abs=5e-5)
    assert share["visrag-in-domain"] == pytest.approx(0.2308, abs=5e-5)
    assert share["video-qa"] == pytest.approx(0.0962, abs=5e-5)
    assert share["ImageNet_1K"] == pytest.approx(0.01923, abs=5e-6)
    assert share["CIRR"] == pytest.approx(0.00962, abs=5e-6)


def test_the_paper_and_what_was_run_differ_where_they_are_known_to() -> None:
    paper, released = content("vlm2vec-v2-paper"), content("vlm2vec-v2-released")
    for key, of_paper, of_released in (
        ("max_steps", 2000, 5000),
        ("sub_batch_size", 64, 512),
        ("shuffle", True, False),
    ):
        assert (paper["training"][key], released["training"][key]) == (of_paper, of_released)
    assert set(paper["sources"]) - set(released["sources"]) == {"visrag-synthetic"}
    # Without the cap the captions at the end of the file are trained as questions.
    assert paper["sources"]["video-qa"]["cap"] == 240_000
    assert "cap" not in released["sources"]["video-qa"]
    pages = ("colpali", "visrag-in-domain", "visrag-synthetic")
    weights = [
        sum(recipe["sources"].get(name, {}).get("weight", 0) for name in pages)
        for recipe in (paper, released)
    ]
    assert weights == [22, 22]


def test_v1_draws_its_twenty_sources_alike(root: Path) -> None:
    mixture = Mixture.from_yaml(recipes.path("vlm2vec-v1"), root=root)
    assert sorted(mixture.names) == sorted(SUBSETS)
    assert set(mixture.weights) == {1.0}


@pytest.mark.parametrize("name", recipes.names())
def test_every_number_of_the_training_says_where_it_comes_from(name: str) -> None:
    lines = recipes.path(name).read_text(encoding="utf-8").split("training:\n")[1].splitlines()
    for before, line in itertools.pairwise(["", *lines]):
        if ":" in line and any(character.isdigit() for character in line.split("#")[0]):
            assert "# " in line or before.lstrip().startswith("#"), line


def test_a_missing_data_set_says_where_it_is_published(tmp_path: Path) -> None:
    with pytest.raises(InputError) as raised:
        Mixture.from_yaml(recipes.path("image-small"), root=tmp_path)
    assert str(raised.value).startswith('image-small.yaml, source "ImageNet_1K": the data folder ')
    assert "https://huggingface.co/datasets/TIGER-Lab/MMEB-train" in str(raised.value)


def test_unknown_recipes_are_listed() -> None:
    with pytest.raises(InputError, match=r"no recipe .v3.\. Choose one of image-small"):
        recipes.path("v3")
