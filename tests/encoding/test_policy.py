"""What becomes of inputs that failed, and which settings are refused."""

from __future__ import annotations

import pytest
import torch

from vlm2vec.encoding.policy import check_settings, settle_errors
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
    with pytest.raises(ValueError, match=f"{name} is a whole number"):
        check_settings("raise", **{name: value})
    check_settings("raise", **{name: 1})
    check_settings("raise", **{name: None})


@pytest.mark.parametrize("on_error", ["skip", None, 3])
def test_unknown_policies_are_refused(on_error: object) -> None:
    with pytest.raises(ValueError, match="on_error"):
        check_settings(on_error)


@pytest.mark.parametrize("settings", [{"precision": "int8"}, {"output_value": "token_embeddings"}])
def test_nan_rows_need_float_vectors(settings: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="NaN"):
        check_settings("nan", **settings)
    check_settings("raise", **settings)
