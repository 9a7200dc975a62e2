"""PDFs through readers: what comes is what this process would draw, and no file or death harms another."""

import errno
import os
import random
import signal
import subprocess
import sys
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from media_making import encrypted_pdf_bytes, pdf_of_pages
from pdf_making import SHAPES, features, many_shadings, nested_forms, page_file, pages_file, simple_font

from vlm2vec import VLM2Vec
from vlm2vec.errors import InputError, LimitError, MediaError, VLM2VecError, VLM2VecWarning
from vlm2vec.media import documents, pdf, reader_process, readers
from vlm2vec.media import reader as reader_program
from vlm2vec.media.deadline import Cancelled, cancellable
from vlm2vec.media.limits import Limits
from vlm2vec.media.pixels import FrameRules, PixelRules
from vlm2vec.media.reader_messages import Request
from vlm2vec.media.source import Source

RULES = PixelRules()
PLAIN = page_file(SHAPES)
FORMS, SHADINGS = nested_forms(10), many_shadings(3000)
ENDLESS = Limits(decode_seconds=600, reader_memory=2**50)
linux = pytest.mark.skipif(sys.platform != "linux", reason="processes are looked at in /proc")
posix = pytest.mark.skipif(sys.platform == "win32", reason="there are no such signals")


@pytest.fixture
def own(monkeypatch):
    """Readers of this test alone."""
    found = readers.Readers()
    monkeypatch.setattr(readers, "_of_this_process", found)
    yield found
    found.end()


def draw(data: bytes | Path, page: int = 1, **options) -> np.ndarray:
    source = Source.from_path(data) if isinstance(data, Path) else Source.from_bytes(data)
    return documents.render_page(source, page, options.pop("rules", RULES), **options)


def until(holds, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


def outcome(work):
    """What a call gives, or the error and its text; and what it warns of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            found = work()
        except VLM2VecError as error:
            found = type(error), str(error)
        else:
            found = found.tobytes() if isinstance(found, np.ndarray) else found
    return found, [str(one.message) for one in caught]


GIVEN = {
    **features(),
    "three pages, says 7": pages_file("7"),
    "no pages": pdf_of_pages([]),
    "half": PLAIN[:60],
    "cut": PLAIN[: PLAIN.index(b"xref\n")],
    "no PDF": b"<html>",
    "encrypted": encrypted_pdf_bytes("secret"),
    "lost font": simple_font("STSong-Light", "Type1"),
}


@pytest.mark.parametrize("name", GIVEN)
def test_all_is_as_it_is_in_this_process(name, tmp_path):
    path = tmp_path / "a b\udce4.pdf" if sys.platform == "linux" else tmp_path / "a b.pdf"
    path.write_bytes(GIVEN[name])
    for source in (Source.from_bytes(GIVEN[name]), Source.from_path(path)):
        for page in (1, 2):
            work = [
                lambda module, source=source: module.page_count(source),
                lambda module, source=source, page=page: module.page_size_in_pixels(source, page, RULES),
                lambda module, source=source, page=page: module.render_page(source, page, RULES),
            ]
            for call in work:
                assert outcome(lambda call=call: call(documents)) == outcome(lambda call=call: call(pdf))


def test_settings_reach_the_reader():
    secret = encrypted_pdf_bytes("secret")
    assert np.array_equal(
        draw(secret, password="secret"),
        pdf.render_page(Source.from_bytes(secret), 1, RULES, password="secret"),
    )
    rules = PixelRules(
        fixed_size=(280, 560), frames=FrameRules(10, 20), patch_size=16, min_pixels=1, extreme_ratio="square"
    )
    assert np.array_equal(
        draw(PLAIN, rules=rules, max_pixels=np.int64(50_000)),
        pdf.render_page(Source.from_bytes(PLAIN), 1, rules, max_pixels=50_000),
    )
    numbers = Limits(decode_seconds=np.float32(30), max_image_pixels=np.int64(10**6), readers=np.int32(2))
    assert np.array_equal(draw(PLAIN, limits=numbers), draw(PLAIN))
    with pytest.raises(LimitError, match="drawn at 560 x 280 pixels, more than 9,999"):
        draw(PLAIN, limits=Limits(max_image_pixels=9_999))
    with pytest.raises(InputError, match="no page 5"):
        draw(PLAIN, 5)


def test_a_relative_path_means_what_it_means_here(tmp_path, monkeypatch):
    (tmp_path / "a.pdf").write_bytes(PLAIN)
    monkeypatch.chdir(tmp_path)
    assert np.array_equal(draw(Path("a.pdf")), draw(PLAIN))


@linux
def test_so_does_a_file_of_this_process_alone(tmp_path):
    (tmp_path / "a.pdf").write_bytes(PLAIN)
    with (tmp_path / "a.pdf").open("rb") as file:
        for folder in ("/proc/self/fd", "/dev/fd"):
            assert np.array_equal(draw(Path(folder, str(file.fileno()))), draw(PLAIN))


def test_a_warning_names_the_file_and_is_shown_once(tmp_path):
    path = tmp_path / "cut.pdf"
    path.write_bytes(GIVEN["cut"])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for _ in range(3):
            draw(path)
    assert len(caught) == 1
    assert caught[0].category is VLM2VecWarning
    assert "cut.pdf, page 1: the PDF is damaged or cut off" in str(caught[0].message)


@pytest.mark.filterwarnings("ignore::vlm2vec.errors.VLM2VecWarning")
@pytest.mark.parametrize("seed", range(2))
def test_a_page_does_not_depend_on_what_its_reader_drew_before(seed):
    weights = [(0, 0), (30, 250), (220, 900), (150, 0)]
    names = ("Tahoma", "Qwertz", "Helvetica", "Times-Bold", "Symbol")
    made = [simple_font(name, stem=stem, width=width) for name in names for stem, width in weights]
    made += list(features().values())[::9]
    expected = {data: pdf.render_page(Source.from_bytes(data), 1, RULES).tobytes() for data in made}
    order = made * 2
    random.Random(seed).shuffle(order)  # noqa: S311
    with ThreadPoolExecutor(4) as threads:
        drawn = list(threads.map(draw, order))
    assert [picture.tobytes() for picture in drawn] == [expected[data] for data in order]


@pytest.mark.parametrize(
    ("data", "limits", "expected"),
    [
        (
            FORMS,
            Limits(decode_seconds=2),
            r"took longer than 2 s of the processor\. Raise Limits.decode_seconds",
        ),
        (SHADINGS, Limits(decode_seconds=2), "drawing page 1 took longer than 2 s of the processor"),
        (
            FORMS,
            Limits(reader_memory=2**29),
            r"took more than 0\.5 GiB of memory\. Raise Limits.reader_memory",
        ),
    ],
    ids=["forms", "shadings", "memory"],
)
@linux
def test_a_file_that_takes_too_much_fails_and_others_go_on(own, data, limits, expected):
    draw(PLAIN)
    right, caught, spent = draw(PLAIN), [], []

    def fail():
        with pytest.raises(LimitError, match=expected) as error:
            draw(data, limits=limits)
        caught.append(error)

    thread = threading.Thread(target=fail)
    thread.start()
    others = 0
    while thread.is_alive():
        assert np.array_equal(draw(PLAIN), right)
        others += 1
        for pid in own.pids:
            with suppress(OSError, IndexError, ValueError):
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                resident = int(fields[21]) * os.sysconf("SC_PAGE_SIZE")
                spent.append(((int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"), resident))
        thread.join(0.02)
    assert caught
    assert others >= 1
    assert len(own.pids) <= 1  # the one that was ended is not kept
    if limits.decode_seconds == 2:
        begun = 1.0  # of the start, and of pages drawn before
        assert max(seconds for seconds, _ in spent) < 1.5 * 2 + begun
    assert max(resident for _, resident in spent) < limits.reader_memory
    assert np.array_equal(draw(PLAIN), right)


@posix
def test_a_reader_that_is_killed_while_it_is_idle_costs_nothing(own):
    right = draw(PLAIN)
    (pid,) = own.pids
    os.kill(pid, signal.SIGKILL)
    assert np.array_equal(draw(PLAIN), right)
    assert own.pids != [pid]
    (pid,) = own.pids
    os.kill(pid, signal.SIGKILL)
    until(lambda: not own.pids)
    assert np.array_equal(draw(PLAIN), right)


@posix
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV], ids=lambda n: n.name)
def test_one_that_is_ended_at_work_on_a_good_file_is_replaced(own, number, monkeypatch):
    right = draw(PLAIN)
    real, killed = reader_process.ReaderProcess.ask, []

    def end(pid):
        os.kill(pid, number)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)

    def ask(reader, request, document):
        if not killed:
            killed.append(reader.pid)
            os.kill(reader.pid, signal.SIGSTOP)
            threading.Timer(0.2, end, (reader.pid,)).start()
        return real(reader, request, document)

    monkeypatch.setattr(reader_process.ReaderProcess, "ask", ask)
    assert np.array_equal(draw(PLAIN), right)
    assert killed
    assert killed != own.pids


@posix
@pytest.mark.parametrize(
    ("number", "expected", "starts"),
    [
        (signal.SIGSEGV, r"PDFium crashed on this file \(SIGSEGV\)", 1),
        (signal.SIGABRT, r"PDFium crashed .*Limits.reader_memory", 1),
        (signal.SIGKILL, r"ended twice \(SIGKILL\)", 2),
        (signal.SIGXCPU, "took longer than 600 s of the processor", 1),
    ],
    ids=["SIGSEGV", "SIGABRT", "SIGKILL", "SIGXCPU"],
)
def test_a_file_that_its_reader_always_dies_of_is_an_error(own, number, expected, starts):
    stop, killed = threading.Event(), set()

    def kill():
        while not stop.wait(0.02):
            for reader in list(own._all):
                if reader.is_busy and reader.pid not in killed:
                    killed.add(reader.pid)
                    time.sleep(0.1)
                    os.kill(reader.pid, number)

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(VLM2VecError, match=expected):
        draw(SHADINGS, limits=ENDLESS)
    stop.set()
    killer.join()
    assert len(killed) == starts
    assert draw(PLAIN).shape == (280, 560, 3)


def test_work_that_is_called_off_ends_its_reader_at_once(own):
    draw(PLAIN)
    (reader,) = own._all
    event, seconds = threading.Event(), []

    def work():
        with cancellable(event), pytest.raises(Cancelled):
            draw(SHADINGS, limits=ENDLESS)
        seconds.append(time.monotonic())

    thread = threading.Thread(target=work)
    thread.start()
    until(lambda: reader.is_busy)
    time.sleep(0.3)
    begun = time.monotonic()
    event.set()
    thread.join()
    assert seconds[0] - begun < 0.5
    until(lambda: not reader.is_alive, seconds=1)
    assert not own.pids


def test_waiting_for_a_reader_can_be_called_off_too(own):
    one = Limits(decode_seconds=600, readers=1)
    stop, event = threading.Event(), threading.Event()

    def work(event):
        with cancellable(event), pytest.raises(Cancelled):
            draw(SHADINGS, limits=one)

    first = threading.Thread(target=work, args=(stop,))
    first.start()
    until(lambda: own.pids)
    second = threading.Thread(target=work, args=(event,))
    second.start()
    time.sleep(0.3)
    event.set()
    second.join(1)
    assert not second.is_alive()
    assert len(own.pids) == 1
    stop.set()
    first.join()


def test_readers_are_as_many_as_there_is_work_for(own):
    draw(PLAIN)
    for _ in range(20):
        draw(PLAIN)
    assert len(own.pids) == 1
    events = [threading.Event() for _ in range(4)]

    def work(event):
        with cancellable(event), suppress(Cancelled):
            draw(SHADINGS, limits=Limits(decode_seconds=600, readers=3))

    with ThreadPoolExecutor(4) as threads:
        done = [threads.submit(work, event) for event in events]
        until(lambda: len(own.pids) == 3)
        time.sleep(0.5)
        assert len(own.pids) == 3
        for event in events:
            event.set()
        for future in done:
            future.result()


def test_the_bytes_of_a_document_are_sent_once(own, monkeypatch):
    sizes = []
    real = reader_process.write_message

    def write(pipe, header, body=b""):
        sizes.append(len(body))
        real(pipe, header, body)

    monkeypatch.setattr(reader_process, "write_message", write)
    data = pages_file("3")
    source = Source.from_bytes(data)
    assert [documents.render_page(source, page, RULES)[0, 0, 0] for page in (1, 2, 3)] == [0, 255, 0]
    assert documents.page_count(Source.from_bytes(data)) == 3
    assert sizes == [len(data), 0, 0, 0]


def test_of_many_documents_few_are_kept_and_none_for_long(own, monkeypatch):
    monkeypatch.setattr(reader_process, "_HELD", 3 * len(PLAIN))
    monkeypatch.setattr(reader_process, "_KEPT_FOR", 0.2)
    copies = [PLAIN + b"%" * count for count in range(5)]
    for _ in range(2):
        for data in copies:
            assert draw(data).shape == (280, 560, 3)
    (reader,) = own._all
    assert 1 <= len(reader._held) <= 3
    until(lambda: not reader._held, seconds=5)
    assert draw(copies[0]).shape == (280, 560, 3)


@linux
def test_eight_threads_and_deadly_files_leave_nothing_behind(own):
    mixed(own, good=200, deadly=6)


@linux
@pytest.mark.slow
def test_a_thousand_good_files_and_fifty_deadly_ones(own):
    mixed(own, good=1_000, deadly=50)


def mixed(own, *, good: int, deadly: int) -> None:
    limits, others = Limits(decode_seconds=0.5), children()
    descriptors, threads_before = len(os.listdir("/proc/self/fd")), reader_threads()  # noqa: PTH208
    jobs = [PLAIN] * good + [FORMS, SHADINGS] * (deadly // 2)
    random.Random(0).shuffle(jobs)  # noqa: S311
    right = draw(PLAIN)

    def work(data):
        try:
            return draw(data, limits=limits if data is not PLAIN else Limits())
        except LimitError as error:
            return error

    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(work, jobs))
    for data, result in zip(jobs, found, strict=True):
        assert np.array_equal(result, right) if data is PLAIN else isinstance(result, LimitError)
    assert 1 <= len(own.pids) <= 4
    for pid in own.pids:
        resident = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        assert resident < 150 * 2**20
    own.end()
    until(lambda: len(os.listdir("/proc/self/fd")) <= descriptors, seconds=5)  # noqa: PTH208
    until(lambda: set(children()) <= set(others), seconds=5)  # of a test before, some may have ended since
    assert reader_threads() <= threads_before


def reader_threads() -> int:
    return sum(thread.name == "pdf-reader of vlm2vec" for thread in threading.enumerate())


def children() -> list[str]:
    """Readers that this process has, zombies included."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            status = (path / "status").read_text()
            if f"PPid:\t{os.getpid()}\n" in status and "python" in status.partition("\n")[0]:
                found.append(path.name)
    return found


def test_deadly_files_cost_their_own_rows_alone():
    """Through the whole engine; and the vectors are those of pages drawn in this process."""
    good = [PLAIN, *list(features().values())[:12]]
    items = [*good[:6], FORMS, *good[6:], {"pdf": SHADINGS, "page": 1}, SHADINGS]
    model = VLM2Vec(device="cpu", limits=Limits(decode_seconds=0.5))
    vectors = model.encode(items, on_error="nan")
    assert np.flatnonzero(np.isnan(vectors).any(axis=1)).tolist() == [6, len(items) - 2, len(items) - 1]
    with pytest.raises(LimitError, match=r"input (6|14|15) .*longer than 0\.5 s .*Limits.decode_seconds"):
        model.encode(items)
    here = VLM2Vec(device="cpu", limits=Limits(readers=0)).encode(good)
    np.testing.assert_allclose(np.delete(vectors, [6, -2, -1], axis=0), here, rtol=0, atol=5e-7)


def test_turned_off_no_process_is_started(own):
    off = Limits(readers=0)
    assert np.array_equal(draw(PLAIN, limits=off), draw(PLAIN, limits=Limits(readers=0)))
    assert documents.page_count(Source.from_bytes(PLAIN), limits=off) == 1
    assert documents.page_size_in_pixels(Source.from_bytes(PLAIN), 1, RULES, limits=off) == (280, 560)
    assert not own._all


@pytest.mark.parametrize(
    "executable", [None, "", "/usr/sbin/uwsgi", "/no/such/python3", sys.executable + "-broken"], ids=str
)
def test_where_none_can_be_started_pdfs_are_read_here_with_one_warning(
    own, executable, monkeypatch, tmp_path
):
    if executable and executable.endswith("-broken"):
        executable = str(tmp_path / "python-broken")
        Path(executable).write_text("#!/bin/sh\nexit 3\n")
        Path(executable).chmod(0o755)
    right = draw(PLAIN, limits=Limits(readers=0))
    monkeypatch.setattr(sys, "executable", executable)
    monkeypatch.setattr(documents, "_told", [])
    with pytest.warns(VLM2VecWarning, match="PDFs are read in this process") as caught:
        assert np.array_equal(draw(PLAIN), right)
        assert np.array_equal(draw(PLAIN), right)
    assert len(caught) == 1
    assert not own._all


@pytest.mark.parametrize(
    "error", [OSError(errno.EMFILE, "Too many open files"), RuntimeError("can't start new thread")], ids=str
)
def test_what_passes_turns_readers_off_for_one_file_alone(own, error, monkeypatch):
    right = draw(PLAIN, limits=Limits(readers=0))

    def fail(*_, **__):
        raise error

    monkeypatch.setattr(documents, "_told", [])
    with monkeypatch.context() as patch:
        patch.setattr(reader_process.subprocess, "Popen", fail)
        with pytest.warns(VLM2VecWarning, match=str(error.args[-1])):
            assert np.array_equal(draw(PLAIN), right)
    assert not own.pids
    assert np.array_equal(draw(PLAIN), right)
    assert len(own.pids) == 1


@posix
def test_readers_that_die_at_their_start_are_not_started_for_ever(own, monkeypatch, tmp_path):
    starts = tmp_path / "starts"
    broken = tmp_path / "python-broken"
    broken.write_text(f"#!/bin/sh\necho start >> {starts}\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(broken))
    monkeypatch.setattr(documents, "_told", ["told"])
    for _ in range(9):
        draw(PLAIN)
    assert starts.read_text().count("start") == readers._DEATHS_AT_START


@posix
def test_a_start_that_takes_very_long_turns_readers_off_for_one_file_alone(own, monkeypatch, tmp_path):
    slow = tmp_path / "python-slow"
    slow.write_text("#!/bin/sh\nexec sleep 60\n")
    slow.chmod(0o755)
    monkeypatch.setattr(documents, "_told", [])
    with monkeypatch.context() as patch:
        patch.setattr(sys, "executable", str(slow))
        patch.setattr(readers, "_STARTING", 0.1)
        with pytest.warns(VLM2VecWarning, match="nothing came in 0.1 s"):
            draw(PLAIN)
    assert not own.pids
    assert draw(PLAIN).shape == (280, 560, 3)
    assert len(own.pids) == 1


@posix
def test_a_process_that_was_stopped_for_an_hour_gets_its_page(own, monkeypatch):
    """Such as by Ctrl-Z in a terminal, which its readers do not hear."""
    right = draw(PLAIN)
    (reader,) = own._all
    os.kill(reader.pid, signal.SIGSTOP)
    with ThreadPoolExecutor(1) as pool:
        drawn = pool.submit(draw, PLAIN)
        until(lambda: reader.is_busy)
        time.sleep(0.2)
        real = time.monotonic
        monkeypatch.setattr(time, "monotonic", lambda: real() + 3600)
        time.sleep(0.2)
        os.kill(reader.pid, signal.SIGCONT)
        assert np.array_equal(drawn.result(), right)
    assert own.pids == [reader.pid]


def test_once_one_has_started_no_file_is_read_here(own, monkeypatch):
    draw(PLAIN)
    for reader in own._all:
        reader.stop()
    until(lambda: not own.pids)
    monkeypatch.setattr(sys, "executable", "/no/such/python3")
    with pytest.raises(MediaError, match="cannot be started again"):
        draw(PLAIN)
    monkeypatch.undo()
    assert draw(PLAIN).shape == (280, 560, 3)


def test_a_reader_imports_no_torch():
    code = (
        "import sys, vlm2vec.media.reader\n"
        "names = {name.partition('.')[0] for name in sys.modules}\n"
        "assert not names & {'torch', 'transformers', 'sentence_transformers', 'av'}"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_what_a_reader_says_is_not_believed(own, monkeypatch):
    """A reply of a wrong shape, or an error of a strange class, is a reader that has died."""
    draw(PLAIN)
    for reply in (
        ({"numbers": [9, 9, 3], "warnings": [], "is_last": False}, 10**12),
        ({"numbers": ["x"], "warnings": [], "is_last": False}, 0),
        ({"numbers": [], "warnings": [], "is_last": False, "error": {"class": "SystemExit"}}, 0),
        ({"numbers": [], "warnings": [], "is_last": False}, 0),
        ({"numbers": [float("inf")], "warnings": [], "is_last": False}, 0),
    ):
        monkeypatch.setattr(reader_process, "read_header", lambda _, reply=reply: reply)
        with pytest.raises(LimitError, match="ended twice"):
            draw(PLAIN)
        monkeypatch.undo()
    assert draw(PLAIN).shape == (280, 560, 3)


@pytest.mark.parametrize(
    ("what", "numbers", "size", "expected"),
    [
        ("count", (7,), 0, True),
        ("count", (0,), 0, False),
        ("count", (2001,), 0, False),
        ("count", (7,), 147, False),
        ("count", (7, 7), 0, False),
        ("size", (28, 56), 0, True),
        ("size", (-28, -56), 0, False),
        ("size", (10_000, 10_000), 0, False),
        ("size", (28, 56), 4704, False),
        ("picture", (28, 56, 3), 4704, True),
        ("picture", (28, 56, 3), 0, False),
        ("picture", (28, 56), 4704, False),
        ("picture", (28, 57, 3), 4704, False),
    ],
)
def test_an_answer_is_within_the_limits_and_to_what_was_asked(what, numbers, size, expected):
    assert reader_process._is_answer(Request(what, Limits()), numbers, size) is expected


@linux
def test_the_system_holds_the_limits_of_the_last_request(own):
    """For what happens between two looks of the reader itself, or while it cannot look."""

    def soft(name):
        line = next(line for line in limits().splitlines() if line.startswith(name))
        return line.removeprefix(name).split()[0]

    def limits():
        return Path(f"/proc/{own.pids[0]}/limits").read_text()

    draw(PLAIN, limits=Limits(decode_seconds=40, reader_memory=2**30))
    assert 2**29 < int(soft("Max address space")) < 2**31
    assert 52 <= int(soft("Max cpu time")) <= 60
    assert soft("Max core file size") == "0"
    draw(PLAIN, limits=Limits(decode_seconds=float("inf"), reader_memory=2**70))
    assert soft("Max address space") == soft("Max cpu time") == "unlimited"


@linux
def test_memory_is_counted_in_bytes_where_proc_is_not_there(monkeypatch):
    with_it = reader_program._Watch(None)._size()[1]
    monkeypatch.setattr(reader_program, "_STATM", Path("/no/such/statm"))
    assert 0.9 * with_it < reader_program._Watch(None)._size()[1]


def test_a_request_survives_its_header():
    rules = PixelRules(fixed_size=(1, 2), extreme_ratio="square")
    for request in (Request("count", Limits(), "\udce4"), Request("size", Limits(), None, 3, rules, 9)):
        assert Request.from_header(request.to_header()) == request
