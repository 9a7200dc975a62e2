"""What an adapter needs beside this package, and how to get it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["extra"]


@contextmanager
def extra(name: str) -> Iterator[None]:
    """Around the imports of an adapter: where one is not installed, say which extra brings it.

    Args:
        name: Of the extra in `pyproject.toml`.

    Raises:
        ImportError: Something cannot be imported.
    """
    try:
        yield
    except ImportError as error:
        raise ImportError(
            f'{error}. Install what vlm2vec.integrations.{name} needs: pip install "vlm2vec[{name}]".',
            name=error.name,
            path=error.path,
        ) from error
