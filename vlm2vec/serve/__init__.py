"""Vectors and search over HTTP, and a page. The extra `serve` brings FastAPI and uvicorn.

    shapes -> Asked -> batcher -> Embedded -> shapes

A shape is a form of request; the batcher has one queue, and one thread that has the model. Guards (host, key,
sizes, times) stand in front of all routes. Nothing here is imported by the rest of the package but the
command line.
"""

from vlm2vec.serve.settings import ServeSettings

__all__ = ["ServeSettings"]
