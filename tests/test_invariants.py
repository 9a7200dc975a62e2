"""The promises of the design, as properties over kinds of input, order and batch size.

1: a vector depends on its input, instruction and settings alone. 3: N inputs give N rows in order.
4: nothing is silently truncated, skipped or embedded as something else. 2 is in `test_golden.py`, 6 in
`test_packaging.py`.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vlm2vec import Limits, Video, VLM2Vec, errors
from vlm2vec.world.samples import write_samples

EXACT = {"1d": 1e-6, "mrope": 5e-7}
"""Largest difference of a component; the random network behind "1d" amplifies rounding (docs/design.md)."""

RANDOM = np.random.default_rng(7)
PICTURE = RANDOM.integers(0, 256, (70, 90, 3), dtype=np.uint8)
INSTRUCTIONS = ["Represent this:", None, "", "Find the same.\n"]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """One of each kind: texts, arrays, PIL, files of all media, pages, mixtures, raw prompts."""
    folder = tmp_path_factory.mktemp("samples")
    files = {file.path.suffix: file.path for file in write_samples(folder)}
    pdf, clip = files[".pdf"], files[".mp4"]
    picture = next(path for suffix, path in files.items() if suffix in (".png", ".jpg"))
    return [
        "a short text",
        "a longer text, " * 12,
        PICTURE,
        PIL.Image.fromarray(PICTURE[:, :40]),
        picture,
        picture.read_bytes(),
        clip,
        {"video": clip, "num_frames": 3},
        Video([PICTURE, PICTURE[:40], PICTURE]),
        {"pdf": pdf, "page": 1},
        {"text": "what is this", "image": str(picture), "instruction": "Answer:"},
        ["first", PICTURE, "then", {"video": clip, "num_frames": 2}],
        {"prompt": "<|image_pad|>\nexactly this\n", "images": [PICTURE]},
    ]


@pytest.fixture(scope="module", params=["1d", "mrope"])
def model(request: pytest.FixtureRequest, tiny: VLM2Vec, embedded: VLM2Vec) -> VLM2Vec:
    return {"1d": tiny, "mrope": embedded}[request.param]


@pytest.fixture
def exact(model: VLM2Vec) -> float:
    return EXACT[model.profile.positions]


@pytest.fixture(scope="module")
def alone(model: VLM2Vec, inputs: list[Any]) -> np.ndarray:
    """Each input encoded by itself."""
    return np.concatenate([model.encode([one]) for one in inputs])


def test_kinds_of_input_have_vectors_of_their_own(alone: np.ndarray, inputs: list[Any]) -> None:
    same = {(4, 5)}  # a file and its bytes
    close = {(i, j) for i, j in np.argwhere(np.triu(alone @ alone.T > 1 - 1e-6, 1)).tolist()}
    assert close == same


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**16), batch_size=st.integers(1, 14), budget=st.sampled_from([1, 60, 300, None]))
def test_vectors_do_not_depend_on_order_batch_size_budget_or_neighbours(
    model: VLM2Vec,
    inputs: list[Any],
    alone: np.ndarray,
    exact: float,
    seed: int,
    batch_size: int,
    budget: int | None,
) -> None:
    chooser = random.Random(seed)  # noqa: S311
    order = chooser.choices(range(len(inputs)), k=chooser.randint(1, len(inputs)))
    given_inputs = [inputs[i] for i in order]
    vectors = model.encode(given_inputs, batch_size=batch_size, max_tokens_per_batch=budget)
    np.testing.assert_allclose(vectors, alone[order], atol=exact)
    streamed = model.encode_stream(given_inputs, max_tokens_per_batch=budget, window=batch_size)
    np.testing.assert_allclose([vector for _, vector in streamed], alone[order], atol=exact)


@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**16), budget=st.sampled_from([1, 300, None]))
def test_what_inputs_share_does_not_change_them(
    model: VLM2Vec, inputs: list[Any], exact: float, seed: int, budget: int | None
) -> None:
    """One picture and one clip in several forms, with questions that begin alike, and instructions."""
    chooser = random.Random(seed)  # noqa: S311
    path, clip = inputs[4], inputs[6]
    pictures = [str(path), PIL.Image.open(path).convert("RGB"), path.read_bytes(), PICTURE]
    questions = ["what is this", "what is this, and where", "", "what"]
    media = [{"image": picture} for picture in pictures] + [{"video": clip}, {"video": str(clip)}]
    some = [
        {**chooser.choice(media), "text": chooser.choice(questions)}
        if chooser.random() < 0.7
        else "what is this, then" + chooser.choice(questions)
        for _ in range(9)
    ]
    instructions = [chooser.choice(INSTRUCTIONS) for _ in some]
    vectors = model.encode(some, instruction=instructions, max_tokens_per_batch=budget)
    for one, instruction, vector in zip(some, instructions, vectors, strict=True):
        np.testing.assert_allclose(vector, model.encode(one, instruction=instruction), atol=exact)


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(bad=st.sets(st.integers(0, 12), max_size=6), batch_size=st.integers(1, 14))
def test_bad_inputs_cost_only_themselves(
    model: VLM2Vec, inputs: list[Any], alone: np.ndarray, exact: float, bad: set[int], batch_size: int
) -> None:
    given_inputs = [b"\x89PNG\r\n\x1a\n broken" if i in bad else one for i, one in enumerate(inputs)]
    failed: list[int | None] = []
    vectors = model.encode(
        given_inputs, batch_size=batch_size, on_error=lambda index, error: failed.append(index)
    )
    assert failed == sorted(bad)
    assert np.isnan(vectors).any(1).nonzero()[0].tolist() == sorted(bad)
    good = [i for i in range(len(inputs)) if i not in bad]
    np.testing.assert_allclose(vectors[good], alone[good], atol=exact)


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(instructions=st.lists(st.sampled_from(INSTRUCTIONS), min_size=4, max_size=4))
def test_an_instruction_changes_its_own_input_only(
    model: VLM2Vec, exact: float, instructions: list[str | None]
) -> None:
    some = ["a text", PICTURE, {"image": PICTURE, "text": "and words"}, "a text"]
    vectors = model.encode(some, instruction=instructions)
    for one, instruction, vector in zip(some, instructions, vectors, strict=True):
        np.testing.assert_allclose(vector, model.encode(one, instruction=instruction), atol=exact)


def test_encoding_twice_decodes_twice(
    model: VLM2Vec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "picture.png"
    PIL.Image.fromarray(PICTURE).save(path)
    first = model.encode(path)
    PIL.Image.fromarray(255 - PICTURE).save(path)
    assert np.abs(model.encode(path) - first).max() > 1e-3


def test_a_document_is_its_pages_in_order(model: VLM2Vec, inputs: list[Any], exact: float) -> None:
    pdf = next(one["pdf"] for one in inputs if isinstance(one, dict) and "pdf" in one)
    pages = [{"pdf": pdf, "page": number} for number in (1, 2)]
    whole = model.encode({"pdf": pdf, "pages": "1-2"})
    np.testing.assert_allclose(model.encode([pages])[0], whole, atol=exact)
    assert np.abs(model.encode([pages[::-1]])[0] - whole).max() > 1e-4


def test_a_long_document_must_say_which_pages(golden: Path, inputs: list[Any]) -> None:
    pdf = next(one["pdf"] for one in inputs if isinstance(one, dict) and "pdf" in one)
    model = VLM2Vec(golden / "tiny_qwen2vl", profile="vlm2vec-v2", device="cpu", limits=Limits(max_pages=1))
    with pytest.raises(errors.LimitError, match=r'more than the 1 .*"pages"'):
        model.encode([{"pdf": pdf}])
    model.encode([{"pdf": pdf, "pages": "1-2"}])


def test_placeholders_and_media_must_match(model: VLM2Vec) -> None:
    with pytest.raises(errors.InputError, match="no placeholder"):
        model.encode([{"prompt": "no place for it", "images": [PICTURE]}])
    with pytest.raises(errors.InputError, match=r"more <\|image_pad\|> than"):
        model.encode([{"prompt": "<|image_pad|> and <|image_pad|>", "images": [PICTURE]}])
    with pytest.raises(errors.InputError, match=r"more <\|image_pad\|> than"):
        model.encode([{"prompt": "<|image_pad|>", "video": [PICTURE, PICTURE]}])
