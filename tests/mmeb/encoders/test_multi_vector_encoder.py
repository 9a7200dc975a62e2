"""ColPali through `MultiVectorEncoder`: vectors as plain transformers, and what it does with clips."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sentence_transformers import MultiVectorEncoder
from transformers import ColPaliForRetrieval, ColPaliProcessor

from vlm2vec import mmeb
from vlm2vec.cli import main
from vlm2vec.errors import InputError, MediaError
from vlm2vec.mmeb.encoders import encoder_of
from vlm2vec.mmeb.samples import Content


@pytest.fixture(scope="module")
def colpali(colpali_folder: Path) -> MultiVectorEncoder:
    return MultiVectorEncoder(str(colpali_folder), device="cpu")


class Stock:
    """Plain transformers, one input at a time."""

    def __init__(self, folder: Path) -> None:
        self.network = ColPaliForRetrieval.from_pretrained(folder).eval()
        self.processor = ColPaliProcessor.from_pretrained(folder)

    def text(self, text: str) -> np.ndarray:
        return self._vectors(self.processor.process_queries([text]))

    def picture(self, file: Path) -> np.ndarray:
        features = self.processor.process_images([Image.open(file).convert("RGB")])
        return self._vectors({name: value for name, value in features.items() if name != "labels"})

    def _vectors(self, features: dict[str, torch.Tensor]) -> np.ndarray:
        with torch.no_grad():
            return self.network(**features).embeddings[0].numpy()


def test_vectors_are_those_of_plain_transformers(
    colpali: MultiVectorEncoder, colpali_folder: Path, contents: dict[str, Content]
) -> None:
    encoder, stock = encoder_of(colpali), Stock(colpali_folder)
    assert encoder.late_interaction
    for role in ("query", "document"):
        rows = encoder.encode(list(contents.values()), role=role)
        for (kind, content), row in zip(contents.items(), rows, strict=True):
            picture = content.frames[0] if content.frames else content.image
            expected = stock.text(content.prompt) if picture is None else stock.picture(picture)
            np.testing.assert_allclose(row, expected, atol=1e-5, err_msg=kind)


def test_all_frames_are_their_vectors_together(
    colpali: MultiVectorEncoder, contents: dict[str, Content]
) -> None:
    clip = contents["clip"]
    each = [encoder_of(colpali).encode([Content("", image=frame)], role="query")[0] for frame in clip.frames]
    together, again = encoder_of(colpali, frames="all").encode([clip, clip], role="query")
    np.testing.assert_allclose(together, np.concatenate(each), atol=1e-5)
    np.testing.assert_allclose(again, together, atol=1e-5)
    (middle,) = encoder_of(colpali, frames="middle").encode([clip], role="query")
    np.testing.assert_allclose(middle, each[2], atol=1e-5)
    assert abs(middle - each[0]).max() > 1e-2


def test_a_broken_picture_is_its_own_error(
    colpali: MultiVectorEncoder, contents: dict[str, Content], tmp_path: Path
) -> None:
    (tmp_path / "broken.png").write_bytes(b"no picture")
    Image.new("RGB", (3, 9), "red").save(tmp_path / "narrow.png")
    given = [contents["picture"], Content("", image=tmp_path / "broken.png"), contents["text"]]
    given.append(Content("", image=tmp_path / "narrow.png"))
    rows = encoder_of(colpali).encode(given, role="document")
    assert isinstance(rows[1], MediaError)
    for place in (0, 2):
        (alone,) = encoder_of(colpali).encode([given[place]], role="document")
        np.testing.assert_allclose(rows[place], alone, atol=1e-5)
    assert rows[3].shape == rows[0].shape


def test_other_frames_or_weights_are_another_model(colpali: MultiVectorEncoder) -> None:
    encoder = encoder_of(colpali)
    before = encoder.identity()
    assert encoder_of(colpali, batch_size=2).identity() == before
    assert replace(encoder, frames="all").identity() != before
    weight = next(colpali.parameters()).data
    weight[0] += 1
    assert encoder.identity() != before
    weight[0] -= 1
    with pytest.raises(InputError, match="frames is 'last'"):
        encoder_of(colpali, frames="last")


def test_it_is_evaluated_by_the_same_call(colpali: MultiVectorEncoder) -> None:
    tasks = ["mini-VD", "mini-V-QA"]
    results = mmeb.evaluate(colpali, tasks, name="ColPali")
    assert set(results.scores) == set(tasks)
    assert all(0 <= score <= 100 for score in results.scores.values())


def test_the_command_line_evaluates_it(colpali_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as end:
        chosen = ["--multi-vector", "--frames", "middle", "-t", "mini-V-RET", "--device", "cpu"]
        main(["mmeb", "run", str(colpali_folder), *chosen, "--output", str(tmp_path)])
    assert end.value.code == 0
    results = mmeb.Results.load(tmp_path)
    assert results.model == colpali_folder.name
    assert results.tasks[0].made_of["model"]["frames"] == "middle"
