"""What a caller may pass, understood as ordered parts of text and media; nothing is decoded here."""

from __future__ import annotations

from vlm2vec.inputs.parse import is_single, parse_batch, parse_input
from vlm2vec.inputs.parts import Clip, Document, Image, Input, Part, Text
from vlm2vec.inputs.pdf import PdfPage, pdf_pages
from vlm2vec.inputs.video import Video

__all__ = [
    "is_single",
    "parse_input",
    "parse_batch",
    "Input",
    "Part",
    "Text",
    "Image",
    "Clip",
    "Document",
    "Video",
    "PdfPage",
    "pdf_pages",
]
