"""The page at `/`, and the two files that it loads; it loads nothing else, and nothing from other hosts."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import files

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

__all__ = ["PAGE_PATHS", "router"]

router = APIRouter(include_in_schema=False)

_FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
}

PAGE_PATHS = frozenset(_FILES)
"""What needs no key: they are the same for everyone, and the page is where the key is typed in."""

_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob: data:",
        "media-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)


@router.head("/")
@router.get("/")
@router.get("/page.css")
@router.get("/page.js")
async def page(request: Request) -> Response:
    """One of the files."""
    name, kind = _FILES[request.scope["route"].path]
    content, tag = _content(name)
    headers = {
        "Content-Security-Policy": _POLICY,
        "Cache-Control": "no-cache",
        "ETag": tag,
    }
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(content, headers=headers, media_type=kind)


@cache
def _content(name: str) -> tuple[bytes, str]:
    content = (files("vlm2vec.serve") / "page" / name).read_bytes()
    return content, f'"{hashlib.sha256(content).hexdigest()[:24]}"'
