"""An evaluation as one HTML file: scores beside published ones, and queries beside what they found."""

from __future__ import annotations

from vlm2vec.mmeb.show.report import BESIDE, write_report

__all__ = ["BESIDE", "write_report"]
