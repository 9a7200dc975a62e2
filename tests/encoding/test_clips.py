"""Clips that a profile shows as several blocks: what is written, what it costs, and what is shared."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from golden_families import CHAT, CHECKPOINTS, INPUTS, PROFILES
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from vlm2vec import Limits, Video, VLM2Vec, errors, profiles
from vlm2vec.encoding import prepare
from vlm2vec.encoding.batches import batches
from vlm2vec.encoding.clips import sampling_of, ticks_of, unfolded
from vlm2vec.encoding.engine import Budget
from vlm2vec.encoding.pack import pack, pad
from vlm2vec.encoding.pieces import MediaPiece
from vlm2vec.encoding.plan import Planned, Planner
from vlm2vec.encoding.positions import token_positions
from vlm2vec.encoding.prepare import Prepared, Preparer
from vlm2vec.encoding.prompt import Control, Plain
from vlm2vec.errors import VLM2VecWarning
from vlm2vec.inputs.parse import parse_input
from vlm2vec.inputs.parts import Clip
from vlm2vec.media.frames import Frames
from vlm2vec.media.pixels import PixelRules
from vlm2vec.media.sampling import Sampling
from vlm2vec.media.source import Source
from vlm2vec.profiles import Profile
from vlm2vec.training.loss.grad_cache import GradCacheLoss, Pairs

FILE = INPUTS / "clip30.mp4"  # 30 frames at 10 a second
TOKENIZER = AutoTokenizer.from_pretrained(CHECKPOINTS["qwen3_vl"])
SMALL = PixelRules(min_pixels=28 * 28, max_pixels=16 * 28 * 28)
SECONDS = replace(
    PROFILES["qwen3_vl"],
    name="seconds",
    network="qwen2_vl",
    part_order="given",
    pixels=SMALL,
)
"""The prompts of Qwen3-VL-Embedding, parts in the order in which they are given, in a few tokens a frame."""
IMAGES = replace(SECONDS, name="images", clip="images", fps=None, num_frames=8)
BLOCK = replace(SECONDS, name="block", clip="block")


def frames(count: int, first: int = 0, height: int = 28, width: int = 56) -> list[np.ndarray]:
    """Pictures that differ, also from those of another `first`."""
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return [np.roll(noise, 3 * (first + i), axis=1) for i in range(count)]


def preparer(profile: Profile, max_tokens: int = 8192) -> Preparer:
    return Preparer(Planner(TOKENIZER, profile, Limits(), max_tokens))


def planned(one: Preparer, content: Any, **options: Any) -> Planned:
    (plan,) = one.planner.plan([(0, parse_input(content))], **options)
    assert isinstance(plan, Planned), plan
    return plan


def laid_out(one: Preparer, plan: Planned) -> Prepared:
    ready = one.lay_out(plan, {key: one.decode(piece.part) for key, piece in plan.media.items()})
    assert isinstance(ready, Prepared), ready
    return ready


def written(ready: Prepared) -> str:
    """The prompt, each run of media tokens once."""
    text = TOKENIZER.decode(ready.token_ids)
    return re.sub(r"(<\|(?:image|video)_pad\|>)\1*", r"\1", text)


def user_turn(ready: Prepared) -> str:
    return re.sub(r"(?s).*user\n(.*)<\|im_end\|>\n<\|im_start\|>assistant.*", r"\1", written(ready))


BLOCK_TEXT = "<|vision_start|><|video_pad|><|vision_end|>"
PICTURE_TEXT = "<|vision_start|><|image_pad|><|vision_end|>"


# What is written


@pytest.mark.parametrize(
    ("content", "stamps"),
    [
        (frames(1), ["0.2"]),
        (frames(2), ["0.2"]),
        (frames(5), ["0.2", "1.2", "2.2"]),
        ({"video": frames(1), "frame_rate": 1}, ["0.5"]),
        ({"video": frames(4), "frame_rate": 10}, ["0.1", "0.2"]),
        ({"video": frames(3), "frame_rate": 10}, ["0.1", "0.2"]),  # the third one's repeat is at 0.3
        ({"video": frames(30), "frame_rate": 10, "fps": 1}, ["0.5", "2.4"]),
        ({"video": frames(30), "frame_rate": 10, "start": 1, "num_frames": 2}, ["1.9"]),
        ({"video": FILE}, ["0.5", "2.4"]),
        ({"video": FILE, "fps": 2, "num_frames": 6}, ["0.3", "1.4", "2.6"]),
        ({"video": FILE, "num_frames": 1}, ["0.0"]),  # a file's last frame keeps its time
        ({"video": FILE, "num_frames": 3}, ["0.7", "2.9"]),
    ],
)
def test_each_time_step_stands_behind_its_seconds(content: Any, stamps: list[str]) -> None:
    content = {"video": content} if isinstance(content, list) else content
    ready = preparer(SECONDS)(parse_input(content))
    assert user_turn(ready) == "".join(f"<{stamp} seconds>{BLOCK_TEXT}" for stamp in stamps)


def test_a_picture_clip_is_a_picture_for_each_frame() -> None:
    ready = preparer(IMAGES)(parse_input([{"video": frames(3)}, "and"]))
    assert user_turn(ready) == 3 * PICTURE_TEXT + "and"


@pytest.mark.parametrize("name", ["rzenembed", "ops-mm-v1"])
def test_a_picture_clip_has_the_pixels_of_its_frames_whether_they_come_in_a_file_or_in_a_list(
    name: str,
) -> None:
    pictures = [PIL.Image.fromarray(frame) for frame in frames(5, height=100, width=130)]
    file = io.BytesIO()
    pictures[0].save(file, "PNG", save_all=True, append_images=pictures[1:], duration=100)
    one = preparer(profiles.get(name))
    (listed,), (read,) = one(parse_input(Video(pictures))).visuals, one(parse_input(file.getvalue())).visuals
    assert (listed.grid, listed.digest) == (read.grid, read.digest)
    assert planned(one, file.getvalue()).tokens == planned(one, Video(pictures)).tokens


def test_a_picture_clip_has_the_features_of_its_frames_as_pictures() -> None:
    one = preparer(IMAGES)
    clip, pictures = (
        pad([one(parse_input({key: frames(3), "text": "what"}))]) for key in ("video", "images")
    )
    assert list(clip) == list(pictures)
    for name, values in clip.items():
        assert values.tolist() == pictures[name].tolist(), name


def test_several_clips_and_one_clip_twice_keep_their_places() -> None:
    clip, other = {"video": Video(frames(4))}, {"video": frames(2, 7)}
    ready = preparer(SECONDS)(parse_input([clip, "a", other, clip, "b"]))
    four, two = (
        "".join(f"<{stamp} seconds>{BLOCK_TEXT}" for stamp in stamps) for stamps in (["0.2", "1.2"], ["0.2"])
    )
    assert user_turn(ready) == f"{four}a{two}{four}b"
    assert [visual.grid[0] for visual in ready.visuals] == [2, 1, 2]
    assert ready.visuals[0].digest == ready.visuals[2].digest != ready.visuals[1].digest
    assert ready.is_media.sum() == sum(len(visual.patches) for visual in ready.visuals) // 4


@pytest.mark.parametrize("placeholder", [BLOCK_TEXT, "<|video_pad|>"])
@pytest.mark.parametrize("profile", [SECONDS, IMAGES])
def test_a_placeholder_of_a_raw_prompt_is_the_whole_clip(profile: Profile, placeholder: str) -> None:
    one = preparer(profile)
    usual = one(parse_input([{"video": frames(4)}, "what"]))
    prompt = written(usual).replace(user_turn(usual), f"{placeholder}what")
    raw = one(parse_input({"prompt": prompt, "video": frames(4)}))
    assert raw.token_ids.tolist() == usual.token_ids.tolist()
    assert raw.positions.tolist() == usual.positions.tolist()


def test_seconds_are_one_text_with_what_stands_before_them() -> None:
    """Which is tokenised together, as the prompt as a whole is, and cut before the seconds."""
    clip = MediaPiece(Clip(tuple(frames(4))), "clip", (2, 2, 4), 4)
    before, start, end = Plain("find a cat", uncut=5), Control("<|vision_start|>"), Control("<|vision_end|>")
    shown = unfolded([before, clip, Plain("behind")], SECONDS)
    texts = [segment for segment in shown if not isinstance(segment, MediaPiece)]
    second = Control("<|vision_end|><1.2 seconds>")
    assert texts == [Plain("find a cat<0.2 seconds>", 5, 13), start, second, start, end, Plain("behind")]
    blocks = [segment for segment in shown if isinstance(segment, MediaPiece)]
    assert [(block.step, block.tokens, block.span(2)) for block in blocks] == [
        (0, 2, (1, 1, 2)),
        (1, 2, (1, 1, 2)),
    ]


# Positions


@pytest.mark.parametrize(
    ("rate", "ticks"), [(None, 2), (0.5, 8), (1 / 3, 12), (4 / 3, 2), (4, 0), (2, 2), (1, 4)]
)
def test_seconds_of_a_time_step_are_rounded_down_before_ticks_are_counted(
    rate: float | None, ticks: int
) -> None:
    profile = replace(CHAT, pixels=SMALL)
    given = {"video": frames(6), "text": "what"} | ({} if rate is None else {"frame_rate": rate})
    ready = preparer(profile)(parse_input(given))
    (visual,) = ready.visuals
    assert visual.ticks == ticks
    media = ready.positions[ready.is_media]
    assert sorted(set((media[:, 0] - media[0, 0]).tolist())) == sorted({0, ticks, 2 * ticks})
    after = ready.positions[np.flatnonzero(ready.is_media)[-1] + 1]
    assert after.tolist() == [media.max() + 1] * 3


def test_ticks_of_a_file_are_those_of_the_frames_that_were_taken() -> None:
    profile = replace(CHAT, pixels=SMALL)
    clip = Clip(Source.from_path(FILE), num_frames=3)
    assert ticks_of(clip, [0.0, 1.4, 2.9], profile) == 2 * 2
    assert preparer(profile)(parse_input({"video": FILE, "num_frames": 3})).visuals[0].ticks == 4


def test_blocks_have_positions_as_if_they_were_pictures() -> None:
    ready = preparer(SECONDS)(parse_input({"video": frames(4)}))
    starts = np.flatnonzero(np.diff(ready.is_media.astype(int)) == 1) + 1
    ends = np.flatnonzero(np.diff(ready.is_media.astype(int)) == -1) + 1
    spans: list[Any] = [int(starts[0])]
    for start, end, after in zip(starts, ends, [*starts[1:], len(ready.token_ids)], strict=True):
        assert end - start == 2
        spans += [(1, 1, 2), int(after - end)]
    assert ready.positions.tolist() == token_positions(spans, "mrope").tolist()


# Plans hold

contents = st.fixed_dictionaries(
    {"count": st.integers(1, 7), "height": st.integers(8, 120), "width": st.integers(8, 120)},
    optional={
        "frame_rate": st.sampled_from([0.3, 1, 2, 12.5]),
        "num_frames": st.integers(1, 5),
        "fps": st.sampled_from([0.5, 1, 3]),
        "max_pixels": st.integers(1024, 9000),
    },
)
every_profile = [PROFILES["qwen3_vl"], SECONDS, IMAGES, BLOCK, CHAT, PROFILES["biqwen"]]


@settings(max_examples=60)
@given(
    profile=st.sampled_from(every_profile),
    clips=st.lists(contents, min_size=1, max_size=2),
    text=st.text(max_size=8),
)
def test_plans_hold_for_any_clip(profile: Profile, clips: list[dict[str, Any]], text: str) -> None:
    parts: list[Any] = [text] if text else []
    for clip in clips:
        options = dict(clip)
        size = {name: options.pop(name) for name in ("count", "height", "width")}
        if "frame_rate" not in options:
            options.pop("fps", None)
        parts.append({"video": frames(**size), **options})
    one = preparer(profile, 10**6)
    plan = planned(one, parts)
    ready = laid_out(one, plan)
    assert plan.tokens == len(ready.token_ids) == len(ready.positions) == len(ready.is_media)
    each = {visual.digest: len(visual.patches) for visual in ready.visuals}
    assert ready.is_media.sum() == sum(len(visual.patches) for visual in ready.visuals) // 4
    assert sum(each.values()) <= sum(piece.patches for piece in plan.media.values())
    again = one(parse_input(parts))  # planned without its headers
    assert again.token_ids.tolist() == ready.token_ids.tolist()
    assert again.positions.tolist() == ready.positions.tolist()


@pytest.mark.parametrize("profile", every_profile)
@pytest.mark.parametrize("options", [{}, {"num_frames": 3}, {"fps": 2.5}, {"start": 0.5, "end": 2}])
def test_plans_hold_for_a_file(profile: Profile, options: dict[str, Any]) -> None:
    one = preparer(profile)
    plan = planned(one, {"video": FILE, **options})
    came = laid_out(one, plan)
    assert plan.tokens == len(came.token_ids)
    (piece,) = plan.media.values()
    assert (piece.grid, piece.times) == (came.visuals[0].grid, came.visuals[0].times)


def lose_frames(patch: pytest.MonkeyPatch, lost: Sequence[int]) -> None:
    """Reading gives all frames of a file but these."""
    read = prepare.read_frames

    def less(*given: Any, **options: Any) -> Frames:
        found = read(*given, **options)
        kept = [i for i in range(len(found.frames)) if i not in lost]
        return Frames([found.frames[i] for i in kept], [found.times[i] for i in kept], "some are lost")

    patch.setattr(prepare, "read_frames", less)


@pytest.mark.parametrize(
    ("lost", "stamps"),
    [((0, 1), ["1.4", "2.6"]), ((5,), ["0.3", "1.4", "2.3"]), ((0, 1, 3, 4, 5), ["1.2"])],
)
def test_a_file_with_fewer_frames_than_it_promises_is_written_by_those_that_came(
    monkeypatch: pytest.MonkeyPatch, lost: tuple[int, ...], stamps: list[str]
) -> None:
    """Six are promised: at 0, 0.6, 1.2, 1.7, 2.3 and 2.9 seconds."""
    one = preparer(SECONDS)
    plan = planned(one, ["see", {"video": FILE, "fps": 2, "num_frames": 6}])
    lose_frames(monkeypatch, lost)
    ready = laid_out(one, plan)
    assert user_turn(ready) == "see" + "".join(f"<{stamp} seconds>{BLOCK_TEXT}" for stamp in stamps)
    assert ready.visuals[0].grid[0] == len(stamps)
    assert ready.is_media.sum() == len(ready.visuals[0].patches) // 4
    assert plan.tokens >= len(ready.token_ids)


def test_pictures_of_a_file_are_as_many_as_came(monkeypatch: pytest.MonkeyPatch) -> None:
    one = preparer(IMAGES)
    plan = planned(one, [{"video": FILE, "num_frames": 6}, "what"])
    lose_frames(monkeypatch, (1, 4))
    assert user_turn(laid_out(one, plan)) == 4 * PICTURE_TEXT + "what"


def test_a_file_that_turns_out_shorter_fits_the_context(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"video": FILE, "fps": 2, "num_frames": 6}
    whole = planned(preparer(SECONDS), given).tokens
    one = preparer(SECONDS, whole - 1)
    with pytest.raises(errors.ContextLengthError):
        one(parse_input(given))
    plan = planned(one, given)  # whether it fits is known once it is decoded
    lose_frames(monkeypatch, (4, 5))
    assert len(laid_out(one, plan).token_ids) < whole


# Truncation


@pytest.mark.parametrize("profile", [SECONDS, IMAGES])
def test_truncation_leaves_seconds_blocks_and_the_last_token(profile: Profile) -> None:
    parts = ["many words before it " * 40, {"video": frames(4)}, "words behind it " * 40]
    whole = preparer(profile)(parse_input(parts))
    shortest = preparer(profile)(parse_input(["", {"video": frames(4)}, ""]))
    room = len(shortest.token_ids) + 12
    one = preparer(profile, room)
    with pytest.raises(errors.ContextLengthError):
        one(parse_input(parts))
    plan = planned(one, parts, truncate=True)
    cut = laid_out(one, plan)
    assert len(cut.token_ids) == plan.tokens == room
    assert cut.token_ids[-1] == whole.token_ids[-1]
    blocks = re.findall(r"(?:<[\d.]+ seconds>)?<\|vision_start\|>.*?<\|vision_end\|>", written(whole))
    assert len(blocks) == (2 if profile is SECONDS else 4)
    assert all(block in written(cut) for block in blocks)
    assert cut.is_media.sum() == whole.is_media.sum()
    assert "many" in written(cut)


# What is shared


def language_tokens(one: Preparer, *contents: Any) -> int:
    ready = [one(parse_input(content)) for content in contents]
    return len(pack(ready, one.planner.profile.pixels).language.token_ids)


def planned_cost(one: Preparer, *contents: Any) -> int:
    plans = [planned(one, content) for content in contents]
    (batch,) = batches(plans, budget=Budget(10**9), max_inputs=None)
    return batch.cost


@pytest.mark.parametrize("profile", [SECONDS, IMAGES, BLOCK])
def test_inputs_with_one_clip_share_it_and_those_with_equal_seconds_do_not(profile: Profile) -> None:
    one = preparer(profile)
    clip, other = frames(8, height=56), frames(8, 100, height=56)
    lengths = [len(one(parse_input([{"video": clip}, text])).token_ids) for text in ("a cat?", "the dog?")]
    same = [[{"video": clip}, "a cat?"], [{"video": clip}, "the dog?"]]
    different = [[{"video": clip}, "a cat?"], [{"video": other}, "the dog?"]]
    media = int(one(parse_input(same[0])).is_media.sum())
    assert language_tokens(one, *same) < sum(lengths) - media
    assert language_tokens(one, *different) >= sum(lengths) - (lengths[0] - media)
    patches = media * 4
    assert planned_cost(one, *same) == language_tokens(one, *same) + patches
    assert planned_cost(one, *different) == language_tokens(one, *different) + 2 * patches


def test_clips_of_equal_frames_at_other_times_share_pixels_and_no_words() -> None:
    one = preparer(SECONDS)
    ready = [one(parse_input({"video": frames(6), "frame_rate": rate})) for rate in (1, 2)]
    assert ready[0].visuals[0].digest == ready[1].visuals[0].digest
    packed = pack(ready, one.planner.profile.pixels)
    assert packed.vision is not None
    assert len(packed.vision.clips) == len(ready[0].visuals[0].patches)
    assert written(ready[0]) != written(ready[1])


def test_clips_of_equal_frames_whose_positions_tell_time_are_not_taken_for_one() -> None:
    one = preparer(replace(CHAT, pixels=SMALL))
    ready = [one(parse_input({"video": frames(6), "frame_rate": rate})) for rate in (1, 2)]
    assert ready[0].token_ids.tolist() == ready[1].token_ids.tolist()
    assert ready[0].positions.tolist() != ready[1].positions.tolist()
    assert ready[0].visuals[0].digest != ready[1].visuals[0].digest


# Vectors


@pytest.mark.parametrize("profile", [SECONDS, IMAGES], ids=["seconds", "images"])
def test_a_clip_in_blocks_has_the_same_vector_in_any_batch_and_in_training(
    golden: Path, profile: Profile
) -> None:
    model = VLM2Vec(golden / "tiny_qwen2vl", profile=profile, device="cpu")
    clip, other = frames(5, height=56), frames(5, 50, height=56)
    inputs = [
        [{"video": clip}, "a cat"],
        [{"video": clip}, "a dog"],
        [{"video": other}, "a cat"],
        "text",
        [{"video": clip}, {"video": other}, {"video": clip}],
        {"video": FILE},
    ]
    together = model.encode(inputs)
    alone = np.concatenate([model.encode([one]) for one in inputs])
    np.testing.assert_allclose(together, alone, rtol=0, atol=5e-7)
    trained = model(model.preprocess(inputs))["sentence_embedding"].detach().numpy()
    np.testing.assert_allclose(trained, alone, rtol=0, atol=2e-6)
    assert np.abs(alone[0] - alone[2]).max() > 1e-3
    (pictures,) = model.encode([[{"images": clip}, "a cat"]])
    assert (np.abs(pictures - alone[0]).max() < 5e-7) == (profile is IMAGES)


@pytest.mark.parametrize("profile", [SECONDS, IMAGES], ids=["seconds", "images"])
def test_gradients_through_clips_in_blocks_do_not_depend_on_chunks(golden: Path, profile: Profile) -> None:
    sides = [
        [[{"video": frames(5, first, height=56)}, "a cat"] for first in (0, 20, 40)],
        ["a cat", {"video": FILE}, [{"video": frames(5, 0, height=56)}, "what"]],
    ]
    queries, documents = ([parse_input(one, index=i) for i, one in enumerate(side)] for side in sides)
    lengths = []
    for chunk in (1, 6):
        model = VLM2Vec(golden / "tiny_qwen2vl", profile=profile, device="cpu").train()
        numbers = range(3)
        loss = GradCacheLoss(model, max_inputs_per_chunk=chunk, kept_tokens=0)(
            Pairs(queries, documents, numbers, list(numbers), list(numbers), [100, 101, 102])
        )
        loss.backward()
        gradients = [weight.grad for weight in model[0].model.parameters() if weight.grad is not None]
        lengths.append([loss.item(), *(float(one.norm()) for one in gradients)])
    assert len(lengths[0]) > 50
    np.testing.assert_allclose(lengths[0], lengths[1], rtol=1e-3)


def test_a_damaged_clip_in_blocks_has_the_same_vector_in_any_batch(
    golden: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = VLM2Vec(golden / "tiny_qwen2vl", profile=SECONDS, device="cpu")
    lose_frames(monkeypatch, (1,))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", VLM2VecWarning)
        one = {"video": FILE, "fps": 2, "num_frames": 6}
        rows = model.encode(["text", [one, "what"], one])
        np.testing.assert_allclose(rows[2], model.encode(one), rtol=0, atol=5e-7)


# Which frames are taken


def test_frames_of_files_follow_the_rate_of_the_profile_and_pictures_its_number() -> None:
    file, pictures = Clip(Source.from_path(FILE)), Clip(tuple(frames(3)))
    spread = {"min_frames": 4, "rule": "spread"}
    assert sampling_of(file, SECONDS) == Sampling(64, 1.0, **spread)
    assert sampling_of(replace(file, fps=2.0), SECONDS) == Sampling(64, 2.0, **spread)
    assert sampling_of(replace(file, fps=2.0, num_frames=6), SECONDS) == Sampling(6, 2.0, **spread)
    assert sampling_of(replace(file, num_frames=6), SECONDS) == Sampling(6, None, **spread)
    assert sampling_of(pictures, SECONDS) == Sampling(64)
    timed = replace(pictures, frame_rate=10.0, fps=2.0)
    assert sampling_of(timed, SECONDS) == Sampling(64, 2.0, **spread)


def test_without_a_rate_of_the_profile_fps_takes_what_the_clock_says() -> None:
    file = Clip(Source.from_path(FILE))
    assert sampling_of(file, IMAGES) == Sampling(8)
    assert sampling_of(replace(file, fps=2.0), IMAGES) == Sampling(None, 2.0)
    assert sampling_of(replace(file, fps=2.0, num_frames=3, start=1.0), IMAGES) == Sampling(3, 2.0, 1.0)
