"""Index images and texts with LlamaIndex, and find the image of a description.

pip install ".[llamaindex]"
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from llama_index.core.indices import MultiModalVectorStoreIndex
from llama_index.core.schema import ImageNode, TextNode

from vlm2vec.integrations.llamaindex import VLM2VecEmbedding
from vlm2vec.world.samples import write_samples


def main() -> None:
    folder = Path(tempfile.mkdtemp())
    wanted = write_samples(folder)[0]  # an image, and a query for it

    embed_model = VLM2VecEmbedding()
    images = [
        ImageNode(image_path=str(path), metadata={"name": path.name})
        for path in sorted(folder.iterdir())
        if path.suffix in (".png", ".jpg")
    ]
    texts = [TextNode(text="a text beside the images")]
    index = MultiModalVectorStoreIndex(
        [*images, *texts], embed_model=embed_model, image_embed_model=embed_model
    )

    print(f"{wanted.caption!r} is {wanted.path.name}:")
    for hit in index.as_retriever(image_similarity_top_k=3).text_to_image_retrieve(wanted.caption):
        print(f"  {hit.score:.3f}  {hit.node.metadata['name']}")


if __name__ == "__main__":
    main()
