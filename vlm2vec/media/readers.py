"""A few processes that read PDFs for this one: started when they are needed, kept, and ended with it."""

from __future__ import annotations

import atexit
import errno
import os
import threading
import time
from concurrent.futures import Future
from contextlib import suppress
from typing import TypeVar

from vlm2vec.errors import MediaError
from vlm2vec.fork import free_after_fork
from vlm2vec.media.cores import core_count
from vlm2vec.media.deadline import Stopwatch, clock_limit, raise_if_cancelled, waited_too_long
from vlm2vec.media.limits import Limits
from vlm2vec.media.reader_messages import Request, SentFile
from vlm2vec.media.reader_process import ReaderDiedError, ReaderProcess, Reply, why_none_can_start
from vlm2vec.media.source import Source

__all__ = ["NoReadersError", "Readers", "readers"]

T = TypeVar("T")

_LEAST, _MOST = 2, 4  # by default: with two, a file that is being given up holds up no other
_ASKED_EVERY = 0.05  # seconds between two looks whether the work was called off
# Seconds that requests have waited in all before one more reader starts: about what that costs.
_PATIENCE = 0.3
_DEATHS_AT_START = 6  # after so many, none is started any more; each file makes two attempts
_PASSING = (errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM)
_STARTING = 120.0  # seconds, on a machine that is very busy
# A process that is forked while another thread starts a reader would keep its pipes open, and nobody would
# hear that the reader has died.
_START_LOCK = free_after_fork(threading.Lock())


class NoReadersError(Exception):
    """No reader can be started from this process; it says why."""


class _NotInTimeError(OSError):
    """A reader says nothing."""


class Readers:
    """The readers of this process. Any number of threads may ask.

    Attributes:
        why_none: Why none could be started when it was last tried, if there never was one.
    """

    def __init__(self) -> None:
        self.why_none: str | None = None
        self._changed = threading.Condition()
        self._idle: list[ReaderProcess] = []
        self._all: set[ReaderProcess] = set()
        self._places = 0  # taken by readers, and by those that are being started
        self._starting = 0
        self._waited = 0.0
        self._has_started = False
        self._deaths_at_start = 0
        self._gave_up = False
        self._ended = False

    def ask(self, request: Request, source: Source) -> Reply:
        """What a reader finds; one that dies is asked again, as another may have been to blame for it.

        Raises:
            NoReadersError: None can be started.
            VLM2VecError: The file takes too much, or a reader died of it.
            Cancelled: The work was called off.
        """
        raise_if_cancelled()
        document = SentFile.of(source)
        reader = self._take(document, request.limits)
        try:
            was_new = reader.is_new
            try:
                return self._reply(reader, request, document)
            except ReaderDiedError as death:
                if death.is_over_time or (was_new and death.is_crash):
                    raise death.as_error(request) from None
            reader = self._start()  # in the place of the other
            try:
                return self._reply(reader, request, document)
            except ReaderDiedError as death:
                raise death.as_error(request) from None
        finally:
            self._give_back(reader)

    def end(self) -> None:
        """Ends all readers, and starts no more: Python ends."""
        self._ended = True
        for reader in list(self._all):
            reader.stop()

    def forget(self) -> None:
        """Lets go of readers that belong to the process from which this one was forked."""
        for reader in list(self._all):
            reader.forget()

    @property
    def pids(self) -> list[int]:
        """Numbers of the processes that are there."""
        return [reader.pid for reader in list(self._all) if reader.is_alive]

    def _take(self, document: SentFile, limits: Limits) -> ReaderProcess:
        """A reader for the caller alone, until it is given back."""
        most = limits.readers or max(_LEAST, min(core_count(), _MOST))
        with self._changed:
            while True:
                if self._gave_up:
                    raise NoReadersError(self.why_none)
                if (reader := self._best_idle(document)) is not None:
                    return reader
                if self._places < most and (not self._places or self._waited >= _PATIENCE):
                    self._places += 1
                    self._waited = 0.0
                    break
                begun = time.monotonic()
                self._changed.wait(_ASKED_EVERY)
                if not self._starting:
                    self._waited += time.monotonic() - begun
                raise_if_cancelled()
        try:
            return self._start()
        except BaseException:
            self._leave_place()
            raise

    def _best_idle(self, document: SentFile) -> ReaderProcess | None:
        """One that has the document, or the one that was used last; the caller holds the lock."""
        for reader in list(self._idle):
            if not reader.is_alive:  # ended from outside
                self._idle.remove(reader)
                self._drop(reader)
                self._places -= 1
        if not self._idle:
            return None
        found = next((reader for reader in reversed(self._idle) if reader.holds(document)), self._idle[-1])
        self._idle.remove(found)
        return found

    def _start(self) -> ReaderProcess:
        """A new reader, ready; the caller has a place for it."""
        reason = why_none_can_start()
        lasts = reason is not None
        with self._changed:
            self._starting += 1
        try:
            for _ in range(0 if reason else 2):  # the first may be ended from outside
                self._stay_if_ended()
                try:
                    return self._started()
                except (OSError, RuntimeError, ReaderDiedError) as error:
                    reason, lasts = str(error), self._lasts(error)
        finally:
            with self._changed:
                self._starting -= 1
        if self._has_started:
            raise MediaError(
                f"the process that reads PDFs cannot be started again ({reason})", fix="Try again."
            )
        self.why_none, self._gave_up = reason, lasts
        raise NoReadersError(reason)

    def _lasts(self, error: OSError | RuntimeError | ReaderDiedError) -> bool:
        """Whether no reader will ever start. Files that are open, memory and threads come free again."""
        # It may have lacked something too, and cannot say so; or the machine is very busy.
        if isinstance(error, (ReaderDiedError, _NotInTimeError)):
            self._deaths_at_start += 1
            return self._deaths_at_start >= _DEATHS_AT_START
        return isinstance(error, OSError) and error.errno not in _PASSING

    def _started(self) -> ReaderProcess:
        with _START_LOCK:
            reader = ReaderProcess()
            self._all.add(reader)
        try:
            self._wait(reader.is_ready, _STARTING)
        except BaseException:
            self._drop(reader)
            raise
        self._has_started = True
        return reader

    def _reply(self, reader: ReaderProcess, request: Request, document: SentFile) -> Reply:
        seconds = clock_limit(request.limits.decode_seconds)
        try:
            reply = self._wait(reader.ask(request, document), seconds)
        except _NotInTimeError:
            self._drop(reader)
            raise waited_too_long(request.work, seconds) from None
        except BaseException:
            self._drop(reader)
            raise
        if reply.is_last:
            self._drop(reader)
        return reply

    def _wait(self, future: Future[T], seconds: float) -> T:
        """What a reader gives, ready to be called off meanwhile."""
        stopwatch = Stopwatch()
        while not future.done():
            if stopwatch.look() > seconds:
                raise _NotInTimeError(f"nothing came in {seconds:g} s")
            with suppress(TimeoutError):
                future.exception(_ASKED_EVERY)
            raise_if_cancelled()
        self._stay_if_ended()
        return future.result()

    def _drop(self, reader: ReaderProcess) -> None:
        reader.stop()
        self._all.discard(reader)

    def _give_back(self, reader: ReaderProcess) -> None:
        """Makes the caller's place free, for this reader if it can go on."""
        if reader.is_busy:
            self._drop(reader)
        with self._changed:
            if reader in self._all:
                self._idle.append(reader)
            else:
                self._places -= 1
            self._changed.notify()

    def _leave_place(self) -> None:
        with self._changed:
            self._places -= 1
            self._changed.notify()

    def _stay_if_ended(self) -> None:
        """When Python ends, a thread that it does not wait for must not start or report anything more."""
        if self._ended:
            if threading.current_thread().daemon:
                threading.Event().wait()
            raise MediaError("Python is ending, and reads no more PDFs", fix="Read them earlier.")


_of_this_process = Readers()


def readers() -> Readers:
    """Those of this process."""
    return _of_this_process


def _end() -> None:
    _of_this_process.end()


def _after_fork() -> None:
    global _of_this_process  # noqa: PLW0603  # a process has one
    _of_this_process.forget()
    _of_this_process = Readers()


atexit.register(_end)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
