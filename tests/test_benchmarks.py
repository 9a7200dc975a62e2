"""Each benchmark runs, at a size that takes seconds, and what it reports is what was measured."""

# ruff: noqa: E402, its subject is a folder of scripts and not an installed package

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

ROOT = Path(__file__).parent.parent
sys.path.append(str(ROOT / "benchmarks"))

import attention
import baselines
import encode
import flops
import gpu
import grad_cache
import interleaved
import loading
import memory
import models
import readme_table
import sub_batches
import workloads

from vlm2vec.model import EMBEDDED_MODEL


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models.write_model(tmp_path_factory.mktemp("model"), "tiny")


@pytest.fixture
def writer(tmp_path: Path) -> workloads.Writer:
    return workloads.Writer(tmp_path / "files", workloads.Sizes(quick=True))


def written(module: ModuleType, file: Path, *arguments: str) -> dict[str, Any]:
    module.main(["--quick", "--json", str(file), *arguments])
    content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return content


def test_ways_are_timed_in_turn_after_one_run_each() -> None:
    calls: list[str] = []
    timed = interleaved.interleave(
        {name: lambda name=name: calls.append(name) or name for name in "AB"}, runs=2
    )
    assert calls == list("ABABAB")
    assert timed["B"].result == "B"


def test_both_ways_get_the_same_vectors_of_every_workload(tiny: Path, tmp_path: Path) -> None:
    encoders = encode.Encoders(tiny)
    for name, (_, draw) in workloads.WORKLOADS.items():
        items = draw(workloads.Writer(tmp_path / name, workloads.Sizes(quick=True)))
        expected = encoders.reference(items)
        comparable = [number for number, item in enumerate(items) if item.pdf is None]
        for way, call in encoders.ways(items, torch.float32).items():
            rows = slice(None) if way == encode.OURS else comparable
            np.testing.assert_allclose(call()[rows], expected[rows], atol=5e-7, err_msg=f"{name}, {way}")


def test_a_workload_is_the_same_for_the_same_seed(tmp_path: Path) -> None:
    one, other = (
        workloads.mixed(workloads.Writer(tmp_path / name, workloads.Sizes(quick=True))) for name in ("a", "b")
    )
    assert [item.text for item in one] == [item.text for item in other]
    for mine, same in zip(one, other, strict=True):
        if mine.image:
            assert mine.image.read_bytes() == same.image.read_bytes()


def test_encode_reports_ratios_and_errors(tmp_path: Path) -> None:
    rows = ["queries", "mixed-bfloat16"]
    content = written(encode, tmp_path / "encode.json", "--runs", "1", "--rows", *rows)
    assert [row["name"] for row in content["rows"]] == rows
    for row in content["rows"]:
        seconds = row["seconds"]
        assert row["ratio"] == {way: seconds[way] / seconds[encode.OURS] for way in encode.THEIRS}
    single, half = content["rows"]
    assert single["max_abs_error"][encode.OURS] <= 5e-7
    assert half["min_cosine"][encode.OURS] > 0.999
    assert content["machine"]["torch"] == torch.__version__


def test_memory_counts_what_a_call_takes(tiny: Path, writer: workloads.Writer) -> None:
    items = [workloads.Item("a text")]
    for way in (encode.OURS, encode.STOCK):
        measured = memory.encode_apart(way, tiny, items=items, warm=items, threads=torch.get_num_threads())
        assert measured["loaded"] > measured["peak"] >= 0
        assert measured["seconds"] > 0


def test_memory_sums_up_growth_and_ratio() -> None:
    points = [
        memory.Point("inputs", value, way, seconds=1.0, peak=peak, loaded=500.0)
        for value, way, peak in ((200, "ours", 100.0), (2000, "ours", 105.0), (200, encode.STOCK, 400.0))
    ]
    above, whole, ratio = memory.summary(points).values()
    assert (above, ratio) == (1.05, 4.0)
    assert whole == 605 / 600


def test_a_training_step_gives_the_gradients_of_sentence_transformers(tmp_path: Path) -> None:
    content = written(grad_cache, tmp_path / "steps.json", "--runs", "1", "--budgets", "60", "--curve")
    (row,) = content["steps"]
    assert content["tokens"] > row["budget"]  # so that there are several chunks
    assert row["ratio"][encode.OURS] == row["seconds"][encode.STOCK] / row["seconds"][encode.OURS]
    for way in (encode.OURS, grad_cache.NOTHING_KEPT):
        assert row["loss"][way] == pytest.approx(row["loss"][encode.STOCK], rel=1e-5)
        assert row["gradient"][way]["all"] <= 1e-4


def test_gradients_are_compared_by_length() -> None:
    theirs = {"a": torch.tensor([3.0, 0.0]), "b": torch.tensor([0.0, 4.0])}
    ours = {"a": torch.tensor([3.0, 1.0]), "b": torch.tensor([0.0, 4.0])}
    assert grad_cache.difference(ours, theirs) == pytest.approx({"all": 1 / 5, "worst tensor": 1 / 3})
    with pytest.raises(ValueError, match="other weights"):
        grad_cache.difference({"a": ours["a"]}, theirs)


def test_memory_of_a_step_is_above_the_loaded_model(tiny: Path, writer: workloads.Writer) -> None:
    pairs = grad_cache.draw_pairs(writer, 2, side=56)
    for way in (encode.OURS, encode.STOCK):
        point = grad_cache.step_apart(way, tiny, pairs=pairs, budget=60, threads=torch.get_num_threads())
        assert point["loaded"] > point["peak"] >= 0
        assert point["seconds"] > 0


@pytest.mark.slow
def test_memory_measures_each_point_in_a_process_of_its_own(tmp_path: Path) -> None:
    content = written(memory, tmp_path / "memory.json", "--curves", "pages of a document")
    assert [point["way"] for point in content["points"]] == [encode.OURS, encode.STOCK]


@pytest.mark.slow
def test_sizes_of_sub_batches_are_trained_and_scored(tmp_path: Path) -> None:
    settings = ["--sizes", "0", "2", "--steps", "1", "--batch-size", "4"]
    content = written(sub_batches, tmp_path / "sizes.json", str(EMBEDDED_MODEL), *settings)
    assert [run["sub-batch size"] for run in content["runs"]] == [0, 2]
    assert all(0 <= run["scores"]["text to image"]["percent"] <= 100 for run in content["runs"])


def test_growth_is_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", exc_type=ImportError)
    import plots

    points = [{"curve": "inputs", "way": "ours", "value": n, "seconds": n, "peak": 5} for n in (1, 2)]
    measured = {"machine": {"processor": "a processor", "threads": 2}, "model": "tiny", "points": points}
    file = tmp_path / "memory.json"
    file.write_text(json.dumps(measured), encoding="utf-8")
    plots.main([str(file), "--folder", str(tmp_path)])
    assert "a processor, 2 threads, model tiny" in (tmp_path / "growth.svg").read_text(encoding="utf-8")


@pytest.mark.usefixtures("packed_operator")
def test_blocks_of_attention_are_timed_against_torchs_kernel(tmp_path: Path) -> None:
    file = tmp_path / "attention.json"
    attention.main(["--lengths", "600", "--runs", "1", "--json", str(file)])
    (one,) = json.loads(file.read_text(encoding="utf-8"))["comparisons"]
    assert one["work"] == "600 patches"
    assert one["ratio"] == one["theirs"] / one["ours"]


@pytest.mark.usefixtures("packed_operator")
def test_attention_that_differs_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "blocked_attention", lambda query, *_, **__: query)
    with pytest.raises(SystemExit, match="different outputs"):
        attention.main(["--lengths", "600", "--runs", "1"])


def test_the_gpu_benchmark_runs_on_a_processor_too(tmp_path: Path) -> None:
    rows = ["images", "mixed"]
    arguments = ["--device", "cpu", "--runs", "1", "--rows", *rows]
    content = written(gpu, tmp_path / "gpu.json", *arguments)
    assert [row["name"] for row in content["rows"]] == rows
    for row in content["rows"]:
        assert 0 <= row["waiting_share"][encode.OURS] < 1
        assert row["min_cosine"] > 0.999


def test_overlapping_work_counts_once() -> None:
    assert gpu.covered([(0, 4), (1, 2), (3, 6), (8, 9)]) == 7


def test_operations_are_those_that_torch_counts(tiny: Path, writer: workloads.Writer) -> None:
    from torch.utils.flop_counter import FlopCounterMode

    padded = baselines.Padded(tiny, dtype=torch.float32, device="cpu")
    padded.network.set_attn_implementation("eager")
    text = padded.network.config.text_config
    for item in (workloads.Item(writer.prose(30)), workloads.Item(writer.caption(), video=writer.clip(1))):
        features = padded.features([item])
        with FlopCounterMode(display=False) as counted, torch.inference_mode():
            padded.network(**features, use_cache=False)
        length = features["input_ids"].shape[1]
        # Eager attention computes what the causal mask then hides.
        hidden = text.num_hidden_layers * 2 * text.hidden_size * length * (length - 1)
        assert flops.flops_of(padded.network.config, features) == counted.get_total_flops() - hidden


def test_the_readme_shows_what_was_measured() -> None:
    readme_table.main(["--check"])


def test_tables_of_older_versions_are_folded_away(tmp_path: Path) -> None:
    measured = {"machine": {"processor": "new", "threads": 2, "torch": "2"}, "gflops": {}, "model": "small"}
    older = {**measured, "machine": {**measured["machine"], "processor": "old"}, "note": "Older."}
    for name, content in (("a", older), ("b", measured)):
        (tmp_path / f"encode-{name}.json").write_text(json.dumps({**content, "rows": []}), encoding="utf-8")
    before, folded, after = readme_table.section(tmp_path).partition("<details>")
    assert folded
    assert before.startswith("new, 2 threads")
    assert "old, 2 threads" not in before
    assert "old, 2 threads" in after
    assert "Older." in after
    assert after.endswith("</details>\n")


def test_the_readme_keeps_what_is_around_its_table() -> None:
    text = f"before {readme_table.BEGIN}\nold\n{readme_table.END} after"
    assert readme_table.filled(text, "new\n") == text.replace("old", "new")
    with pytest.raises(SystemExit, match="needs the lines"):
        readme_table.filled("no markers", "new\n")


@pytest.mark.slow
def test_loading_is_measured_for_both_checkpoints_and_types(tmp_path: Path) -> None:
    content = written(loading, tmp_path / "loading.json", "--threads", "1")
    assert [(row["checkpoint"], row["asked"]) for row in content["rows"]] == [
        ("merged", None), ("merged", "float32"), ("adapter", None), ("adapter", "float32")
    ]  # fmt: skip
    for row in content["rows"]:
        assert row["peak_gib"] >= row["load_peak_gib"] >= row["imports_gib"] > 0
        assert len(row["encode_seconds"]) == (3 if row["checkpoint"] == "merged" else 0)
