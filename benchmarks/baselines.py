"""The same vectors by other means: sentence-transformers as its users call it, and padded transformers.

Files are opened, decoded and drawn inside `encode`, as this package does it. Both get transformers' image
processor on PIL where torchvision is missing, which sentence-transformers cannot do by itself. The networks
after Qwen2-VL always get it: their processors on torchvision give clips other frames and positions.
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
from transformers import (
    AutoConfig,
    AutoModel,
    AutoProcessor,
    AutoTokenizer,
    BatchFeature,
    ProcessorMixin,
    Qwen2_5_VLProcessor,
    Qwen2VLProcessor,
    Qwen3VLProcessor,
)
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
from transformers.video_utils import VideoMetadata, read_video_pyav
from workloads import FRAMES, Item

HAS_TORCHVISION = importlib.util.find_spec("torchvision") is not None

DrawPage = Callable[[Path, int], Image.Image]


def at_200_dpi(path: Path, page: int) -> Image.Image:
    """A page as most people draw it, for the image processor to resize."""
    with pypdfium2.PdfDocument(path) as document:
        return document[page - 1].render(scale=200 / 72).to_pil().convert("RGB")


def stock_input(item: Item, draw_page: DrawPage = at_200_dpi, *, timed: bool = False) -> Any:
    """An input as sentence-transformers takes it. Images are opened, and decoded where they are used.

    Args:
        item: The input.
        draw_page: What draws pages of PDFs.
        timed: Say of clips when their frames were.
    """
    parts: dict[str, Any] = {}
    if item.image:
        parts["image"] = Image.open(item.image)
    if item.video:
        frames, metadata = read_video_pyav(str(item.video), _uniform)
        clip = [Image.fromarray(frame) for frame in frames]
        parts["video"] = {"array": clip, "video_metadata": dict(metadata)} if timed else clip
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
        self.timed = _tells_times(self.model[0].model.config)

    def encode(self, items: Sequence[Item], *, batch_size: int) -> np.ndarray:
        """Vectors in order; one call for each instruction, as a call takes only one."""
        rows: dict[int, np.ndarray] = {}
        for instruction in dict.fromkeys(item.instruction for item in items):
            numbers = [number for number, item in enumerate(items) if item.instruction == instruction]
            vectors = self.model.encode(
                [stock_input(items[number], timed=self.timed) for number in numbers],
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
        network = AutoModel.from_pretrained(folder, dtype=dtype, attn_implementation="sdpa")
        self.network = network.to(device).eval()
        self.timed = _tells_times(network.config)
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
        given = [stock_input(item, draw_page, timed=self.timed) for item in items]
        clips = [parts["video"] for parts in given if isinstance(parts, dict) and "video" in parts]
        times = {"video_metadata": [clip["video_metadata"] for clip in clips]} if self.timed and clips else {}
        features: BatchFeature = self.processor.apply_chat_template(
            [_conversation(parts, item.instruction) for parts, item in zip(given, items, strict=True)],
            tokenize=True,
            return_dict=True,
            processor_kwargs={"padding": True, "return_tensors": "pt", **times},
        )
        return features


def _tells_times(config: Any) -> bool:
    """Whether prompts of a network say when the frames of a clip were."""
    return bool(config.model_type == "qwen3_vl")


def _conversation(given: Any, instruction: str | None) -> list[dict[str, Any]]:
    parts = {"text": given} if isinstance(given, str) else given
    content = [
        {"type": kind, kind: part["array"] if isinstance(part, dict) else part}
        for kind, value in parts.items()
        for part in (value if kind == "image" and isinstance(value, list) else [value])
    ]
    messages = [{"role": "user", "content": content}]
    if instruction:
        messages.insert(0, {"role": "system", "content": [{"type": "text", "text": instruction}]})
    return messages


class _PilVideoProcessor:
    """Frames in pairs, with the image processor's pixels."""

    model_input_names = ("pixel_values_videos", "video_grid_thw")

    def __init__(self, images: Qwen2VLImageProcessorPil) -> None:
        self.images, self.merge_size = images, images.merge_size
        self.temporal_patch_size = images.temporal_patch_size

    def __call__(
        self, videos: Sequence[Any], video_metadata: Sequence[dict[str, Any]] = (), **_: Any
    ) -> BatchFeature:
        clips = [list(clip) for of_one_input in videos for clip in of_one_input]
        patches, grids = zip(*map(self._patches, clips), strict=True)
        content = {"pixel_values_videos": np.concatenate(patches), "video_grid_thw": np.array(grids)}
        features = BatchFeature(content, tensor_type="pt")
        if video_metadata:
            features["video_metadata"] = [VideoMetadata(**metadata) for metadata in video_metadata]
        return features

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


class _OnPil:
    """What of a stock processor needs torchvision, replaced."""

    def check_argument_for_proper_class(self, argument_name: str, argument: object) -> type:
        return type(argument)

    def _process_videos(self, videos: Any, **settings: Any) -> Any:
        # Qwen2.5-VL's own would guess how far apart time steps are; without it they are a second apart.
        return ProcessorMixin._process_videos(self, videos, **settings)


class _Qwen2VLOnPil(_OnPil, Qwen2VLProcessor):
    pass


class _Qwen25VLOnPil(_OnPil, Qwen2_5_VLProcessor):
    pass


class _Qwen3VLOnPil(_OnPil, Qwen3VLProcessor):
    pass


_ON_PIL = {"qwen2_vl": _Qwen2VLOnPil, "qwen2_5_vl": _Qwen25VLOnPil, "qwen3_vl": _Qwen3VLOnPil}


class _Processors:
    """Stands where transformers' `AutoProcessor` does."""

    @staticmethod
    def from_pretrained(path: str, **settings: Any) -> Any:
        network = AutoConfig.from_pretrained(path).model_type
        if HAS_TORCHVISION and network == "qwen2_vl":
            return AutoProcessor.from_pretrained(path, **settings)
        tokenizer = AutoTokenizer.from_pretrained(path)
        images = Qwen2VLImageProcessorPil.from_pretrained(path)
        return _ON_PIL[network](
            image_processor=images,
            tokenizer=tokenizer,
            video_processor=_PilVideoProcessor(images),
            chat_template=tokenizer.chat_template,
        )
