"""The program that reads PDFs for another process: `python -m vlm2vec.media.reader`, started by it alone.

It takes requests from its standard input and writes replies to its standard output, one at a time. A file may
be made such that PDFium computes or allocates without end, and nothing can interrupt it: this process ends
then, by a thread that watches it and by limits of the system, and only the file that was being read fails.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import pypdfium2.raw  # noqa: F401  # all that a request needs is there before the first

from vlm2vec.errors import LimitError, MediaError, VLM2VecError, VLM2VecWarning
from vlm2vec.media.deadline import computed_too_long
from vlm2vec.media.pdf import page_count, page_size_in_pixels, render_page
from vlm2vec.media.reader_messages import (
    GREETING,
    Request,
    error_header,
    read_header,
    write_message,
)
from vlm2vec.media.source import Source

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

_WATCHED_EVERY = 0.02  # seconds, while there is work
_PARENT_EVERY = 1.0  # seconds, while there is none
_PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 0
_STATM = Path("/proc/self/statm")
_NEARLY = 15 / 16  # of the memory, so that there is some left to say so
_ENDLESS = 2**62  # bytes or seconds, more than which the system does not count
_GATHERED = 1 / 8  # of the memory, after which a reader leaves its place to a new one


def main() -> None:
    """Serves requests until there are no more, or the process that sends them has ended."""
    _reset_signals()
    requests, replies = _take_pipes()
    watch = _Watch(replies)
    watch.start()
    held: dict[int, bytes] = {}
    replies.write(GREETING)
    with suppress(EOFError, BrokenPipeError):
        is_last = False
        while not is_last:
            header, size = read_header(requests)
            for number in header["forget"]:
                held.pop(number, None)
            if size:
                held[header["source"]["number"]] = requests.read(size)
            if "request" in header:
                request = Request.from_header(header["request"])
                watch.begin(request)
                reply, picture = _answer(request, _source(header["source"], held))
                kept = sum(map(len, held.values()))
                is_last = watch.end() - kept > request.limits.reader_memory * _GATHERED
                write_message(replies, {**reply, "is_last": is_last}, picture)
    os._exit(0)  # nothing is to be tidied, and an idle thread not to be waited for


class _NamedSource(Source):
    """A source under the name that the other process has for it."""

    def describe(self) -> str:
        return str(self.facts["description"])

    @property
    def name(self) -> str | None:
        name: str | None = self.facts["name"]
        return name


def _source(header: dict[str, Any], held: dict[int, bytes]) -> Source:
    """The file, or the bytes: those that came now, or that came before under this number."""
    facts = {"description": header["description"], "name": header["name"]}
    if header["path"] is not None:
        return _NamedSource(path=Path(header["path"]), facts=facts)
    return _NamedSource(data=held[header["number"]], facts=facts)


def _answer(request: Request, source: Source) -> tuple[dict[str, Any], memoryview]:
    """The reply, and a picture if one is asked for."""
    numbers: list[int] = []
    picture = memoryview(b"")
    error: VLM2VecError | None = None
    given: dict[str, Any] = {"password": request.password, "limits": request.limits}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            if request.rules is None:
                numbers = [page_count(source, **given)]
            else:
                given["max_pixels"] = request.max_pixels
                if request.what == "size":
                    numbers = [*page_size_in_pixels(source, request.page, request.rules, **given)]
                else:
                    drawn = render_page(source, request.page, request.rules, **given)
                    numbers, picture = [*drawn.shape], drawn.data.cast("B")
        except VLM2VecError as caught_error:
            error = caught_error
        except MemoryError:
            error = _too_large(request)
        except Exception as caught_error:  # whatever it is, it is this file's
            what = f"{type(caught_error).__name__}: {caught_error}"
            error = MediaError(f"it cannot be read ({what})", fix="Write the file again.")
    texts = [str(one.message) for one in caught if issubclass(one.category, VLM2VecWarning)]
    reply: dict[str, Any] = {"warnings": texts, "numbers": numbers}
    return (reply if error is None else {**reply, "error": error_header(error)}), picture


class _Watch(threading.Thread):
    """Ends this process when a request takes too long or too much, and when its parent is gone.

    Args:
        replies: Where it is said why.
    """

    def __init__(self, replies: Any) -> None:
        super().__init__(name="watch", daemon=True)
        self._replies = replies
        self._parent = os.getppid()
        self._lock = threading.Lock()
        self._busy = threading.Event()
        self._request: Request | None = None
        self._begun = 0.0
        self._statm = os.open(_STATM, os.O_RDONLY) if _STATM.exists() else None
        self._at_first, self._own = self._size()

    def begin(self, request: Request) -> None:
        """A request is worked on from now."""
        self._begun = time.process_time()
        self._request = request
        self._limit_by_system(request)
        self._busy.set()

    def end(self) -> int:
        """The request is done, unless it was said before that it takes too much.

        Returns:
            Bytes of memory that this process has more than when it started.
        """
        with self._lock:
            self._request = None
            self._busy.clear()
        return self._grown()

    def run(self) -> None:
        while True:
            self._busy.wait(_PARENT_EVERY)
            if sys.platform != "win32" and os.getppid() != self._parent:
                os._exit(0)
            with self._lock:
                self._check()
            if self._busy.is_set():
                time.sleep(_WATCHED_EVERY)

    def _check(self) -> None:
        request = self._request
        if request is None:
            return
        if time.process_time() - self._begun > request.limits.decode_seconds:
            self._stop(computed_too_long(request.work, request.limits.decode_seconds))
        if self._grown() > self._room(request) * _NEARLY:
            self._stop(_too_large(request))

    def _stop(self, error: VLM2VecError) -> NoReturn:
        with suppress(OSError):
            write_message(
                self._replies, {"warnings": [], "numbers": [], "is_last": True, "error": error_header(error)}
            )
        os._exit(1)

    def _grown(self) -> int:
        return self._size()[0] - self._at_first

    def _room(self, request: Request) -> int:
        """Bytes that this process may take beside those that it starts with."""
        return max(0, request.limits.reader_memory - self._own)

    def _size(self) -> tuple[int, int]:
        """Bytes of the address space, which Linux can limit, and of memory; elsewhere the most of memory."""
        if self._statm is not None:
            pages = os.pread(self._statm, 64, 0).split()
            return int(pages[0]) * _PAGE, int(pages[1]) * _PAGE
        if resource is not None:
            unit = 1 if sys.platform == "darwin" else 1024
            most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
            return most, most
        return 0, 0

    def _limit_by_system(self, request: Request) -> None:
        """The second line, for what happens between two looks, and where Python cannot look."""
        if resource is None:
            return
        if self._statm is not None:
            _lower(resource.RLIMIT_AS, self._at_first + self._room(request))
        _lower(resource.RLIMIT_CPU, time.process_time() + 1.25 * request.limits.decode_seconds + 2)


def _lower(kind: int, value: float) -> None:
    """Sets a limit that the system holds, to be raised again with the next request."""
    hard = resource.getrlimit(kind)[1]
    most = hard if hard != resource.RLIM_INFINITY else _ENDLESS
    with suppress(OSError, ValueError):
        resource.setrlimit(kind, (int(value) if value < most else hard, hard))


def _too_large(request: Request) -> LimitError:
    return LimitError(
        f"{request.work} took more than {request.limits.reader_memory / 2**30:.3g} GiB of memory",
        fix="Raise Limits.reader_memory.",
    )


def _reset_signals() -> None:
    """Lets the system end this process, whatever its parent does about signals."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        signal.signal(signal.SIGXCPU, signal.SIG_DFL)


def _take_pipes() -> tuple[BinaryIO, BinaryIO]:
    """The pipes for requests and replies; what else is printed goes nowhere."""
    requests = open(os.dup(0), "rb")  # noqa: PTH123, SIM115
    replies = open(os.dup(1), "wb", buffering=0)  # noqa: PTH123, SIM115
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1):
        os.dup2(nowhere, descriptor)
    if resource is not None:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # gigabytes, for a file that is to blame
    return requests, replies


if __name__ == "__main__":
    main()
