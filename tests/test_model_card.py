"""Cards: what they say of a model, how long they know it, and that what they print runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from huggingface_hub import ModelCard
from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentence_transformers.base.evaluation import BaseEvaluator
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from sentence_transformers.sentence_transformer.model_card import SentenceTransformerModelCardData
from transformers.utils import is_torchvision_available

from vlm2vec import VLM2Vec
from vlm2vec.checkpoints.load import EMBEDDED_MODEL
from vlm2vec.model_card import VLM2VecModelCardData
from vlm2vec.training import LoRA, TrainingSource
from vlm2vec.training.evaluation import row_evaluator

ROWS = [
    {"query": f"a {colour} {shape}", "document": f"one {shape} in {colour}"}
    for colour in ("red", "blue")
    for shape in ("circle", "star")
]
SOURCE = TrainingSource("shapes", ROWS, homepage="https://huggingface.co/datasets/somebody/shapes")


def quiet(model: VLM2Vec, rows: Any = SOURCE, **settings: Any) -> Any:
    return model.fit(rows, show_progress_bar=False, **{"max_steps": 2, **settings})


def saved(model: VLM2Vec, folder: Path, name: str | None = None) -> str:
    model.save(str(folder), name)
    return card_in(folder)


def card_in(folder: Path) -> str:
    card = (folder / "README.md").read_text(encoding="utf-8")
    for part in (str(folder.parent), str(EMBEDDED_MODEL), str(Path.home()) + "/", "/tmp"):  # noqa: S108
        assert part not in card
    assert "\n\n\n" not in card
    return card


@pytest.fixture(scope="module")
def embedded() -> VLM2Vec:
    """A model of this file's own: evaluators of other tests write into the card of the one they are given."""
    return VLM2Vec(device="cpu")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[VLM2Vec, Path]:
    """A model that was trained from the embedded one, and its folder."""
    model, folder = VLM2Vec(device="cpu"), tmp_path_factory.mktemp("run") / "trained"
    model.model_card_data.license = "mit"
    quiet(model, eval=ROWS, output_dir=folder)
    return model, folder


def test_what_a_card_prints_runs(
    embedded: VLM2Vec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    card = saved(embedded, Path("this/folder").absolute())
    page = PIL.Image.new("RGB", (200, 100), "white")
    page.save("photo.jpg")
    page.save("report.pdf", save_all=True, append_images=[page])
    blocks = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    assert len(blocks) == 3
    names: dict[str, Any] = {}
    for block in blocks if is_torchvision_available() else blocks[:2]:
        exec(block, names)  # noqa: S102
    assert "report.pdf, page " in capsys.readouterr().out
    assert names["model"].encode("a cat") @ embedded.encode("a cat") == pytest.approx(1, abs=1e-5)


def test_a_model_that_was_not_trained_says_so_and_keeps_saying_it(embedded: VLM2Vec, tmp_path: Path) -> None:
    card = saved(embedded, tmp_path / "first")
    assert "as it was loaded from the small model inside `vlm2vec`, without further training" in card
    assert "## Training" not in card
    (tmp_path / "first").rename(tmp_path / "renamed")
    assert saved(VLM2Vec(tmp_path / "renamed", device="cpu"), tmp_path / "again") == card


def test_a_card_says_what_was_trained_on_what(trained: tuple[VLM2Vec, Path]) -> None:
    card = card_in(trained[1])
    data = ModelCard(card).data
    assert (data.license, data.datasets) == ("mit", ["somebody/shapes"])
    assert {"sentence-transformers", "vlm2vec", "multimodal", "image", "video"} <= set(data.tags)
    assert data.library_name == "sentence-transformers"
    assert data.pipeline_tag == "sentence-similarity"
    assert {result.dataset_name for result in data.eval_results} == {"held-out rows"}
    for said in (
        "trained from the small model inside `vlm2vec` on [shapes]",
        "| [shapes](https://huggingface.co/datasets/somebody/shapes) | 4 | 100.0% |",
        "4 queries among 4 documents",
        "| score | before | step 2 |",
        "| steps | 2: 2.0 passes over the rows |",
        "| optimizer | AdamW, learning rate 0.0005 (linear",
        "temperature 0.02",
        "| seed | 42 |",
    ):
        assert said in card
    row = re.search(r"^\| Hit@1 \| (\S+) \| (\S+) \|$", card, re.MULTILINE)
    assert row
    assert all(0 <= float(score) <= 1 for score in row.groups())
    assert card.count("gao2021gradcache") == card.count("oord2018cpc") == 1
    assert "lora" not in card.lower()


def test_the_checkpoint_of_a_step_says_which_it_is(trained: tuple[VLM2Vec, Path]) -> None:
    assert "This is the model after 1 of 2 steps." in card_in(trained[1] / "checkpoint-1")
    assert "of 2 steps" not in card_in(trained[1])


def test_what_was_trained_stays_known(trained: tuple[VLM2Vec, Path], tmp_path: Path) -> None:
    model, folder = trained
    card = card_in(folder)
    assert saved(model, tmp_path / "at once") == card
    assert saved(VLM2Vec(folder, device="cpu"), tmp_path / "loaded") == card
    named = saved(VLM2Vec(tmp_path / "loaded", device="cpu"), tmp_path / "named", "somebody/shapes-model")
    assert named == card.replace("this/folder", "somebody/shapes-model")


def test_what_a_user_writes_into_a_card_stays(trained: tuple[VLM2Vec, Path], tmp_path: Path) -> None:
    model = VLM2Vec(trained[1], device="cpu")
    model.save(str(tmp_path / "loaded"))
    path = tmp_path / "loaded" / "README.md"
    path.write_text(
        path.read_text(encoding="utf-8").replace("## Citation", "## Risks\n\nMany.\n\n## Citation")
    )
    assert "\n## Risks\n\nMany.\n" in saved(VLM2Vec(tmp_path / "loaded", device="cpu"), tmp_path / "again")


@pytest.mark.parametrize("again", [False, True], ids=["in one process", "loaded in between"])
def test_a_model_that_was_trained_twice_says_both(
    trained: tuple[VLM2Vec, Path], tmp_path: Path, again: bool
) -> None:
    model, folder = trained
    if again:
        model = VLM2Vec(folder, device="cpu")
    else:
        model = VLM2Vec(device="cpu")
        model.model_card_data.license = "mit"
        quiet(model, eval=ROWS)
    quiet(model, {"colours": ROWS}, max_steps=1)
    card = saved(model, tmp_path / "twice")
    first, second = re.split(r"^### Run 2$", card.partition("## Training\n")[2], flags=re.MULTILINE)
    assert "| score | before | step 2 |" in first
    assert "From the small model inside `vlm2vec`" in first
    assert "From the model after run 1" in second
    assert "| score |" not in second
    assert "| colours | 4 | 100.0% |" in second
    data = ModelCard(card).data
    assert (data.license, data.datasets, data.eval_results) == ("mit", ["somebody/shapes"], None)
    assert card.count("gao2021gradcache") == 1


def test_an_adapter_says_so_until_it_is_merged(tmp_path: Path) -> None:
    model = VLM2Vec(device="cpu")
    quiet(model, lora=LoRA(r=2, target_modules=("q_proj",)), output_dir=tmp_path / "adapter")
    card = card_in(tmp_path / "adapter")
    assert "a DoRA adapter learned (rank 2, alpha 64, dropout 0.1) on q_proj" in card
    assert "This folder holds an adapter alone." in card
    assert "SentenceTransformer(" not in card
    assert "liu2024dora" in card
    merged = saved(VLM2Vec(tmp_path / "adapter", device="cpu"), tmp_path / "merged")
    assert "adapter alone" not in merged
    assert "a DoRA adapter learned" in merged
    assert 'SentenceTransformer("this/folder")' in merged


def test_each_evaluation_has_its_table(tmp_path: Path) -> None:
    model = VLM2Vec(device="cpu")
    for rows in (ROWS, ROWS[:2]):
        row_evaluator(rows)(model)
    evaluation = saved(model, tmp_path / "evaluated").partition("## Evaluation")[2]
    assert evaluation.count("Information Retrieval, by `InformationRetrievalEvaluator`:") == 2
    assert evaluation.count("| cosine_accuracy@5") == 2


class Falling(BaseEvaluator):  # type: ignore[misc]
    """To whom every step makes the model worse."""

    name, primary_metric = "falling", "score"

    def __call__(self, model: Any, output_path: Any = None, epoch: float = -1, steps: int = -1) -> Any:
        metrics = {"score": 10 - float(steps)}
        self.store_metrics_in_model_card_data(model, metrics, epoch, steps)
        return metrics


def test_scores_are_of_the_weights_that_were_kept(tmp_path: Path) -> None:
    model = VLM2Vec(device="cpu")
    settings = {"max_steps": 3, "eval_steps": 1, "save_steps": 1, "keep_best": "score"}
    quiet(model, eval=Falling(), output_dir=tmp_path / "run", **settings)
    card = card_in(tmp_path / "run")
    assert "This is the model of step 1 of 3, which scored best." in card
    assert "| score | before | step 1 | step 3 |" in card
    assert "| score | 10.0000 | 9.0000 | 7.0000 |" in card
    (result,) = ModelCard(card).data.eval_results
    assert result.metric_value == 9


def test_a_card_that_others_wrote_stays(embedded: VLM2Vec, tmp_path: Path) -> None:
    """And what the weights are from is known after that, too."""
    embedded.save(str(tmp_path / "theirs"))
    theirs = "---\nlicense: mit\ntags:\n- mteb\n---\n\n# Theirs\n\nThe best.\n"
    (tmp_path / "theirs" / "README.md").write_text(theirs)
    card = saved(VLM2Vec(tmp_path / "theirs", device="cpu"), tmp_path / "saved")
    assert card.startswith(theirs)
    assert "as it was loaded from weights of a local folder, without further training" in card
    model = VLM2Vec(tmp_path / "saved", device="cpu")
    assert saved(model, tmp_path / "again") == card
    quiet(model)
    trained = saved(model, tmp_path / "trained")
    assert "The best" not in trained
    assert "trained from weights of a local folder on" in trained


def test_a_snapshot_of_the_hub_is_known_by_its_repository(embedded: VLM2Vec, tmp_path: Path) -> None:
    folder = tmp_path / "models--somebody--tiny" / "snapshots" / ("0" * 40)
    embedded.save(str(folder), create_model_card=False)
    model = VLM2Vec(folder, device="cpu")
    quiet(model)
    data = ModelCard(saved(model, tmp_path / "trained")).data
    assert data.base_model == "somebody/tiny"
    assert data.license is None


def test_a_model_of_the_trainer_of_sentence_transformers(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    model = VLM2Vec(device="cpu")
    arguments = SentenceTransformerTrainingArguments(
        str(tmp_path / "run"), max_steps=1, save_strategy="no", report_to="none", disable_tqdm=True,
        dataloader_pin_memory=False, use_cpu=True,
    )  # fmt: skip
    rows = datasets.Dataset.from_list([{"anchor": row["query"], "positive": row["document"]} for row in ROWS])
    SentenceTransformerTrainer(
        model, arguments, train_dataset=rows, loss=MultipleNegativesRankingLoss(model)
    ).train()
    card = saved(model, tmp_path / "saved")
    assert "With the trainer of sentence-transformers." in card
    assert "| max_steps | 1 |" in card
    assert "without further training" not in card


def test_card_data_of_sentence_transformers_are_taken() -> None:
    given = SentenceTransformerModelCardData(license="mit", language="en", model_id="somebody/tiny")
    data = VLM2Vec(device="cpu", model_card_data=given).model_card_data
    assert isinstance(data, VLM2VecModelCardData)
    assert (data.license, data.language, data.model_id) == ("mit", ["en"], "somebody/tiny")
    assert "vlm2vec" in data.tags


def test_saving_embeds_nothing(embedded: VLM2Vec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(VLM2Vec, "encode", lambda *_, **__: np.zeros(1 / 0))
    assert "Traceback" not in saved(embedded, tmp_path / "saved")
