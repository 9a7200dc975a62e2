"""Names that others have for settings are said to be what `fit` calls them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from vlm2vec import VLM2Vec
from vlm2vec.errors import InputError
from vlm2vec.training import FitSettings, LoRA
from vlm2vec.training.setting_names import check_report_to

ROWS = [{"query": word, "document": f"a {word} circle"} for word in ("red", "blue", "green")]


@pytest.mark.parametrize(
    ("name", "fix"),
    [
        ("num_train_epochs", "It is called epochs here."),
        ("per_device_train_batch_size", "It is called batch_size here."),
        ("lr", "It is called learning_rate here."),
        ("metric_for_best_model", "It is called keep_best here."),
        ("device", 'Load the model there: VLM2Vec(..., device="cuda").'),
        ("rank", "Pass lora=LoRA(r=8)."),
        ("optim", 'Pass it in training_arguments={"optim": ...}.'),
        ("weight_decy", "Did you mean weight_decay?"),
        ("evall", "Did you mean eval?"),
    ],
)
def test_a_setting_of_others_is_called_as_fit_calls_it(name: str, fix: str, embedded: VLM2Vec) -> None:
    with pytest.raises(InputError) as refusal:
        embedded.fit(ROWS, **{name: 1})
    assert str(refusal.value) == f'unknown setting "{name}". {fix}'


def test_a_setting_that_is_like_none_gets_the_list_and_no_guess() -> None:
    with pytest.raises(InputError, match=r'unknown setting "frobnicate"\. There are batch_size, sub_batch'):
        FitSettings.of({"frobnicate": 1})


def test_every_name_that_is_proposed_is_one() -> None:
    from vlm2vec.training import setting_names

    known = {*FitSettings.__dataclass_fields__, *setting_names._OF_FIT}
    assert set(setting_names._CALLED.values()) <= known
    assert set(setting_names._CALLED_IN_LORA.values()) <= set(LoRA.__dataclass_fields__)
    assert not {*setting_names._CALLED, *setting_names._INSTEAD} & known


@pytest.mark.parametrize("make", [LoRA, lambda **given: LoRA.of(given)])
def test_settings_of_an_adapter_too(make: Any) -> None:
    with pytest.raises(InputError, match=r'lora: unknown "rank"\. It is called r here\.'):
        make(rank=8)
    with pytest.raises(InputError, match=r'lora: unknown "target_module"\. Did you mean target_modules\?'):
        make(target_module=["q_proj"])
    assert make(r=8).r == 8


def test_a_reporter_that_is_not_installed_is_told_before_anything_is_done(
    monkeypatch: pytest.MonkeyPatch, embedded: VLM2Vec
) -> None:
    monkeypatch.setattr("transformers.integrations.get_available_reporting_integrations", lambda: ["wandb"])
    check_report_to(["wandb", "none"])
    with pytest.raises(InputError, match=r"comet_ml.*not installed\. Install it: pip install comet-ml\."):
        embedded.fit([{"query": "never looked at"}], report_to=["wandb", "comet_ml"])
    with pytest.raises(InputError, match=r'transformers does not know\. Did you mean "wandb"\?'):
        check_report_to("wndb")


@pytest.mark.parametrize("given", ["x.jsonl", Path("x.jsonl")])
@pytest.mark.parametrize("side", ["train", "eval"])
def test_a_path_in_place_of_rows_is_called_what_it_is(side: str, given: Any, embedded: VLM2Vec) -> None:
    with pytest.raises(InputError, match=rf"^{side} is a path \(x\.jsonl\)\. Read it first: datasets\.load_"):
        embedded.fit(**{"train": ROWS, side: given})


def test_errors_of_evaluation_rows_do_not_speak_of_training(embedded: VLM2Vec) -> None:
    with pytest.raises(InputError, match=r"^eval: there are no rows"):
        embedded.fit(ROWS, eval=[])
    with pytest.raises(InputError, match=r'^source "eval": "rows" is'):
        embedded.fit(ROWS, eval=b"rows")
