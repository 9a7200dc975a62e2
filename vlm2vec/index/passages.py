"""A text of any length in passages of few tokens, cut at paragraphs; longer ones at sentences, then words."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from vlm2vec.errors import InputError, MediaError

__all__ = ["passages", "paragraphs"]

# Where a text that is too long may be cut, the best place first; what matches stays at the end of a piece.
_CUTS = (r"\n", r"[.!?…](?=\s)|[。！？]", r"[,;:](?=\s)|[，；：、]", r"\s")  # noqa: RUF001
_JOINER = "\n\n"
_LINE = 2**16  # characters that are read at a time


def paragraphs(path: Path) -> Iterator[str]:
    """The paragraphs of a text file in UTF-8, which blank lines part; of a very long one, pieces.

    Raises:
        InputError: It is in another encoding, or holds nothing but blanks.
        MediaError: It cannot be read.
    """
    held: list[str] = []
    size, empty = 0, True
    try:
        with path.open(encoding="utf-8-sig", newline=None) as file:
            while line := file.readline(_LINE):
                if line.strip():
                    held.append(line)
                    size += len(line)
                if held and (not line.strip() or size > _LINE):
                    yield "".join(held).strip("\n")
                    held, size, empty = [], 0, False
    except UnicodeDecodeError as error:
        raise InputError(
            f"the text file is not UTF-8: byte 0x{error.object[error.start]:02x}",
            fix="Write it again in UTF-8.",
        ) from None
    except OSError as error:
        raise MediaError(f"the file cannot be read ({error.strerror or error})") from error
    if held:
        yield "".join(held).strip("\n")
    elif empty:
        raise InputError("the text file is empty", fix="Leave it out.")


def passages(
    texts: Iterable[str], count: Callable[[str], int], most: int, *, joiner: str = _JOINER
) -> Iterator[str]:
    r"""Paragraphs, as many of them in one passage as fit.

    Args:
        texts: The paragraphs, in order.
        count: Tokens of a text.
        most: Tokens of a passage.
        joiner: Written between two paragraphs.

    Example:
        >>> words = lambda text: len(text.split())
        >>> list(passages(["one two", "three", "four five. six seven"], words, 3))
        ['one two\n\nthree', 'four five.', 'six seven']
    """
    held, tokens = "", 0
    between = count(joiner) if joiner else 0
    for text in texts:
        own = count(text)
        if held and tokens + between + own <= most:
            held, tokens = f"{held}{joiner}{text}", tokens + between + own
            continue
        if held:
            yield held
        held, tokens = text, own
        if own > most:
            yield from _cut(text, count, most, 0)
            held, tokens = "", 0
    if held:
        yield held


def _cut(text: str, count: Callable[[str], int], most: int, level: int) -> Iterator[str]:
    """A text that is too long, in pieces that are not."""
    if level == len(_CUTS):
        half = len(text) // 2
        pieces = [text[:half], text[half:]] if half else []
        for piece in pieces:
            yield from [piece] if count(piece) <= most else _cut(piece, count, most, level)
        if not pieces:
            yield text  # a character of more tokens than there may be
        return
    ends = [match.end() for match in re.finditer(_CUTS[level], text)]
    pieces = [
        text[start:end] for start, end in zip([0, *ends], [*ends, len(text)], strict=True) if start < end
    ]
    held, tokens = "", 0
    for piece in pieces:
        own = count(piece)
        if held and tokens + own > most:
            yield held.strip()
            held, tokens = "", 0
        if own <= most:
            held, tokens = held + piece, tokens + own
        else:
            yield from _cut(piece, count, most, level + 1)
    if held.strip():
        yield held.strip()
