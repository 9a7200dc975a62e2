"""The drawn world: the same seed gives the same thing, and files show what was drawn."""

from __future__ import annotations

import subprocess
import sys

import av
import numpy as np
import pypdfium2
import pytest

from vlm2vec.world import (
    describe,
    draw_clip,
    draw_page,
    draw_scene,
    full_caption,
    render_clip,
    render_pages,
    render_scene,
    write_clip,
    write_pages,
)
from vlm2vec.world.clips import reverse
from vlm2vec.world.places import place, relation
from vlm2vec.world.scenes import Scene, thing_map
from vlm2vec.world.shapes import Thing
from vlm2vec.world.vocabulary import COLOURS, PAPER, SHAPES, WORDS


def _rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("draw", [draw_scene, draw_clip, draw_page])
def test_a_seed_decides_what_is_drawn(draw):
    first, again = [draw(_rng(seed)) for seed in range(20)], [draw(_rng(seed)) for seed in range(20)]
    assert first == again
    assert len({full_caption(item) for item in first}) > 15


def test_rendering_is_deterministic():
    scene, clip, page = draw_scene(_rng(1)), draw_clip(_rng(1)), draw_page(_rng(1))
    assert np.array_equal(render_scene(scene), render_scene(scene))
    assert np.array_equal(render_clip(clip), render_clip(clip))
    assert np.array_equal(render_pages([page]), render_pages([page]))


@pytest.mark.parametrize("shape", SHAPES)
def test_a_shape_fills_its_place_and_stays_in_its_box(shape):
    thing = Thing("red", shape, "large", 0.5, 0.5, 0.5)
    ink = thing_map(Scene((thing,), PAPER[0]), 100)
    rows, columns = np.nonzero(ink)
    assert rows.min() >= 24 and rows.max() <= 77 and columns.min() >= 22 and columns.max() <= 78
    assert 400 < ink.sum() < 2600


def test_shapes_are_all_different():
    inks = [
        thing_map(Scene((Thing("red", shape, "large", 0.5, 0.5, 0.5),), PAPER[0]), 100) for shape in SHAPES
    ]
    differing = [int((a != b).sum()) for k, a in enumerate(inks) for b in inks[:k]]
    assert min(differing) > 150


def test_things_show_their_colour_where_the_map_says():
    for seed in range(20):
        scene = draw_scene(_rng(seed))
        pixels, ink = np.asarray(render_scene(scene)), thing_map(scene)
        for number, thing in enumerate(scene.things, start=1):
            assert np.array_equal(np.median(pixels[ink == number], axis=0), COLOURS[thing.colour])


def test_clips_move_the_way_they_say_and_stay_inside():
    for seed in range(30):
        clip = draw_clip(_rng(seed))
        start, end = clip.at(0).things[0], clip.at(1).things[0]
        dx, dy = end.x - start.x, end.y - start.y
        moved = {"left": -dx, "right": dx, "up": -dy, "down": dy}
        assert max(moved, key=lambda direction: moved[direction]) == clip.motions[0]
        for thing in (start, end):
            left, top, right, bottom = thing.box(100)
            assert min(left, top) >= 0 and max(right, bottom) <= 100


def test_the_reverse_of_a_clip_has_its_frames_backwards():
    clip = draw_clip(_rng(4))
    assert np.array_equal(render_clip(reverse(clip)), render_clip(clip)[::-1])


def test_clips_are_written_as_h264_that_decodes_to_the_frames(tmp_path):
    clip = draw_clip(_rng(2))
    write_clip(clip, tmp_path / "clip.mp4", frames=8)
    with av.open(str(tmp_path / "clip.mp4")) as container:
        assert container.streams.video[0].codec_context.name == "h264"
        decoded = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
    drawn = render_clip(clip)
    assert decoded.shape == drawn.shape
    assert np.abs(decoded.astype(int) - drawn).mean() < 8


def test_pdfs_hold_their_titles_as_text_and_render_as_drawn(tmp_path):
    pages = [draw_page(_rng(seed)) for seed in range(4)]
    write_pages(pages, tmp_path / "pages.pdf")
    document = pypdfium2.PdfDocument(tmp_path / "pages.pdf")
    assert len(document) == len(pages)
    for index, page in enumerate(pages):
        text = document[index].get_textpage().get_text_range().split()
        assert text[:2] == page.title_text.split()
        scale = 112 / document[index].get_width()
        rendered = document[index].render(scale=scale, rev_byteorder=True).to_numpy()[..., :3]
        assert np.abs(rendered.astype(int) - render_pages([page])[0]).max() <= 2


def test_titles_fit_on_the_page():
    for seed in range(100):
        for word in draw_page(_rng(seed)).title:
            assert word.text in WORDS
            assert word.x >= 0 and word.x + word.width <= 112


def test_captions_tell_the_truth():
    left, right = Thing("red", "star", "small", 0.2, 0.5, 0.2), Thing("blue", "ring", "large", 0.7, 0.55, 0.4)
    assert relation(left, right) == "left of" and relation(right, left) == "right of"
    assert place(left) == "left"
    assert full_caption(Scene((left, right), PAPER[0])) == "a small red star left of a large blue ring"
    clip, page = draw_clip(_rng(0)), draw_page(_rng(0))
    assert f"{clip.mover.noun} moving {clip.motions[0]}" in full_caption(clip)
    assert page.title_text in full_caption(page) and f"{page.colour} {page.figure}" in full_caption(page)


def test_descriptions_name_everything_in_a_scene():
    for seed in range(50):
        scene = draw_scene(_rng(seed))
        text = describe(scene, _rng(seed))
        assert all(thing.noun in text for thing in scene.things)


def test_the_world_needs_no_torch():
    code = "import sys, vlm2vec.world; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
