"""A collection of Chroma that embeds the pictures, clips and PDFs that are added, and is searched by text.

python examples/integrations/with_chroma.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import chromadb

from vlm2vec.integrations.chroma import VLM2VecEmbeddingFunction
from vlm2vec.world.samples import write_samples

folder = Path(tempfile.mkdtemp())
write_samples(folder / "files")


def files(uris: list[str]) -> list[Path]:
    """What Chroma calls a data loader: the model reads the files itself."""
    return [Path(uri) for uri in uris]


client = chromadb.PersistentClient(str(folder / "base"))
collection = client.create_collection(
    "files",
    embedding_function=VLM2VecEmbeddingFunction(),  # or VLM2VecEmbeddingFunction("VLM2Vec/VLM2Vec-V2.0")
    data_loader=files,
)
paths = sorted((folder / "files").iterdir())
collection.add(ids=[path.name for path in paths], uris=[str(path) for path in paths])

found = collection.query(query_texts=["a large blue diamond"], n_results=2)
for name, distance in zip(found["ids"][0], found["distances"][0], strict=True):
    print(f"{1 - distance:.3f}  {name}")
