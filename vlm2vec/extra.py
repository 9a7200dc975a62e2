"""What a part of the package needs beside it, and how to get it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["extra", "how_to_install"]


def how_to_install(name: str) -> str:
    """What to do for an extra of `pyproject.toml`, as the fix of an error.

    The name on PyPI is not this project's, so it is installed from a clone.

    Example:
        >>> how_to_install("plots")
        'Install it: pip install ".[plots]" in a clone of this repository.'
    """
    return f'Install it: pip install ".[{name}]" in a clone of this repository.'


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
            f"{error}. vlm2vec.integrations.{name} needs it. {how_to_install(name)}",
            name=error.name,
            path=error.path,
        ) from error
