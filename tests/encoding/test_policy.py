"""What becomes of inputs that failed, and which settings are refused."""

from __future__ import annotations

from inspect import signature

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer

from vlm2vec.encoding.policy import _ARGUMENTS, _PASSED_ON, check_settings, settle_errors
from vlm2vec.errors import InputError, MediaError, VLM2VecError

LIKE = torch.zeros(3, dtype=torch.float64)


def test_failed_rows_become_nan_and_are_reported_in_order() -> None:
    told: list[tuple[int | None, VLM2VecError]] = []
    failed = [InputError("bad", index=0), MediaError("worse", index=2)]
    settled = settle_errors([failed[0], torch.ones(3), failed[1]], lambda *what: told.append(what), LIKE)
    assert [row.isnan().all().item() for row in settled] == [True, False, True]
    assert told == [(0, failed[0]), (2, failed[1])]


def test_nan_rows_have_the_size_and_type_of_the_others() -> None:
    (row,) = settle_errors([InputError("bad")], "nan", LIKE)
    assert row.shape == LIKE.shape
    assert row.dtype == LIKE.dtype


def test_the_first_error_is_raised_when_asked() -> None:
    failed = [MediaError("worse", index=1), InputError("bad", index=2)]
    with pytest.raises(MediaError, match="input 1: worse"):
        settle_errors([torch.ones(3), *failed], "raise", LIKE)


@pytest.mark.parametrize("on_error", ["raise", "nan", lambda *_: None])
def test_good_rows_are_passed_on_as_they_are(on_error: object) -> None:
    rows = [torch.ones(3), torch.zeros(3)]
    assert all(a is b for a, b in zip(settle_errors(rows, on_error, LIKE), rows, strict=True))


@pytest.mark.parametrize("name", ["batch_size", "max_tokens_per_batch"])
@pytest.mark.parametrize("value", [0, -1, 2.5, True, "8"])
def test_bounds_of_batches_are_whole_numbers_from_one(name: str, value: object) -> None:
    with pytest.raises(InputError, match=rf"{name} is .*\. Pass a whole number of at least 1"):
        check_settings("raise", **{name: value})
    check_settings("raise", **{name: 1})
    check_settings("raise", **{name: None})


@pytest.mark.parametrize("on_error", ["skip", None, 3])
def test_unknown_policies_are_refused(on_error: object) -> None:
    with pytest.raises(InputError, match=r'on_error is .* Pass "raise", "nan", or a callable'):
        check_settings(on_error)


def test_unknown_prompts_are_refused_with_the_names_of_those_that_are_there() -> None:
    prompts = {"query": "Find it.", "document": ""}
    with pytest.raises(InputError, match=r"no prompt 'qwery'\. Pass one of query, document, or"):
        check_settings("raise", prompt_name="qwery", prompts=prompts)
    with pytest.raises(InputError, match="This model has none"):
        check_settings("raise", prompt_name="query", prompts={})
    check_settings("raise", prompt_name="query", prompts=prompts)
    check_settings("raise", prompt_name="qwery", prompt="Find it.", prompts=prompts)


@pytest.mark.parametrize(
    ("settings", "fix"),
    [
        ({"precision": "int4"}, "Pass one of float32, int8, uint8, binary, ubinary"),
        ({"output_value": "tokens"}, "Pass one of sentence_embedding, token_embeddings"),
        ({"instructions": "Find it."}, r"no argument .*Did you mean instruction\?"),
        ({"xyz": 1}, "There are instruction, prompt_name, "),
        ({"profile": "vlm2vec-v2"}, "profile is .*Pass a Profile, such as vlm2vec.profiles.get"),
    ],
)
def test_unknown_values_and_arguments_are_refused_with_those_there_are(
    settings: dict[str, object], fix: str
) -> None:
    with pytest.raises(InputError, match=fix):
        check_settings("raise", **settings)


def test_everything_that_stock_encode_takes_is_known() -> None:
    taken = set(signature(SentenceTransformer.encode).parameters) - {"self", "inputs", "kwargs"}
    assert taken <= set(_ARGUMENTS)
    assert set(_PASSED_ON) <= taken | {"task"}
    check_settings("raise", **dict.fromkeys(_PASSED_ON))


@pytest.mark.parametrize("settings", [{"precision": "int8"}, {"output_value": "token_embeddings"}])
def test_nan_rows_need_float_vectors(settings: dict[str, str]) -> None:
    with pytest.raises(InputError, match="NaN"):
        check_settings("nan", **settings)
    check_settings("raise", **settings)


@pytest.mark.parametrize("name", ["truncate", "normalize_embeddings"])
@pytest.mark.parametrize("value", [np.zeros((2, 2)), "no", [], 0.5])
def test_a_switch_that_is_neither_on_nor_off_is_refused(name: str, value: object) -> None:
    with pytest.raises(InputError, match="Pass True or False"):
        check_settings(**{"on_error": "raise", name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["on_error", "precision", "output_value", "prompt_name"])
@pytest.mark.parametrize("value", [np.zeros((2, 2)), ["raise"], {"nan": 1}, 5])
def test_a_setting_that_is_no_word_is_refused(name: str, value: object) -> None:
    with pytest.raises(InputError):
        check_settings(**{"on_error": "raise", name: value})  # type: ignore[arg-type]
