"""Which inputs are the same, and which of their media: equal work is done once.

Taking two things for the same would give a wrong vector, missing that they are the same costs only time. So
what cannot be told without decoding it, or cannot be read, is the same as itself alone.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import PIL.Image

from vlm2vec.errors import VLM2VecError
from vlm2vec.inputs.parts import Clip, Document, Frame, Image, Input, Part, Text
from vlm2vec.media.image import Alpha, decoding_errors, load_image
from vlm2vec.media.source import Source

__all__ = ["first_of_each", "media_key"]

Content: TypeAlias = "Frame | tuple[Frame, ...]"

_BLOCK = 2**20
_SAMPLES, _POINTS = 512, 32
# Formats of PIL images that know whether they move; a GIF, TIFF or MPO seeks in its file to find out.
_STILL = (None, "AVIF", "BMP", "JPEG", "PNG", "WEBP")
_SETTINGS = {
    kind: [field.name for field in fields(kind) if field.name not in ("parts", "index", "content")]
    for kind in (Input, Text, Image, Clip, Document)
}


def first_of_each(items: Sequence[Input | VLM2VecError]) -> list[int]:
    """For each input, the position of the first with the same sources and settings.

    Only inputs that agree in all that is known without reading are read, to compare their media.

    Args:
        items: The inputs, with their instructions resolved; or errors in their place.

    Returns:
        A position for each item: its own for a first one, and for an error. It is no greater than the item's.

    Example:
        >>> items = [Input((Text(text),), index=i) for i, text in enumerate(["a cat", "a dog", "a cat"])]
        >>> first_of_each(items)
        [0, 1, 0]
    """
    firsts = list(range(len(items)))
    inputs = {place: item for place, item in enumerate(items) if isinstance(item, Input)}
    alike: dict[Hashable, dict[Hashable, int]] = {}
    for place, item in inputs.items():
        looks = [_look(content) for content in _contents(item)]
        same = alike.setdefault(_key(item, [look.rough for look in looks]), {})
        firsts[place] = same.setdefault(_key(item, [look.identity for look in looks]), place)
    known: dict[Hashable, Hashable] = {}
    for same in alike.values():
        if len(same) > 1:
            equal: dict[Hashable, int] = {}
            for place in same.values():
                key = _key(inputs[place], [_exact(content, known) for content in _contents(inputs[place])])
                firsts[place] = equal.setdefault(key, place)
    return [firsts[first] for first in firsts]


def media_key(part: Part) -> Hashable:
    """What identifies a medium with its settings: parts with equal keys give equal pixels.

    A file is known by its path and state, and is not read; what is in memory by its content, which is read
    when its key is compared with one that looks alike; a PIL image not yet decoded by being the same object.
    A key keeps its object alive.

    Args:
        part: A picture, clip or document, or a text.

    Example:
        >>> key = media_key(Image(np.zeros((56, 56, 3), np.uint8)))
        >>> key == media_key(Image(np.zeros((56, 56, 3), np.uint8)))
        True
        >>> key == media_key(Image(np.ones((56, 56, 3), np.uint8)))
        False
    """
    content = None if isinstance(part, Text) else _content_key(part.content)
    return type(part), _settings(part), content


@dataclass(frozen=True)
class _Look:
    """What is known of a content without reading it.

    Attributes:
        identity: Equal for the same content only.
        rough: Different for different contents only, or for those that are not to be compared.
    """

    identity: Hashable
    rough: Hashable


class _Itself:
    """Equal to itself alone; kept alive, so that its address is not another's later."""

    def __init__(self, thing: object) -> None:
        self.thing = thing

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Itself) and other.thing is self.thing

    def __hash__(self) -> int:
        return id(self.thing)


class _Compared:
    """Equal to what holds the same, which is read only if both look alike."""

    def __init__(self, content: Frame, look: _Look) -> None:
        self.content = content
        self.look = look

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Compared) or self.look.rough != other.look.rough:
            return False
        return self.content is other.content or self.exact == other.exact

    def __hash__(self) -> int:
        return hash(self.look.rough)

    @cached_property
    def exact(self) -> Hashable:
        return _read(self.content, self.look)


def _contents(item: Input) -> list[Content]:
    return [part.content for part in item.parts if not isinstance(part, Text)]


def _key(item: Input, contents: Sequence[Hashable]) -> Hashable:
    parts = tuple((type(part), _settings(part)) for part in item.parts)
    return _settings(item), parts, tuple(contents)


def _settings(thing: Input | Part) -> tuple[Any, ...]:
    """Everything but what is compared by itself, and the index; also what is not thought of yet."""
    return tuple(getattr(thing, name) for name in _SETTINGS[type(thing)])


def _look(content: Content) -> _Look:
    if isinstance(content, tuple):
        looks = [_look(frame) for frame in content]
        return _Look(tuple(look.identity for look in looks), tuple(look.rough for look in looks))
    itself = _Itself(content)
    if isinstance(content, np.ndarray):
        return _Look(itself, ("array", content.dtype.str, content.shape, _sample(content)))
    if isinstance(content, PIL.Image.Image):
        return _Look(itself, _some_pixels(content) if _is_decoded(content) else itself)
    if content.data is not None:
        some = _sample(np.frombuffer(content.data, np.uint8))
        return _Look(_Itself(content.data), ("bytes", len(content.data), some))
    try:
        return _Look(itself, itself) if content.path is None else _look_at_path(content.path)
    except (OSError, ValueError):
        return _Look(itself, itself)


def _look_at_path(path: Path) -> _Look:
    status = path.stat()
    # The path belongs to it: some file systems give all files one number and one time.
    identity = ("path", path, *_state(status))
    if stat.S_ISREG(status.st_mode):
        # The suffix, because FFmpeg may choose by it how to read a video.
        return _Look(identity, ("file", path.suffix.lower(), status.st_size))
    # A folder's frames are compared by their state alone. It fails for anything but a folder.
    with os.scandir(path) as entries:
        listing = tuple(sorted((entry.name, *_state(entry.stat())) for entry in entries))
    folder = (identity, listing)
    return _Look(folder, folder)


def _state(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _exact(content: Content, known: dict[Hashable, Hashable]) -> Hashable:
    """Equal for equal contents, as far as they are compared; `known` holds what has been read so far."""
    if isinstance(content, tuple):
        return tuple(_exact(frame, known) for frame in content)
    look = _look(content)
    if look.identity not in known:
        known[look.identity] = _read(content, look)
    return known[look.identity]


def _content_key(content: Content) -> Hashable:
    if isinstance(content, tuple):
        return tuple(_content_key(frame) for frame in content)
    look = _look(content)
    return look.identity if isinstance(content, Source) and content.data is None else _Compared(content, look)


def _read(content: Frame, look: _Look) -> Hashable:
    if isinstance(content, np.ndarray):
        return look.rough, _digest(content)
    if isinstance(content, PIL.Image.Image):
        return _pixels(content) if _is_decoded(content) else look.identity
    if content.data is not None:
        return content.data  # which remembers its own hash
    if content.path is None or look.rough == look.identity:
        return look.identity
    try:
        return look.rough, _file_digest(content.path)
    except OSError:
        return look.identity


def _is_decoded(picture: PIL.Image.Image) -> bool:
    """Whether its pixels are in memory and can be read without moving anything."""
    if picture.format not in _STILL:
        return False
    # An image that was opened has its file until it is decoded.
    return getattr(picture, "fp", None) is None and not getattr(picture, "tile", None)


def _pixels(picture: PIL.Image.Image) -> Hashable:
    """The pixels that preparation will see, so that no mode, palette or orientation can be forgotten."""
    try:
        with decoding_errors():
            alphas: tuple[Alpha, ...] = ("drop", "white") if picture.has_transparency_data else ("drop",)
        seen = [load_image(picture, alpha=alpha) for alpha in alphas]
    except VLM2VecError:
        return _Itself(picture)
    return "picture", tuple((pixels.shape, _digest(pixels)) for pixels in seen)


def _sample(array: npt.NDArray[Any]) -> bytes:
    """Some of the values, which are seldom the same if not all are."""
    step = array.size // _SAMPLES | 1  # odd, to meet all channels
    return array.flat[::step].tobytes()


def _some_pixels(picture: PIL.Image.Image) -> Hashable:
    width, height = picture.size
    try:
        some = [
            picture.getpixel((i * width // _POINTS, i * 7 % _POINTS * height // _POINTS))
            for i in range(_POINTS)
        ]
    except (ValueError, IndexError):  # closed, or without an area
        return _Itself(picture)
    return "picture", picture.mode, picture.size, tuple(some)


def _digest(array: npt.NDArray[Any]) -> bytes:
    return hashlib.blake2b(np.ascontiguousarray(array).data).digest()


def _file_digest(path: Path) -> bytes:
    hashed = hashlib.blake2b()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            hashed.update(block)
    return hashed.digest()
