"""Text as it may be embedded: any string that has an encoding in UTF-8."""

from __future__ import annotations

import logging
import math
import re
from pathlib import PurePath

from vlm2vec.describe import describe_value, quote
from vlm2vec.errors import InputError
from vlm2vec.notices import between_bars

__all__ = ["check_text", "mention_file_name"]

logger = logging.getLogger(__name__)

_FILE_NAME = re.compile(
    r"(?!\w+://)\S+\.(jpe?g|png|webp|gif|bmp|tiff?|avif|mp4|m4v|mov|mkv|webm|avi|pdf)", re.IGNORECASE
)
_LONGEST_NAME = 4096  # what common file systems allow, in characters
_mentioned: set[str] = set()


def check_text(value: object, what: str = "text") -> str:
    """The string itself, not a character changed.

    Args:
        value: What the caller passed as text.
        what: The name it was passed under, for the error.

    Raises:
        InputError: It is not a string, or holds half of a surrogate pair.
    """
    if not isinstance(value, str):
        raise InputError(f"{what} is {describe_value(value)}, not a string", fix=_how_to_fix(value, what))
    text = str.__str__(value)  # of an enum of strings: its value, not its name
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputError(
            f"{what} has a lone surrogate, U+{ord(text[error.start]):04X}, at position {error.start}",
            fix="Decode the text with the right encoding, or replace it: "
            "text.encode('utf-8', 'replace').decode('utf-8').",
        ) from error
    return text


def mention_file_name(text: str) -> None:
    """Warn, once for each kind of file, that a text which is nothing but a file's name is a text."""
    found = _FILE_NAME.fullmatch(text) if len(text) <= _LONGEST_NAME else None
    if found and (kind := found[1].lower()) not in _mentioned:
        _mentioned.add(kind)
        with between_bars():
            logger.warning(
                "The text %s is embedded as text. To embed the file, pass it as a pathlib.Path.", quote(text)
            )


def _how_to_fix(value: object, what: str) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return f"Leave {what} out, or pass a string."
    if isinstance(value, PurePath):
        return "Pass the path itself, which is read as a file, or path.read_text()."
    if isinstance(value, (bytes, bytearray)):
        return "Decode it first: data.decode('utf-8')."
    return "Pass a string; str(value) turns other values into one."
