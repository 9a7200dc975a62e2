"""A `VECTORS_VERSION` is raised exactly where vectors change."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import stored_vectors

from vlm2vec.backbones.registry import LAYOUTS
from vlm2vec.errors import InputError
from vlm2vec.media.signature import Kind
from vlm2vec.vectors_version import VECTORS_VERSION, versions_of


def test_each_network_and_each_reader_has_a_version() -> None:
    assert VECTORS_VERSION.keys() == {*LAYOUTS, *get_args(Kind)}
    assert stored_vectors.NETWORKS.keys() == LAYOUTS.keys()
    assert set(versions_of("qwen3_vl")) == {"qwen3_vl", *get_args(Kind)}


@pytest.mark.parametrize("name", ["qwen3vl", "text"])
def test_a_name_of_no_network_is_an_error(name: str) -> None:
    with pytest.raises(InputError, match=f"there is no network '{name}'.*There are qwen2_vl, "):
        versions_of(name)


def test_vectors_are_those_that_are_stored_under_their_version() -> None:
    now = stored_vectors.vectors()
    with np.load(stored_vectors.STORED) as stored:
        missing = now.keys() - set(stored)
        assert not missing, (
            "run tests/stored_vectors.py, which stores the vectors of numbers that were raised"
        )
        far = {name: np.abs(rows - stored[name]).max() for name, rows in now.items()}
    changed = [name for name, by in far.items() if not by <= stored_vectors.TOLERANCE[name.split("/")[0]]]
    assert not changed, (
        f"{far}: raise VECTORS_VERSION of these, and say in CHANGELOG.md that embeddings change"
    )
