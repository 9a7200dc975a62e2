"""Load a published checkpoint, an adapter, or a folder of your own.

python examples/load_published_checkpoint.py                              # offline: a folder made for it
python examples/load_published_checkpoint.py VLM2Vec/VLM2Vec-V2.0         # from the hub: gigabytes
python examples/load_published_checkpoint.py path/to/folder --profile vlm2vec-v2
python examples/load_published_checkpoint.py path/to/adapter --profile vlm2vec-v2 --base path/to/base
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from vlm2vec import VLM2Vec, profiles
from vlm2vec.world.samples import write_samples


def main() -> None:
    parser = argparse.ArgumentParser(description="Load a checkpoint and compare a picture with two captions.")
    parser.add_argument("model", nargs="?", help="a folder or hub id")
    parser.add_argument("--profile", choices=profiles.names(), help="its family, if it does not say")
    parser.add_argument("--base", help="the base of an adapter, if its config is not to be followed")
    arguments = parser.parse_args()

    if arguments.model is None:
        arguments.model = tempfile.mkdtemp()
        VLM2Vec().save_pretrained(arguments.model)  # a folder in the hub's layout, with its profile
    model = VLM2Vec(arguments.model, profile=arguments.profile, base_model=arguments.base)
    print(f"profile {model.profile.name}, {model.get_embedding_dimension()} dimensions")

    samples = write_samples(Path(tempfile.mkdtemp()))[:2]
    picture = model.encode(samples[0].path, instruction="Represent the given image.")
    captions = model.encode_document([sample.caption for sample in samples])
    for sample, score in zip(samples, model.similarity(picture, captions)[0].tolist(), strict=True):
        print(f"{score:.3f}  {sample.caption}")


if __name__ == "__main__":
    main()
