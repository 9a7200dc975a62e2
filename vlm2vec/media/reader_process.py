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

import vlm2vec
from vlm2vec.errors import LimitError, MediaError, VLM2VecError
from vlm2vec.media.reader_messages import (
    GREETING,
    Request,
    error_from,
    read_header,
    read_into,
    write_message,
)
from vlm2vec.media.source import Source

__all__ = ["ReaderDiedError", "ReaderProcess", "Reply", "why_none_can_start"]

_MODULE = "vlm2vec.media.reader"
_HELD = 128 * 2**20  # bytes of documents that a reader keeps for the next pages, or one document
_KEPT_FOR = 10.0  # seconds after the last request
_PRINTED = 2**20  # bytes that a Python may print before it starts a program
_PIPE = 2**20  # bytes, what Linux lets everybody have
_WARNINGS = 64  # of one reply
_WARNING = 2_000  # characters
# Without it each of a machine's cores takes address space, which is limited.
_ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
_NOT_FOR_READERS = ("PYTHONWARNINGS", "PYTHONINSPECT", "PYTHONSTARTUP")


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

    def as_error(self, request: Request) -> VLM2VecError:
        """What it means for the file that it read."""
        seconds, memory = request.limits.decode_seconds, request.limits.reader_memory / 2**30
        if self.code == -_signal("XCPU"):
            return LimitError(
                f"{request.work} took longer than {seconds:g} s of the processor",
                fix="Raise Limits.decode_seconds.",
            )
        if not self.is_crash:
            return LimitError(
                f"{request.work}: the process that did it was ended twice from outside ({self._name()})",
                fix="If the machine ran out of memory, lower Limits.readers or Limits.reader_memory.",
            )
        return MediaError(
            f"{request.work}: PDFium crashed on this file ({self._name()})",
            fix=f"Write the file again; if it needs more than {memory:.3g} GiB of memory, raise "
            "Limits.reader_memory.",
        )

    def _name(self) -> str:
        with suppress(ValueError):
            return signal.Signals(-(self.code or 0)).name
        return f"exit status {self.code}"


@dataclass(frozen=True)
class _Job:
    request: Request
    source: Source
    reply: Future[Reply]


class ReaderProcess:
    """Starts a reader.

    Attributes:
        is_ready: Done when it can be asked; a `ReaderDiedError` if it never can.
        is_new: Whether it has not been asked for anything yet.

    Raises:
        OSError: It cannot be started.
        RuntimeError: No thread can be.
    """

    def __init__(self) -> None:
        self.is_ready: Future[None] = Future()
        self.is_new = True
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._last: _Job | None = None
        self._numbers = itertools.count()
        self._held: dict[int, bytes] = {}
        windows = sys.platform == "win32"
        self._process = subprocess.Popen(  # noqa: S603  # Python itself
            [str(Path(sys.executable).absolute()), "-B", "-P", "-m", _MODULE],
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
            threading.Thread(target=self._serve, name="vlm2vec-reader", daemon=True).start()
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

    @property
    def is_busy(self) -> bool:
        """Whether it has not replied yet."""
        return self._last is not None and not self._last.reply.done()

    def holds(self, source: Source) -> bool:
        """Whether it has the bytes already."""
        return any(source.data is data for data in list(self._held.values()))

    def ask(self, request: Request, source: Source) -> Future[Reply]:
        """What it finds; a `ReaderDiedError` if it dies. One request at a time."""
        self.is_new = False
        self._last = job = _Job(request, source, Future())
        self._jobs.put(job)
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

            # A picture has megabytes. One who holds very many pipes may not enlarge more.
            with suppress(OSError):
                fcntl.fcntl(replies, fcntl.F_SETPIPE_SZ, _PIPE)
        return requests, replies

    def _serve(self) -> None:
        """Talks to the process until it ends or is stopped."""
        if hasattr(signal, "pthread_sigmask"):
            # A pipe to a reader that has died must not end this process, whatever it does about the signal.
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGPIPE})
        waiting: Future[Any] = self.is_ready
        try:
            _await_greeting(self._replies)
            self.is_ready.set_result(None)
            while (job := self._next_job()) is not None:
                waiting = job.reply
                waiting.set_result(self._exchange(job))
        except (OSError, EOFError, ValueError, KeyError, TypeError):
            self._end()
            died: BaseException = ReaderDiedError(self._process.returncode)
        except BaseException as error:  # there may be no memory for the picture
            self._end()
            died = error
        else:
            self._end()
            return
        if not waiting.done():
            waiting.set_exception(died)

    def _next_job(self) -> _Job | None:
        """What to do next. The bytes of documents are kept for some seconds."""
        try:
            return self._jobs.get(timeout=_KEPT_FOR if self._held else None)
        except queue.Empty:
            forget, self._held = list(self._held), {}
            write_message(self._requests, {"forget": forget})
            return self._jobs.get()

    def _exchange(self, job: _Job) -> Reply:
        source, body = self._sent(job.source)
        forget = self._to_forget()
        header = {"request": job.request.to_header(), "source": source, "forget": forget}
        write_message(self._requests, header, body)
        reply, size = read_header(self._replies)
        numbers = tuple(map(int, reply["numbers"]))
        picture = None
        if size:
            height, width, channels = numbers
            picture = np.empty((height, width, channels), np.uint8)
            if channels != 3 or picture.nbytes != size:
                raise ValueError("the picture has another shape")
            read_into(self._replies, picture.data.cast("B"))
        warnings = tuple(str(text)[:_WARNING] for text in reply["warnings"][:_WARNINGS])
        error = error_from(reply["error"]) if "error" in reply else None
        return Reply(numbers, picture, warnings, error, bool(reply["is_last"]))

    def _sent(self, source: Source) -> tuple[dict[str, Any], bytes]:
        """What is said of a source, and its bytes unless the reader has them or reads the file itself."""
        said = {"description": source.describe(), "name": source.name, "path": None, "number": None}
        if source.path is not None and not _is_of_this_process(source.path.absolute()):
            return {**said, "path": str(source.path.absolute())}, b""
        data = source.read()
        for number, held in self._held.items():
            if held is data:
                self._held[number] = self._held.pop(number)  # the newest
                return {**said, "number": number}, b""
        number = next(self._numbers)
        self._held[number] = data
        return {**said, "number": number}, data

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


def _is_of_this_process(path: Path) -> bool:
    """Whether a path means another file elsewhere, such as `/dev/fd/3`."""
    return path.parts[1:2] in (("dev",), ("proc",))


_WINDOWS_FLAGS = getattr(subprocess, "CREATE_NO_WINDOW", 0) | getattr(
    subprocess, "CREATE_NEW_PROCESS_GROUP", 0
)


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


def _environment() -> Mapping[str, str]:
    """That of this process, and the way to the modules that it has."""
    kept = {name: value for name, value in os.environ.items() if name not in _NOT_FOR_READERS}
    return {**kept, **_ONE_THREAD, "PYTHONPATH": os.pathsep.join(_search_path())}


def _search_path() -> list[str]:
    """Where this process finds modules, Python's own first, and then this very package.

    A script's folder and the current one come last: this process has loaded its modules, and a file named
    `types.py` there would stop a new one.
    """
    own = Path(os.__file__).parent
    package = Path(vlm2vec.__file__).absolute().parents[1]
    main = getattr(sys.modules.get("__main__"), "__file__", None)
    last = {Path.cwd(), *([] if main is None else [Path(main).absolute().parent])}

    def rank(entry: Path) -> int:
        if entry == own or (entry.parent == own and not entry.name.endswith("-packages")):
            return 0
        return 1 if entry == package else 3 if entry in last else 2

    entries = [Path(entry).absolute() for entry in sys.path if isinstance(entry, str)]
    found = sorted(dict.fromkeys([*entries, package]), key=rank)
    return [str(entry) for entry in found if os.pathsep not in str(entry)]


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
