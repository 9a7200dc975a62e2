"""What libtiff and Pillow say about a picture, kept for whoever reads it instead of printed on stderr."""

from __future__ import annotations

import atexit
import ctypes
import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from PIL import Image, JpegImagePlugin, PngImagePlugin, TiffImagePlugin

from vlm2vec.describe import shorten
from vlm2vec.notices import warn

__all__ = ["heard", "listening", "note", "warn_of"]

_this_thread = threading.local()
# Said of sound pictures whose transparency is dropped.
_HARMLESS = ("Palette images with Transparency", "Couldn't allocate palette entry")
_LINE_BYTES = 300
_KEPT = (
    100  # messages of one picture: a damaged fax has one for each of its rows, of which it may have millions
)

_Handler = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p)


@contextmanager
def listening() -> Iterator[list[str]]:
    """The list to which this thread's messages of libtiff and Pillow go; one within another has the same.

    Pillow's warnings say nothing of the file, and come each time that it is opened; libtiff prints its errors
    and goes on with a damaged picture. What other threads hear in the meantime goes where it always goes.

    Example:
        >>> with listening() as messages:
        ...     Image.new("L", (2, 2)).load() is None
        False
        >>> messages
        []
    """
    outer = _messages()
    if outer is not None:
        yield outer
        return
    messages: list[str] = []
    _this_thread.messages = messages
    try:
        yield messages
    finally:
        _this_thread.messages = None


def warn_of(name: str, messages: list[str], category: type[Warning]) -> None:
    """One warning for all that was said about a picture, if anything was."""
    told = dict.fromkeys(message for message in messages if not message.startswith(_HARMLESS))
    if told:
        first, more = shorten(next(iter(told)), _LINE_BYTES).rstrip("."), len(told) - 1
        least = "at least " if len(messages) >= _KEPT else ""
        warn(f"{name}: {first}{f' (and {least}{more} more)' if more else ''}", category, stacklevel=3)


def note(message: str) -> None:
    """One message more about the picture that this thread reads; nothing where nobody listens."""
    messages = _messages()
    if messages is not None and len(messages) < _KEPT:
        messages.append(message)


def heard() -> list[str]:
    """What was said so far about the picture that this thread reads."""
    return list(_messages() or ())


def _messages() -> list[str] | None:
    return getattr(_this_thread, "messages", None)


class _Warnings:
    """The module `warnings` as Pillow sees it: for a thread that does not listen, the module itself.

    Filters, and what Python has shown once, belong to all threads: they could not be changed for one.
    """

    def __getattr__(self, name: str) -> Any:
        return getattr(warnings, name)

    def warn(
        self,
        message: Warning | str,
        category: type[Warning] | None = None,
        stacklevel: int = 1,
        *rest: Any,
        **named: Any,
    ) -> None:
        messages = _messages()
        if messages is None or isinstance(message, Warning) or category not in (None, UserWarning):
            warnings.warn(message, category, stacklevel + 1, *rest, **named)
        elif len(messages) < _KEPT:
            messages.append(message)


def _to_nobody_else(record: logging.LogRecord) -> bool:
    """Whether a log record of Pillow's goes where it always goes: not if this thread listens."""
    if _messages() is None or record.levelno < logging.WARNING:
        return True
    note(record.getMessage())
    return False


def _hook_libtiff() -> None:
    """Hears the errors of the library that Pillow reads TIFF files with, where it is not sealed in Pillow.

    It is so on Windows. Pillow itself has silenced its warnings.
    """
    core = vars(Image)["core"]  # which is not exported to type checkers
    try:
        set_handler = ctypes.CDLL(core.__file__).TIFFSetErrorHandler
    except (OSError, AttributeError):
        return
    set_handler.argtypes, set_handler.restype = [ctypes.c_void_p], ctypes.c_void_p
    others: list[Any] = []

    def hear(module: bytes | None, text: bytes, values: int | None) -> None:
        messages = _messages()
        if messages is None:
            for other in others:
                other(module, text, values)
        elif len(messages) < _KEPT:
            line = ctypes.create_string_buffer(_LINE_BYTES)
            ctypes.pythonapi.PyOS_vsnprintf(
                line, ctypes.c_size_t(_LINE_BYTES), ctypes.c_char_p(text), ctypes.c_void_p(values)
            )
            messages.append(line.value.decode("utf-8", "replace"))

    handler = _Handler(hear)
    before = set_handler(handler)
    if before:
        others.append(ctypes.cast(before, _Handler))
    atexit.register(_unhook, set_handler, handler, before)  # which also keeps the handler


def _unhook(set_handler: Any, handler: Any, before: int | None) -> None:
    now = set_handler(before)
    if now != ctypes.cast(handler, ctypes.c_void_p).value:
        set_handler(now)  # of somebody who came later


for _module in (Image, JpegImagePlugin, PngImagePlugin, TiffImagePlugin):
    vars(_module)["warnings"] = _Warnings()
logging.getLogger(TiffImagePlugin.__name__).addFilter(_to_nobody_else)
_hook_libtiff()
