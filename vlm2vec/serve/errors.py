"""What a server says when it takes no more. None loads torch: the log begins before the model."""

from __future__ import annotations

from vlm2vec.errors import VLM2VecError

__all__ = ["QueueFullError", "StoppedError"]


class QueueFullError(VLM2VecError):
    """So much waits that no more is taken.

    Attributes:
        retry_after: Seconds until what waits now will have been computed, as it goes.
    """

    retry_after: float = 1.0


class StoppedError(VLM2VecError):
    """The server is stopping, or the thread that has the model has ended."""
