"""Scores on held-out draws."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from embedded_model.held_out_draws import candidates, write_files
from embedded_model.held_out_scores import (
    HELD_OUT_SEEDS,
    Pools,
    Score,
    held_out_scores,
    scores_table,
)
from embedded_model.world_sources import TASKS
from vlm2vec.world import full_caption
from vlm2vec.world.items import KINDS, story
from vlm2vec.world.scenes import is_allowed
from vlm2vec.world.vocabulary import COLOURS, SHAPES

SMALL = Pools(image=20, clip=8, page=6, unseen=10, instructed=5, rows=12)


class Numbered:
    """Item i of a list has the vector of its place, whatever it is; so every retrieval is right."""

    def __init__(self) -> None:
        self.queries: list[list] = []
        self.instructions: list[object] = []

    def encode_query(self, inputs, instruction=None):
        self.queries.append(inputs)
        self.instructions.append(instruction)
        return np.eye(700)[: len(inputs)]

    def encode_document(self, inputs):
        assert all(path.stat().st_size for path in inputs if isinstance(path, Path))
        return np.eye(700)[: len(inputs)]


def test_scores_are_the_share_of_queries_that_find_their_candidate_first():
    model = Numbered()
    scores = held_out_scores(model, seeds=(1, 3), pools=SMALL)
    for name, pool in (("image", 20), ("clip", 8), ("page", 6), ("image of unseen pairs", 10)):
        for task in (f"text to {name}", f"{name} to text"):
            assert scores[task] == Score(hits=2 * pool, total=2 * pool, pool=pool)
    # Numbers begin again with each kind, so one item of each kind has the same vector; the first one wins.
    assert scores["text to all three"] == Score(hits=2 * 20, total=2 * 34, pool=34)
    others = [task.name.replace("-", " ") for task in TASKS if "text" not in task.name]
    assert len(others) == 8 and set(others) < set(scores)


def test_both_answers_of_a_picture_must_be_right():
    class Half(Numbered):
        """Answers every question with the right colour, or with a shape if it is asked for one."""

        def encode_document(self, inputs):
            return np.eye(16) if inputs == [*COLOURS, *SHAPES] else super().encode_document(inputs)

        def encode_query(self, inputs, instruction=None):
            if isinstance(instruction, str):
                seen = [Image.open(path).resize((112, 112)) for path in inputs]
                if "colour" in instruction:
                    return np.eye(16)[[_colour(picture) for picture in seen]]
                return np.eye(16)[[8] * len(inputs)]  # always a circle
            return super().encode_query(inputs, instruction)

    def _colour(picture):
        pixels = np.asarray(picture).reshape(-1, 1, 3).astype(int)
        near = (np.abs(pixels - np.array(list(COLOURS.values()))).max(axis=2) < 6).sum(axis=0)
        return int(near.argmax())

    pools = Pools(image=1, clip=2, page=2, unseen=1, instructed=40, rows=4)
    scores = held_out_scores(Half(), seeds=(1,), pools=pools)
    assert 0 < scores["one image, two instructions"].hits < 15  # of 40: those that are circles


@pytest.mark.parametrize("kind", KINDS)
def test_no_two_candidates_fit_the_same_caption(kind):
    items = candidates(kind, np.random.default_rng(1), count=60, twins=20)
    assert len({full_caption(item) for item in items}) == 60
    alone = items[40:]
    assert len({story(item) for item in items if item in alone}) == 20
    assert not {story(item) for item in alone} & {story(item) for item in items[:40]}


def test_every_second_clip_has_the_motions_of_the_one_before_in_another_order_or_direction():
    clips = candidates("clip", np.random.default_rng(1), count=20, twins=10)
    for clip, other in zip(clips[::2], clips[1::2], strict=True):
        assert clip.mover == other.mover and clip.motions != other.motions


def test_unseen_candidates_have_only_pairs_that_no_training_draws():
    for scene in candidates("scene", np.random.default_rng(1), count=20, twins=4, pairs="unseen"):
        assert all(is_allowed(thing.colour, thing.shape, "unseen") for thing in scene.things)


def test_seeds_are_odd_for_those_of_training_are_even():
    assert all(seed % 2 for seed in HELD_OUT_SEEDS)


def test_files_hold_what_was_drawn(tmp_path):
    for kind, suffix in (("scene", ".png"), ("clip", ".mp4")):
        files = write_files(candidates(kind, np.random.default_rng(1), count=3, twins=0), tmp_path)
        assert [file.suffix for file in files] == [suffix] * 3
    pages = write_files(candidates("page", np.random.default_rng(1), count=3, twins=0), tmp_path)
    assert [page.page for page in pages] == [1, 2, 3]


def test_the_table_has_every_score_with_its_interval():
    table = scores_table({"text to clip": Score(180, 200, 200), "clip to text": Score(200, 200, 200)})
    assert "| text to clip | 200 | 200 | 90.0 | 85.1 to 93.4 |" in table
    assert "| 100.0 | 98.1 to 100.0 |" in table
