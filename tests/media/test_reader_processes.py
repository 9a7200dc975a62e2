"""Readers end with the process that they read for, whatever ends it, and work wherever that one runs."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from pdf_making import SHAPES, many_shadings, page_file

from vlm2vec import VLM2Vec
from vlm2vec.media import pdf
from vlm2vec.media.limits import Limits
from vlm2vec.media.pixels import PixelRules
from vlm2vec.media.reader_process import ReaderProcess
from vlm2vec.media.readers import readers
from vlm2vec.media.source import Source

PLAIN = page_file(SHAPES)
linux = pytest.mark.skipif(sys.platform != "linux", reason="processes are looked at in /proc")
HEAD = """
import os, signal, sys, threading, time
from pathlib import Path
from vlm2vec.errors import VLM2VecError
from vlm2vec.media.documents import render_page
from vlm2vec.media.limits import Limits
from vlm2vec.media.pixels import PixelRules
from vlm2vec.media.readers import readers
from vlm2vec.media.source import Source

def draw(name, **limits):
    return render_page(Source.from_path(Path(name)), 1, PixelRules(), limits=Limits(**limits)).tobytes()

plain, endless = sys.argv[1:3]
def tell():
    print(*readers().pids, flush=True)
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pdfs")
    (folder / "plain.pdf").write_bytes(PLAIN)
    (folder / "endless.pdf").write_bytes(many_shadings(3000))
    return str(folder / "plain.pdf"), str(folder / "endless.pdf")


def start(code: str, files, *options: str, **more) -> subprocess.Popen:
    command = [sys.executable, *options, "-c", HEAD + code, *files]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more)


def printed_by(process: subprocess.Popen) -> tuple[str, str]:
    """Its output and what it complains of; it does not go on beside the other tests if it never ends."""
    try:
        return process.communicate(timeout=120)
    finally:
        process.kill()


def run(code: str, files, *options: str, **more) -> str:
    """What the code prints; it must end well, and say nothing else."""
    process = start(code, files, *options, **more)
    printed, complaints = printed_by(process)
    assert (process.returncode, complaints) == (0, "")
    return printed


def is_there(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
    return "State:\tZ" not in status


def all_end(pids: list[int], seconds: float = 3) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not any(map(is_there, pids)):
            return True
        time.sleep(0.02)
    return False


WAYS = {
    "ends": "pass",
    "exits": "sys.exit(0)",
    "an error": "raise SystemExit(0) from ValueError()",
    "at once": "os._exit(0)",
    "killed": "os.kill(os.getpid(), signal.SIGKILL)",
    "terminated": "os.kill(os.getpid(), signal.SIGTERM)",
    "crashes": "os.kill(os.getpid(), signal.SIGSEGV)",
}
BUSY = """
def work():
    while True:
        try: draw(endless, decode_seconds=600)
        except VLM2VecError: pass
for _ in range(2): threading.Thread(target=work, daemon=True).start()
while len(readers().pids) < 2: time.sleep(0.01)
time.sleep(0.2)
"""


@linux
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("state", ["idle", "busy"])
def test_no_reader_outlives_its_parent(way, state, files):
    process = start("draw(plain)\n" + (BUSY if state == "busy" else "") + f"tell()\n{WAYS[way]}", files)
    printed, complaints = printed_by(process)
    pids = [int(pid) for pid in printed.split()]
    assert len(pids) == (2 if state == "busy" else 1)
    assert all_end(pids)
    expected = {"killed": -signal.SIGKILL, "terminated": -signal.SIGTERM, "crashes": -signal.SIGSEGV}
    assert process.returncode == expected.get(way, 0)
    assert complaints == ""


@linux
def test_nor_one_whose_pipe_a_forked_process_holds(files):
    code = """
draw(plain)
tell()
if not os.fork():
    time.sleep(3)
    os._exit(0)
os.kill(os.getpid(), signal.SIGKILL)
"""
    process = start(code, files)
    pids = [int(pid) for pid in process.stdout.readline().split()]
    process.wait(60)
    assert len(pids) == 1
    assert all_end(pids)
    process.communicate(timeout=60)


@linux
def test_ctrl_c_ends_a_call_and_its_readers_within_a_second(files):
    code = """
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job that a shell put aside ignores it
from vlm2vec import VLM2Vec
model = VLM2Vec(device="cpu", limits=Limits(decode_seconds=600))
model.encode("ready")
threading.Thread(target=lambda: (time.sleep(2), tell()), daemon=True).start()
try:
    model.encode([{"pdf": endless, "page": 1}, {"pdf": endless, "page": 1, "instruction": "other"}] * 4)
except KeyboardInterrupt:
    print("interrupted", readers().pids, flush=True)
    draw(plain)
    print("and draws", flush=True)
"""
    process = start(code, files, start_new_session=True)
    pids = [int(pid) for pid in process.stdout.readline().split()]
    assert pids
    begun = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    said = process.stdout.readline()
    assert said == "interrupted []\n", (process.wait(60), process.stderr.read())
    assert time.monotonic() - begun < 1
    assert all_end(pids, 1)
    printed, complaints = process.communicate(timeout=60)
    assert (printed, process.returncode) == ("and draws\n", 0)
    assert "Error" not in complaints  # the bar of loading weights is there


def test_no_reader_is_left_busy_with_a_task_of_asyncio_that_was_cancelled(monkeypatch):
    model = VLM2Vec(device="cpu", limits=Limits(decode_seconds=600))
    asked = threading.Event()
    original = ReaderProcess.ask

    def ask(self, request, document):
        if request.what == "picture":
            asked.set()
        return original(self, request, document)

    monkeypatch.setattr(ReaderProcess, "ask", ask)

    async def main():
        endless = {"pdf": many_shadings(3000), "page": 1}
        task = asyncio.create_task(model.aencode([endless, {**endless, "instruction": "other"}]))
        assert await asyncio.to_thread(asked.wait, 60)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await model.aencode("after it")).shape == (model.full_width,)

    asyncio.run(main())
    assert not any(reader.is_busy for reader in readers()._all)


@linux
def test_a_forked_process_has_readers_of_its_own_and_leaves_its_parent_s_alone(files):
    code = """
right = draw(plain)
mine = readers().pids
def draw_on():
    while not done.is_set(): assert draw(plain) == right
done = threading.Event()
thread = threading.Thread(target=draw_on)
thread.start()
for _ in range(5):
    child = os.fork()
    if not child:
        signal.alarm(30)
        good = not readers().pids and draw(plain) == right and not set(readers().pids) & set(mine)
        readers().end()
        os._exit(0 if good else 3)
    assert os.waitpid(child, 0)[1] == 0
done.set()
thread.join()
assert draw(plain) == right and set(mine) <= set(readers().pids)
"""
    assert run(code, files, "-W", "ignore::DeprecationWarning") == ""


def test_a_script_without_a_main_guard_and_a_thread_draw(files, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        HEAD + "found = []\nthread = threading.Thread(target=lambda: found.append(draw(plain)))\n"
        "thread.start(); thread.join()\nassert found == [draw(plain)] and len(readers().pids) == 1\n"
        "print('once')\n"
    )
    done = subprocess.run(
        [sys.executable, str(script), *files], capture_output=True, text=True, check=False, timeout=120
    )
    assert (done.stdout, done.stderr) == ("once\n", "")


@pytest.mark.parametrize("kept", ["sys.path.insert(0, '')", "sys.path.append(os.getcwd())", "pass"])
def test_modules_that_lie_in_the_current_folder_are_not_taken_for_python_s(files, tmp_path, kept):
    for name in ("numpy", "types", "json", "struct", "resource", "PIL", "pypdfium2", "vlm2vec"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('a file of the user')")
    code = f"{kept}\ndraw(plain)\nassert len(readers().pids) == 1\n"
    assert run(code, files, "-P", cwd=tmp_path) == ""


@linux
def test_a_reader_takes_the_package_and_the_modules_of_its_parent(files, tmp_path):
    """Found by `sys.path` alone, as in a notebook that edits it."""
    (tmp_path / "moved").mkdir()
    (tmp_path / "moved" / "vlm2vec").symlink_to(Path(pdf.__file__).parents[1])
    code = f"import sys; sys.path.insert(0, {str(tmp_path / 'moved')!r})\n" + HEAD
    code += "import vlm2vec; assert 'moved' in vlm2vec.__file__\ndraw(plain); tell()\n"
    code += "print(Path(f'/proc/{readers().pids[0]}/environ').read_bytes().decode().count('moved'))\n"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", code, *files], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split()[1] == "1"


@linux
@pytest.mark.parametrize("flags", [["-I", "-S"], ["-E"], ["-s"]], ids=" ".join)
def test_flags_of_its_parent_do_not_keep_a_reader_from_starting(flags, files):
    code = f"import sys; sys.path[:0] = {sys.path!r}\n" + HEAD + "draw(plain)\n"
    code += "print(Path(f'/proc/{readers().pids[0]}/cmdline').read_text().split(chr(0)))"
    done = subprocess.run(
        [sys.executable, *flags, "-c", code, *files], capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    assert ("'-s'" in done.stdout) == (flags != ["-E"])  # what is in the user's own folder stays out


@linux
def test_names_of_files_mean_the_same_to_a_reader_whatever_the_locale(files, tmp_path):
    (tmp_path / "b\u00e4.pdf").write_bytes(PLAIN)
    code = f"draw({str(tmp_path)!r} + '/b\\u00e4.pdf')\nassert len(readers().pids) == 1\n"
    ascii_alone = {**os.environ, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C"}
    assert run(code, files, "-X", "utf8", env=ascii_alone) == ""


@linux
def test_a_reader_hears_signals_that_its_parent_does_not(files):
    code = """
signal.signal(signal.SIGXCPU, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
draw(plain)
status = Path(f"/proc/{readers().pids[0]}/status").read_text()
masks = dict(line.split(":\\t") for line in status.splitlines() if line.startswith("Sig"))
assert int(masks["SigBlk"], 16) == 0
assert not int(masks["SigIgn"], 16) & 1 << signal.SIGXCPU - 1
"""
    assert run(code, files) == ""


@linux
def test_a_process_that_is_forked_while_a_reader_starts_does_not_keep_its_pipes(files):
    code = """
def pipes():
    links = (os.path.join("/proc/self/fd", name) for name in os.listdir("/proc/self/fd"))
    return {os.readlink(link) for link in links if os.path.lexists(link)}
before, made, both, real = pipes(), [], threading.Event(), os.pipe
def slow():
    made.append(real())
    if len(made) == 2:
        both.set()
        time.sleep(0.3)
    return made[-1]
os.pipe = slow
thread = threading.Thread(target=draw, args=(plain,))
thread.start()
assert both.wait(60)
child = os.fork()
if not child:
    os._exit(len([pipe for pipe in pipes() - before if pipe.startswith("pipe:")]))
thread.join()
assert os.waitpid(child, 0)[1] == 0 and len(readers().pids) == 1
"""
    assert run(code, files, "-W", "ignore::DeprecationWarning") == ""


@linux
def test_it_writes_nothing_to_any_disk(files, tmp_path):
    tmp_path.chmod(0o555)
    code = """
right = draw(plain)
with open(f"/proc/{readers().pids[0]}/io") as file:
    written = dict(line.split(": ") for line in file.read().splitlines())
assert int(written["write_bytes"]) == 0, written
for descriptor in os.listdir(f"/proc/{readers().pids[0]}/fd"):
    where = os.readlink(f"/proc/{readers().pids[0]}/fd/{descriptor}")
    assert where.startswith(("pipe:", "/dev/null", "/proc/")), where
"""
    assert run(code, files, cwd=tmp_path) == ""


def test_what_python_prints_when_it_starts_does_no_harm(files, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(
        "import sys; print('hello', flush=True); print(file=sys.stderr)"
    )
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    code = "import sys; sys.stderr.flush(); draw(plain); print(len(readers().pids))"
    process = start(code, files, env=environment)
    printed, complaints = process.communicate(timeout=120)
    assert (printed, complaints) == ("hello\n1\n", "\n")


@linux
def test_a_process_that_dies_of_broken_pipes_does_not_die_of_a_reader(files):
    code = """
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
draw(plain)
reader, = readers()._all
os.kill(reader.pid, signal.SIGKILL)
type(reader).is_alive = True  # as if it had died a moment later
draw(plain)
print("alive")
"""
    assert run(code, files) == "alive\n"


@linux
def test_one_core_a_limit_of_the_address_space_and_a_folder_that_is_gone(files, tmp_path):
    code = f"""
import resource
os.sched_setaffinity(0, {{min(os.sched_getaffinity(0))}})
os.chdir({str(tmp_path)!r}); os.rmdir({str(tmp_path)!r})
draw(plain); draw(plain)
print(len(readers().pids))
"""
    assert run(code, files) == "1\n"


def test_a_daemon_thread_that_draws_while_python_ends_is_no_crash(files):
    code = """
def work():
    while True: draw(plain)
for _ in range(3): threading.Thread(target=work, daemon=True).start()
time.sleep(0.5)
print("ends")
"""
    for _ in range(3):
        assert run(code, files) == "ends\n"


def test_a_picture_is_that_of_this_process(files):
    code = "sys.stdout.buffer.write(draw(plain))"
    done = subprocess.run([sys.executable, "-c", HEAD + code, *files], capture_output=True, check=True)
    expected = pdf.render_page(Source.from_bytes(PLAIN), 1, PixelRules())
    assert np.array_equal(np.frombuffer(done.stdout, np.uint8).reshape(expected.shape), expected)
