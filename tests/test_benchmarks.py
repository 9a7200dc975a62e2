"""Each benchmark runs, at a size that takes seconds, and what it reports is what was measured."""

# ruff: noqa: E402, its subject is a folder of scripts and not an installed package

from __future__ import annotations

import base64
import json
import operator
import sys
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from torch.autograd import DeviceType
from torch.autograd.profiler_util import EventList, FunctionEvent
from torch.profiler import ProfilerActivity
from transformers import AutoConfig, AutoModel

from vlm2vec.blocks import fused

ROOT = Path(__file__).parent.parent
TINY_QWEN3_VL = Path(__file__).parent / "data" / "golden_qwen3_vl" / "tiny_qwen3vl"
sys.path.append(str(ROOT / "benchmarks"))

import baselines
import encode
import flops
import gpu
import gpu_tables
import grad_cache
import interleaved
import loading
import memory
import models
import readme_table
import serve
import sub_batches
import watch
import ways
import workloads

from vlm2vec import VLM2Vec
from vlm2vec.encoding.settings import EngineSettings
from vlm2vec.model import EMBEDDED_MODEL
from vlm2vec.module import InputModule


@pytest.fixture(scope="module")
def tinies(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("model")
    return {network: models.write_model(folder, "tiny", network) for network in models.NETWORKS}


@pytest.fixture(scope="module")
def tiny(tinies: dict[str, Path]) -> Path:
    return tinies[models.DEFAULT_NETWORK]


@pytest.fixture(params=models.NETWORKS)
def tiny_of_each(tinies: dict[str, Path], request: pytest.FixtureRequest) -> Path:
    return tinies[request.param]


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


def test_both_ways_get_the_same_vectors_of_every_workload(tiny_of_each: Path, tmp_path: Path) -> None:
    encoders = encode.Encoders(tiny_of_each)
    for name, (_, draw) in workloads.WORKLOADS.items():
        items = draw(workloads.Writer(tmp_path / name, workloads.Sizes(quick=True)))
        expected = encoders.reference(items)
        comparable = [number for number, item in enumerate(items) if item.pdf is None]
        for way, call in encoders.ways(items, torch.float32).items():
            rows = slice(None) if way == encode.OURS else comparable
            np.testing.assert_allclose(call()[rows], expected[rows], atol=5e-7, err_msg=f"{name}, {way}")


def test_stock_processors_give_the_tokens_and_positions_of_ours(
    tiny_of_each: Path, writer: workloads.Writer
) -> None:
    padded = baselines.Padded(tiny_of_each, dtype=torch.float32, device="cpu")
    module = encode.Encoders(tiny_of_each).load(encode.OURS, torch.float32)[0]
    item = workloads.Item(writer.caption(), video=writer.clip(1), instruction=workloads.QUERY)
    theirs, ours = padded.features([item]), module.preprocess([item.ours()], item.instruction)
    assert theirs["input_ids"].tolist() == ours["input_ids"].tolist()
    names = ("input_ids", "mm_token_type_ids", "video_grid_thw")
    positions, _ = padded.network.get_rope_index(**{name: theirs[name] for name in names})
    assert positions.permute(1, 2, 0).tolist() == ours["position_ids"].tolist()


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


def test_encode_times_networks_in_one_run(tmp_path: Path) -> None:
    networks = ["--network", "qwen2_vl", "--network", "qwen2_5_vl", "qwen3_vl"]
    content = written(encode, tmp_path / "encode.json", "--runs", "1", "--rows", "latency", *networks)
    assert [row["network"] for row in content["rows"]] == ["qwen2_vl", "qwen2_5_vl", "qwen3_vl"]
    rate = max(rate for name, rate in content["gflops"].items() if name.startswith("float32"))
    for row in content["rows"]:
        at_the_rate = row["gflop"] / rate
        for way in (encode.OURS, *encode.THEIRS):
            share = at_the_rate / row["seconds"][way]
            assert row["share_of_matrix_rate"][way] == pytest.approx(share)
            per_thread = row["cpu_seconds"][way] / content["machine"]["threads"]
            assert row["cpu_share_of_matrix_rate"][way] == pytest.approx(at_the_rate / per_thread)
        assert row["max_abs_error"][encode.OURS] <= 5e-7


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


@pytest.mark.slow
def test_an_index_is_searched_beside_numpy_and_its_memory_measured(tmp_path: Path) -> None:
    pytest.importorskip("lancedb", reason="the extra index is not installed")
    import index

    content = written(index, tmp_path / "index.json")
    for storage in ("float32", "float16"):
        assert content["search"][storage]["ann recall"] > 0.9
    assert content["search"]["float16"]["bytes"] < content["search"]["float32"]["bytes"]
    assert content["sync"][0]["files"] == 4


def test_growth_is_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", exc_type=ImportError)
    import plots

    points = [{"curve": "inputs", "way": "ours", "value": n, "seconds": n, "peak": 5} for n in (1, 2)]
    measured = {"machine": {"processor": "a processor", "threads": 2}, "model": "tiny", "points": points}
    file = tmp_path / "memory.json"
    file.write_text(json.dumps(measured), encoding="utf-8")
    plots.main([str(file), "--folder", str(tmp_path)])
    assert "a processor, 2 threads, model tiny" in (tmp_path / "growth.svg").read_text(encoding="utf-8")


@pytest.fixture(autouse=True)
def fused_kernels_are_not_interpreted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where Triton is installed for other tests, a benchmark of them on a CPU would take ten minutes."""
    monkeypatch.setattr(fused, "_REFUSED", {torch.device("cpu"): "interpreted, they are too slow"})


FIRST = ("--models", next(iter(gpu.MODELS)))


def on_cpu(file: Path, *arguments: str) -> dict[str, Any]:
    return written(gpu, file, "--device", "cpu", "--runs", "1", *arguments)


@pytest.mark.slow
def test_the_gpu_benchmark_measures_every_row_on_a_processor_too(tmp_path: Path) -> None:
    content = on_cpu(tmp_path / "gpu.json")
    every = [(row["model"], row["name"]) for row in content["rows"]]
    assert sorted(every) == sorted((model, row) for model in gpu.MODELS for row in (*gpu.ROWS, gpu.TRAINING))
    telling = len(gpu.MOST_TELLING)
    assert [name for _, name in every[: 2 * telling]] == [*gpu.MOST_TELLING] * 2
    steps = [row for row in content["rows"] if row["name"] == gpu.TRAINING]
    rows = [row for row in content["rows"] if row not in steps]
    first, second = gpu.MODELS
    for row in (row for row in rows if row["model"] == second):
        assert row["ratio"] is None
    for row in (row for row in rows if row["model"] == first):
        timed = [way for way in (encode.OURS, *gpu.THEIRS) if row["ways"][way]["timed_runs"]]
        assert len(timed) == 2, "ours, and the faster of theirs"
        seconds, theirs = (row["ways"][way]["seconds"] for way in timed)
        assert row["ratio"] == theirs / seconds
    for row in rows:
        ours = row["ways"][encode.OURS]
        assert 0 < ours["forward_seconds"] < ours["seconds"]
        at_the_peak = row["tflop"] / content["matrix_tflops"]
        assert ours["share_of_matrix_rate"] == pytest.approx(at_the_peak / ours["seconds"])
        assert ours["forward_share_of_matrix_rate"] == pytest.approx(at_the_peak / ours["forward_seconds"])
        assert row["errors"][encode.OURS]["min_cosine"] > 0.999
    for row in content["rows"]:
        assert 0 <= row["profile"]["waiting_share"] < 1
        shares = [kernel["share"] for kernel in row["profile"]["kernels"]]
        assert shares == sorted(shares, reverse=True)
        assert len(shares) == 10
    for step in steps:
        assert len(step["steps"]) == len(gpu.BATCH_SIZES)
        assert all(one["seconds"] > 0 and np.isfinite(one["loss"]) for one in step["steps"])


def test_other_settings_are_timed_beside_the_default(tmp_path: Path) -> None:
    asked = ["share_prefixes=false", "kernel=torch,pooled_only=false"]
    content = on_cpu(tmp_path / "gpu.json", *FIRST, "--rows", "texts", "--settings", *asked)
    (row,) = content["rows"]
    for text in asked:
        assert row["ways"][f"{encode.OURS}, {text}"]["timed_runs"] == 1
        assert row["errors"][f"{encode.OURS}, {text}"]["min_cosine"] > 0.999


def test_a_setting_that_fails_costs_its_own_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pack = InputModule.pack

    def no_kernel(*given: Any, share_prefixes: bool, **settings: Any) -> Any:
        if not share_prefixes:
            raise RuntimeError("cannot be built here")
        return pack(*given, share_prefixes=share_prefixes, **settings)

    monkeypatch.setattr(InputModule, "pack", no_kernel)
    given = (*FIRST, "--rows", "one-query", "--settings", "share_prefixes=false")
    (row,) = on_cpu(tmp_path / "gpu.json", *given)["rows"]
    assert row["ways"][f"{encode.OURS}, share_prefixes=false"] == {
        "error": "RuntimeError: cannot be built here"
    }
    assert row["ways"][encode.OURS]["timed_runs"]


@pytest.mark.parametrize("text", ["share_prefixes", "no_such=1"])
def test_settings_that_the_engine_does_not_have_are_wrong_usage(text: str, tmp_path: Path) -> None:
    with pytest.raises((SystemExit, TypeError)):
        on_cpu(tmp_path / "gpu.json", "--settings", text)


def test_what_is_off_by_default_is_switched_on_alone_and_together(monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclass(frozen=True)
    class Settings:
        shares: bool = True
        fused: bool = False
        newer: bool = False

    monkeypatch.setattr(ways, "EngineSettings", Settings)
    on = [way.settings for way in ways.off_by_default()]
    assert on == [Settings(fused=True), Settings(newer=True), Settings(fused=True, newer=True)]


def test_a_way_is_left_as_it_was_found(embedded: VLM2Vec) -> None:
    before = embedded.engine_settings, embedded[0].limits
    way = ways.Way("mine", EngineSettings(pooled_only=False), readers=7)
    with way.set_in(embedded):
        assert not embedded.engine_settings.pooled_only
        assert embedded[0].limits.readers == 7
    assert (embedded.engine_settings, embedded[0].limits) == before


def test_rows_come_in_the_order_of_their_worth() -> None:
    assert gpu.in_order_of_worth(["a", "b"], ["clips", "texts"]) == [
        ("a", "texts"), ("b", "texts"), ("a", "clips"), ("b", "clips")
    ]  # fmt: skip


def test_rows_of_the_gpu_benchmark_are_kept_when_another_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "gpu.json"
    before: list[str] = []

    def fail(writer: workloads.Writer) -> list[workloads.Item]:
        before.extend(row["name"] for row in json.loads(file.read_text(encoding="utf-8"))["rows"])
        raise torch.OutOfMemoryError("no memory left")

    monkeypatch.setitem(gpu.ROWS, "texts", ("texts", fail))
    with pytest.raises(SystemExit, match="failed: texts of Qwen2-VL-2B"):
        on_cpu(file, *FIRST, "--rows", "images-768", "texts", "queries")
    assert before == ["images-768"]
    first, failed, last = json.loads(file.read_text(encoding="utf-8"))["rows"]
    assert failed["error"] == "OutOfMemoryError: no memory left"
    assert first["ratio"] > 0
    assert last["ratio"] > 0


def test_the_gpu_benchmark_goes_on_without_sentence_transformers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise ImportError("no torchvision")

    monkeypatch.setattr(encode, "Stock", refuse)
    (row,) = on_cpu(tmp_path / "gpu.json", *FIRST, "--rows", "one-query")["rows"]
    assert [row["ways"][way] for way in gpu.THEIRS] == [{"error": "ImportError: no torchvision"}] * 2
    assert row["ratio"] is None
    assert row["ways"][encode.OURS]["seconds"] > 0


def test_the_gpu_benchmark_skips_rows_when_its_time_is_over(tmp_path: Path) -> None:
    content = on_cpu(tmp_path / "gpu.json", "--max-seconds", "0")
    assert {row["skipped"] for row in content["rows"]} == {"0 seconds are over"}


def test_the_gpu_benchmark_refuses_what_would_encode_past_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "SentenceTransformer", object)
    with pytest.raises(SystemExit, match=r"older than 6\.2"):
        gpu.main(["--device", "cpu"])


def test_copies_of_a_drawn_network_have_its_weights_and_exact_positions(tmp_path: Path) -> None:
    settings = models.write_settings(tmp_path, "tiny")
    drawn = models.draw_network(settings, dtype=torch.bfloat16)
    same, exact = (models.copy_of(drawn, dtype) for dtype in (torch.bfloat16, torch.float32))
    assert all(map(operator.is_, same.parameters(), drawn.parameters()))
    for weight, expected in zip(exact.parameters(), drawn.parameters(), strict=True):
        assert weight.dtype == torch.float32
        assert torch.equal(weight, expected.float())
    for network in (drawn, same, exact):
        for name, frequencies in models.draw_network(settings).named_buffers():
            torch.testing.assert_close(network.get_buffer(name), frequencies, rtol=0, atol=0)


def test_a_gpu_is_watched_by_its_own_clock_and_counters(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    class Event:
        def __init__(self, *, enable_timing: bool) -> None:
            assert enable_timing

        def record(self) -> None:
            calls.append("event")
            self.second = 3 ** calls.count("event")

        def elapsed_time(self, end: Event) -> float:
            return 1e3 * (end.second - self.second)

    held, peak = 2 * 2**20, 7 * 2**20
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda: held)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: peak)
    for name in ("synchronize", "reset_peak_memory_stats", "empty_cache"):
        monkeypatch.setattr(torch.cuda, name, lambda name=name: calls.append(name))
    network = torch.nn.Identity()
    run = watch.watched(lambda: [network(number) for number in (1, 2)], network, "cuda")
    # What went before has ended when the clock starts, and the call has when it stops.
    assert calls == ["reset_peak_memory_stats", "synchronize", *["event"] * 4, "synchronize"]
    assert run.result == [1, 2]
    assert run.forward_seconds == (9 - 3) + (81 - 27)
    assert run.peak_mb == 5
    network(3)
    watch.give_back("cuda")
    assert calls[-2:] == ["synchronize", "empty_cache"], "no hook is left"


def test_kernels_of_a_gpu_are_summed_up_without_what_the_host_does(monkeypatch: pytest.MonkeyPatch) -> None:
    ran = [
        ("launch", DeviceType.CPU, 0, 900),
        ("product", DeviceType.CUDA, 100, 400),
        ("norm", DeviceType.CUDA, 400, 500),
        ("product", DeviceType.CUDA, 600, 700),
    ]
    events = EventList(
        [
            FunctionEvent(number, name, 0, begin, end, stack=[], device_type=kind, use_device="cuda")
            for number, (name, kind, begin, end) in enumerate(ran)
        ],
        use_device="cuda",
    )
    events._build_tree()
    profile = mock.MagicMock()
    profile.return_value.__enter__.return_value = mock.Mock(
        events=lambda: events, key_averages=events.key_averages
    )
    monkeypatch.setattr(watch, "profile", profile)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    monkeypatch.setattr(watch.time, "perf_counter", iter([0.0, 1e-3]).__next__)
    seen = watch.profiled(lambda: None, "cuda")
    assert profile.call_args == mock.call(activities=[ProfilerActivity.CUDA])
    assert seen["waiting_share"] == pytest.approx(1 - 0.5)
    found = [(kernel["name"], kernel["calls"], kernel["share"]) for kernel in seen["kernels"]]
    assert found == [("product", 2, pytest.approx(0.8)), ("norm", 1, pytest.approx(0.2))]
    assert seen["kernels"][0]["seconds"] == pytest.approx(400e-6)


def test_numbers_that_are_there_stay_when_writing_is_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "numbers.json"
    interleaved.write_json(file, {"rows": [1]})
    write = Path.write_text

    def half(path: Path, text: str, **settings: Any) -> None:
        write(path, text[: len(text) // 2], **settings)
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_text", half)
    with pytest.raises(KeyboardInterrupt):
        interleaved.write_json(file, {"rows": [1, 2]})
    assert json.loads(file.read_text(encoding="utf-8")) == {"rows": [1]}


def test_overlapping_work_counts_once() -> None:
    assert watch.covered([(0, 4), (1, 2), (3, 6), (8, 9)]) == 7


def test_operations_are_those_that_torch_counts(tiny_of_each: Path, writer: workloads.Writer) -> None:
    padded = baselines.Padded(tiny_of_each, dtype=torch.float32, device="cpu")
    padded.network.set_attn_implementation("eager")
    text, clip = workloads.Item(writer.prose(30)), workloads.Item(writer.caption(), video=writer.clip(1))
    wider_than_a_window = workloads.Item(image=writer.image(720, 320))
    for item in (text, clip, wider_than_a_window):
        features = padded.features([item])
        counted = counted_operations(padded.network, features)
        assert flops.flops_of(padded.network.config, features) == counted
    assert features["image_grid_thw"].max() > 8


def test_operations_count_heads_that_do_not_fill_the_width() -> None:
    network = AutoModel.from_config(AutoConfig.from_pretrained(TINY_QWEN3_VL), attn_implementation="eager")
    config = network.config.text_config
    assert config.head_dim * config.num_attention_heads != config.hidden_size
    ids = torch.arange(20)[None]
    features = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    assert flops.flops_of(network.config, features) == counted_operations(network, features)


def counted_operations(network: torch.nn.Module, features: Any) -> int:
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counted, torch.inference_mode():
        network(**features, use_cache=False)
    text, length = network.config.text_config, features["input_ids"].shape[1]
    width = text.num_attention_heads * getattr(text, "head_dim", text.hidden_size // text.num_attention_heads)
    # Eager attention computes what the causal mask then hides.
    return counted.get_total_flops() - text.num_hidden_layers * 2 * width * length * (length - 1)


def test_operations_of_a_plan_are_those_of_decoded_inputs(tiny_of_each: Path, tmp_path: Path) -> None:
    padded = baselines.Padded(tiny_of_each, dtype=torch.float32, device="cpu")
    ours = encode.Encoders(tiny_of_each).load(encode.OURS, torch.float32)
    items = workloads.mixed(workloads.Writer(tmp_path, workloads.Sizes(quick=True)))
    for item, plan in zip(items, encode.plans_of(ours, items), strict=True):
        decoded = flops.flops_of(padded.network.config, padded.features([item]))
        assert flops.flops_of_plans(padded.network.config, [plan]) == decoded


def test_the_readme_shows_what_was_measured() -> None:
    readme_table.main(["--check"])


def test_tables_of_older_versions_are_left_out(tmp_path: Path) -> None:
    measured = {"machine": {"processor": "new", "threads": 2, "torch": "2"}, "gflops": {}, "model": "small"}
    older = {**measured, "machine": {**measured["machine"], "processor": "old"}, "note": "Older."}
    for name, content in (("a", older), ("b", measured)):
        (tmp_path / f"encode-{name}.json").write_text(json.dumps({**content, "rows": []}), encoding="utf-8")
    section = readme_table.section(tmp_path)
    assert section.startswith("new, 2 threads")
    assert "old" not in section


def test_each_network_has_a_table_of_its_own() -> None:
    row = {"work": "", "dtype": "float32", "max_abs_error": {"ours": 0.0}}
    rows = [
        {**row, "work": f"work {number}", "network": network, "ratio": dict.fromkeys(readme_table._WAYS, 2.0)}
        for number in (1, 2)
        for network in ("qwen2_vl", "qwen3_vl")
    ]
    machine = {"processor": "new", "threads": 2, "torch": "2"}
    first, second = readme_table.tables({"machine": machine, "gflops": {}, "model": "small", "rows": rows})
    assert "network" not in first
    assert "`qwen3_vl`" in second
    for table in (first, second):
        assert table.count("work 1") == table.count("work 2") == 1


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


def test_a_request_holds_the_input_that_it_was_made_of(writer: workloads.Writer, tmp_path: Path) -> None:
    given = [
        workloads.Item("a text", instruction="Find it:"),
        workloads.Item("what is it?", image=writer.image(64, 64)),
        workloads.Item(video=writer.clip(1)),
        workloads.Item(pdf=writer.document(1), page=1),
    ]
    for item in given:
        found = serve.item_of(json.loads(serve.body_of(item)), tmp_path)
        assert (found.text, found.instruction) == (item.text, item.instruction)
        for mine, other in ((found.image, item.image), (found.video, item.video), (found.pdf, item.pdf)):
            assert (mine is None) == (other is None)
            assert mine is None or other is None or mine.read_bytes() == other.read_bytes()


def test_only_right_vectors_count_and_a_busy_server_is_asked_again() -> None:
    seen: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            seen.append(body)
            status = {b"broken": 500, b"busy": 429 if seen.count(body) == 1 else 200}.get(body, 200)
            vector = np.asarray([1, 0] if body != b"wrong" else [0, 1], dtype="<f4")
            answer = json.dumps({"data": [{"embedding": base64.b64encode(vector.tobytes()).decode()}]})
            self.send_response(status)
            self.send_header("Content-Length", str(len(answer)))
            self.send_header("Retry-After", "0")
            self.end_headers()
            self.wfile.write(answer.encode())

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    bodies = [b"right", b"wrong", b"busy", b"broken"]
    found = serve.ask_all(server.server_address[1], 2, bodies, np.asarray([[1.0, 0.0]] * 4))
    server.shutdown()
    server.server_close()
    assert (found.right, found.wrong, found.refused, len(found.failed)) == (2, 1, 1, 1)
    assert len(found.latencies) == 4
    told = serve.numbers([found])
    assert told["requests_per_second"] == pytest.approx(2 / found.seconds)


@pytest.mark.slow
def test_both_servers_give_right_vectors(tmp_path: Path) -> None:
    pytest.importorskip("fastapi")
    content = written(serve, tmp_path / "serve.json", "--runs", "1", "--rows", "mixed-64", "texts-16")
    for row in content["rows"]:
        assert row["inputs_apart"] > 100 * serve.TOLERANCE
        for found in row["servers"].values():
            assert (found["right"], found["wrong"], found["failed"]) == (8, 0, [])
        rates = [found["requests_per_second"] for found in row["servers"].values()]
        assert row["ratio"] == pytest.approx(rates[0] / rates[1])


def test_the_page_on_gpus_shows_what_was_counted() -> None:
    gpu_tables.main(["--check"])


def test_a_batch_fits_beside_the_weights() -> None:
    model = {"weights_gb": 5.0, "texts": {"peak_gb": 1.0}, "pictures": {"peak_gb": 0.5}}
    assert gpu_tables.batch(model, 1000, 10) == 2 * 1024  # 10 * 0.9 - 1 - 5 = 3 GB, at 1 MB for each token
    assert gpu_tables.batch(model, 1000, 6) == 0
    assert gpu_tables.chunk(1e6, 5, 10) == 2048  # 0.7 * 3 GB, at 1 MB for each token
    assert gpu_tables.chunk(1e6, 5, 7) == 0
    page = "a <!-- memory: written by benchmarks/gpu_tables.py --> b"
    with pytest.raises(SystemExit, match="needs the lines"):
        gpu_tables.filled(page, {"tokens": 1000, "models": {}}, {"models": {}})
