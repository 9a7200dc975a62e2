"""One input of a training row: is it usable, which files does it need, is it the same as another.

Nothing is decoded. By default no file is opened either: a path is looked up, and its content taken to be what
the key says. That costs microseconds, so that millions of rows can be checked before training.
"""

from __future__ import annotations

import os
from collections.abc import Hashable
from pathlib import Path
from typing import Any, Unpack

from vlm2vec import profiles, sameness
from vlm2vec.describe import describe_media
from vlm2vec.encoding.prompt import lay_out
from vlm2vec.errors import MediaError
from vlm2vec.inputs.access import Allowed
from vlm2vec.inputs.parse import parse_input
from vlm2vec.inputs.parts import Input
from vlm2vec.inputs.replace import sources_of

__all__ = ["check_input", "identity"]

_PROFILE = profiles.get("vlm2vec-v2")  # placeholders in a prompt are matched alike under every profile


def check_input(
    value: Any, *, instruction: str | None = None, open_files: bool = False, **allowed: Unpack[Allowed]
) -> Input:
    """The input, if it can be embedded, as far as that shows without decoding it.

    Args:
        value: Anything that `encode` takes.
        instruction: The instruction it will be given.
        open_files: Also read the first bytes of each file, which finds those of the wrong kind.
        **allowed: `allow_urls` and `allow_files`, as `parse_input` takes them. No URL is fetched.

    Raises:
        InputError: It has a form that cannot be embedded, or a prompt and its media do not match.
        MediaError: A file or folder does not exist, or a folder of frames is empty.

    Example:
        >>> check_input({"prompt": "<|image_pad|> What is this?", "image": b"GIF89a"}).describe()
        'prompt "<|image_pad|> What is this?" + 6 bytes of GIF'
    """
    item = parse_input(value, instruction=instruction, open_files=False, **allowed)
    for source in sources_of(item):
        if source.path is not None:
            _check_exists(source.path, describe_media(source.shown or str(source.path)))
    if open_files:
        item = parse_input(item, **allowed)
    if item.prompt is not None:
        lay_out(item, _PROFILE)
    return item


def identity(value: Any) -> Hashable:
    """`sameness.identity` of anything that `encode` takes; nothing is read or decoded.

    Raises:
        VLM2VecError: It has a form that cannot be embedded.

    Example:
        >>> identity("a cat") == identity({"text": "a cat"})
        True
        >>> identity(Path("cat.jpg")) == identity({"image": "cat.jpg"}) != identity("cat.jpg")
        True
    """
    known = isinstance(value, Input)
    return sameness.identity(value if known else parse_input(value, allow_urls=True, open_files=False))


def _check_exists(path: Path, shown: str) -> None:
    try:
        if path.is_dir():
            with os.scandir(path) as entries:
                if next(entries, None) is None:
                    raise MediaError("the folder of frames is empty", fix="Extract its frames.", source=shown)
        elif not path.exists():
            raise MediaError(
                "the file does not exist",
                fix="Check the path and the data folder.",
                source=shown,
            )
    except OSError as error:
        raise MediaError(f"the file cannot be reached ({error.strerror or error})", source=shown) from error
