"""Index images and PDF pages in a pipeline of Haystack, and find them by a description.

pip install ".[haystack]"
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from haystack import Document, Pipeline
from haystack.components.retrievers.in_memory import InMemoryEmbeddingRetriever
from haystack.document_stores.in_memory import InMemoryDocumentStore

from vlm2vec.integrations.haystack import VLM2VecDocumentEmbedder, VLM2VecTextEmbedder
from vlm2vec.world.samples import write_samples


def main() -> None:
    samples = write_samples(Path(tempfile.mkdtemp()))
    documents = [Document(meta={"file_path": str(one.path), "page_number": one.page}) for one in samples]
    documents.append(Document(meta={"file_path": "gone.png"}))

    embedder = VLM2VecDocumentEmbedder(file_path_meta_field="file_path", raise_on_failure=False)
    store = InMemoryDocumentStore()
    embedded = embedder.run(documents)
    store.write_documents(embedded["documents"])
    for document in embedded["failed_documents"]:
        print("left out:", document.meta["embedding_error"])

    pipeline = Pipeline()
    pipeline.add_component("embed", VLM2VecTextEmbedder())
    pipeline.add_component("find", InMemoryEmbeddingRetriever(store, top_k=3))
    pipeline.connect("embed.embedding", "find.query_embedding")
    for hit in pipeline.run({"embed": {"text": samples[-1].caption}})["find"]["documents"]:
        print(f"  {hit.score:.3f}  {Path(hit.meta['file_path']).name}, page {hit.meta['page_number']}")


main()
