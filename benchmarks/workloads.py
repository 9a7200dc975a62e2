"""What is encoded in the benchmarks: seeds and generators, the same on every machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import PIL.Image

from vlm2vec.world.captions import describe
from vlm2vec.world.pages import draw_page, write_pages
from vlm2vec.world.scenes import draw_scene, render_scene
from vlm2vec.world.vocabulary import WORDS

QUERY = "Find the picture, page or clip of what is described."
"""12 tokens of the embedded tokenizer; the captions behind it have about as many."""

FRAMES = 8


@dataclass(frozen=True)
class Item:
    """One input, in terms that every way of encoding can read.

    Attributes:
        text: Behind the media, if there are any.
        image: A file.
        video: A file, of which `FRAMES` frames are looked at.
        pdf: A file.
        page: Of the PDF, the first being 1; `None` for all of them, as one input.
        instruction: What the vector is for.
    """

    text: str = ""
    image: Path | None = None
    video: Path | None = None
    pdf: Path | None = None
    page: int | None = None
    instruction: str | None = None

    def ours(self) -> Any:
        """The input as this package takes it."""
        if self.image is self.video is self.pdf:
            return self.text
        parts: dict[str, Any] = {"text": self.text} if self.text else {}
        if self.image:
            return {"image": self.image, **parts}
        if self.video:
            return {"video": self.video, "num_frames": FRAMES, **parts}
        return {"pdf": self.pdf, **parts, **({"page": self.page} if self.page else {})}


@dataclass(frozen=True)
class Sizes:
    """How much of everything: `quick` is for trying the code out, not for timing."""

    quick: bool = False

    def count(self, full: int) -> int:
        """Inputs, where a measurement has `full` of them."""
        return min(full, 3) if self.quick else full

    def side(self, full: int) -> int:
        """Pixels, where a measurement has `full` of them."""
        return max(56, full // 4) if self.quick else full

    def seconds(self, full: int) -> int:
        """Length of a clip."""
        return 1 if self.quick else full


class Writer:
    """Draws texts and files, each different from the others, from one seed.

    Args:
        folder: Where files go.
        sizes: How large they are.
        seed: The same seed gives the same files.
    """

    def __init__(self, folder: Path, sizes: Sizes, seed: int = 0) -> None:
        self.folder, self.sizes, self.rng = folder, sizes, np.random.default_rng(seed)
        self._numbers = iter(range(10**9))
        folder.mkdir(parents=True, exist_ok=True)

    def caption(self) -> str:
        """A line of 5 to 20 words."""
        return describe(draw_scene(self.rng), self.rng)

    def prose(self, words: int) -> str:
        """That many words."""
        return " ".join(self.rng.choice(WORDS, words))

    def image(self, width: int, height: int) -> Path:
        """A JPEG of a drawn scene under noise."""
        size = self.sizes.side(width), self.sizes.side(height)
        scene = np.asarray(render_scene(draw_scene(self.rng), 224).resize(size), dtype=np.float32)
        noisy = scene + self.rng.normal(0, 12, scene.shape)
        path = self._path("jpg")
        PIL.Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(path, quality=90)
        return path

    def any_image(self) -> Path:
        """A JPEG with sides of 320 to 512 pixels."""
        return self.image(*(int(side) for side in self.rng.integers(320, 513, 2)))

    def clip(self, seconds: int, width: int = 320, height: int = 240) -> Path:
        """An H.264 clip of 25 frames a second: noise that drifts."""
        width, height = (2 * (self.sizes.side(side) // 2) for side in (width, height))
        path, frames = self._path("mp4"), 25 * self.sizes.seconds(seconds)
        coarse = self.rng.integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
        still = np.asarray(PIL.Image.fromarray(coarse).resize((width, height), PIL.Image.Resampling.BICUBIC))
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            stream.codec_context.time_base = Fraction(1, 25)
            for number in range(frames):
                moved = np.ascontiguousarray(np.roll(still, 2 * number, axis=1))
                container.mux(stream.encode(av.VideoFrame.from_ndarray(moved, format="rgb24")))
            container.mux(stream.encode(None))
        return path

    def document(self, pages: int) -> Path:
        """A PDF of typeset pages."""
        path = self._path("pdf")
        write_pages([draw_page(self.rng) for _ in range(pages)], path)
        return path

    def _path(self, suffix: str) -> Path:
        return self.folder / f"{next(self._numbers):05d}.{suffix}"


def queries(writer: Writer) -> list[Item]:
    return [Item(writer.caption(), instruction=QUERY) for _ in range(writer.sizes.count(128))]


def documents(writer: Writer) -> list[Item]:
    longest = 40 if writer.sizes.quick else 300
    lengths = writer.rng.integers(8, longest + 1, writer.sizes.count(96))
    return [Item(writer.prose(int(words))) for words in lengths]


def images(writer: Writer) -> list[Item]:
    return [Item(image=writer.any_image()) for _ in range(writer.sizes.count(12))]


def large_images(writer: Writer) -> list[Item]:
    return [Item(image=writer.image(1024, 768)) for _ in range(writer.sizes.count(4))]


def mixed(writer: Writer) -> list[Item]:
    count = writer.sizes.count
    report = writer.document(2)
    return [
        *(Item(writer.caption(), instruction=QUERY) for _ in range(count(24))),
        *(Item(writer.caption()) for _ in range(count(16))),
        *(Item(image=writer.any_image()) for _ in range(count(6))),
        *(Item(pdf=report, page=page) for page in (1, 2)[: 1 if writer.sizes.quick else 2]),
        Item(video=writer.clip(10)),
    ]


def image_questions(writer: Writer) -> list[Item]:
    picture = writer.image(448, 336)
    return [Item(writer.caption(), image=picture) for _ in range(writer.sizes.count(8))]


def video_questions(writer: Writer) -> list[Item]:
    clip = writer.clip(10)
    return [Item(writer.caption(), video=clip) for _ in range(writer.sizes.count(8))]


def one_query(writer: Writer) -> list[Item]:
    return [Item(writer.caption(), instruction=QUERY)]


WORKLOADS: dict[str, tuple[str, Callable[[Writer], list[Item]]]] = {
    "queries": ("short queries that share an instruction", queries),
    "documents": ("texts of 8 to 300 words", documents),
    "images": ("JPEG files, sides of 320 to 512", images),
    "large-images": ("JPEG files of 1024 x 768", large_images),
    "mixed": ("mixed texts, images, pages and a clip", mixed),
    "image-questions": ("questions about one image", image_questions),
    "video-questions": ("questions about one clip", video_questions),
    "latency": ("short query, alone", one_query),
}
"""By name: what it is, and what draws it."""


def corpus(writer: Writer, count: int) -> Iterator[Item]:
    """As many mixed inputs, 71 texts, 23 images, 3 pages and 3 clips in each hundred."""
    for number in range(count):
        place = number % 100
        if place % 33 == 0 and place < 99:
            yield Item(pdf=writer.document(1), page=1)
        elif place % 33 == 16:
            yield Item(video=writer.clip(4))
        elif place % 4 == 1:
            yield Item(image=writer.any_image())
        else:
            yield Item(writer.prose(int(writer.rng.integers(8, 101))))
