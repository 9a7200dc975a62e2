"""Put the pages of PDFs, as pictures, and texts into a vector store of LangChain, and ask it.

pip install ".[langchain]"
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from langchain_core.vectorstores import InMemoryVectorStore

from vlm2vec.integrations.langchain import VLM2VecEmbeddings, VLM2VecPDFLoader
from vlm2vec.world.samples import write_samples


def main() -> None:
    folder = Path(tempfile.mkdtemp())
    wanted = write_samples(folder)[-1]  # a page of a PDF, and a query for it

    # A page is a document whose text is a picture, in a data-URI: the embeddings are told to read these.
    embeddings = VLM2VecEmbeddings(data_uris=True)
    store = InMemoryVectorStore(embeddings)
    for path in sorted(folder.glob("*.pdf")):
        store.add_documents(VLM2VecPDFLoader(path).load())
    store.add_texts(["a text beside the pages"])

    print(f"{wanted.caption!r} is in {wanted.path.name}, page {wanted.page}:")
    for document, score in store.similarity_search_with_score(wanted.caption, k=3):
        if where := document.metadata:
            name, label, total = Path(where["source"]).name, where["page_label"], where["total_pages"]
            print(f"  {score:.3f}  {name}, page {label} of {total}")


if __name__ == "__main__":
    main()
