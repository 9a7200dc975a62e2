"""Smart batches are gone: their names say so, before anything is trained."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from vlm2vec import VLM2Vec
from vlm2vec.errors import InputError
from vlm2vec.training import SmartBatches, SmartBatchSampler, mine_sub_batches

ROWS = [{"query": f"question {number}", "document": f"answer {number}"} for number in range(8)]


@pytest.mark.parametrize(
    "use",
    [
        lambda: mine_sub_batches(VLM2Vec(), ROWS, sub_batch_size=4),
        lambda: SmartBatches.load("groups.npz"),
        lambda: SmartBatches((), neighbours=1, skip=0),
        lambda: SmartBatchSampler(None, batch_size=8),
        lambda: VLM2Vec().fit(ROWS, smart_batches="groups.npz"),
    ],
    ids=["mine_sub_batches", "load", "SmartBatches", "SmartBatchSampler", "fit"],
)
def test_each_name_warns_and_says_what_to_use_instead(use: Callable[[], Any]) -> None:
    with (
        pytest.warns(DeprecationWarning, match=r"not in the package any more, .* goes in vlm2vec 0\.3"),
        pytest.raises(InputError, match="mine_hard_negatives"),
    ):
        use()
