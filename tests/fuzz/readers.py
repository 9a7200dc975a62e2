"""The readers by name."""

from __future__ import annotations

from collections.abc import Mapping

from . import fetch_reader, folder_readers, input_reader, media_readers, record_readers
from .reader import Reader

__all__ = ["READERS"]

READERS: Mapping[str, Reader] = {
    "image": media_readers.image,
    "video": media_readers.video,
    "pdf": media_readers.pdf,
    "inputs": input_reader.inputs,
    "fetch": fetch_reader.fetch,
    "adapter": folder_readers.adapter,
    "checkpoint": folder_readers.checkpoint,
    "stock_checkpoint": folder_readers.stock_checkpoint,
    "results": record_readers.results,
    "records": record_readers.records,
}
