"""The weights in the package: small, and good at what they are for."""

from __future__ import annotations

import numpy as np
import pytest

from embedded_model.training import EMBEDDED_RECIPE, new_model
from vlm2vec import VLM2Vec, pdf_pages
from vlm2vec.model import EMBEDDED_MODEL
from vlm2vec.world import write_samples
from vlm2vec.world.vocabulary import ALL_WORDS, COLOURS, COUNTS, SHAPES, SIZES


@pytest.fixture(scope="module")
def model():
    return VLM2Vec(device="cpu")


def test_the_folder_leaves_room_in_the_wheel():
    assert sum(path.stat().st_size for path in EMBEDDED_MODEL.rglob("*") if path.is_file()) < 7_800_000


def test_the_weights_are_of_the_recipe_in_the_repo(model):
    fresh = new_model(EMBEDDED_RECIPE.size, seed=0)
    shapes = [{name: w.shape for name, w in each[0].model.named_parameters()} for each in (model, fresh)]
    assert shapes[0] == shapes[1]
    assert model.profile == fresh.profile
    assert model.tokenizer.get_vocab() == fresh.tokenizer.get_vocab()


def test_every_word_of_the_world_is_one_token(model):
    for word in (*COLOURS, *SHAPES, *SIZES, *COUNTS[1:], *ALL_WORDS, "then", "heading"):
        assert len(model.tokenizer.encode(f"x {word}")) == 2


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_each_sample_is_the_first_of_all_kinds_for_its_query(model, tmp_path, seed):
    samples = write_samples(tmp_path, seed)
    inputs = [
        sample.path if sample.page is None else pdf_pages(sample.path)[sample.page - 1] for sample in samples
    ]
    queries = model.encode_query([sample.caption for sample in samples])
    best = (queries @ model.encode_document(inputs).T).argmax(axis=1)
    assert np.array_equal(best, np.arange(len(samples)))
