"""InfoNCE against loops over pairs."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F  # noqa: N812

from vlm2vec.errors import InputError
from vlm2vec.training.loss.info_nce import InfoNCE


def unit(rows: int, seed: int, dim: int = 6) -> torch.Tensor:
    return F.normalize(torch.randn(rows, dim, generator=torch.Generator().manual_seed(seed)), dim=1)


QUERIES, DOCUMENTS = unit(4, 0), unit(7, 1)
POSITIVES = torch.tensor([2, 0, 5, 6])


def looped(
    queries: torch.Tensor,
    documents: torch.Tensor,
    *,
    temperature: float = 0.1,
    skip: set[tuple[int, int]] = frozenset(),
    hardness: float = 0.0,
) -> float:
    losses = []
    for i, query in enumerate(queries.tolist()):
        own = int(POSITIVES[i])
        total, right = 0.0, 0.0
        for j, document in enumerate(documents.tolist()):
            cosine = sum(a * b for a, b in zip(query, document, strict=True))
            if j == own:
                right = math.exp(cosine / temperature)
                total += right
            elif (i, j) not in skip:
                total += math.exp(hardness * cosine) * math.exp(cosine / temperature)
        losses.append(-math.log(right / total))
    return sum(losses) / len(losses)


def test_equals_the_loop() -> None:
    loss = InfoNCE(temperature=0.1)(QUERIES, DOCUMENTS, POSITIVES)
    assert loss.item() == pytest.approx(looped(QUERIES, DOCUMENTS), rel=1e-5)


def test_documents_that_are_as_right_are_no_negatives() -> None:
    same = torch.zeros(4, 7, dtype=torch.bool)
    same[1, 3] = same[2, 5] = same[3, 1] = True  # of query 2 it is the own document, which stays
    loss = InfoNCE(temperature=0.1)(QUERIES, DOCUMENTS, POSITIVES, same=same)
    assert loss.item() == pytest.approx(looped(QUERIES, DOCUMENTS, skip={(1, 3), (3, 1)}), rel=1e-5)


def test_false_negatives_are_left_out_by_margin() -> None:
    similarity = QUERIES @ DOCUMENTS.T
    skip = {
        (i, j)
        for i in range(4)
        for j in range(7)
        if similarity[i, j] > similarity[i, POSITIVES[i]] + 0.2 and j != POSITIVES[i]
    }
    assert skip
    loss = InfoNCE(temperature=0.1, false_negative_margin=0.2)(QUERIES, DOCUMENTS, POSITIVES)
    assert loss.item() == pytest.approx(looped(QUERIES, DOCUMENTS, skip=skip), rel=1e-5)


def test_hard_negatives_weigh_more() -> None:
    loss = InfoNCE(temperature=0.1, hardness=2.0)(QUERIES, DOCUMENTS, POSITIVES)
    assert loss.item() == pytest.approx(looped(QUERIES, DOCUMENTS, hardness=2.0), rel=1e-5)


def test_both_directions() -> None:
    one_way = looped(QUERIES, DOCUMENTS)
    back = 0.0
    for i in range(4):
        scores = [float(query @ DOCUMENTS[POSITIVES[i]]) / 0.1 for query in QUERIES]
        back -= math.log(math.exp(scores[i]) / sum(map(math.exp, scores))) / 4
    loss = InfoNCE(temperature=0.1, symmetric=True)(QUERIES, DOCUMENTS, POSITIVES)
    assert loss.item() == pytest.approx((one_way + back) / 2, rel=1e-5)


def test_a_document_of_two_queries_rejects_neither() -> None:
    vectors = torch.eye(3)
    loss = InfoNCE(temperature=0.01, symmetric=True)(vectors[[0, 0, 1]], vectors[:2], torch.tensor([0, 0, 1]))
    assert loss.item() == pytest.approx(0, abs=1e-6)


def test_autocast_does_not_round_similarities() -> None:
    near = F.normalize(unit(4, 2) * 0.05 + unit(1, 3), dim=1).requires_grad_()
    losses = []
    for enabled in (False, True):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            losses.append(InfoNCE()(near, DOCUMENTS, POSITIVES))
    assert losses[0].item() == losses[1].item()


def test_ranks_share_the_gradient_of_the_temperature() -> None:
    whole, part = (InfoNCE(temperature=0.1, learn_temperature=True) for _ in range(2))
    whole(QUERIES, DOCUMENTS, POSITIVES).backward()
    part(QUERIES, DOCUMENTS, POSITIVES, ranks=4).backward()
    assert whole.log_temperature.grad is not None
    torch.testing.assert_close(4 * part.log_temperature.grad, whole.log_temperature.grad)


def test_first_components_are_trained_alone() -> None:
    short = [F.normalize(vectors[:, :3], dim=1) for vectors in (QUERIES, DOCUMENTS)]
    loss = InfoNCE(temperature=0.1, matryoshka_dims=(3,))(QUERIES, DOCUMENTS, POSITIVES)
    assert loss.item() == pytest.approx((looped(QUERIES, DOCUMENTS) + looped(*short)) / 2, rel=1e-5)


def test_a_learned_temperature_gets_the_gradient_of_its_logarithm() -> None:
    module = InfoNCE(temperature=0.1, learn_temperature=True)
    module(QUERIES, DOCUMENTS, POSITIVES).backward()
    step = 1e-3
    above, below = (
        looped(QUERIES, DOCUMENTS, temperature=math.exp(math.log(0.1) + sign * step)) for sign in (1, -1)
    )
    assert module.log_temperature.grad is not None
    assert module.log_temperature.grad.item() == pytest.approx((above - below) / (2 * step), rel=1e-3)
    assert module.temperature == pytest.approx(0.1)
    assert not list(InfoNCE().parameters())


@pytest.mark.parametrize(
    "settings",
    [
        {"temperature": 0},
        {"temperature": math.inf},
        {"matryoshka_dims": (0,)},
        {"hardness": math.nan},
        {"false_negative_margin": "a"},
    ],
    ids=str,
)
def test_senseless_settings_are_errors(settings: dict[str, object]) -> None:
    with pytest.raises(InputError):
        InfoNCE(**settings)  # type: ignore[arg-type]


def test_more_components_than_there_are_is_an_error() -> None:
    with pytest.raises(InputError, match="6 components"):
        InfoNCE(matryoshka_dims=(8,))(QUERIES, DOCUMENTS, POSITIVES)
