"""What an input is made of once it is understood: ordered parts of text and media."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import PIL.Image

from vlm2vec.describe import describe_value, quote, shorten
from vlm2vec.inputs.options import check_span
from vlm2vec.media.source import Source

__all__ = [
    "Text",
    "Image",
    "Clip",
    "Document",
    "Part",
    "Frame",
    "Input",
    "Role",
]

Role: TypeAlias = Literal["query", "document"]
"""Which side of a search an input is on."""

Frame: TypeAlias = "Source | PIL.Image.Image | npt.NDArray[Any]"


@dataclass(frozen=True, slots=True)
class Text:
    """A piece of text, exactly as it was given."""

    text: str

    def describe(self) -> str:
        """The start of the text, in quotes."""
        return f"text {quote(self.text)}"


@dataclass(frozen=True, eq=False, slots=True)
class Image:
    """A still picture.

    Attributes:
        content: A file or bytes, a PIL image, or an array of shape `(H, W)`, `(H, W, C)` or `(C, H, W)`.
        max_pixels: Greatest area after resizing, in pixels; `None` leaves it to the model.
    """

    content: Frame = field(repr=False)
    max_pixels: int | None = None

    def describe(self) -> str:
        """A file name, or what kind of picture it is."""
        return _describe_content(self.content)


@dataclass(frozen=True, eq=False, slots=True)
class Clip:
    """A moving picture.

    Attributes:
        content: A file, bytes or a folder of frames; a tuple of pictures; or an array of shape
            `(T, H, W, C)` or `(T, C, H, W)`.
        num_frames: Frames to take, spread evenly; `None` leaves it to the model.
        fps: Frames to take per second of the clip.
        start: First moment used, in seconds.
        end: Last moment used, in seconds.
        frame_rate: Frames per second that given pictures were taken at; a file has its own.
        max_pixels: Greatest area of a frame after resizing, in pixels.
    """

    content: Source | tuple[Frame, ...] | npt.NDArray[Any] = field(repr=False)
    num_frames: int | None = None
    fps: float | None = None
    start: float | None = None
    end: float | None = None
    frame_rate: float | None = None
    max_pixels: int | None = None

    def __post_init__(self) -> None:
        check_span(self.start, self.end)

    def describe(self) -> str:
        """A file name, or the number of frames."""
        if isinstance(self.content, (tuple, np.ndarray)):
            return f"video of {len(self.content)} frames"
        return _describe_content(self.content)


@dataclass(frozen=True, eq=False, slots=True)
class Document:
    """One or several pages of a PDF.

    Attributes:
        content: The file or bytes.
        pages: Which pages, the first being 1, as it was given: an int, a tuple of ints, or a string such as
            "1-3,7"; `None` means all.
        password: Opens an encrypted file.
        max_pixels: Greatest area of a page, in pixels.
    """

    content: Source
    pages: int | str | tuple[int, ...] | None = None
    password: str | None = field(default=None, repr=False)
    max_pixels: int | None = None

    def describe(self) -> str:
        """A file name, and the page if it is one page."""
        name = _describe_content(self.content)
        return f"{name}, page {self.pages}" if isinstance(self.pages, int) else name


Part: TypeAlias = "Text | Image | Clip | Document"


@dataclass(frozen=True, slots=True)
class Input:
    """ONE input: what becomes one vector.

    Attributes:
        parts: Text and media in order. With a `prompt`, the media alone.
        instruction: What to represent the input for; `None` if none was given, `""` if none is wanted.
        prompt: The exact prompt of the model with its placeholders, `<|image_pad|>` for each image or page
            and `<|video_pad|>` for each clip. Nothing is added to it.
        index: Position in the batch; `None` when there is no batch.
        bare_tokens: Placeholders in the prompt stand for no medium: they are tokens like others, as the
            benchmark's original code gave them to a model.
        role: What it is encoded as; `None` where that was not said. Some families end queries their own way.
    """

    parts: tuple[Part, ...]
    instruction: str | None = None
    prompt: str | None = None
    index: int | None = None
    bare_tokens: bool = False
    role: Role | None = None

    def describe(self) -> str:
        """A short description in at most 60 characters, for messages.

        Example:
            >>> Input((Text("a cat"), Text("a dog"))).describe()
            'text "a cat" + text "a dog"'
        """
        names = [f"prompt {quote(self.prompt, 30)}"] if self.prompt is not None else []
        names += [part.describe() for part in self.parts[:4]]
        return shorten(" + ".join(names))


def _describe_content(content: Frame) -> str:
    return shorten(content.describe()) if isinstance(content, Source) else describe_value(content)
