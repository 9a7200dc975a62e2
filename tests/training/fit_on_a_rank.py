"""A process of a run: fit_on_a_rank.py FOLDER [resume] [kill N] [shard] [little]."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import PIL.Image
import torch
from little_memory import LittleMemory
from torch import distributed
from transformers import TrainerCallback

from vlm2vec import VLM2Vec
from vlm2vec.training import Mixture, TrainingSource

PICTURES = [
    {"query": f"word {red} {blue}", "document": PIL.Image.new("RGB", (56, 56), (red, 90, blue))}
    for red in (0, 80, 160, 240)
    for blue in (0, 120, 240)
]
TEXTS = [{"query": f"question {number}", "document": f"answer {number}"} for number in range(12)]


class Kill(TrainerCallback):  # type: ignore[misc]
    """The last rank dies at a step, as by the machine's hand."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == self.step and args.process_index == args.world_size - 1:
            os.kill(os.getpid(), signal.SIGKILL)


class States(TrainerCallback):  # type: ignore[misc]
    """How many numbers the optimizer of this rank keeps."""

    elements = 0

    def on_step_end(self, args: Any, state: Any, control: Any, optimizer: Any = None, **_: Any) -> None:
        local = getattr(optimizer.optimizer, "optim", optimizer.optimizer)  # within accelerate's, and torch's
        States.elements = sum(
            value.numel() for kept in local.state.values() for value in kept.values() if value.ndim
        )


def main(folder: Path, *options: str) -> None:
    torch.set_num_threads(1)
    # A sub-batch to a rank: often one has pictures and the other nothing but text.
    mixture = Mixture([TrainingSource("pictures", PICTURES), TrainingSource("texts", TEXTS)])
    model, rank = VLM2Vec(device="cpu"), os.environ.get("RANK", "0")
    # The last rank alone has little memory, and finds out on the way back.
    has_little = "little" in options and rank == "1"
    memory = LittleMemory(40 if has_little else 10**6, "backward")
    with memory.of(model):
        result = _trained(model, mixture, folder, *options)
    (folder / f"failures-{rank}.json").write_text(json.dumps(memory.failures), encoding="utf-8")
    (folder / f"elements-{rank}.json").write_text(json.dumps(States.elements), encoding="utf-8")
    if rank == "0":
        (folder / "losses.json").write_text(json.dumps(result.losses), encoding="utf-8")
    if distributed.is_initialized():  # no rank ends while another still talks to it, at which gloo may abort
        distributed.barrier()
        distributed.destroy_process_group()


def _trained(model: VLM2Vec, mixture: Mixture, folder: Path, *options: str) -> Any:
    return model.fit(
        mixture,
        batch_size=8,
        sub_batch_size=4,
        max_steps=6,
        save_steps=2,
        logging_steps=1,
        output_dir=folder,
        resume="resume" in options,
        shard_optimizer="shard" in options,
        kept_tokens=0 if "little" in options else None,
        callbacks=[States(), *([Kill(int(options[options.index("kill") + 1]))] if "kill" in options else [])],
        show_progress_bar=False,
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
