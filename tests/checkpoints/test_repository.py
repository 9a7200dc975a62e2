"""A repository that is not there is told after one question, and one that is in the cache without any."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils import httpx

from vlm2vec.checkpoints import repository
from vlm2vec.checkpoints.folder import check_path
from vlm2vec.checkpoints.repository import check_repository
from vlm2vec.errors import CheckpointError


def answering(patch: pytest.MonkeyPatch, error: Exception | None) -> list[str]:
    """The hub's answer to each question; the names that it was asked for."""
    asked: list[str] = []

    class Api:
        def model_info(self, name: str, **_: Any) -> None:
            asked.append(name)
            if error is not None:
                raise error

    patch.setattr(repository, "HfApi", Api)
    patch.setattr(repository, "HF_HUB_OFFLINE", False)
    return asked


def status(code: int) -> HfHubHTTPError:
    request = httpx.Request("GET", "https://huggingface.co/api/models/some/body")
    return HfHubHTTPError("the hub says no", response=httpx.Response(code, request=request))


def test_a_hub_that_cannot_be_reached_is_asked_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked = answering(monkeypatch, httpx.ConnectError("Name or service not known"))
    with pytest.raises(CheckpointError, match=r"hub cannot be reached \(ConnectError: Name or serv"):
        check_repository("some/body", cache_folder=str(tmp_path))
    assert asked == ["some/body"]


def test_a_misspelt_name_gets_the_one_that_is_meant(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    answering(monkeypatch, status(404))
    with pytest.raises(CheckpointError, match=r'the hub gave none.*mean "Qwen/Qwen3-VL-Embedding-2B"'):
        check_repository("Qwen/Qwen3-VL-Embeding-2B", cache_folder=str(tmp_path))


@pytest.mark.parametrize("error", [None, status(503), status(429), httpx.ReadTimeout("slow")])
def test_what_is_there_or_may_be_is_left_to_the_loaders(
    error: Exception | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert answering(monkeypatch, error) == []
    check_repository("some/body", cache_folder=str(tmp_path))


@pytest.mark.parametrize("by_environment", [False, True])
def test_what_is_in_the_cache_is_not_asked_for(
    by_environment: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked = answering(monkeypatch, status(404))
    cache = None if by_environment else str(tmp_path)
    if by_environment:  # as sentence-transformers reads it
        monkeypatch.setenv("SENTENCE_TRANSFORMERS_HOME", str(tmp_path))
    folder = tmp_path / "models--some--body"
    (folder / "snapshots" / "abc").mkdir(parents=True)
    (folder / "snapshots" / "abc" / "config.json").write_text("{}", encoding="utf-8")
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("abc", encoding="utf-8")
    check_repository("some/body", cache_folder=cache, local_files_only=True)
    assert asked == []
    with pytest.raises(CheckpointError, match="local_files_only is set"):
        check_repository("some/other", cache_folder=cache, local_files_only=True)
    assert asked == []


def test_a_name_without_an_owner_is_a_folder_or_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match=r"mymodel: there is no such folder, and an id on the hub is"):
        check_path("mymodel")
    with pytest.raises(CheckpointError, match='Did you mean "Qwen/Qwen3-VL-Embedding-2B"'):
        check_path("qwen3-vl-embedding-2b")
    Path("mymodel").mkdir()
    check_path("mymodel")
