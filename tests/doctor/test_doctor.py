"""`vlm2vec doctor` says what is there, what is not, and what to do."""

from __future__ import annotations

import json
import os
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pypdfium2
import pytest
import torch

from vlm2vec import cli
from vlm2vec.doctor import devices, examine, files, packages, report
from vlm2vec.media import documents, readers

CODECS = {"H.264", "H.265", "VP8", "VP9", "AV1", "MPEG-4", "MPEG-2", "ProRes", "Motion JPEG"}


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    return examine()


def run(capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, str]:
    with pytest.raises(SystemExit) as ended:
        cli.main(["doctor", *options])
    return int(ended.value.code or 0), capsys.readouterr().out


def test_it_finds_packages_devices_codecs_and_how_pdfs_are_read(found: dict[str, Any]) -> None:
    assert found["packages"]["torch"] == {
        "version": metadata.version("torch"),
        "wanted": found["packages"]["torch"]["wanted"],
        "fits": True,
    }
    cpu = next(device for device in found["devices"] if device["device"] == "cpu")
    assert cpu["threads"] == torch.get_num_threads()
    assert cpu["dtype"] == "float32"
    assert set(found["videos"]["codecs"]) == CODECS
    assert all(found["videos"]["codecs"].values())
    assert all(found["images"].values())
    assert found["pdfs"]["readers"] >= 1
    assert not [problem for problem in found["problems"] if problem["is_serious"]]


def test_where_no_reader_can_start_it_says_why_and_finds_the_same_fonts(
    found: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readers, "_of_this_process", readers.Readers())
    monkeypatch.setattr(documents, "_told", [])
    monkeypatch.setattr(sys, "executable", "/no/such/python3")
    without = files.pdfs()
    assert without["fonts"] == found["pdfs"]["fonts"]
    assert "No such file" in without["no_readers"]


def test_the_screen_and_the_json_say_the_same(
    found: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    code, printed = run(capsys, "--json")
    assert code == 0
    again = json.loads(printed)
    assert again["packages"] == found["packages"]
    assert again.keys() == found.keys()
    code, screen = run(capsys)
    assert code == 0
    assert len(screen.splitlines()) < 40
    assert f"torch {metadata.version('torch')}" in screen
    for problem in found["problems"]:
        assert problem["fix"] in screen


def test_a_package_of_another_version_is_a_problem_with_a_fix(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = metadata.version
    monkeypatch.setattr(metadata, "version", lambda name: "4.0.0" if name == "transformers" else real(name))
    assert packages.packages()["transformers"]["fits"] is False
    code, screen = run(capsys)
    assert code == 1
    assert "transformers is 4.0.0, and " in screen
    assert '-m pip install "transformers' in screen


def test_a_package_that_cannot_be_loaded_is_a_problem_and_the_rest_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, "vlm2vec.doctor.devices")
    monkeypatch.setitem(sys.modules, "sentence_transformers.util", None)
    found = examine()
    assert "devices" not in found
    assert found["images"]
    assert "sentence_transformers.util" in found["problems"][0]["what"]
    assert found["problems"][0]["is_serious"]


def test_an_extra_of_an_extra_is_looked_through(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        if name == "lancedb":
            raise metadata.PackageNotFoundError(name)
        return "1.0"

    monkeypatch.setattr(metadata, "version", version)
    missing = packages.extras()
    assert [line.startswith("lancedb") for line in missing["lancedb"]] == [True]
    assert missing["lancedb"] == missing["index"]


@pytest.mark.parametrize("script", files._FONTS)
def test_the_page_for_a_script_has_its_text(script: str) -> None:
    with pypdfium2.PdfDocument(files._page(*files._FONTS[script])) as document:
        assert document[0].get_textpage().count_chars() == 3


def test_fonts_that_are_not_there_are_told_with_a_fix(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    drawn = {"Chinese": True, "Japanese": False, "Korean": False}
    answers = iter(drawn.values())
    monkeypatch.setattr(files, "_is_drawn", lambda *_: next(answers))
    code, screen = run(capsys)
    assert code == 0
    assert "fonts: Chinese; not Japanese, Korean" in screen
    assert "Japanese and Korean text of PDFs" in screen
    assert "apt-get install fonts-noto-cjk" in screen


def test_the_first_device_is_the_one_that_a_model_gets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"GPU {device.index}")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5 + 3 * device.index))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (2**33, 2**34))
    monkeypatch.setattr(devices, "get_device_name", lambda: "cuda")
    monkeypatch.setattr(devices, "_attention", lambda device, dtype: f"{device} {dtype}")
    monkeypatch.setattr(devices, "why_not_fused", lambda device: "these GPUs are simulated")
    first, second, cpu = devices.devices()
    assert (first["device"], second["device"], cpu["device"]) == ("cuda:0", "cuda:1", "cpu")
    assert (first["name"], first["capability"], first["dtype"]) == ("GPU 0", "7.5", "float32")
    assert (first["memory_gib"], first["free_gib"]) == (16.0, 8.0)
    assert first["default"] == "the first GPU that torch finds"
    assert "default" not in second


def test_a_gpu_that_cannot_be_used_is_a_problem_and_the_rest_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(device: torch.device) -> str:
        raise RuntimeError("CUDA error: out of memory\nCompile with TORCH_USE_CUDA_DSA ...")

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_capability", fails)
    monkeypatch.setattr(devices, "_attention", lambda device, dtype: f"{device} {dtype}")
    monkeypatch.setattr(devices, "get_device_name", lambda: "cuda")
    monkeypatch.setattr(files, "_is_drawn", lambda *_: True)
    code, screen = run(capsys)
    assert code == 1
    assert "cuda:0 cannot be used: CUDA error: out of memory.\n" in screen
    assert "TORCH_USE_CUDA_DSA" not in screen
    assert " cores, " in screen


def test_a_user_without_a_folder_of_his_own_is_told_where_downloads_are(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def unknown() -> Path:
        raise RuntimeError("Could not determine home directory.")

    cache = tmp_path / "not there" / "hub"
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    hub = report._hub()["hub"]
    assert hub["cache"] == f"~{os.sep}{cache.relative_to(tmp_path)}"
    monkeypatch.setattr(Path, "home", unknown)
    assert report._hub()["hub"]["cache"] == str(cache)
    assert hub["free_gib"] > 0
