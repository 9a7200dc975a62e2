"""What can go wrong, each with the input it happened to, the cause and the fix.

Every error of this package is a `VLM2VecError`. The ones about one input carry its `index`, a short
description of its source (never its bytes) and say what to change.
"""

from __future__ import annotations

import traceback
from typing import Any

__all__ = [
    "VLM2VecError",
    "InputError",
    "MediaError",
    "LimitError",
    "ContextLengthError",
    "OutOfMemoryError",
    "NonFiniteError",
    "CheckpointError",
    "TrainingError",
    "ProfileError",
    "VectorsMismatchError",
    "IndexMismatchError",
    "IndexStoreError",
    "VLM2VecWarning",
]


class VLM2VecError(ValueError):
    """Base of all errors of this package.

    Args:
        cause: What was wrong, as a sentence without a full stop.
        fix: What to change.
        index: Position of the input in the list given to `encode`; `None` when there is no list.
        source: Short description of the input, such as a file name; never its bytes.

    Example:
        >>> print(InputError("the text is empty", fix="Pass at least one character.", index=3))
        input 3: the text is empty. Pass at least one character.
    """

    def __init__(
        self, cause: str, *, fix: str = "", index: int | None = None, source: str | None = None
    ) -> None:
        super().__init__(cause)
        self.cause = cause
        self.fix = fix
        self.index = index
        self.source = source

    def __str__(self) -> str:
        where = "" if self.index is None else f"input {self.index}"
        if self.source:
            where = f"{where} ({self.source})" if where else self.source
        text = f"{where}: {self.cause}" if where else self.cause
        return f"{text}. {self.fix}" if self.fix else text

    def __reduce__(self) -> tuple[Any, ...]:
        # Exceptions with keyword arguments do not pickle by themselves; worker processes send them back.
        return _rebuild, (type(self), self.cause, self.fix, self.index, self.source)

    def at(self, index: int | None, source: str | None = None) -> VLM2VecError:
        """The same error with the input that it belongs to; what is already known is kept."""
        if self.index is None:
            self.index = index
        if self.source is None:
            self.source = source
        return self

    def under(self, source: str) -> VLM2VecError:
        """The same error, about something of this name; what it was about before stands before the cause.

        Example:
            >>> print(MediaError("the file is empty", source="cat.jpg").under("pets, row 7"))
            pets, row 7: cat.jpg: the file is empty
        """
        cause = f"{self.source}: {self.cause}" if self.source else self.cause
        return _rebuild(type(self), cause, self.fix, None, source)

    def without_frames(self) -> VLM2VecError:
        """The same error, no longer holding what was in memory where it happened."""
        error: BaseException | None = self
        while error is not None:
            traceback.clear_frames(error.__traceback__)
            error = error.__cause__ or error.__context__
        return self

    def copy(self) -> VLM2VecError:
        """The same error, for another input that it happened to."""
        return _rebuild(type(self), self.cause, self.fix, None, self.source)


def _rebuild(
    cls: type[VLM2VecError], cause: str, fix: str, index: int | None, source: str | None
) -> VLM2VecError:
    return cls(cause, fix=fix, index=index, source=source)


class InputError(VLM2VecError):
    """An input has a form that cannot be embedded."""


class MediaError(VLM2VecError):
    """A file, or bytes, could not be read as the image, video or PDF it claims to be."""


class LimitError(VLM2VecError):
    """An input is larger than a limit allows."""


class ContextLengthError(LimitError):
    """An input has more tokens than the model's context holds."""


class OutOfMemoryError(LimitError):
    """One input alone needs more memory than the device has."""


class NonFiniteError(VLM2VecError):
    """The network computes NaN or infinity for an input: its type overflows, or its weights are damaged."""


class CheckpointError(VLM2VecError):
    """A checkpoint's files are missing, incomplete or do not fit the model."""


class TrainingError(VLM2VecError):
    """Training cannot go on."""


class ProfileError(CheckpointError):
    """A checkpoint does not say which profile it follows, or names one that does not exist."""


class VectorsMismatchError(VLM2VecError):
    """Vectors that are kept are of another model or of other settings than those that should join them."""


class IndexMismatchError(VectorsMismatchError):
    """An index has vectors of another model or of other settings."""


class IndexStoreError(VLM2VecError):
    """An index cannot be read or written: damaged, in use, in a read-only folder, or the disk is full."""


class VLM2VecWarning(UserWarning):
    """Something was read only in part, such as a video with a broken tail."""
