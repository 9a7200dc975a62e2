"""What is said when data of a task are not there."""

from __future__ import annotations

from vlm2vec.errors import VLM2VecError

__all__ = ["MissingDataError"]


class MissingDataError(VLM2VecError):
    """Annotations of a task, the folder of its media, or too many files in it are not there."""
