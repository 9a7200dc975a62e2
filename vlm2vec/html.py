"""Pages of one HTML file each: pictures inside, nothing fetched, light and dark.

The templates are in `vlm2vec/assets/html`; `page.html` has what all pages share.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image

__all__ = ["data_uri", "write_page"]

_FRAME_MILLISECONDS = 220
_QUALITY = 80


def write_page(path: Path, template: str, **values: Any) -> None:
    """Fill a template and write it; a file that exists is replaced, its folder is made.

    Args:
        path: The file.
        template: Name of the template. All values are escaped.
        **values: What it shows; `title` and `footer` of every page.
    """
    page = _environment().get_template(template).render(values)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8", errors="replace")  # names of files may be no Unicode


def data_uri(frames: Sequence[Image.Image]) -> str:
    """A picture, or several as an animation, as text that an `img` shows.

    Example:
        >>> data_uri([Image.new("RGB", (8, 8))])[:23]
        'data:image/webp;base64,'
    """
    first, *rest = frames
    encoded = io.BytesIO()
    # With nothing to append, save_all writes an ordinary still.
    first.save(
        encoded, "WEBP", save_all=True, append_images=rest, duration=_FRAME_MILLISECONDS, quality=_QUALITY
    )
    return "data:image/webp;base64," + base64.b64encode(encoded.getvalue()).decode("ascii")


@cache
def _environment() -> Environment:
    loader = PackageLoader("vlm2vec", "assets/html")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["thousands"] = "{:,}".format
    return environment
