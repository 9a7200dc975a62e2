"""Is it the same? By content, by state, or by name: the more is at stake, the more is read.

`first_of_each` compares inputs by content, and reads files that look alike: equal work is done once.
`media_key` knows a file by its path and state, and is asked for each medium of a batch. `identity` knows it
by its path alone, and is asked for millions of training rows. `digest`, `file_digest`, `digest_of` and
`weights_digest` are of content, for what is kept between runs, and `differences` names what is another now.

Taking two things for the same would give a wrong vector, missing that they are the same costs only time. So
what cannot be known without decoding it, or cannot be read, is the same as itself alone.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import weakref
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias, get_args
from uuid import uuid4

import numpy as np
import numpy.typing as npt
import PIL.Image

from vlm2vec.errors import VLM2VecError
from vlm2vec.inputs.parts import Clip, Document, Frame, Image, Input, Part, Text
from vlm2vec.media.image import decoding_errors, load_image
from vlm2vec.media.pixels import Alpha
from vlm2vec.media.source import Source

__all__ = [
    "differences",
    "digest",
    "digest_of",
    "file_digest",
    "first_of_each",
    "identity",
    "media_key",
    "weights_digest",
]

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
    inputs = {index: item for index, item in enumerate(items) if isinstance(item, Input)}
    alike: dict[Hashable, dict[Hashable, int]] = {}
    for index, item in inputs.items():
        fingerprints = [_fingerprint(content) for content in _contents(item)]
        same = alike.setdefault(_key(item, [fingerprint.rough for fingerprint in fingerprints]), {})
        firsts[index] = same.setdefault(
            _key(item, [fingerprint.identity for fingerprint in fingerprints]), index
        )
    known: dict[Hashable, Hashable] = {}
    for same in alike.values():
        if len(same) > 1:
            equal: dict[Hashable, int] = {}
            for index in same.values():
                key = _key(inputs[index], [_exact(content, known) for content in _contents(inputs[index])])
                firsts[index] = equal.setdefault(key, index)
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


def identity(item: Input) -> Hashable:
    """What two inputs have in common when they are surely the same; nothing is read or decoded.

    An instruction is no part of it, and pictures are the same as a clip of them. A file or URL is known by
    its name, what is in memory by its content, and a picture that is still to be decoded by the file it was
    opened from, or by being the same object: then it stays the same once it is decoded. Keys hold no array,
    and are the same in every process but for such objects.

    Args:
        item: An input; its files need not have been opened.

    Example:
        >>> path = Image(Source(path=Path("cat.jpg")))
        >>> identity(Input((path,))) == identity(Input((Clip(path.content),), "Find it."))
        True
        >>> identity(Input((path,))) == identity(Input((Text("cat.jpg"),)))
        False
    """
    names = [_name(part) for part in item.parts]
    return _joined(names) if item.prompt is None else ("prompt", item.prompt, _joined(names))


def digest(blocks: Iterable[Any]) -> str:
    """32 hexadecimal digits of some bytes, in one block or several."""
    found = hashlib.blake2b(digest_size=16)
    for block in blocks:
        found.update(block)
    return found.hexdigest()


def file_digest(path: Path) -> str:
    """The digest of a file's content.

    Raises:
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        return digest(iter(lambda: file.read(_BLOCK), b""))


def digest_of(value: Any) -> str:
    """Digest of plain values: numbers, texts, and lists and dicts of them.

    Example:
        >>> digest_of({"a": 1, "b": [2]}) == digest_of({"b": [2], "a": 1})
        True
    """
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return digest([text.encode()])


def weights_digest(tensors: Mapping[str, Any]) -> str:
    """Digest of a `state_dict`: names, types and every element."""
    import torch

    parts = hashlib.blake2b(digest_size=16)
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        parts.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        parts.update(tensor.reshape(-1).view(torch.uint8).numpy())
    return parts.hexdigest()


def differences(before: Any, now: Any, name: str = "") -> list[str]:
    """Names of the plain values that are not equal, those of a dict in a dict with a dot between.

    Example:
        >>> differences({"seed": 1, "pixels": {"max": 4}}, {"seed": 1, "pixels": {"max": 9}})
        ['pixels.max']
    """
    if not (isinstance(before, Mapping) and isinstance(now, Mapping)):
        return [] if before == now else [name]
    return [
        difference
        for key in dict.fromkeys([*before, *now])
        for difference in differences(before.get(key), now.get(key), f"{name}.{key}" if name else key)
    ]


@dataclass(frozen=True)
class _Fingerprint:
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

    def __init__(self, content: Frame, fingerprint: _Fingerprint) -> None:
        self.content = content
        self.fingerprint = fingerprint

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Compared) or self.fingerprint.rough != other.fingerprint.rough:
            return False
        return self.content is other.content or self.exact == other.exact

    def __hash__(self) -> int:
        return hash(self.fingerprint.rough)

    @cached_property
    def exact(self) -> Hashable:
        return _read(self.content, self.fingerprint)


def _contents(item: Input) -> list[Content]:
    return [part.content for part in item.parts if not isinstance(part, Text)]


def _key(item: Input, contents: Sequence[Hashable]) -> Hashable:
    parts = tuple((type(part), _settings(part)) for part in item.parts)
    return _settings(item), parts, tuple(contents)


def _settings(thing: Input | Part) -> tuple[Any, ...]:
    """Everything but what is compared by itself, and the index; also what is not thought of yet."""
    return tuple(getattr(thing, name) for name in _SETTINGS[type(thing)])


def _fingerprint(content: Content) -> _Fingerprint:
    if isinstance(content, tuple):
        fingerprints = [_fingerprint(frame) for frame in content]
        return _Fingerprint(
            tuple(fingerprint.identity for fingerprint in fingerprints),
            tuple(fingerprint.rough for fingerprint in fingerprints),
        )
    itself = _Itself(content)
    if isinstance(content, np.ndarray):
        return _Fingerprint(itself, ("array", content.dtype.str, content.shape, _sample(content)))
    if isinstance(content, PIL.Image.Image):
        return _Fingerprint(itself, _sample_pixels(content) if _is_decoded(content) else itself)
    if content.data is not None:
        sample = _sample(np.frombuffer(content.data, np.uint8))
        return _Fingerprint(_Itself(content.data), ("bytes", len(content.data), sample))
    if content.url is not None:  # which leads to one content for all who ask for it in one call
        return _Fingerprint(("url", content.url), ("url", content.url))
    try:
        return _Fingerprint(itself, itself) if content.path is None else _path_fingerprint(content.path)
    except (OSError, ValueError):
        return _Fingerprint(itself, itself)


def _path_fingerprint(path: Path) -> _Fingerprint:
    status = path.stat()
    # The path belongs to it: some file systems give all files one number and one time.
    identity = ("path", path, *_state(status))
    if stat.S_ISREG(status.st_mode):
        # The suffix, because FFmpeg may choose by it how to read a video.
        return _Fingerprint(identity, ("file", path.suffix.lower(), status.st_size))
    # A folder's frames are compared by their state alone. It fails for anything but a folder.
    with os.scandir(path) as entries:
        listing = tuple(sorted((entry.name, *_state(entry.stat())) for entry in entries))
    folder = (identity, listing)
    return _Fingerprint(folder, folder)


def _state(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _exact(content: Content, known: dict[Hashable, Hashable]) -> Hashable:
    """Equal for equal contents, as far as they are compared; `known` holds what has been read so far."""
    if isinstance(content, tuple):
        return tuple(_exact(frame, known) for frame in content)
    fingerprint = _fingerprint(content)
    if fingerprint.identity not in known:
        known[fingerprint.identity] = _read(content, fingerprint)
    return known[fingerprint.identity]


def _content_key(content: Content) -> Hashable:
    if isinstance(content, tuple):
        return tuple(_content_key(frame) for frame in content)
    fingerprint = _fingerprint(content)
    return (
        fingerprint.identity
        if isinstance(content, Source) and content.data is None
        else _Compared(content, fingerprint)
    )


def _read(content: Frame, fingerprint: _Fingerprint) -> Hashable:
    if isinstance(content, np.ndarray):
        return fingerprint.rough, _digest(content)
    if isinstance(content, PIL.Image.Image):
        return _pixels(content) if _is_decoded(content) else fingerprint.identity
    if content.data is not None:
        return content.data  # which remembers its own hash
    if content.path is None or fingerprint.rough == fingerprint.identity:
        return fingerprint.identity
    try:
        return fingerprint.rough, file_digest(content.path)
    except OSError:
        return fingerprint.identity


def _is_decoded(picture: PIL.Image.Image) -> bool:
    """Whether its pixels are in memory and can be read without moving anything."""
    if picture.format not in _STILL:
        return False
    # An image that was opened has its file until it is decoded.
    return getattr(picture, "fp", None) is None and not getattr(picture, "tile", None)


def _pixels(picture: PIL.Image.Image) -> Hashable:
    """The pixels that preparation will decode, so that no mode, palette or orientation can be forgotten."""
    try:
        with decoding_errors():
            alphas = get_args(Alpha) if picture.has_transparency_data else ("drop",)
        decoded = [load_image(picture, alpha=alpha) for alpha in alphas]
    except VLM2VecError:
        return _Itself(picture)
    return "picture", tuple((pixels.shape, _digest(pixels)) for pixels in decoded)


def _sample(array: npt.NDArray[Any]) -> bytes:
    """Some of the values, which are seldom the same if not all are."""
    step = array.size // _SAMPLES | 1  # odd, to meet all channels
    return array.flat[::step].tobytes()


def _sample_pixels(picture: PIL.Image.Image) -> Hashable:
    width, height = picture.size
    try:
        sample = [
            picture.getpixel((i * width // _POINTS, i * 7 % _POINTS * height // _POINTS))
            for i in range(_POINTS)
        ]
    except (ValueError, IndexError):  # closed, or without an area
        return _Itself(picture)
    return "picture", picture.mode, picture.size, tuple(sample)


def _digest(array: npt.NDArray[Any]) -> str:
    return digest([np.ascontiguousarray(array).data])


def _name(part: Part) -> Hashable:
    """What a part is called: its content, and the options that were given."""
    if isinstance(part, Text):
        return "text", part.text
    content, options = _name_of(part.content), []
    for setting in _SETTINGS[type(part)]:
        value = getattr(part, setting)
        if value is not None:
            one_page = setting == "pages" and isinstance(value, int)
            options.append((setting, (value,) if one_page else value))
    return (content, tuple(options)) if options else content


def _joined(names: list[Hashable]) -> Hashable:
    return names[0] if len(names) == 1 else ("parts", tuple(names))


def _name_of(content: Content) -> Hashable:
    if isinstance(content, tuple):
        return _joined([_name_of(frame) for frame in content])
    if isinstance(content, np.ndarray):
        return "array", content.shape, content.dtype.str, _digest(content)
    if isinstance(content, PIL.Image.Image):
        return _name_of_picture(content)
    if content.data is not None:
        return "bytes", content.data  # which are not copied, and remember their own hash
    return "file", str(content.path) if content.url is None else content.url


# Of PIL images that were not decoded when they were named, by their address, while they live.
_NAMES: dict[int, Hashable] = {}


def _name_of_picture(picture: PIL.Image.Image) -> Hashable:
    name = _NAMES.get(id(picture))
    if name is None and getattr(picture, "fp", None) is not None:
        path = getattr(picture, "filename", None)
        name = _NAMES[id(picture)] = ("file", path) if path else ("object", uuid4().hex)
        weakref.finalize(picture, _NAMES.pop, id(picture), None)
    if name is not None:
        return name
    try:
        with decoding_errors():
            palette = picture.getpalette() if picture.mode == "P" else None
            return "picture", picture.mode, picture.size, digest([picture.tobytes(), bytes(palette or ())])
    except VLM2VecError:  # it is closed
        return "object", id(picture)
