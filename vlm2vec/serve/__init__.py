"""Vectors and search over HTTP, and a page. The extra `serve` brings FastAPI and uvicorn.

    shapes (one file for each form of request) -> Asked -> batcher (one queue, one thread for the model) -> Embedded -> shapes
    guards (host, key, sizes, times) stand in front of all routes; routes are in app.py and routes/

Nothing here is imported by the rest of the package but the command line.
"""

from vlm2vec.serve.settings import ServeSettings

__all__ = ["ServeSettings"]
