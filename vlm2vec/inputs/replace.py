"""Parsed inputs with something about them replaced, and an input as JSON holds it.

Every form of input is understood in one place, by `parse_input`; what is to be done to inputs is done to
their parts, and so to every form.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from vlm2vec.describe import describe_value
from vlm2vec.errors import InputError
from vlm2vec.inputs.options import CLIP_OPTIONS
from vlm2vec.inputs.parts import Clip, Document, Frame, Image, Input, Part, Text
from vlm2vec.media.source import Source

__all__ = ["in_folder", "sources_of", "to_json", "with_media", "with_num_frames", "with_sources"]


def sources_of(item: Input) -> Iterator[Source]:
    """The files, bytes and URLs of an input, in order."""
    for part in item.parts:
        if not isinstance(part, Text):
            contents = part.content if isinstance(part.content, tuple) else (part.content,)
            yield from (content for content in contents if isinstance(content, Source))


def with_media(item: Input, change: Callable[[Image | Clip | Document], Part]) -> Input:
    """The input with each medium replaced by what `change` makes of it."""
    return replace(item, parts=tuple(part if isinstance(part, Text) else change(part) for part in item.parts))


def with_sources(item: Input, change: Callable[[Source], Source]) -> Input:
    """The input with each of its sources replaced by what `change` makes of it.

    Example:
        >>> item = Input((Text("a cat"), Image(Source.from_bytes(b"one"))))
        >>> with_sources(item, lambda source: Source.from_bytes(b"other")).parts[1].content.data
        b'other'
    """

    def changed(content: Any) -> Any:
        if isinstance(content, tuple):
            return tuple(changed(frame) for frame in content)
        return change(content) if isinstance(content, Source) else content

    return with_media(item, lambda part: replace(cast("Any", part), content=changed(part.content)))


def with_num_frames(item: Input, num_frames: int) -> Input:
    """The input with `num_frames` on each of its clips that has neither `num_frames` nor `fps`.

    A bare file that was not opened may be a clip, and has the number if it turns out to be one.

    Example:
        >>> with_num_frames(Input((Clip(Source(path=Path("a.mp4"))),)), 4).parts[0].num_frames
        4
    """

    def changed(part: Image | Clip | Document) -> Part:
        if not isinstance(part, Clip) or part.num_frames is not None or part.fps is not None:
            return part
        return replace(part, num_frames=num_frames)

    return with_media(item, changed)


def in_folder(item: Input, folder: Path) -> Input:
    """The input with relative paths taken to be relative to a folder."""

    def moved(source: Source) -> Source:
        return source if source.path is None else replace(source, path=folder / source.path, facts={})

    return with_sources(item, moved)


def to_json(item: Input, folder: Path) -> Any:
    """The input as JSON holds it, to be understood by `parse_input` again.

    Paths are written relative to a folder, and bytes as a data-URI.

    Args:
        item: An input whose files were opened.
        folder: What paths are relative to.

    Returns:
        A string; a dict; a list of such; or chat messages, where nothing simpler holds it.

    Raises:
        InputError: It holds media that have neither a path nor bytes, or a prompt whose media have options
            of their own, or cannot be written in their order.

    Example:
        >>> item = Input((Text("what?"), Image(Source(path=Path("data/a.png")), max_pixels=9000)))
        >>> to_json(item, Path("data"))
        ['what?', {'image': 'a.png', 'max_pixels': 9000}]
    """
    if item.prompt is not None:
        return {"prompt": item.prompt, **_beside_prompt(item.parts, folder)}
    parts = [_part(part, folder) for part in item.parts]
    if item.instruction is None:
        plain = [part.get("text", part) for part in parts]
        return plain[0] if len(plain) == 1 else plain
    if len(parts) == 1:
        return {**parts[0], "instruction": item.instruction}
    content = [{"type": next(iter(part)), **part} for part in parts]
    return [{"role": "system", "content": item.instruction}, {"role": "user", "content": content}]


def _part(part: Part, folder: Path) -> dict[str, Any]:
    if isinstance(part, Text):
        return {"text": part.text}
    if isinstance(part, Image):
        found: dict[str, Any] = {"image": _media(part.content, folder), "max_pixels": part.max_pixels}
    elif isinstance(part, Clip):
        frames = part.content if isinstance(part.content, tuple) else None
        content = _media(part.content, folder) if frames is None else [_media(one, folder) for one in frames]
        found = {"video": content, **_options(part, CLIP_OPTIONS)}
    else:
        pages = "page" if isinstance(part.pages, int) else "pages"
        found = {"pdf": _media(part.content, folder), pages: part.pages}
        found |= _options(part, ("password", "max_pixels"))
    return {name: value for name, value in found.items() if value is not None}


def _options(part: Part, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: getattr(part, name) for name in names}


def _beside_prompt(parts: tuple[Part, ...], folder: Path) -> dict[str, Any]:
    """All media in one dict, each kind in order, with the options that hold for all of them."""
    media: dict[str, list[Any]] = {}
    shared: dict[str, Any] = {}
    own: list[dict[str, Any]] = []
    for part in parts:
        (key, value), *options = _part(part, folder).items()
        media.setdefault("images" if key == "image" else key, []).append(value)
        own.append(dict(options))
        shared |= own[-1]
    for part, options_of_part in zip(parts, own, strict=True):
        applying = {name for name in shared if hasattr(part, "pages" if name == "page" else name)}
        if options_of_part != {name: shared[name] for name in applying}:
            raise InputError("the media of a prompt have options of their own", fix="Give the same to all.")
    stills = [
        "page" if isinstance(part, Document) else "picture" for part in parts if not isinstance(part, Clip)
    ]
    if stills != sorted(stills, key=stills.index):
        raise InputError(
            "pictures and pages of a prompt alternate", fix="Put all pages before or after all pictures."
        )
    clips = media.get("video", [])
    if len(clips) > 1 and not all(isinstance(clip, list) for clip in clips):
        raise InputError("a prompt has several clips", fix="Write it with one clip, or with frames of each.")
    # A list of files under "video" is the frames of one clip.
    return {**media, **({"video": clips[0]} if len(clips) == 1 else {}), **shared}


def _media(content: Frame | tuple[Frame, ...], folder: Path) -> str:
    if isinstance(content, Source):
        if content.url is not None:
            return content.url
        if content.data is not None and content.signature is not None:
            mime = f"{content.signature.kind}/{content.signature.label.lower()}"
            mime = "application/pdf" if content.signature.kind == "pdf" else mime
            return f"data:{mime};base64,{base64.b64encode(content.data).decode()}"
        if content.path is not None:
            return _relative(content.path, folder)
    raise InputError(
        f"{describe_value(content)} has no path that could be written",
        fix="Save it as a file and give its path.",
    )


def _relative(path: Path, folder: Path) -> str:
    inside, outside = path.absolute(), folder.absolute()
    if not inside.is_relative_to(outside) or ".." in inside.parts:
        # With links, ".." leads up from where a folder really is.
        inside, outside = inside.parent.resolve() / inside.name, outside.resolve()
    try:
        relative = Path(os.path.relpath(inside, outside)).as_posix()
    except ValueError:  # on another drive
        return inside.as_posix()
    # Only so is it taken for a path.
    return relative if relative.strip() and relative[:5].lower() != "data:" else f"./{relative}"
