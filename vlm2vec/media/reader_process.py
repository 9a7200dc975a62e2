"""A reader as its parent sees it: a process, and a thread that talks to it."""

from __future__ import annotations

import itertools
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from vlm2vec.errors import LimitError, MediaError, VLM2VecError
from vlm2vec.media.deadline import computed_too_long
from vlm2vec.media.reader_messages import (
    GREETING,
    Request,
    SentFile,
    error_from,
    read_header,
    read_into,
    write_message,
)

__all__ = ["ReaderDiedError", "ReaderProcess", "Reply", "why_none_can_start"]

_MODULE = "vlm2vec.media.reader"
_HELD = 128 * 2**20  # bytes of documents that a reader keeps for the next pages, or one document
_KEPT_FOR = 10.0  # seconds after the last request
_PRINTED = 2**20  # bytes that a Python may print before it starts a program
_PIPE = 2**20  # bytes of each pipe, what Linux lets everybody have
_WARNINGS = 64  # of one reply
_WARNING = 2_000  # characters
# Otherwise each core of the machine and each thread takes address space, which is limited.
_SMALL = {
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "1",
}
# What comes of pipes that are closed, and of a reply that makes no sense.
_OF_DEATHS = (OSError, EOFError, ValueError, KeyError, TypeError, OverflowError, RecursionError)
_WINDOWS_FLAGS = getattr(subprocess, "CREATE_NO_WINDOW", 0) | getattr(
    subprocess, "CREATE_NEW_PROCESS_GROUP", 0
)
_NOT_FOR_READERS = ("PYTHONWARNINGS", "PYTHONINSPECT")


@dataclass(frozen=True)
class Reply:
    """What a reader found.

    Attributes:
        numbers: A count, the height and width of a page, or the shape of its picture.
        picture: `(H, W, 3)`, uint8, if one was asked for.
        warnings: To be given in this process.
        error: What is wrong with the file.
        is_last: Whether the reader ends after it.
    """

    numbers: tuple[int, ...]
    picture: np.ndarray | None
    warnings: tuple[str, ...]
    error: VLM2VecError | None
    is_last: bool


class ReaderDiedError(Exception):
    """A reader ended without a reply.

    Args:
        code: Its exit status, negative for a signal.
    """

    def __init__(self, code: int | None) -> None:
        super().__init__(f"a reader ended with {code}")
        self.code = code

    @property
    def is_crash(self) -> bool:
        """Whether the file is to blame, and not somebody who ended the process."""
        return self.code not in (None, 0, 1, *(-_signal(name) for name in ("KILL", "TERM", "HUP", "INT")))

    @property
    def is_over_time(self) -> bool:
        """Whether the system ended it when the limit of time was long past."""
        return self.code == -_signal("XCPU")

    def as_error(self, request: Request) -> VLM2VecError:
        """What it means for the file that it read."""
        if self.is_over_time:
            return computed_too_long(request.work, request.limits.decode_seconds)
        if not self.is_crash:
            return LimitError(
                f"{request.work}: the process that did it was ended twice ({self._name()})",
                fix="If the machine ran out of memory, lower Limits.readers or Limits.reader_memory.",
            )
        return MediaError(
            f"{request.work}: PDFium crashed on this file ({self._name()})",
            fix="Write the file again; if it needs more than "
            f"{request.limits.reader_memory / 2**30:.3g} GiB of memory, raise Limits.reader_memory.",
        )

    def _name(self) -> str:
        with suppress(ValueError):
            return signal.Signals(-(self.code or 0)).name
        return f"exit status {self.code}"


@dataclass(frozen=True)
class _Job:
    request: Request
    document: SentFile
    reply: Future[Reply]


class ReaderProcess:
    """Starts a reader.

    Attributes:
        is_ready: Done when it can be asked; a `ReaderDiedError` if it never can.
        is_new: Whether it has not been asked for anything yet.
        is_busy: Whether it has not replied yet.

    Raises:
        OSError: It cannot be started.
        RuntimeError: No thread can be.
    """

    def __init__(self) -> None:
        self.is_ready: Future[None] = Future()
        self.is_new, self.is_busy = True, False
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._is_over = False
        self._numbers = itertools.count()
        self._held: dict[int, bytes] = {}
        windows = sys.platform == "win32"
        self._process = subprocess.Popen(  # noqa: S603  # Python itself
            _command(),
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=_environment(),
            cwd=Path(sys.executable).absolute().anchor,  # no folder that somebody may want to remove
            # Ctrl-C in a terminal is for the process that reads for somebody, not for its readers.
            process_group=None if windows else 0,
            creationflags=_WINDOWS_FLAGS if windows else 0,
        )
        self._requests, self._replies = self._pipes()
        try:
            threading.Thread(target=self._serve, name="pdf-reader of vlm2vec", daemon=True).start()
        except BaseException:
            self._end()
            raise

    @property
    def is_alive(self) -> bool:
        """Whether its process runs."""
        return self._process.poll() is None

    @property
    def pid(self) -> int:
        """Number of its process."""
        return self._process.pid

    def holds(self, document: SentFile) -> bool:
        """Whether it has the bytes already."""
        return any(document.data is data for data in list(self._held.values()))

    def ask(self, request: Request, document: SentFile) -> Future[Reply]:
        """What it finds; a `ReaderDiedError` if it dies. One request at a time."""
        self.is_new, self.is_busy = False, True
        job = _Job(request, document, Future())
        self._jobs.put(job)
        if self._is_over:
            self._fail_all()
        return job.reply

    def stop(self) -> None:
        """Ends the process, whatever it does; what was asked fails."""
        with suppress(OSError):
            self._process.kill()
        self._jobs.put(None)

    def forget(self) -> None:
        """Lets go of it in a process that was forked, where it belongs to the parent."""
        self._requests.close()
        self._replies.close()
        self._process.returncode = 0  # as if it had been waited for

    def _pipes(self) -> tuple[Any, Any]:
        requests, replies = self._process.stdin, self._process.stdout
        assert requests is not None and replies is not None  # noqa: S101  # they are pipes
        if sys.platform == "linux":
            import fcntl

            # A document and a picture have megabytes. One who holds very many pipes may not enlarge more.
            with suppress(OSError):
                for pipe in (requests, replies):
                    fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE)
        return requests, replies

    def _serve(self) -> None:
        """Talks to the process until it ends or is stopped."""
        if hasattr(signal, "pthread_sigmask"):
            # A pipe to a reader that has died must not end this process, whatever it does about the signal.
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGPIPE})
        try:
            _await_greeting(self._replies)
        except BaseException as error:
            self.is_ready.set_exception(self._death(error))
            return
        self.is_ready.set_result(None)
        while self._serve_one():
            pass
        self._is_over = True
        self._end()
        self._fail_all()

    def _serve_one(self) -> bool:
        """One request, of which nothing is held afterwards; whether there may be another."""
        job = self._next_job()
        if job is None:
            return False
        try:
            reply = self._exchange(job)
        except BaseException as error:  # there may be no memory for the picture
            job.reply.set_exception(self._death(error))
            return False
        self.is_busy = False
        job.reply.set_result(reply)
        return True

    def _death(self, error: BaseException) -> BaseException:
        """What those hear who wait: that it died, whose pipes are closed or whose reply makes no sense."""
        self._end()
        if isinstance(error, _OF_DEATHS):
            return ReaderDiedError(self._process.returncode)
        return error

    def _fail_all(self) -> None:
        """Whoever asked while it ended."""
        with suppress(queue.Empty):
            while True:
                job = self._jobs.get_nowait()
                if job is not None:
                    job.reply.set_exception(ReaderDiedError(self._process.returncode))

    def _next_job(self) -> _Job | None:
        """What to do next, if anything. The bytes of documents are kept for some seconds."""
        try:
            return self._jobs.get(timeout=_KEPT_FOR if self._held else None)
        except queue.Empty:
            forget, self._held = list(self._held), {}
        try:
            write_message(self._requests, {"forget": forget})
        except OSError:  # it has died
            return None
        return self._jobs.get()

    def _exchange(self, job: _Job) -> Reply:
        source, body = self._sent(job.document)
        forget = self._to_forget()
        header = {"request": job.request.to_header(), "source": source, "forget": forget}
        write_message(self._requests, header, body)
        reply, size = read_header(self._replies)
        numbers = tuple(map(int, reply["numbers"]))
        error = error_from(reply["error"]) if "error" in reply else None
        if error is None and not _is_answer(job.request, numbers, size):
            raise ValueError("it is no answer to the request")
        picture = None
        if error is None and size:
            height, width, _ = numbers
            picture = np.empty((height, width, 3), np.uint8)
            read_into(self._replies, picture.data.cast("B"))
        warnings = tuple(str(text)[:_WARNING] for text in reply["warnings"][:_WARNINGS])
        return Reply(numbers, picture, warnings, error, bool(reply["is_last"]))

    def _sent(self, document: SentFile) -> tuple[dict[str, Any], bytes]:
        """What is said of a document, and its bytes unless the reader has them or reads the file itself."""
        said = {"description": document.description, "name": document.name, "path": None, "number": None}
        if document.path is not None:
            return {**said, "path": str(document.path)}, b""
        for number, held in self._held.items():
            if held is document.data:
                self._held[number] = self._held.pop(number)  # the newest
                return {**said, "number": number}, b""
        number = next(self._numbers)
        self._held[number] = document.data
        return {**said, "number": number}, document.data

    def _to_forget(self) -> list[int]:
        """Numbers of the documents that are too much."""
        forget = []
        while len(self._held) > 1 and sum(map(len, self._held.values())) > _HELD:
            forget.append(next(iter(self._held)))
            del self._held[forget[-1]]
        return forget

    def _end(self) -> None:
        with suppress(OSError):
            self._process.kill()
        self._process.wait()
        self._requests.close()
        self._replies.close()
        self._held.clear()


def why_none_can_start() -> str | None:
    """What speaks against starting Python from this process; `None` where nothing does."""
    if not sys.executable:
        return "it is not known where Python is (sys.executable)"
    if getattr(sys, "frozen", False):
        return "this program is frozen, and its executable is no Python"
    name = Path(sys.executable).name.lower()
    if not ("python" in name or "pypy" in name):
        return f"sys.executable is {name[:60]!r}, which is no Python"
    return None


def _command() -> list[str]:
    """What starts a reader; names of files mean the same to it, however this process was started."""
    no_user_site = ["-s"] if sys.flags.no_user_site else []
    utf8 = ["-X", f"utf8={sys.flags.utf8_mode}"]
    return [str(Path(sys.executable).absolute()), "-B", "-P", *no_user_site, *utf8, "-m", _MODULE]


def _environment() -> Mapping[str, str]:
    """That of this process, and the way to the modules that it has."""
    kept = {name: value for name, value in os.environ.items() if name not in _NOT_FOR_READERS}
    return {**kept, **_SMALL, "PYTHONPATH": os.pathsep.join(_search_path())}


def _search_path() -> list[str]:
    """Where this process finds modules, Python's own first, and then this very package.

    A script's folder and the current one come last: this process has loaded its modules, and a file named
    `types.py` there would stop a new one.
    """
    own, here = Path(os.__file__).parent, _current_folder()
    package = Path(__file__).absolute().parents[2]
    main = getattr(sys.modules.get("__main__"), "__file__", None)
    last = {here, *([] if main is None else [(here / main).parent])}

    def rank(entry: Path) -> int:
        if entry == own or (entry.parent == own and not entry.name.endswith("-packages")):
            return 0
        return 1 if entry == package else 3 if entry in last else 2

    entries = [here / entry for entry in sys.path if isinstance(entry, str)]
    found = sorted(dict.fromkeys([*entries, package]), key=rank)
    return [str(entry) for entry in found if os.pathsep not in str(entry)]


def _current_folder() -> Path:
    with suppress(OSError):  # it may have been removed
        return Path.cwd()
    return Path()


def _is_answer(request: Request, numbers: tuple[int, ...], size: int) -> bool:
    """Whether it can be what was asked for: a reader that a file has taken over may say anything."""
    if len(numbers) != {"count": 1, "size": 2, "picture": 3}[request.what] or min(numbers) < 1:
        return False
    if request.what == "count":
        return numbers[0] <= request.limits.max_pdf_pages and not size
    pixels = numbers[0] * numbers[1]
    expected = 3 * pixels if request.what == "picture" else 0
    return pixels <= request.limits.max_image_pixels and size == expected


def _await_greeting(replies: IO[bytes]) -> None:
    """Reads until the reader is ready; something that Python loads may have printed before."""
    seen = b""
    while not seen.endswith(GREETING):
        part = replies.read(4096)
        if not part or len(seen) > _PRINTED:
            raise EOFError
        seen += part


def _signal(name: str) -> int:
    """Number of a signal, one that no process ends with where the system has none."""
    return int(getattr(signal, f"SIG{name}", 10_000))
