"""GradCache against the original code's gradients, and against itself without chunks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from golden_cases import GOLDEN, raw_input
from peft import LoraConfig
from safetensors.torch import load_file, save_file
from torch import distributed, multiprocessing

from vlm2vec import VLM2Vec
from vlm2vec.backbones import train_forward
from vlm2vec.encoding.ahead import Workers
from vlm2vec.errors import InputError, MediaError, VLM2VecError
from vlm2vec.inputs.parse import parse_input
from vlm2vec.training import dora_norm
from vlm2vec.training.loss.grad_cache import GradCacheLoss, Pairs, _as_right
from vlm2vec.training.loss.random_numbers import drawn_again, random_state

PAIRS = json.loads((GOLDEN / "out" / "gradcache_pairs.json").read_text())
# Lengths of a difference, in lengths of what is expected. In float32 the sums of these gradients are rounded
# by 4e-6 to 6e-6 of their length, as the processor orders them; the original's, in float32 too, by 5.9e-6.
NEAR = 1e-5
NEAR_IN_EACH_TENSOR = 2e-5  # 57 tensors, none left out: the shortest gradient has 1/350 of the whole length
NEAR_IN_FLOAT64 = 1e-6  # where rounding hides no mistake


def tiny(folder: Path) -> VLM2Vec:
    return VLM2Vec(folder / "tiny_qwen2vl", profile="vlm2vec-v2", device="cpu")


def pairs(first: int = 0, end: int = len(PAIRS)) -> Pairs:
    queries, documents = (
        [parse_input(raw_input(pair[side]), index=i) for i, pair in enumerate(PAIRS[first:end])]
        for side in (0, 1)
    )
    # Of the golden pairs two have equal targets, which the original counts as negatives of each other.
    numbers = list(range(first, end))
    ids = [100 + number for number in numbers]
    return Pairs(queries, documents, range(len(queries)), numbers, numbers, ids)


def gradients(model: VLM2Vec) -> dict[str, torch.Tensor]:
    named = model[0].model.named_parameters()
    return {name: weight.grad for name, weight in named if weight.grad is not None}


def golden_gradients() -> dict[str, torch.Tensor]:
    numbers = load_file(GOLDEN / "out" / "golden_gradcache.safetensors")
    found = {key.removeprefix("grad/encoder."): value for key, value in numbers.items() if "grad/" in key}
    return {
        name.replace("model.", "language_model.", 1) if name.startswith("model.") else name: value
        for name, value in found.items()
    }


def distance(ours: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> float:
    """Length of the difference, in lengths of what is expected."""
    assert ours.keys() == expected.keys()
    squares = sum(float((ours[name] - expected[name]).double().square().sum()) for name in expected)
    return (squares / sum(float(one.double().square().sum()) for one in expected.values())) ** 0.5


def full_batch_loss(model: VLM2Vec) -> torch.Tensor:
    """The naive one: all pairs in one graph."""
    queries, documents = (
        torch.nn.functional.normalize(model(model.preprocess(side))["sentence_embedding"], dim=1)
        for side in zip(*[[raw_input(side) for side in pair] for pair in PAIRS], strict=True)
    )
    return torch.nn.functional.cross_entropy(queries @ documents.T / 0.02, torch.arange(len(PAIRS)))


@contextmanager
def in_float64() -> Iterator[None]:
    """Norms and the vision tower's rotations, which ask for float32 whatever the weights are, get float64."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            train_forward, "_is_plain", lambda *_: False
        )  # the inference forward has kernels for float32
        patch.setattr(torch.Tensor, "float", torch.Tensor.double)
        patch.setattr(torch, "float32", torch.float64)
        yield


@pytest.fixture(scope="module")
def exact(golden: Path) -> dict[str, torch.Tensor]:
    """Gradients of the full batch in float64."""
    model = tiny(golden).train().double()
    with in_float64():
        full_batch_loss(model).backward()
    return gradients(model)


def assert_golden(ours: dict[str, torch.Tensor], exact: dict[str, torch.Tensor], part: str = "") -> None:
    """All together, and each tensor, are the original's, and those of float64.

    Args:
        ours: Gradients, in float32 or float64.
        exact: Of all parameters, in float64.
        part: What the names of the parameters that learn begin with.
    """
    original, exact = (
        {name: one for name, one in each.items() if name.startswith(part)}
        for each in (golden_gradients(), exact)
    )
    rounded = next(iter(ours.values())).dtype == torch.float32
    for expected in (original, exact):
        assert distance(ours, expected) <= (NEAR if rounded or expected is original else NEAR_IN_FLOAT64)
        for name in expected:
            assert distance({name: ours[name]}, {name: expected[name]}) <= NEAR_IN_EACH_TENSOR, name


def test_the_original_s_gradients_are_those_of_float64_but_for_rounding(
    exact: dict[str, torch.Tensor],
) -> None:
    assert 5e-6 < distance(golden_gradients(), exact) < 6e-6
    whole = sum(float(one.square().sum()) for one in exact.values()) ** 0.5
    assert whole == pytest.approx(207.8466, abs=1e-3)
    assert len(exact) == 57
    assert min(float(one.norm()) for one in exact.values()) > whole / 350


@pytest.mark.parametrize("kept", [0, 300, 10**6])
@pytest.mark.parametrize("chunk", [1, 2, 3, 8])
def test_equals_the_original_for_any_chunk(
    golden: Path, exact: dict[str, torch.Tensor], chunk: int, kept: int
) -> None:
    for model, context in ((tiny(golden), nullcontext()), (tiny(golden).double(), in_float64())):
        with context:
            loss = GradCacheLoss(model.train(), max_inputs_per_chunk=chunk, kept_tokens=kept)(pairs())
            loss.backward()
        assert loss.item() == pytest.approx(33.62134, abs=1e-4)
        assert_golden(gradients(model), exact)


def test_a_frozen_tower_runs_once_and_changes_nothing(golden: Path, exact: dict[str, torch.Tensor]) -> None:
    model = tiny(golden).train()
    model[0].model.visual.requires_grad_(False)
    passes: list[int] = []
    model[0].model.visual.merger.register_forward_hook(lambda *_: passes.append(1))
    criterion = GradCacheLoss(model, max_inputs_per_chunk=2)
    with torch.no_grad():
        criterion(pairs())
    once = len(passes)
    criterion(pairs()).backward()
    assert len(passes) == 2 * once
    assert_golden(gradients(model), exact, "language_model.")


def test_chunks_are_cut_by_tokens_and_patches(golden: Path) -> None:
    criterion = GradCacheLoss(tiny(golden), max_tokens_per_chunk=500)
    given = pairs()
    with Workers() as workers:
        chunks = criterion._chunks([*given.queries, *given.documents], workers)
    assert len(chunks) > 2
    assert all(chunk.batch.cost <= 500 or len(chunk.batch.inputs) == 1 for chunk in chunks)
    assert [one.index for chunk in chunks for one in chunk.batch.inputs] == list(range(2 * len(PAIRS)))


def passes(model: VLM2Vec, criterion: GradCacheLoss) -> list[int]:
    """Inputs of each pass through the language model, of a step: forward, then those on the way back."""
    rows: list[int] = []
    norm = model[0].model.language_model.layers[-1].post_attention_layernorm
    hook = norm.register_forward_hook(lambda _, inputs, __: rows.append(inputs[0].shape[-2]))
    with hook:
        criterion(pairs()).backward()
    return rows


def test_a_chunk_s_graphs_are_kept_by_default(golden: Path) -> None:
    model = tiny(golden).train()
    budget = 500
    with Workers() as workers:
        given = pairs()
        chunks = GradCacheLoss(model, max_tokens_per_chunk=budget)._chunks(
            [*given.queries, *given.documents], workers
        )
    sizes = [len(chunk.batch.inputs) for chunk in chunks]
    assert len(sizes) > 2
    assert chunks[-1].batch.cost <= budget < chunks[-1].batch.cost + chunks[-2].batch.cost
    kept = passes(model, GradCacheLoss(model, max_tokens_per_chunk=budget))
    nothing = passes(model, GradCacheLoss(model, max_tokens_per_chunk=budget, kept_tokens=0))
    # The inference forward normalises by itself, so a pass without a graph calls no hook.
    assert nothing == sizes
    assert kept == [sizes[-1], *sizes[:-1]]


def test_patches_of_a_frozen_tower_do_not_count(golden: Path) -> None:
    model = tiny(golden)
    model[0].model.visual.requires_grad_(False)
    given = pairs()
    with Workers() as workers:
        chunks = GradCacheLoss(model, max_tokens_per_chunk=200)._chunks(
            [*given.queries, *given.documents], workers
        )
    tokens = [sum(one.tokens for one in chunk.batch.inputs) for chunk in chunks]
    assert tokens == [chunk.batch.cost for chunk in chunks]
    assert any(one.media for chunk in chunks for one in chunk.batch.inputs)


@pytest.mark.parametrize("dora", [False, True])
def test_adapters_learn_what_peft_s_own_layers_learn(
    golden: Path, dora: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    norms: list[int] = []
    whole = dora_norm.row_norms
    monkeypatch.setattr(dora_norm, "row_norms", lambda *given: norms.append(1) or whole(*given))
    found = []
    for lean in (False, True):
        model = tiny(golden)
        torch.manual_seed(0)
        targets = r"language_model.*_proj"
        model.add_adapter(LoraConfig(target_modules=targets, use_dora=dora, init_lora_weights=False))
        model.train()
        if lean:
            GradCacheLoss(model, max_inputs_per_chunk=3)(pairs()).backward()
        else:
            full_batch_loss(model).backward()
        found.append(gradients(model))
    assert all("lora_" in name for name in found[0])
    assert distance(found[1], found[0]) <= NEAR
    layers = sum(type(module).__name__ == "OnceNormedDora" for module in model.modules())
    assert len(norms) == layers
    assert bool(layers) == dora


def test_both_passes_see_the_same_dropout(golden: Path) -> None:
    results = []
    for kept in (0, 300, 10**6):  # with the graphs of the first pass there is but one mask
        model = tiny(golden)
        torch.manual_seed(0)
        targets = ["q_proj", "down_proj"]
        model.add_adapter(LoraConfig(target_modules=targets, lora_dropout=0.5, init_lora_weights=False))
        model.train()
        torch.manual_seed(1)
        loss = GradCacheLoss(model, max_inputs_per_chunk=3, kept_tokens=kept)(pairs())
        after = torch.rand(1)
        loss.backward()
        results.append((loss.item(), after, gradients(model)))
    expected_loss, expected_draw, expected = results.pop()
    for one, drawn, ours in results:
        assert one == pytest.approx(expected_loss, rel=1e-6)
        assert torch.equal(drawn, expected_draw)
        assert distance(ours, expected) <= NEAR


@pytest.mark.parametrize("reentrant", [False, True])
def test_gradient_checkpointing_goes_on_under_adapters(golden: Path, reentrant: bool) -> None:
    found = []
    for checkpointing in (False, True):
        model = tiny(golden)
        torch.manual_seed(0)
        targets = r"language_model.*_proj"
        model.add_adapter(LoraConfig(target_modules=targets, use_dora=True, init_lora_weights=False))
        if checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": reentrant})
            model[0].model.enable_input_require_grads()
        GradCacheLoss(model.train(), max_inputs_per_chunk=3)(pairs()).backward()
        found.append(gradients(model))
    assert distance(found[1], found[0]) <= NEAR


def test_a_step_in_half_precision_is_near(golden: Path) -> None:
    found = []
    for half in (False, True):
        model = tiny(golden)
        torch.manual_seed(0)
        targets = r"language_model.*_proj"
        model.add_adapter(LoraConfig(target_modules=targets, use_dora=True, init_lora_weights=False))
        criterion = GradCacheLoss(model.train(), max_inputs_per_chunk=3, kept_tokens=300)
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            loss = criterion(pairs())
        loss.backward()
        found.append(gradients(model))
    assert distance(found[1], found[0]) <= 0.3


def test_a_text_with_a_frozen_language_model_teaches_nothing(
    golden: Path, exact: dict[str, torch.Tensor]
) -> None:
    model = tiny(golden).train()
    model[0].model.language_model.requires_grad_(False)
    GradCacheLoss(model, max_inputs_per_chunk=1)(pairs()).backward()
    assert_golden(gradients(model), exact, "visual.")


def test_losses_that_are_scaled_scale_gradients(golden: Path) -> None:
    model = tiny(golden).train()
    criterion = GradCacheLoss(model, max_inputs_per_chunk=3, kept_tokens=300)
    for _ in range(4):  # as in accumulating gradients
        (criterion(pairs()) / 4).backward()
    assert distance(gradients(model), golden_gradients()) <= NEAR


def test_hard_negatives_count(golden: Path) -> None:
    given = pairs()
    more = parse_input("a text that nobody looks for", index=0)
    with_negative = replace(
        given, documents=[*given.documents, more], document_ids=[*given.document_ids, 999]
    )
    model = tiny(golden)
    with torch.no_grad():
        found = GradCacheLoss(model, max_inputs_per_chunk=2)(with_negative).item()
    queries, documents = (
        torch.from_numpy(model.encode([raw_input(pair[side]) for pair in PAIRS])) for side in (0, 1)
    )
    documents = torch.cat([documents, torch.from_numpy(model.encode(["a text that nobody looks for"]))])
    expected = torch.nn.functional.cross_entropy(queries @ documents.T / 0.02, torch.arange(len(PAIRS)))
    assert found == pytest.approx(expected.item(), rel=1e-4)


def test_pairs_that_do_not_agree_are_an_error() -> None:
    text = parse_input("a", index=0)
    for arguments in (
        ([text], [text], [0, 0], [1], [1], [2]),
        ([text], [text], [0], [1], [1, 1], [2]),
        ([text], [text], [0], [1], [1], [2, 3]),
        ([text], [text], [1], [1], [1], [2]),
    ):
        with pytest.raises(InputError):
            Pairs(*arguments)


def test_a_batch_without_queries_is_an_error(golden: Path) -> None:
    with pytest.raises(InputError, match="at least one query"):
        GradCacheLoss(tiny(golden))(Pairs([], [], [], [], [], []))


def test_without_gradients_there_is_a_loss_alone(golden: Path) -> None:
    with torch.no_grad():
        loss = GradCacheLoss(tiny(golden), max_inputs_per_chunk=3)(pairs())
    assert not loss.requires_grad
    assert loss.item() == pytest.approx(33.62134, abs=1e-4)


def test_documents_that_are_as_right_are_found() -> None:
    random = np.random.default_rng(0)
    for _ in range(50):
        queries, contents = random.integers(0, 6, 5), random.integers(0, 6, 5)
        documents = random.integers(0, 6, 9)
        positives = random.permutation(9)[:5]
        expected = [
            [
                document == contents[i]
                or any(queries[k] == queries[i] and documents[positives[k]] == document for k in range(5))
                for document in documents
            ]
            for i in range(5)
        ]
        numbers = queries, contents, documents, positives
        found = _as_right(*(torch.from_numpy(each) for each in numbers))
        assert found.tolist() == expected


def train_on_a_rank(rank: int, world: int, folder: str, golden: Path) -> None:
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=world
    )
    torch.set_num_threads(1)
    each = len(PAIRS) // world
    # The first rank has a pair less than the last, so that sizes differ.
    bounds = [0, *(each * (i + 1) - 1 for i in range(world - 1)), len(PAIRS)]
    exact = load_file(f"{folder}/exact.safetensors")
    for model, context in ((tiny(golden).double(), in_float64()), (tiny(golden), nullcontext())):
        criterion = GradCacheLoss(model.train(), max_inputs_per_chunk=3)
        with context:
            loss = criterion(pairs(bounds[rank], bounds[rank + 1]))
            loss.backward()
        summed: dict[str, Any] = {}
        for name, weight in model[0].model.named_parameters():
            summed[name] = torch.zeros_like(weight) if weight.grad is None else weight.grad
            distributed.all_reduce(summed[name])
        assert loss.item() == pytest.approx(33.62134, abs=1e-4)
        assert_golden(summed, exact)
    # A rank that cannot read a file stops all, and the others know why.
    broken = parse_input({"image": b"\x89PNG\r\n\x1a\n nothing"}, index=0)
    text = parse_input("a", index=0)
    kind = MediaError if rank == 0 else VLM2VecError
    with pytest.raises(kind, match="" if rank == 0 else "another rank"):
        criterion(Pairs([broken if rank == 0 else text], [text], [0], [0], [0], [1]))
    distributed.destroy_process_group()


@pytest.mark.parametrize("world", [2, 4])
def test_ranks_together_equal_the_original(
    world: int, golden: Path, exact: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    save_file(exact, tmp_path / "exact.safetensors")
    # One process imports torch and the rest, and each rank is a fork of it.
    multiprocessing.get_context("forkserver").set_forkserver_preload(["vlm2vec.training.loss.grad_cache"])
    arguments = (world, str(tmp_path), golden)
    multiprocessing.start_processes(train_on_a_rank, arguments, nprocs=world, start_method="forkserver")


@pytest.mark.parametrize("kind", ["cpu", "cuda", "mps", "xpu"])
def test_the_second_pass_draws_what_the_first_drew_on_any_device(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    device, generator = torch.device(kind), torch.default_generator
    if kind != "cpu":  # a generator stands in for the device's
        generator = torch.Generator()
        module = torch.get_device_module(device)
        monkeypatch.setattr(module, "get_rng_state", lambda device: generator.get_state())
        monkeypatch.setattr(module, "set_rng_state", lambda state, device: generator.set_state(state))

    def draw() -> list[float]:
        return [*torch.rand(2).tolist(), *torch.rand(2, generator=generator).tolist()]

    states = random_state(device)
    first = draw()
    before = generator.get_state(), torch.get_rng_state()
    with drawn_again(states, device):
        assert draw() == first
    assert torch.equal(generator.get_state(), before[0])
    assert torch.equal(torch.get_rng_state(), before[1])
