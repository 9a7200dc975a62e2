"""The benchmark's data: fetched from the hub, unpacked, and checked before anything runs."""

from __future__ import annotations

from vlm2vec.mmeb.data.completeness import Completeness, TaskCompleteness, check
from vlm2vec.mmeb.data.downloading import download
from vlm2vec.mmeb.data.hub import DownloadError
from vlm2vec.mmeb.data.record import Record, revisions_of

__all__ = [
    "Completeness",
    "DownloadError",
    "Record",
    "TaskCompleteness",
    "check",
    "download",
    "revisions_of",
]
