"""How samples are written for each kind of server."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Literal, TypeAlias

from PIL import Image, ImageOps

from vlm2vec.errors import InputError
from vlm2vec.media.sampling import uniform_indices
from vlm2vec.media.signature import HEAD_BYTES, recognise
from vlm2vec.mmeb.encoders.protocol import Role
from vlm2vec.mmeb.samples import Content

__all__ = ["SHAPES", "Place", "Sample", "Shape", "data_uri"]

Place: TypeAlias = Literal["text", "system", "field"]
"""Where an instruction stands: before the text, as a system message, or beside the input."""


@dataclass(frozen=True)
class Sample:
    """A sample as it is sent.

    Attributes:
        instruction: "" for none.
        text: "" for none.
        pictures: Data-URIs.
        is_clip: Whether they are the frames of a clip; otherwise there is one at most.
    """

    instruction: str
    text: str
    pictures: tuple[str, ...] = ()
    is_clip: bool = False

    @classmethod
    def of(cls, content: Content, instruction: str, frames: str | int) -> Sample:
        """Reads the files of a sample.

        Args:
            content: The sample.
            instruction: What it is given of its own.
            frames: Of a clip: "all", the "middle" one as a picture, or at most so many, spread evenly.

        Raises:
            OSError: A picture cannot be read.
            ValueError: The same.
        """
        files: Sequence[Path | bytes] = content.frames
        if not files:
            pictures = () if content.image is None else (data_uri(content.image),)
            return cls(instruction, content.text, pictures)
        if frames == "middle":
            return cls(instruction, content.text, (data_uri(files[len(files) // 2]),))
        if isinstance(frames, int):
            files = [files[number] for number in uniform_indices(len(files), frames)]
        return cls(instruction, content.text, tuple(map(data_uri, files)), is_clip=True)

    @property
    def size(self) -> int:
        """About how many bytes it takes to send."""
        return len(self.text) + len(self.instruction) + sum(map(len, self.pictures))


@dataclass(frozen=True)
class Shape:
    """How one kind of server wants samples.

    Attributes:
        name: Of it.
        places: Where instructions can stand; the first is the default.
        together: Whether a request can have several samples.
    """

    name: str
    places: tuple[Place, ...]
    together: bool = True

    def body(self, samples: Sequence[Sample], place: Place, role: Role) -> dict[str, Any]:
        """What a request says, without the name of the model.

        Args:
            samples: Of one instruction where its place is "field"; a single one if they cannot go together.
            place: Where the instruction stands.
            role: Queries or candidates.

        Raises:
            InputError: There is a clip, and this kind of server takes none.
        """
        if self.name == "vllm":
            return _conversation(samples[0], place)
        inputs = [self._input(sample, place) for sample in samples]
        if self.name == "vlm2vec":
            # Without an instruction the server takes the model's own; "" is none. It knows roles by Jina's
            # field, and a string or a list of parts is read there as in OpenAI's form.
            instruction = samples[0].instruction if place == "field" else ""
            return {"input": inputs, "instruction": instruction, "task": _JINA_TASKS[role]}
        return {"input": inputs}

    def _input(self, sample: Sample, place: Place) -> str | list[dict[str, Any]]:
        text = _said(sample) if place == "text" else sample.text
        if not sample.pictures:
            return text
        if not sample.is_clip:
            return [*map(_picture, sample.pictures), *_text(text)]
        if self.name == "openai":
            raise InputError(
                "OpenAI's shape of requests has no clips",
                fix='Pass frames="middle" for the middle frame as a picture, or the shape of another server.',
            )
        clip = {"type": "video", "video": list(sample.pictures), "num_frames": len(sample.pictures)}
        return [clip, *_text(text)]


_JINA_TASKS: Mapping[Role, str] = {"query": "retrieval.query", "document": "retrieval.passage"}

SHAPES: Mapping[str, Shape] = {
    shape.name: shape
    for shape in (
        Shape("openai", ("text",)),
        Shape("vllm", ("text", "system"), together=False),
        Shape("vlm2vec", ("field", "text")),
    )
}


_FRAMES_OF_VLLM = 32
"""How many it looks at unless it is told another number."""


def _conversation(sample: Sample, place: Place) -> dict[str, Any]:
    """One of vLLM's, whose chat template words it, texts too: a prompt for `input` is taken as it is."""
    text = _said(sample) if place == "text" else sample.text
    extra: dict[str, Any] = {}
    parts = list(map(_picture, sample.pictures))
    if sample.is_clip:
        # vllm/multimodal/media/video.py, `load_base64`: frames in base64, a comma between them, of any format
        # that Pillow opens.
        frames = ",".join(picture.partition(",")[2] for picture in sample.pictures)
        parts = [{"type": "video_url", "video_url": {"url": f"data:video/jpeg;base64,{frames}"}}]
        if len(sample.pictures) > _FRAMES_OF_VLLM:
            extra["media_io_kwargs"] = {"video": {"num_frames": len(sample.pictures)}}
    messages = [{"role": "user", "content": [*parts, *_text(text)]}]
    if place == "system":
        # As vLLM's documentation asks Qwen3-VL-Embedding: an answer that begins, and is not ended.
        if sample.instruction:
            messages.insert(0, {"role": "system", "content": _text(sample.instruction)})
        messages.append({"role": "assistant", "content": [{"type": "text", "text": ""}]})
        extra |= {"continue_final_message": True, "add_special_tokens": True}
    return {"messages": messages, **extra}


def _said(sample: Sample) -> str:
    return " ".join(filter(None, (sample.instruction, sample.text)))


def _text(text: str) -> list[dict[str, Any]]:
    return [{"type": "text", "text": text}] if text else []


def _picture(uri: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": uri}}


_MEDIA_TYPES = {"JPEG": "image/jpeg", "PNG": "image/png", "WebP": "image/webp", "GIF": "image/gif"}
"""What is sent as it is."""


def data_uri(given: Path | bytes) -> str:
    r"""A picture for JSON: its own bytes, or as PNG where servers may not know its format.

    Example:
        >>> data_uri(b"\xff\xd8\xff")
        'data:image/jpeg;base64,/9j/'

    Raises:
        OSError: It cannot be read.
    """
    data = given if isinstance(given, bytes) else given.read_bytes()
    signature = recognise(data[:HEAD_BYTES])
    media_type = _MEDIA_TYPES.get(signature.label) if signature is not None else None
    if media_type is None:
        data, media_type = _as_png(data), "image/png"
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


def _as_png(data: bytes) -> bytes:
    with Image.open(BytesIO(data)) as opened:
        picture = ImageOps.exif_transpose(opened)
        if picture.mode not in ("1", "L", "LA", "P", "RGB", "RGBA"):
            picture = picture.convert("RGB")
        written = BytesIO()
        picture.save(written, "PNG")
    return written.getvalue()
