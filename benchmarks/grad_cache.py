"""What a training step costs with GradCache, against sentence-transformers' on the same pairs and weights.

python benchmarks/grad_cache.py [--model small] [--pairs 16] [--budgets 700 4096] [--curve 64 256 1024]
    [--runs 3] [--threads 2] [--json FILE]

A step is preprocessing, forward and backward of a batch of pairs, a text and a JPEG file each; LoRA on all
linear layers of the language model. Both cut the batch by the same number of tokens. The curve is memory
above that of the loaded model, which has trained on two pairs before, each point in a process of its own.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from baselines import HAS_TORCHVISION, Stock, stock_input
from encode import OURS, STOCK
from interleaved import interleave, write_json
from machine import machine, matrix_rates
from memory import above_loaded, in_fresh_process
from models import SHAPES, write_model
from peft import LoraConfig, inject_adapter_in_model
from sentence_transformers.sentence_transformer.losses import CachedMultipleNegativesRankingLoss
from torch import Tensor, nn
from workloads import QUERY, Item, Sizes, Writer

from vlm2vec import VLM2Vec
from vlm2vec.blocks.linear import onednn_wins
from vlm2vec.inputs.parse import parse_input
from vlm2vec.training.loss.grad_cache import GradCacheLoss, Pairs
from vlm2vec.training.loss.info_nce import InfoNCE

NOTHING_KEPT = f"{OURS}, no graph kept"
TEMPERATURE = 0.02
RANK = 16

Step = Callable[[Sequence[tuple[Item, Item]]], float]


def draw_pairs(writer: Writer, count: int, side: int) -> list[tuple[Item, Item]]:
    """A caption and an unrelated picture each: what is learned does not matter here."""
    return [
        (Item(writer.caption(), instruction=QUERY), Item(image=writer.image(side, side)))
        for _ in range(count)
    ]


def adapt(network: Any) -> None:
    """LoRA on all linear layers of the language model, with weights that are neither zero nor chance."""
    target = r"language_model\..*_proj"
    config = LoraConfig(r=RANK, lora_alpha=4 * RANK, lora_dropout=0.0, target_modules=target)
    inject_adapter_in_model(config, network)
    generator = torch.Generator().manual_seed(0)
    for weight in network.parameters():
        if weight.requires_grad:
            nn.init.normal_(weight, std=0.02, generator=generator)
    network.train()


class OurStep:
    """Loss and gradients by this package."""

    def __init__(self, folder: Path, *, budget: int, kept: int | None = None) -> None:
        self.model = VLM2Vec(folder, device="cpu")
        self.network = self.model[0].model
        adapt(self.network)
        loss = InfoNCE(temperature=TEMPERATURE)
        self.criterion = GradCacheLoss(self.model, loss, max_tokens_per_chunk=budget, kept_tokens=kept)

    def __call__(self, pairs: Sequence[tuple[Item, Item]]) -> float:
        columns = [
            [parse_input(_with_instruction(pair[side]), index=number) for number, pair in enumerate(pairs)]
            for side in (0, 1)
        ]
        numbers = range(len(pairs))
        loss = self.criterion(Pairs(*columns, numbers, numbers, numbers, range(len(pairs), 2 * len(pairs))))
        loss.backward()
        return loss.item()


class StockStep:
    """Loss and gradients by sentence-transformers."""

    def __init__(self, folder: Path, *, budget: int) -> None:
        self.model = Stock(folder, dtype=torch.float32, device="cpu").model
        self.network = self.model[0].model
        adapt(self.network)
        self.criterion = CachedMultipleNegativesRankingLoss(
            self.model, scale=1 / TEMPERATURE, mini_batch_num_tokens=budget
        )

    def __call__(self, pairs: Sequence[tuple[Item, Item]]) -> float:
        features = [
            self.model.preprocess(
                [stock_input(pair[side]) for pair in pairs], prompt=pairs[0][side].instruction
            )
            for side in (0, 1)
        ]
        loss = self.criterion(features, torch.zeros(0))
        loss.backward()
        return loss.item()


def _with_instruction(item: Item) -> Any:
    given = item.ours()
    if item.instruction is None:
        return given
    return {**({"text": given} if isinstance(given, str) else given), "instruction": item.instruction}


def step(way: Any, pairs: Sequence[tuple[Item, Item]]) -> tuple[float, dict[str, Tensor]]:
    """Loss and gradients of one step."""
    way.network.zero_grad(set_to_none=True)
    loss = way(pairs)
    gradients = {name: one.grad for name, one in way.network.named_parameters() if one.grad is not None}
    return loss, gradients


def difference(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> dict[str, float]:
    """Length of the difference over the length of theirs: of all gradients, and of the worst tensor."""
    if ours.keys() != theirs.keys():
        raise ValueError(f"gradients of other weights: {sorted(ours.keys() ^ theirs.keys())}")
    lengths = [
        (float((ours[name] - theirs[name]).double().norm()), float(theirs[name].double().norm()))
        for name in theirs
    ]
    apart, whole = torch.tensor(lengths, dtype=torch.float64).T
    return {"all": float(apart.norm() / whole.norm()), "worst tensor": float((apart / whole).max())}


def measure(folder: Path, pairs: list[tuple[Item, Item]], *, budget: int, runs: int) -> dict[str, Any]:
    """Time one budget, and hold the gradients against each other."""
    ways = {
        OURS: OurStep(folder, budget=budget),
        NOTHING_KEPT: OurStep(folder, budget=budget, kept=0),
        STOCK: StockStep(folder, budget=budget),
    }
    timed = interleave({name: partial(step, way, pairs) for name, way in ways.items()}, runs=runs)
    seconds = {name: one.seconds for name, one in timed.items()}
    of_cpu = {name: one.cpu_seconds for name, one in timed.items()}
    losses = {name: one.result[0] for name, one in timed.items()}
    theirs = timed[STOCK].result[1]
    return {
        "pairs": len(pairs),
        "budget": budget,
        "runs": runs,
        "seconds": seconds,
        # Of all threads: steadier than the clock where others use the machine.
        "cpu_seconds": of_cpu,
        "ratio": {name: seconds[STOCK] / seconds[name] for name in seconds},
        "cpu_ratio": {name: of_cpu[STOCK] / of_cpu[name] for name in of_cpu},
        "loss": losses,
        "gradient": {name: difference(one.result[1], theirs) for name, one in timed.items() if name != STOCK},
    }


def tokens_of(folder: Path, pairs: list[tuple[Item, Item]]) -> int:
    """Tokens of all inputs."""
    preparer = VLM2Vec(folder, device="cpu")[0].preparer
    inputs = [parse_input(_with_instruction(item), index=0) for pair in pairs for item in pair]
    return sum(one.tokens for one in preparer.planner.plan(list(enumerate(inputs))))


def step_apart(
    way: str, folder: Path, *, pairs: list[tuple[Item, Item]], budget: int, threads: int
) -> dict[str, float]:
    """Load a model and train, in this process, which does nothing else."""
    torch.set_num_threads(threads)
    trained = (OurStep if way == OURS else StockStep)(folder, budget=budget)
    step(trained, pairs[:2])
    return above_loaded(lambda: step(trained, pairs))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", choices=SHAPES, help="size of the model (default: small)")
    parser.add_argument("--pairs", type=int, default=16, help="of a timed step (default: 16)")
    parser.add_argument("--budgets", type=int, nargs="*", default=[700, 4096], help="tokens of a chunk")
    parser.add_argument("--curve", type=int, nargs="*", default=[64, 256, 1024], help="pairs of a step")
    parser.add_argument("--most-of-theirs", type=int, default=256, help="of the curve (default: 256)")
    parser.add_argument("--runs", type=int, default=3, help="timed runs of each way (default: 3)")
    parser.add_argument("--threads", type=int, help="threads of torch (default: its own choice)")
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    parser.add_argument("--quick", action="store_true", help="a tiny model and tiny inputs, to try the code")
    options = parser.parse_args(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    name = options.model or ("tiny" if options.quick else "small")
    sizes = Sizes(options.quick)
    content: dict[str, Any] = {
        "machine": machine(),
        "gflops": matrix_rates(quick=options.quick),
        "model": name,
    }
    # Ours multiplies by packed weights where a probe finds them faster.
    content |= {"packed": onednn_wins(), "torchvision": HAS_TORCHVISION, "rank": RANK}
    content |= {"steps": [], "curve": []}
    with tempfile.TemporaryDirectory() as scratch:
        folder = write_model(Path(scratch), name)
        pairs = draw_pairs(Writer(Path(scratch) / "pairs", sizes), sizes.count(options.pairs), side=336)
        content["tokens"] = tokens_of(folder, pairs)
        print(f"{len(pairs)} pairs, {content['tokens']} tokens")
        print(f"{content['gflops']}, packed: {content['packed']}")
        print(f"{'step':34s} {'seconds':>9s} {'of CPU':>9s} {'ratio':>7s} {'of CPU':>7s} {'gradient':>9s}")
        for budget in options.budgets:
            row = measure(folder, pairs, budget=budget, runs=options.runs)
            content["steps"].append(row)
            for way, seconds in row["seconds"].items():
                apart = f"{row['gradient'][way]['all']:9.1e}" if way in row["gradient"] else ""
                ratios = f"{row['ratio'][way]:6.2f}x {row['cpu_ratio'][way]:6.2f}x"
                numbers = f"{seconds:9.2f} {row['cpu_seconds'][way]:9.2f} {ratios}"
                print(f"{way + f', {budget} tokens':34s} {numbers} {apart}", flush=True)
        print(f"{'curve':34s} {'seconds':>9s} {'peak MB':>9s} {'loaded MB':>9s}", flush=True)
        for count in options.curve:
            drawn = draw_pairs(Writer(Path(scratch) / f"curve-{count}", sizes), count, side=168)
            for way in (OURS, STOCK) if count <= options.most_of_theirs else (OURS,):
                settings = {"pairs": drawn, "budget": 1024, "threads": torch.get_num_threads()}
                point = in_fresh_process(step_apart, way, folder, **settings)
                content["curve"].append({"pairs": count, "way": way, **point})
                numbers = f"{point['seconds']:9.2f} {point['peak']:9.1f} {point['loaded']:9.1f}"
                print(f"{way + f', {count} pairs':34s} {numbers}", flush=True)
                if options.json:  # after each point: some take minutes
                    write_json(options.json, content)
    if options.json:
        write_json(options.json, content)


if __name__ == "__main__":
    main()
