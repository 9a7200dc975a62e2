"""The same vectors by other means: sentence-transformers as its users call it, and padded transformers.

Files are opened, decoded and drawn inside `encode`, as this package does it. Both get transformers' image
processor on PIL where torchvision is missing, which sentence-transformers cannot do by itself.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pypdfium2
import torch
from PIL import Image
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import transformer as stock_module
from transformers import AutoProcessor, AutoTokenizer, BatchFeature, Qwen2VLModel, Qwen2VLProcessor
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
from transformers.video_utils import read_video_pyav
from workloads import FRAMES, Item

HAS_TORCHVISION = importlib.util.find_spec("torchvision") is not None

DrawPage = Callable[[Path, int], Image.Image]


def at_200_dpi(path: Path, page: int) -> Image.Image:
    """A page as most people draw it, for the image processor to resize."""
    with pypdfium2.PdfDocument(path) as document:
        return document[page - 1].render(scale=200 / 72).to_pil().convert("RGB")


def stock_input(item: Item, draw_page: DrawPage = at_200_dpi) -> Any:
    """An input as sentence-transformers takes it. Images are opened, and decoded where they are used."""
    parts: dict[str, Any] = {}
    if item.image:
        parts["image"] = Image.open(item.image)
    if item.video:
        frames, _ = read_video_pyav(str(item.video), _uniform)
        parts["video"] = [Image.fromarray(frame) for frame in frames]
    if item.pdf and item.page:
        parts["image"] = draw_page(item.pdf, item.page)
    elif item.pdf:
        with pypdfium2.PdfDocument(item.pdf) as document:
            numbers = range(1, len(document) + 1)
        parts["image"] = [draw_page(item.pdf, number) for number in numbers]
    if item.text:
        parts["text"] = item.text
    return item.text if list(parts) == ["text"] else parts


def _uniform(metadata: Any, **_: Any) -> np.ndarray:
    return np.linspace(0, metadata.total_num_frames - 1, min(FRAMES, metadata.total_num_frames), dtype=int)


class Stock:
    """sentence-transformers: sorts by its own measure of length, pads each batch.

    Args:
        folder: A saved model.
        dtype: Of the weights.
        device: Where it computes.
    """

    def __init__(self, folder: Path, *, dtype: torch.dtype, device: str) -> None:
        known = stock_module.AutoProcessor
        stock_module.AutoProcessor = _Processors
        try:
            self.model = SentenceTransformer(str(folder), device=device, model_kwargs={"dtype": dtype})
        finally:
            stock_module.AutoProcessor = known

    def encode(self, items: Sequence[Item], *, batch_size: int) -> np.ndarray:
        """Vectors in order; one call for each instruction, as a call takes only one."""
        rows: dict[int, np.ndarray] = {}
        for instruction in dict.fromkeys(item.instruction for item in items):
            numbers = [number for number, item in enumerate(items) if item.instruction == instruction]
            vectors = self.model.encode(
                [stock_input(items[number]) for number in numbers],
                prompt=instruction,
                batch_size=batch_size,
                show_progress_bar=False,
            )
            rows.update(zip(numbers, vectors, strict=True))
        return np.stack([rows[number] for number in range(len(items))])


class Padded:
    """transformers with padding, batches in the order given: what research code does.

    With one input a batch there is no padding, and in float32 its vectors are what others are held against.

    Args:
        folder: A saved model.
        dtype: Of the weights.
        device: Where it computes.
    """

    def __init__(self, folder: Path, *, dtype: torch.dtype, device: str) -> None:
        network = Qwen2VLModel.from_pretrained(folder, dtype=dtype, attn_implementation="sdpa")
        self.network = network.to(device).eval()
        self.processor = _Processors.from_pretrained(str(folder))
        self.processor.tokenizer.padding_side = "left"

    @torch.inference_mode()
    def encode(
        self, items: Sequence[Item], *, batch_size: int, draw_page: DrawPage = at_200_dpi
    ) -> np.ndarray:
        """Vectors in order."""
        rows = []
        for begin in range(0, len(items), batch_size):
            features = self.features(items[begin : begin + batch_size], draw_page).to(self.network.device)
            last = self.network(**features, use_cache=False).last_hidden_state[:, -1].float()
            rows.append(torch.nn.functional.normalize(last, dim=1).cpu())
        return torch.cat(rows).numpy()

    def features(self, items: Sequence[Item], draw_page: DrawPage = at_200_dpi) -> BatchFeature:
        """What the network reads, padded to the longest input."""
        features: BatchFeature = self.processor.apply_chat_template(
            [_conversation(item, draw_page) for item in items],
            tokenize=True,
            return_dict=True,
            processor_kwargs={"padding": True, "return_tensors": "pt"},
        )
        return features


def _conversation(item: Item, draw_page: DrawPage) -> list[dict[str, Any]]:
    given = stock_input(item, draw_page)
    parts = {"text": given} if isinstance(given, str) else given
    content = [
        {"type": kind, kind: part}
        for kind, value in parts.items()
        for part in (value if kind == "image" and isinstance(value, list) else [value])
    ]
    messages = [{"role": "user", "content": content}]
    if item.instruction:
        messages.insert(0, {"role": "system", "content": [{"type": "text", "text": item.instruction}]})
    return messages


class _PilVideoProcessor:
    """Frames in pairs, with the image processor's pixels."""

    model_input_names = ("pixel_values_videos", "video_grid_thw")

    def __init__(self, images: Qwen2VLImageProcessorPil) -> None:
        self.images, self.merge_size = images, images.merge_size

    def __call__(self, videos: Sequence[Any], **_: Any) -> BatchFeature:
        clips = [list(clip) for of_one_input in videos for clip in of_one_input]
        patches, grids = zip(*map(self._patches, clips), strict=True)
        content = {"pixel_values_videos": np.concatenate(patches), "video_grid_thw": np.array(grids)}
        return BatchFeature(content, tensor_type="pt")

    def _patches(self, frames: list[Any]) -> tuple[np.ndarray, tuple[int, int, int]]:
        if len(frames) % 2:
            frames = [*frames, frames[-1]]
        done = self.images(frames, return_tensors="np")
        _, rows, columns = (int(size) for size in done["image_grid_thw"][0])
        side = self.images.patch_size
        # The image processor repeats each frame along the time axis of its patch; a clip has the next there.
        single = done["pixel_values"].reshape(len(frames) // 2, 2, rows * columns, 3, 2, side * side)[
            ..., 0, :
        ]
        paired = np.moveaxis(single, 1, 3)
        return paired.reshape(-1, 3 * 2 * side * side), (len(frames) // 2, rows, columns)


class _PilProcessor(Qwen2VLProcessor):
    """The stock processor with its video half, which needs torchvision, replaced."""

    def check_argument_for_proper_class(self, argument_name: str, argument: object) -> type:
        return type(argument)


class _Processors:
    """Stands where transformers' `AutoProcessor` does."""

    @staticmethod
    def from_pretrained(path: str, **settings: Any) -> Any:
        if HAS_TORCHVISION:
            return AutoProcessor.from_pretrained(path, **settings)
        tokenizer = AutoTokenizer.from_pretrained(path)
        images = Qwen2VLImageProcessorPil.from_pretrained(path)
        return _PilProcessor(
            image_processor=images,
            tokenizer=tokenizer,
            video_processor=_PilVideoProcessor(images),
            chat_template=tokenizer.chat_template,
        )
