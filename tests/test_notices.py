"""What is said on standard error: once, outside of progress bars, and nothing of optional kernels."""

from __future__ import annotations

import io
import logging
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import transformers
from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars
from tqdm import tqdm

from vlm2vec.errors import VLM2VecWarning
from vlm2vec.notices import between_bars, quiet_import, warn, without_bars_of_transformers


def terminal(patch: pytest.MonkeyPatch) -> io.StringIO:
    """Standard error, until the test is over; a fixture would come before pytest captures it."""
    stream = io.StringIO()
    patch.setattr(sys, "stderr", stream)
    return stream


def lines(stream: io.StringIO) -> list[str]:
    """What a terminal shows: a carriage return goes back to the start of the line, and is written over."""
    shown = []
    for line in stream.getvalue().split("\n"):
        cells: list[str] = []
        for piece in line.split("\r"):
            cells[: len(piece)] = piece
        shown.append("".join(cells).rstrip())
    return shown


def test_a_warning_stands_above_the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = terminal(monkeypatch)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        monkeypatch.setattr(
            warnings, "showwarning", lambda text, kind, *_: stream.write(f"{kind.__name__}: {text}\n")
        )
        with tqdm(total=3, desc="Encoding", file=stream, ncols=80) as bar:
            bar.update()
            bar.refresh()
            warn("clip.mp4: its end is broken")
            bar.refresh()
            shown = lines(stream)
    said = next(line for line in shown if "clip.mp4" in line)
    assert said == "VLM2VecWarning: clip.mp4: its end is broken"
    assert shown[-1].startswith("Encoding:  33%")


def test_log_lines_stand_above_the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = terminal(monkeypatch)
    handler = logging.StreamHandler(stream)
    logger = logging.getLogger("vlm2vec.test_notices")
    logger.addHandler(handler)
    with tqdm(total=3, desc="Encoding", file=stream, ncols=80) as bar:
        bar.refresh()
        with between_bars():
            logger.warning("one file is broken")
    logger.removeHandler(handler)
    assert "one file is broken" in lines(stream)


def test_a_warning_names_the_line_that_gave_it_and_its_category() -> None:
    with pytest.warns(VLM2VecWarning, match="broken") as caught:
        warn("broken")
    assert Path(caught[0].filename) == Path(__file__)


def test_a_warning_that_is_an_error_leaves_bars_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = terminal(monkeypatch)
    with tqdm(total=3, desc="Encoding", file=stream) as bar, warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(2):  # the lock of all bars is free again
            with pytest.raises(VLM2VecWarning):
                warn("broken")
        bar.update(3)


def test_a_handler_that_writes_through_the_bars_does_not_stand_in_the_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stream = terminal(monkeypatch)
    bars_are_cleared, handler_is_taken = threading.Event(), threading.Event()

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            handler_is_taken.set()
            bars_are_cleared.wait(10)
            tqdm.write(record.getMessage(), file=stream)

    logger = logging.getLogger("vlm2vec.test_notices")
    monkeypatch.setattr(logger, "handlers", [Handler()])

    def warn_between_bars() -> None:
        with between_bars():
            bars_are_cleared.set()
            logger.warning("ours")

    with tqdm(total=3, file=stream):
        threads = [
            threading.Thread(target=logger.warning, args=("theirs",), daemon=True),
            threading.Thread(target=warn_between_bars, daemon=True),
        ]
        threads[0].start()
        handler_is_taken.wait(10)
        threads[1].start()
        for thread in threads:
            thread.join(10)
    assert not any(thread.is_alive() for thread in threads)
    assert {"ours", "theirs"} <= set(lines(stream))


def test_optional_kernels_of_others_are_no_news(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "looks_for_kernels.py").write_text(
        "import logging\n"
        "logger = logging.getLogger('bitsandbytes.backends.cpu.ops')\n"
        "logger.warning('Failed to load CPU gemm_4bit_forward from kernels-community: %s.', 'no kernels')\n"
        "logger.warning('the library is damaged')\n",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(tmp_path)
    quiet_import("looks_for_kernels")
    assert [record.getMessage() for record in caplog.records] == ["the library is damaged"]
    logging.getLogger("bitsandbytes.backends.cpu.ops").warning("kernels from kernels-community")
    assert len(caplog.records) == 2  # the filter is gone


@pytest.fixture
def bars_of_transformers() -> Iterator[None]:
    """On, whatever another test left."""
    logging_of_transformers = transformers.utils.logging
    before = logging_of_transformers.is_progress_bar_enabled()
    downloads_are_without = are_progress_bars_disabled()
    logging_of_transformers.enable_progress_bar()
    yield
    if not before:
        logging_of_transformers.disable_progress_bar()
    (disable_progress_bars if downloads_are_without else enable_progress_bars)()


def has_a_bar() -> bool:
    """Whether transformers shows a bar in this thread."""
    return not transformers.utils.logging.tqdm(total=1, file=io.StringIO()).disable


def in_another_thread(work: Callable[[], bool]) -> bool:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(work).result(timeout=10)


def test_transformers_has_no_bars_inside_the_block_and_in_its_thread(bars_of_transformers: None) -> None:
    with without_bars_of_transformers():
        assert not has_a_bar()
        with without_bars_of_transformers():
            assert not has_a_bar()
        assert not has_a_bar()
        assert in_another_thread(has_a_bar)
    assert has_a_bar()


def test_blocks_of_two_threads_leave_the_hook_that_was_there(bars_of_transformers: None) -> None:
    made = []

    def others(factory: Any, args: Any, options: Any) -> Any:
        made.append(options)
        return factory(*args, **options)

    set_hook = transformers.utils.logging.set_tqdm_hook
    before = set_hook(others)
    try:
        first_is_in, second_is_in = threading.Event(), threading.Event()

        def first() -> bool:
            with without_bars_of_transformers():
                first_is_in.set()
                second_is_in.wait(10)
            return has_a_bar()

        with ThreadPoolExecutor(1) as pool:
            ended_first = pool.submit(first)
            first_is_in.wait(10)
            with without_bars_of_transformers():
                second_is_in.set()
                assert ended_first.result(timeout=10)
                assert not has_a_bar()
    finally:
        assert set_hook(before) is others
    assert [options.get("disable", False) for options in made] == [False, True]
