"""The CUDA branches with a reference in the kernel's place, against the CPU branches, without a GPU."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from inspect import signature
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from golden_cases import CASES, raw_input
from golden_families import CHECKPOINTS, PROFILES
from torch import Tensor
from torch.nn.attention import varlen
from torch.utils._python_dispatch import TorchDispatchMode
from varlen_reference import varlen_reference

from vlm2vec import VLM2Vec
from vlm2vec.backbones import encode_forward
from vlm2vec.blocks import attention, mlp
from vlm2vec.blocks.attention import Segments, attend
from vlm2vec.encoding.settings import EngineSettings
from vlm2vec.world.samples import write_samples

NEAR = 1e-6
SIGNATURE = signature(varlen.varlen_attn)


def varlen_of_torch_2_11(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    cu_seq_q: Tensor,
    cu_seq_k: Tensor,
    max_q: int,
    max_k: int,
    *,
    return_aux: Any = None,
    scale: float | None = None,
    window_size: tuple[int, int] = (-1, -1),
) -> Tensor:
    """Torch's signature at that version, whose kernel lets heads share keys without being told."""
    assert return_aux is None
    given = query, key, value, cu_seq_q, cu_seq_k, max_q, max_k
    return varlen_reference(*given, scale=scale, window_size=window_size, enable_gqa=True)


# The kernel as the installed torch has it.
KERNEL = varlen_reference if "enable_gqa" in SIGNATURE.parameters else varlen_of_torch_2_11


@contextmanager
def cuda_branches(kernel: Callable[..., Tensor] = KERNEL) -> Iterator[list[dict[str, Any]]]:
    """Tensors are taken for CUDA's, float32 for a type of the kernel, and this one for torch's.

    Gives the arguments of each call of the kernel, by the names that the installed torch has for them.
    """
    calls: list[dict[str, Any]] = []

    def recorded(*arguments: Any, **options: Any) -> Tensor:
        calls.append(SIGNATURE.bind(*arguments, **options).arguments)
        return kernel(*arguments, **options)

    # Of the keywords that the reference has, the installed torch may not have all.
    recorded.__signature__ = SIGNATURE if kernel is varlen_reference else signature(kernel)  # type: ignore[attr-defined]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(varlen, "varlen_attn", recorded)
        patch.setattr(attention, "_KERNEL", attention._find_kernel())
        patch.setattr(attention, "_HALF", (torch.float32, *attention._HALF))
        patch.setattr(attention, "has_bfloat16", lambda _: True)
        patch.setattr(torch.Tensor, "is_cuda", True)
        patch.setattr(mlp, "_fuses_gate", lambda _: True)
        patch.setattr(encode_forward, "_PATCHES_AT_ONCE", 2**30)
        yield calls


# Whole models


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """Texts, pictures, clips and pages, some of which begin alike."""
    files = {file.path.suffix: file.path for file in write_samples(tmp_path_factory.mktemp("samples"))}
    picture = np.random.default_rng(5).integers(0, 256, (70, 100, 3), dtype=np.uint8)
    return [
        "a short text",
        "a short text that goes on for a while, and on",
        "another",
        picture,
        {"image": picture, "text": "what is this"},
        {"image": picture, "text": "what is that, then"},
        {"image": picture[:40], "text": "what is this"},
        {"video": files[".mp4"], "num_frames": 3},
        {"video": files[".mp4"], "num_frames": 3, "text": "what moves"},
        [picture, "then", {"video": files[".mp4"], "num_frames": 2}],
        {"pdf": files[".pdf"], "page": 1},
    ]


# All settings; with the random model, which takes longer, some are slow.
RUNS = [
    pytest.param(
        *run,
        marks=[pytest.mark.slow]
        if run[0] == "golden" or (run[0] == "mixed 1d" and len(set(run[1:])) > 1)
        else [],
    )
    for run in itertools.product(["golden", "mixed 1d", "mixed mrope"], *[[True, False]] * 3)
]


@pytest.mark.parametrize(("which", "share", "pooled", "fuse"), RUNS)
def test_vectors_are_those_of_the_cpu_branch(
    which: str,
    share: bool,
    pooled: bool,
    fuse: bool,
    tiny: VLM2Vec,
    embedded: VLM2Vec,
    mixed: list[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = embedded if which == "mixed mrope" else tiny
    inputs = [raw_input(name) for name in CASES] if which == "golden" else mixed
    settings = EngineSettings(share_prefixes=share, pooled_only=pooled, fuse_projections=fuse)
    monkeypatch.setattr(model, "engine_settings", settings)
    expected = model.encode(inputs)
    with cuda_branches() as calls:
        vectors = model.encode(inputs)
    np.testing.assert_allclose(vectors, expected, atol=NEAR)
    # Heads of the tiny vision tower, of 12 numbers, are not for the kernel.
    assert {call["window_size"] for call in calls} == ({(-1, 0)} if model is tiny else {(-1, 0), (-1, -1)})
    assert any(len(call["key"]) > len(call["query"]) for call in calls) == (share or pooled)
    assert (calls[-1]["max_q"] == 1) == pooled
    # Keys are not split: how they are would depend on the batch.
    assert {call.get("num_splits") for call in calls} == {1 if "num_splits" in SIGNATURE.parameters else None}


@pytest.mark.parametrize("name", ["qwen3_vl", "chat_mrope"])
def test_vectors_of_other_networks_are_those_of_the_cpu_branch(name: str) -> None:
    model = VLM2Vec(CHECKPOINTS[name], profile=PROFILES[name], device="cpu", dtype="float32")
    picture = np.random.default_rng(5).integers(0, 256, (60, 140, 3), dtype=np.uint8)
    inputs = ["a text", {"image": picture, "text": "what is this"}, {"image": picture}, {"video": [picture]}]
    expected = model.encode(inputs)
    with cuda_branches() as calls:
        vectors = model.encode(inputs)
    np.testing.assert_allclose(vectors, expected, atol=2 * NEAR)
    assert {call["window_size"] for call in calls} == {(-1, 0), (-1, -1)}


def test_gradients_are_those_of_the_cpu_branch(embedded: VLM2Vec, mixed: list[Any]) -> None:
    weights = list(embedded[0].model.parameters())

    def gradients() -> tuple[Tensor, ...]:
        vectors = embedded(embedded.preprocess(mixed))["sentence_embedding"]
        return torch.autograd.grad(vectors, weights, torch.linspace(-1, 1, vectors.numel()).view_as(vectors))

    expected = gradients()
    with cuda_branches() as calls:
        ours = gradients()
    assert calls
    squares = sum(float((one - other).square().sum()) for one, other in zip(ours, expected, strict=True))
    assert squares**0.5 <= 1e-5 * sum(float(one.square().sum()) for one in expected) ** 0.5


# One call


def random_rows(head_dim: int, key_heads: int, rows: int, queries: int | None = None) -> list[Tensor]:
    generator = torch.Generator().manual_seed(head_dim + key_heads)
    shapes = (queries or rows, 4), (rows, key_heads), (rows, key_heads)
    return [torch.randn(*shape, head_dim, generator=generator, requires_grad=True) for shape in shapes]


PLAIN = Segments.of([3, 3, 7, 1, 12])
# Two rows that three others share: each sees them, and itself.
SHARED = Segments.of(
    [2, 3, 1, 3],
    key_lengths=[2, 5, 3, 5],
    key_rows=torch.tensor([0, 1, *(0, 1, 2, 3, 4), *(0, 1, 5), *(0, 1, 6, 7, 8)]),
)
POOLED = Segments.of([1, 1, 1], key_lengths=[5, 3, 5], key_rows=SHARED.key_rows[2:])


@pytest.mark.parametrize("head_dim", [8, 32, 80, 128, 256])
@pytest.mark.parametrize("key_heads", [1, 2, 4])
@pytest.mark.parametrize(
    ("segments", "causal"), [(PLAIN, False), (PLAIN, True), (SHARED, True), (POOLED, True)]
)
def test_a_call_gives_what_the_cpu_branch_gives(
    head_dim: int, key_heads: int, segments: Segments, causal: bool
) -> None:
    rows = 26 if segments is PLAIN else 9
    tensors = random_rows(head_dim, key_heads, rows, sum(segments.lengths))
    options = {"causal": causal, "scaling": head_dim**-0.5}

    def computed() -> list[Tensor]:
        output = attend(*tensors, segments, **options)
        weights = torch.linspace(-1, 1, output.numel()).view_as(output)
        return [output, *torch.autograd.grad(output, tensors, weights)]

    expected = computed()
    with cuda_branches() as calls:
        ours = computed()
    assert len(calls) == 1
    for one, other, near in zip(ours, expected, [NEAR, *[5e-6] * 3], strict=True):
        torch.testing.assert_close(one, other, atol=near, rtol=near)


class Sums(TorchDispatchMode):
    """Remembers the types in which rows are added up. A GPU does so by atomics, which round each time."""

    def __init__(self) -> None:
        super().__init__()
        self.types: list[torch.dtype] = []

    def __torch_dispatch__(self, operator: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if operator is torch.ops.aten.index_add.default:
            self.types.append(args[0].dtype)
        return operator(*args, **(kwargs or {}))


@pytest.mark.parametrize("branches", [nullcontext, cuda_branches])
def test_what_a_shared_key_learns_is_added_up_in_float32(branches: Callable[..., Any]) -> None:
    tensors = [each.detach().bfloat16().requires_grad_() for each in random_rows(8, 2, 9)]
    with branches(), Sums() as sums:
        output = attend(*tensors, SHARED, causal=True, scaling=0.3)
        gradients = torch.autograd.grad(output.sum(), tensors)
    assert sums.types == [torch.float32] * 2
    assert {each.dtype for each in (output, *gradients)} == {torch.bfloat16}


@pytest.mark.parametrize("head_dim", [12, 264])
def test_heads_of_other_sizes_are_not_for_the_kernel(head_dim: int) -> None:
    tensors = random_rows(head_dim, 2, 26)
    expected = attend(*tensors, PLAIN, causal=True, scaling=0.1)
    with cuda_branches() as calls:
        output = attend(*tensors, PLAIN, causal=True, scaling=0.1)
    assert not calls
    torch.testing.assert_close(output, expected, atol=NEAR, rtol=NEAR)


@pytest.mark.parametrize("key_heads", [1, 2, 4])
def test_the_kernel_of_torch_2_11_serves_too(key_heads: int) -> None:
    tensors = random_rows(8, key_heads, 9)
    expected = attend(*tensors, SHARED, causal=True, scaling=0.3)
    with cuda_branches(varlen_of_torch_2_11) as calls:
        output = attend(*tensors, SHARED, causal=True, scaling=0.3)
    assert len(calls) == 1
    torch.testing.assert_close(output, expected, atol=NEAR, rtol=NEAR)


def on_gpu(dtype: torch.dtype = torch.bfloat16, head_dim: int = 64) -> Any:
    """What the choice of the kernel looks at."""
    device = torch.device("cuda", 1)
    return SimpleNamespace(is_cuda=True, device=device, dtype=dtype, shape=torch.Size((5, 4, head_dim)))


@pytest.mark.parametrize(
    ("query", "capability", "hip", "takes"),
    [
        (on_gpu(), (8, 0), None, True),
        (on_gpu(torch.float16), (9, 0), None, True),
        (on_gpu(head_dim=8), (12, 0), None, True),
        (on_gpu(head_dim=256), (8, 6), None, True),
        (on_gpu(head_dim=20), (8, 0), None, False),
        (on_gpu(head_dim=264), (8, 0), None, False),
        (on_gpu(torch.float32), (9, 0), None, False),
        (on_gpu(torch.float16), (7, 5), None, False),
        (on_gpu(), (9, 4), "6.4", False),  # AMD's kernel aligns causal windows at the first key
        (torch.zeros(5, 4, 64, dtype=torch.bfloat16), (9, 0), None, False),
    ],
)
def test_the_kernel_is_chosen_for_what_it_computes(
    query: Any, capability: tuple[int, int], hip: str | None, takes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[torch.device] = []

    def get_device_capability(device: torch.device) -> tuple[int, int]:
        asked.append(device)
        return capability

    monkeypatch.setattr(torch.cuda, "get_device_capability", get_device_capability)
    monkeypatch.setattr(torch.version, "hip", hip)
    assert (attention.why_no_kernel(query) is None) == takes
    assert set(asked) <= {torch.device("cuda", 1)}
