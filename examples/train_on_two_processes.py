"""The same training in one process or several: a device each, the batch shared out among them.

python examples/train_on_two_processes.py
torchrun --standalone --nproc-per-node 2 examples/train_on_two_processes.py    # two GPUs, or a CPU's cores
accelerate launch --multi_gpu --num_processes 8 examples/train_on_two_processes.py     # eight GPUs
"""

from __future__ import annotations

from accelerate import PartialState

from vlm2vec import VLM2Vec
from vlm2vec.world.vocabulary import COLOURS, SHAPES

OTHER_WORDS = {"circle": "disc", "square": "box", "cross": "plus", "ring": "hoop"}


def main() -> None:
    rows = [
        {
            "query": f"a {colour} {OTHER_WORDS.get(shape, shape)}",
            "document": f"a picture of a {colour} {shape}",
        }
        for colour in COLOURS
        for shape in SHAPES
    ]
    model = VLM2Vec()
    # All sizes are those of the global batch: with two processes, each embeds 16 of the 32 rows, and all
    # 32 documents are in the loss of each. The rows of a step, its loss and the gradients are the same.
    result = model.fit(rows, batch_size=32, max_steps=5, logging_steps=1, show_progress_bar=False)

    state = PartialState()
    if state.is_main_process:
        print(f"{state.num_processes} processes")
        for step, loss in result.losses:
            print(f"step {step}: loss {loss:.3f}")


if __name__ == "__main__":
    main()
