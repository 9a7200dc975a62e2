"""What libtiff and Pillow say about a picture, kept for whoever reads it instead of printed on stderr."""

from __future__ import annotations

import ctypes
import re
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image

__all__ = ["listening", "warn_of"]

_LOCK = threading.Lock()
_this_thread = threading.local()
_FROM_PILLOW = ("always", None, UserWarning, re.compile(r"PIL\."), 0)
# Said of sound pictures whose transparency is dropped.
_HARMLESS = ("Palette images with Transparency", "Couldn't allocate palette entry")
_LINE_BYTES = 300
_PILLOW = Path(Image.__file__).parent

_Handler = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p)


@contextmanager
def listening() -> Iterator[list[str]]:
    """The list to which this thread's messages of libtiff and Pillow go; one within another has the same.

    Pillow's warnings say nothing of the file, and come each time that it is opened; libtiff prints its errors
    and goes on with a damaged picture. What other threads hear in the meantime goes where it always goes, and
    after the last block everything is as it was.

    Example:
        >>> with listening() as messages:
        ...     Image.new("L", (2, 2)).load() is None
        False
        >>> messages
        []
    """
    outer = getattr(_this_thread, "messages", None)
    if outer is not None:
        yield outer
        return
    messages: list[str] = []
    _this_thread.messages = messages
    _hooks.take()
    try:
        yield messages
    finally:
        _hooks.give()
        _this_thread.messages = None


def warn_of(name: str, messages: list[str], category: type[Warning]) -> None:
    """One warning for all that was said about a picture, if anything was."""
    told = dict.fromkeys(message for message in messages if not message.startswith(_HARMLESS))
    if told:
        first, more = next(iter(told)).strip().rstrip("."), len(told) - 1
        warnings.warn(f"{name}: {first}{f' (and {more} more)' if more else ''}", category, stacklevel=3)


class _Hooks:
    """The places of the process where messages pass by; ours while anybody listens."""

    def __init__(self) -> None:
        self._listeners = 0
        self._show: Callable[..., Any] = warnings.showwarning
        self._filters: list[Any] = []
        self._libtiff = _libtiff()
        self._handler = _Handler(self._from_libtiff)
        self._old_handlers: tuple[Any, Any] = (None, None)

    def take(self) -> None:
        """One listener more."""
        with _LOCK:
            self._listeners += 1
            if self._listeners > 1:
                return
            if warnings.showwarning != self._from_warnings:
                self._show, warnings.showwarning = warnings.showwarning, self._from_warnings
            # Not by `filterwarnings`, after which Python shows again what it has shown once.
            self._filters = _filters()
            self._filters.insert(0, _FROM_PILLOW)
            self._set_handlers(self._handler, None)

    def give(self) -> None:
        """One listener less."""
        with _LOCK:
            self._listeners -= 1
            if self._listeners:
                return
            if warnings.showwarning == self._from_warnings:
                warnings.showwarning = self._show
            # Another thread's `catch_warnings` may have put a copy in the list's place, or may put it back.
            for filters in (self._filters, _filters()):
                if _FROM_PILLOW in filters:
                    filters.remove(_FROM_PILLOW)
            self._set_handlers(*self._old_handlers)

    def _set_handlers(self, of_errors: Any, of_warnings: Any) -> None:
        if self._libtiff is not None:
            self._old_handlers = (
                self._libtiff.TIFFSetErrorHandler(of_errors),
                self._libtiff.TIFFSetWarningHandler(of_warnings),
            )

    def _from_warnings(
        self, message: Warning | str, category: type[Warning], filename: str, *rest: Any, **named: Any
    ) -> None:
        messages: list[str] | None = getattr(_this_thread, "messages", None)
        if messages is not None and Path(filename).parent == _PILLOW:
            messages.append(str(message))
        else:
            self._show(message, category, filename, *rest, **named)

    def _from_libtiff(self, module: bytes | None, text: bytes, values: int | None) -> None:
        messages: list[str] | None = getattr(_this_thread, "messages", None)
        if messages is None:
            if self._old_handlers[0]:
                ctypes.cast(self._old_handlers[0], _Handler)(module, text, values)
            return
        line = ctypes.create_string_buffer(_LINE_BYTES)
        ctypes.pythonapi.PyOS_vsnprintf(
            line, ctypes.c_size_t(_LINE_BYTES), ctypes.c_char_p(text), ctypes.c_void_p(values)
        )
        messages.append(line.value.decode("utf-8", "replace"))


def _filters() -> list[Any]:
    filters: Any = warnings.filters
    return filters  # type: ignore[no-any-return]


def _libtiff() -> Any:
    """The library that Pillow reads TIFF files with; `None` where it is part of Pillow, as on Windows."""
    core = vars(Image)["core"]  # which is not exported to type checkers
    try:
        library = ctypes.CDLL(core.__file__)
        for setter in (library.TIFFSetErrorHandler, library.TIFFSetWarningHandler):
            setter.argtypes, setter.restype = [ctypes.c_void_p], ctypes.c_void_p
    except (OSError, AttributeError):
        return None
    return library


_hooks = _Hooks()
