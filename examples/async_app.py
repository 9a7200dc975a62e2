"""Embed in an asyncio program: queries beside one another, and a long job that is called off.

python examples/async_app.py
"""

from __future__ import annotations

import asyncio

import numpy as np

from vlm2vec import VLM2Vec

SHAPES = [f"a {colour} {shape}" for colour in ("red", "green", "blue") for shape in ("ring", "star", "cross")]


async def search(model: VLM2Vec, documents: np.ndarray, query: str) -> str:
    """What a request of a web application would await."""
    vector = await model.aencode_query(query)
    return SHAPES[int((documents @ vector).argmax())]


async def main() -> None:
    model = VLM2Vec()
    documents = await model.aencode_document(SHAPES)
    queries = ["find a red star", "find a blue ring"]
    found = await asyncio.gather(*(search(model, documents, query) for query in queries))
    print("; ".join(f"{query}: {shape}" for query, shape in zip(queries, found, strict=True)))

    job = asyncio.create_task(model.aencode(f"text number {number}" for number in range(1_000_000)))
    await asyncio.sleep(0.1)  # the event loop is free meanwhile
    job.cancel()
    await asyncio.wait([job])
    print("called off:", job.cancelled(), "and goes on:", await search(model, documents, queries[0]))


if __name__ == "__main__":
    asyncio.run(main())
