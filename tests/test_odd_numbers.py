"""Settings that are numbers no float holds, or no numbers at all: taken, or refused in our own words."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import fields
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from vlm2vec import Limits, Video, VLM2Vec
from vlm2vec.arguments import is_finite, is_rate, one_of
from vlm2vec.describe import describe_value, literal
from vlm2vec.errors import InputError, VLM2VecError
from vlm2vec.index.settings import IndexSettings
from vlm2vec.media.sampling import Sampling
from vlm2vec.mmeb.encoders.served import ServedModel
from vlm2vec.serve.settings import ServeSettings
from vlm2vec.training import LoRA, TrainingSource
from vlm2vec.training.loss.info_nce import InfoNCE
from vlm2vec.training.settings import FitSettings

ODD = [
    10**5000,  # Python refuses to write it
    -(10**5000),
    Fraction(10**5000, 3),
    10**400,
    1e300,
    1e-320,
    math.nan,
    -math.inf,
    np.int64(2**63 - 1),
    np.ones(3),
    1j,
    "1",
]
ENCODE = [
    "batch_size",
    "max_tokens_per_batch",
    "truncate_dim",
    "prompt_name",
    "precision",
    "on_error",
    "device",
]
ITEM = ["num_frames", "fps", "start", "end", "frame_rate", "max_pixels"]


def _served(**given: Any) -> ServedModel:
    return ServedModel(**{"url": "http://127.0.0.1:9", "model": "m", "name": "n", **given})


def _source(**given: Any) -> TrainingSource:
    return TrainingSource(name="pairs", rows=[{"query": "a", "document": "b"}], **given)


SETTINGS: list[tuple[Callable[..., Any], str]] = [
    *(
        (kind, field.name)
        for kind in (Limits, Sampling, IndexSettings, FitSettings, ServeSettings)
        for field in fields(kind)
    ),
    *((LoRA, name) for name in ("r", "alpha", "dropout", "target_modules")),
    *((InfoNCE, name) for name in ("temperature", "hardness", "false_negative_margin")),
    *(
        (_served, name)
        for name in ("shape", "frames", "batch_size", "threads", "instructions", "instruction_in")
    ),
    *((_source, name) for name in ("weight", "cap", "num_frames")),
]


@pytest.mark.parametrize(("make", "name"), SETTINGS, ids=lambda one: getattr(one, "__name__", one))
def test_a_setting_is_taken_or_refused(make: Callable[..., Any], name: str) -> None:
    for value in ODD:
        with suppress(VLM2VecError):
            make(**{name: value})


@pytest.mark.parametrize("name", ENCODE)
def test_so_is_an_argument_of_encode(name: str, embedded: VLM2Vec) -> None:
    for value in ODD:
        with suppress(VLM2VecError):
            embedded.encode(["a cat"], **{name: value})


@pytest.mark.parametrize("name", ITEM)
def test_and_an_option_of_an_input(name: str, embedded: VLM2Vec) -> None:
    frames = np.zeros((3, 32, 32, 3), np.uint8)
    for value in ODD:
        with suppress(VLM2VecError):
            vectors = embedded.encode([Video(frames, **{"frame_rate": 2.0, name: value})])
            assert np.isfinite(vectors).all()


def test_a_frame_rate_at_which_times_are_no_numbers_is_refused(embedded: VLM2Vec) -> None:
    frames = np.zeros((3, 32, 32, 3), np.uint8)
    with pytest.raises(InputError, match=r"frame_rate is .*Pass frames a second, from 1e-9 to 1e12"):
        Video(frames, frame_rate=1e-320, fps=1.0)
    with pytest.raises(InputError, match=r"input 0.*fps is 1e\+300"):
        embedded.encode([{"video": frames, "frame_rate": 2.0, "fps": 1e300}])


def test_an_int_that_python_does_not_write_is_described_by_its_length() -> None:
    assert describe_value(-(10**5000)) == "int of about 5001 digits"
    assert describe_value(7) == "int 7"
    assert literal(10**5000) == "int of about 5001 digits"


def test_an_array_is_none_of_some_words() -> None:
    with pytest.raises(InputError, match="gain is array"):
        one_of("gain", np.ones(3), ["linear"])


def test_what_no_float_holds_is_neither_finite_nor_a_rate() -> None:
    assert not any(
        is_finite(value) or is_rate(value) for value in (10**400, math.nan, math.inf, "1", None, True)
    )
    assert is_finite(np.float16(2))
    assert is_finite(Fraction(1, 3))


@pytest.mark.parametrize(
    "weight", [10**5000, math.inf, math.nan, 0, "1"], ids=["long", "inf", "nan", "0", "text"]
)
def test_a_weight_that_no_float_holds_is_refused(weight: Any) -> None:
    with pytest.raises(InputError, match='"weight" is'):
        _source(weight=weight)
