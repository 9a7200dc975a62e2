"""The routes of a server, one file for each part; they find what they work with at `app.state.serving`."""

from __future__ import annotations

from typing import cast

from starlette.requests import Request

from vlm2vec.serve.serving import Serving

__all__ = ["serving_of"]


def serving_of(request: Request) -> Serving:
    """What the routes work with."""
    return cast(Serving, request.app.state.serving)
