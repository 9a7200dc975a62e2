"""One writer in a folder at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from vlm2vec.errors import VLM2VecError

__all__ = ["locked"]


@contextmanager
def locked(lock: Path, refusal: VLM2VecError, *, seconds: float = 1.0) -> Iterator[None]:
    """Hold a lock file meanwhile. A process that dies lets go of it, where the file system knows locks.

    Args:
        lock: The file, which stays; its folder is there.
        refusal: Raised if another process holds it.
        seconds: How long to wait for it.

    Raises:
        VLM2VecError: The refusal.

    Example:
        >>> from tempfile import mkdtemp
        >>> lock, refusal = Path(mkdtemp(), ".lock"), VLM2VecError("another run writes here")
        >>> with locked(lock, refusal), locked(lock, refusal, seconds=0.1):
        ...     pass
        Traceback (most recent call last):
        vlm2vec.errors.VLM2VecError: another run writes here
    """
    from huggingface_hub.utils import WeakFileLock  # type: ignore[attr-defined]  # not re-exported by name

    with ExitStack() as stack:
        try:
            stack.enter_context(WeakFileLock(lock, timeout=seconds))
        except TimeoutError as error:
            raise refusal from error
        yield
