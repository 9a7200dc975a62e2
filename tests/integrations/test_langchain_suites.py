"""`VLM2VecEmbeddings` passes LangChain's own suites for embeddings."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("langchain_core")
pytest.importorskip("langchain_tests")

from langchain_tests.integration_tests import EmbeddingsIntegrationTests
from langchain_tests.unit_tests import EmbeddingsUnitTests

from vlm2vec.integrations.langchain import VLM2VecEmbeddings


class TestUnit(EmbeddingsUnitTests):
    @property
    def embeddings_class(self) -> type[VLM2VecEmbeddings]:
        return VLM2VecEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return {"model_kwargs": {"device": "cpu"}}


@pytest.mark.asyncio  # of the tests, which are all inherited, some are coroutines
@pytest.mark.filterwarnings("ignore:.*it is not an async function:pytest.PytestWarning")
class TestIntegration(EmbeddingsIntegrationTests):
    @property
    def embeddings_class(self) -> type[VLM2VecEmbeddings]:
        return VLM2VecEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return {"model_kwargs": {"device": "cpu"}}
