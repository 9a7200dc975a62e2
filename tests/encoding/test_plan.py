"""Plans are promises made without decoding: the tokens and patches that preparing gives."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
import numpy as np
import PIL.Image
import PIL.ImageFile
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vlm2vec import Limits, Video, VLM2Vec, errors
from vlm2vec.encoding import prepare
from vlm2vec.encoding.pieces import MediaPiece
from vlm2vec.encoding.plan import Failed, Planned, Planner
from vlm2vec.encoding.prepare import Preparer
from vlm2vec.errors import VLM2VecError, VLM2VecWarning
from vlm2vec.inputs.parse import parse_batch
from vlm2vec.world.samples import write_samples

PICTURE = np.random.default_rng(7).integers(0, 256, (70, 190, 3), dtype=np.uint8)
ROTATED = 6  # EXIF orientation: a quarter turn


def encoded(kind: str, turned: int | None = None, **options: Any) -> bytes:
    file, exif = io.BytesIO(), PIL.Image.Exif()
    if turned is not None:
        exif[0x0112] = turned
    PIL.Image.fromarray(PICTURE).save(file, kind, exif=exif.tobytes(), **options)
    return file.getvalue()


def animated(kind: str) -> bytes:
    frames = [PIL.Image.fromarray(np.roll(PICTURE, 9 * i, axis=1)) for i in range(11)]
    file = io.BytesIO()
    frames[0].save(file, kind, save_all=True, append_images=frames[1:], duration=100)
    return file.getvalue()


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("samples")
    return {sample.path.suffix: sample.path for sample in write_samples(folder)}


@pytest.fixture(scope="module")
def inputs(samples: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """One of each kind."""
    video, document = samples[".mp4"], samples[".pdf"]
    frames = tmp_path_factory.mktemp("frames")
    for i in range(5):
        PIL.Image.fromarray(PICTURE[:, : 100 + i]).save(frames / f"{i}.png")
    return {
        "text": "a short text",
        "long text": "a longer text, " * 12,
        "empty instruction": {"text": "words", "instruction": ""},
        "instruction": {"text": "words", "instruction": "Represent this."},
        "array": PICTURE,
        "tall array": PICTURE.transpose(1, 0, 2)[:, :9].repeat(4, axis=1),
        "PIL image": PIL.Image.fromarray(PICTURE[:, :40]),
        "PNG file": samples[".png"],
        "JPEG file": samples[".jpg"],
        "bytes": samples[".png"].read_bytes(),
        "turned JPEG": encoded("JPEG", ROTATED),
        "turned PNG": encoded("PNG", ROTATED),
        "turned PIL image": PIL.Image.open(io.BytesIO(encoded("JPEG", ROTATED))),
        "few pixels": {"image": PICTURE, "max_pixels": 4000},
        "GIF": animated("GIF"),
        "GIF by the clock": {"video": animated("GIF"), "fps": 3, "start": 0.2, "end": 0.9},
        "WebP animation": {"video": animated("WEBP"), "num_frames": 5},
        "clip": video,
        "frames of a clip": {"video": video, "num_frames": 3},
        "clip by the clock": {"video": video, "fps": 2.5},
        "part of a clip": {"video": video, "start": 0.1, "end": 0.6},
        "small clip": {"video": video, "num_frames": 4, "max_pixels": 5000},
        "folder of frames": {"video": frames},
        "list of frames": Video([PICTURE, PICTURE[:40], PICTURE]),
        "array of frames": np.stack([PICTURE] * 5),
        "page": {"pdf": document, "page": 2},
        "pages": {"pdf": document, "pages": "1-2"},
        "document": document,
        "text with a picture": {"text": "what is this", "image": PICTURE, "instruction": "Answer:"},
        "mixture": [
            "first",
            PICTURE,
            "then",
            {"video": video, "num_frames": 2},
            {"pdf": document, "page": 1},
        ],
        "one picture twice": [PICTURE, "and", PICTURE],
        "raw prompt": {"prompt": "<|image_pad|>\nexactly this\n", "images": [PICTURE]},
        "raw prompt of a clip": {"prompt": "see <|video_pad|>", "video": video},
    }


@pytest.fixture(scope="module", params=["tiny", "embedded"])
def preparer(request: pytest.FixtureRequest) -> Preparer:
    return request.getfixturevalue(request.param)[0].preparer


@contextmanager
def decoding_is_impossible(*, but_animations: bool = False) -> Iterator[None]:
    """What decodes pixels raises; sizes and packets may still be read."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("something was decoded")

    load = PIL.ImageFile.ImageFile.load
    with pytest.MonkeyPatch.context() as patch:
        for name in (
            "read_frames",
            "sample_frames",
            "load_picture",
            "render_page",
            "fit",
            "FrameFit",
            "patchify",
        ):
            patch.setattr(prepare, name, refuse)
        if not but_animations:
            patch.setattr(PIL.ImageFile.ImageFile, "load", lambda one: refuse() if one.tile else load(one))
        yield


def plan(planner: Planner, given_inputs: Sequence[Any], **settings: Any) -> list[Planned | Failed]:
    return planner.plan(list(enumerate(parse_batch(given_inputs, on_error="yield"))), **settings)


def prepared_of(preparer: Preparer, planned: Planned) -> prepare.Prepared | VLM2VecError:
    return preparer.lay_out(planned, {key: preparer.decode(one.part) for key, one in planned.media.items()})


def patches(ready: prepare.Prepared) -> int:
    return sum(len(seen.patches) for seen in ready.visuals)


def test_plans_hold_for_all_kinds_of_input_without_decoding_any(
    preparer: Preparer, inputs: dict[str, Any]
) -> None:
    moving = {"GIF by the clock"}  # which alone tells its times
    behind = {"turned PNG"}  # whose orientation may stand behind its pixels
    for name, one in inputs.items():
        with decoding_is_impossible(but_animations=name in moving | behind or "animation" in name):
            (planned,) = plan(preparer.planner, [one])
        assert isinstance(planned, Planned), name
        ready = prepared_of(preparer, planned)
        assert isinstance(ready, prepare.Prepared), name
        assert planned.tokens == len(ready.token_ids) == len(ready.positions), name
        shown = [piece for piece in planned.pieces if isinstance(piece, MediaPiece)]
        assert sum(piece.patches for piece in shown) == patches(ready), name
        assert ready.is_media.sum() == patches(ready) // 4, name


def test_plans_of_a_list_are_those_of_its_inputs(preparer: Preparer, inputs: dict[str, Any]) -> None:
    together = plan(preparer.planner, list(inputs.values()))
    each = [plan(preparer.planner, [one])[0] for one in inputs.values()]
    assert [one.tokens for one in together] == [one.tokens for one in each]
    assert [one.index for one in together] == list(range(len(inputs)))


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(height=st.integers(1, 400), width=st.integers(1, 400), most=st.none() | st.integers(800, 60_000))
def test_plans_hold_for_pictures_of_any_size(
    preparer: Preparer, height: int, width: int, most: int | None
) -> None:
    picture = np.zeros((height, width, 3), np.uint8)
    one = {"image": picture} if most is None else {"image": picture, "max_pixels": most}
    (planned,) = plan(preparer.planner, [one])
    if isinstance(planned, Planned):
        assert planned.tokens == len(prepared_of(preparer, planned).token_ids)
    else:
        with pytest.raises(VLM2VecError):
            preparer(next(parse_batch([one])))


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(max_size=60), instruction=st.none() | st.text(max_size=20))
def test_plans_hold_for_any_text(preparer: Preparer, text: str, instruction: str | None) -> None:
    (planned,) = plan(preparer.planner, [{"text": text, "instruction": instruction}])
    if isinstance(planned, Planned):
        assert planned.tokens == len(prepared_of(preparer, planned).token_ids)
    else:
        assert planned.error.index == 0


def test_one_medium_in_several_inputs_is_measured_once(embedded: VLM2Vec, samples: dict[str, Path]) -> None:
    measured: list[int] = []

    def run(work: Any, items: Iterable[Any]) -> Iterator[Any]:
        items = list(items)
        measured.append(len(items))
        return map(work, items)

    questions = [{"image": samples[".png"], "text": f"question {i}"} for i in range(5)]
    found = plan(embedded[0].preparer.planner, [*questions, samples[".jpg"], "text"], run=run)
    assert measured == [2]
    assert len({key for one in found for key in one.media}) == 2


# Clips that hold less than they promise


@pytest.fixture(scope="module")
def damaged_clip() -> bytes:
    """30 frames, of which a group of ten is broken."""
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as output:
        stream = output.add_stream(
            "libx264", rate=25, options={"g": "10", "preset": "ultrafast", "threads": "1"}
        )
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        noise = np.random.default_rng(0).integers(0, 255, (64, 96, 3), dtype=np.uint8)
        for i in range(30):
            frame = av.VideoFrame.from_ndarray(np.roll(noise, 3 * i, axis=1), format="rgb24")
            output.mux(stream.encode(frame))
        output.mux(stream.encode())
    data = bytearray(file.getvalue())
    with av.open(io.BytesIO(data)) as container:
        places = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    place, size = places[12]
    data[place + size // 3 : place + size] = np.random.default_rng(1).bytes(size - size // 3)
    return bytes(data)


def test_a_clip_of_which_less_comes_than_planned_is_laid_out_by_what_came(
    preparer: Preparer, damaged_clip: bytes
) -> None:
    (planned,) = plan(preparer.planner, [{"video": damaged_clip, "num_frames": 30, "text": "what"}])
    with pytest.warns(VLM2VecWarning, match="damaged"):
        ready = prepared_of(preparer, planned)
    time = ready.visuals[0].grid[0]
    assert time < 15 == next(iter(planned.media.values())).grid[0]
    assert planned.tokens - len(ready.token_ids) == (15 - time) * ready.is_media.sum() // time > 0
    assert len(ready.positions) == len(ready.is_media) == len(ready.token_ids)


def test_a_damaged_clip_has_the_same_vector_in_any_batch(embedded: VLM2Vec, damaged_clip: bytes) -> None:
    one = {"video": damaged_clip, "num_frames": 30}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", VLM2VecWarning)
        alone = embedded.encode(one)
        rows = embedded.encode(["a text", {**one, "text": "what"}, one, PICTURE])
    np.testing.assert_allclose(rows[2], alone, atol=5e-7)


def test_a_clip_that_turns_out_shorter_fits_the_context(golden: Path, damaged_clip: bytes) -> None:
    one = {"video": damaged_clip, "num_frames": 30}
    model = VLM2Vec(golden / "tiny_qwen2vl", profile="vlm2vec-v2", device="cpu")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", VLM2VecWarning)
        model.max_seq_length = model.preprocess([one])["input_ids"].shape[1]
        assert not np.isnan(model.encode(one)).any()
        model.max_seq_length -= 1
        with pytest.raises(errors.ContextLengthError, match="input 0"):
            model.encode([one])


# What is refused


@pytest.fixture
def short(golden: Path) -> VLM2Vec:
    """A model with a context of 20 tokens."""
    model = VLM2Vec(golden / "tiny_qwen2vl", profile="vlm2vec-v2", device="cpu")
    model.max_seq_length = 20
    return model


LONG = "one two three " * 30 + "end"


def test_what_exceeds_the_context_is_refused_before_anything_is_decoded(short: VLM2Vec) -> None:
    too_much = [LONG, {"image": PICTURE, "text": LONG}, np.tile(PICTURE, (8, 8, 1)), Video([PICTURE] * 9)]
    with decoding_is_impossible():
        found = plan(short[0].preparer.planner, [*too_much, "short"])
    assert [type(one) for one in found] == [*[Failed] * 4, Planned]
    assert all(isinstance(one.error, errors.ContextLengthError) for one in found[:4])
    assert [one.error.index for one in found[:4]] == [0, 1, 2, 3]


def test_a_clip_that_promises_far_too_much_is_refused_before_its_frames_take_memory(short: VLM2Vec) -> None:
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as output:
        stream = output.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for _ in range(200):
            output.mux(stream.encode(av.VideoFrame(64, 64, "yuv420p")))
        output.mux(stream.encode())
    with decoding_is_impossible():
        (found,) = plan(short[0].preparer.planner, [{"video": file.getvalue(), "num_frames": 200}])
    assert isinstance(found, Failed)
    assert isinstance(found.error, errors.ContextLengthError)


def test_texts_are_planned_as_they_will_be_shortened(short: VLM2Vec) -> None:
    given_inputs = [LONG, {"image": PICTURE[:56, :56], "text": LONG}, {"text": LONG, "instruction": "Find:"}]
    found = plan(short[0].preparer.planner, given_inputs, truncate=True)
    assert [one.tokens for one in found] == [20, 20, 20]
    assert [len(prepared_of(short[0].preparer, one).token_ids) for one in found] == [20, 20, 20]


@pytest.mark.parametrize(
    "one", [np.tile(PICTURE, (8, 8, 1)), {"prompt": LONG}, {"text": "a", "instruction": LONG}]
)
def test_media_instructions_and_raw_prompts_are_not_shortened(short: VLM2Vec, one: Any) -> None:
    (found,) = plan(short[0].preparer.planner, [one], truncate=True)
    assert isinstance(found, Failed)
    assert isinstance(found.error, errors.ContextLengthError)


def test_inputs_with_one_broken_file_have_errors_of_their_own(embedded: VLM2Vec, tmp_path: Path) -> None:
    path = tmp_path / "broken.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n nothing behind it")
    found = plan(embedded[0].preparer.planner, ["a", path, {"image": path, "text": "what"}, "b"])
    assert [type(one) for one in found] == [Planned, Failed, Failed, Planned]
    assert [one.error.index for one in found[1:3]] == [1, 2]
    assert all("broken.png" in str(one.error) for one in found[1:3])
    assert found[1].error is not found[2].error


def test_what_parsing_refused_stays_in_its_place(embedded: VLM2Vec) -> None:
    found = plan(embedded[0].preparer.planner, ["a", None, "b"])
    assert [one.index for one in found] == [0, 1, 2]
    assert isinstance(found[1], Failed)
    assert found[1].error.index == 1


def test_limits_are_met_while_planning(golden: Path, samples: dict[str, Path]) -> None:
    limits = Limits(max_image_pixels=100, max_pages=1)
    model = VLM2Vec(golden / "tiny_qwen2vl", profile="vlm2vec-v2", device="cpu", limits=limits)
    with decoding_is_impossible():
        found = plan(model[0].preparer.planner, [samples[".png"], samples[".mp4"], samples[".pdf"], "text"])
    assert [isinstance(one, Failed) and isinstance(one.error, errors.LimitError) for one in found] == [
        True,
        True,
        True,
        False,
    ]


def test_inputs_with_one_medium_that_is_too_large_have_errors_of_their_own(
    golden: Path, samples: dict[str, Path]
) -> None:
    limits = Limits(max_image_pixels=100)
    model = VLM2Vec(golden / "tiny_qwen2vl", profile="vlm2vec-v2", device="cpu", limits=limits)
    found = plan(model[0].preparer.planner, ["a", samples[".png"], {"image": samples[".png"], "text": "b"}])
    assert [one.error.index for one in found[1:]] == [1, 2]
