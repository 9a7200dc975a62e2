"""Say what a vector is for: one instruction for all inputs, one per input, or one inside an input.

python examples/instructions.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from vlm2vec import VLM2Vec
from vlm2vec.world.samples import write_samples


def main() -> None:
    picture = write_samples(Path(tempfile.mkdtemp()))[0].path
    model = VLM2Vec()

    # encode_query and encode_document use the instructions that the model was trained with.
    for side, instruction in model.prompts.items():
        print(f"{side}: {instruction!r}")

    # One for all: the text and the picture get the same.
    both = model.encode(["a red circle", picture], instruction="Represent the colours.")

    # One per input; None means the default, which for encode is no instruction.
    each = model.encode([picture, picture], instruction=["Represent the colours.", None])

    # Inside an input, where it wins over the argument.
    own = model.encode({"image": picture, "instruction": "Represent the colours."})

    print(f"same instruction, same vector: {model.similarity(both[1], each[0]).item():.4f}")
    print(f"inside the input: {model.similarity(own, each[0]).item():.4f}")
    print(f"with and without: {model.similarity(each[0], each[1]).item():.4f}")


if __name__ == "__main__":
    main()
