"""One writer in a folder at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from vlm2vec.errors import InputError

__all__ = ["locked"]


@contextmanager
def locked(lock: Path, cause: str, fix: str, *, seconds: float = 1.0) -> Iterator[None]:
    """Hold a lock file meanwhile. A process that dies lets go of it, where the file system knows locks.

    Args:
        lock: The file, which stays; its folder is there.
        cause: What is wrong if another process holds it.
        fix: What to do then.
        seconds: How long to wait for it.

    Raises:
        InputError: Another process holds it.

    Example:
        >>> from tempfile import mkdtemp
        >>> lock = Path(mkdtemp(), ".lock")
        >>> with locked(lock, "another run writes here", "Wait for it."):
        ...     lock.exists()
        True
    """
    from huggingface_hub.utils import WeakFileLock  # type: ignore[attr-defined]  # not re-exported by name

    with ExitStack() as stack:
        try:
            stack.enter_context(WeakFileLock(lock, timeout=seconds))
        except TimeoutError as error:
            raise InputError(cause, fix=fix, source=str(lock.parent)) from error
        yield
