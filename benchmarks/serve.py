"""Requests a second and how long they take, against a FastAPI around sentence-transformers, in turn.

python benchmarks/serve.py [--model small] [--rows texts-16 mixed-64] [--runs 2] [--threads 2] [--json FILE]

Both servers are processes with the same weights. Clients are threads with a connection each, which ask again
as soon as they are answered. Only right vectors count. Needs the extra `serve`.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import http.client
import json
import os
import queue
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from baselines import Padded, Stock
from encode import Encoders
from interleaved import write_json
from machine import machine
from models import DEFAULT_NETWORK, SHAPES, write_model
from workloads import FRAMES, QUERY, Item, Sizes, Writer, corpus

OURS, STOCK = "vlm2vec serve", "FastAPI around sentence-transformers"

TOLERANCE = 1e-5
"""By how much a component of a vector may be off from encoding one by one."""

_URL = re.compile(r"http://127\.0\.0\.1:(\d+)")
_STARTING_SECONDS = 300


@dataclass(frozen=True)
class Row:
    """What is measured: so many clients, and what they send, in so many requests."""

    clients: int
    requests: int
    kind: str


ROWS = {
    "texts-16": Row(16, 384, "texts"),
    "texts-64": Row(64, 384, "texts"),
    "mixed-16": Row(16, 96, "mixed"),
    "mixed-64": Row(64, 96, "mixed"),
}


def drawn(kind: str, count: int, writer: Writer) -> list[Item]:
    """Inputs, one for each request."""
    if kind == "texts":
        return [Item(writer.caption(), instruction=QUERY) for _ in range(count)]
    return list(corpus(writer, count))


def body_of(item: Item) -> bytes:
    """A request, as clients of either server send it."""
    parts: list[dict[str, Any]] = []
    if item.image:
        parts.append({"type": "image_url", "image_url": {"url": _uri(item.image, "image/jpeg")}})
    if item.video:
        clip = {"url": _uri(item.video, "video/mp4")}
        parts.append({"type": "video_url", "video_url": clip, "num_frames": FRAMES})
    if item.pdf:
        held = {"file_data": _uri(item.pdf, "application/pdf"), "filename": item.pdf.name}
        parts.append({"type": "file", "file": held})
    if item.text and parts:
        parts.append({"type": "text", "text": item.text})
    body = {"model": "any", "input": [parts or item.text], "encoding_format": "base64"}
    return json.dumps({**body, **({"instruction": item.instruction} if item.instruction else {})}).encode()


def _uri(path: Path, media_type: str) -> str:
    return f"data:{media_type};base64,{base64.b64encode(path.read_bytes()).decode()}"


def item_of(body: Mapping[str, Any], folder: Path) -> Item:
    """The input of a request; its media are written into the folder, for the readers want files."""
    (given,) = body["input"]
    item = Item(instruction=body.get("instruction"))
    for part in [{"type": "text", "text": given}] if isinstance(given, str) else given:
        if part["type"] == "text":
            item = replace(item, text=part["text"])
        elif part["type"] == "image_url":
            item = replace(item, image=_written(part["image_url"]["url"], folder / "picture.jpg"))
        elif part["type"] == "video_url":
            item = replace(item, video=_written(part["video_url"]["url"], folder / "clip.mp4"))
        else:
            item = replace(item, pdf=_written(part["file"]["file_data"], folder / "pages.pdf"))
    return item


def _written(uri: str, path: Path) -> Path:
    path.write_bytes(base64.b64decode(uri.partition(",")[2]))
    return path


def serve_stock(folder: Path) -> None:
    """The server that is compared with: a route, a lock, and `encode`."""
    import uvicorn
    from fastapi import Body, FastAPI

    stock = Stock(folder, dtype=torch.float32, device="cpu")
    stock.encode([Item("ready")], batch_size=32)
    app, one_at_a_time = FastAPI(), threading.Lock()

    @app.post("/v1/embeddings")
    def embeddings(body: dict[str, Any] = Body()) -> dict[str, Any]:  # noqa: B008
        with tempfile.TemporaryDirectory() as scratch:
            item = item_of(body, Path(scratch))
            with one_at_a_time:
                (vector,) = stock.encode([item], batch_size=32)
        encoded = base64.b64encode(np.asarray(vector, dtype="<f4").tobytes()).decode()
        return {"object": "list", "data": [{"object": "embedding", "index": 0, "embedding": encoded}]}

    config = uvicorn.Config(app, port=0, log_level="info", access_log=False, lifespan="off", http="h11")
    uvicorn.Server(config).run()


@dataclass
class Server:
    """A running server.

    Attributes:
        process: Its process.
        port: Where it listens.
        starting_seconds: From the start of the process until it listened.
    """

    process: subprocess.Popen[bytes]
    port: int
    starting_seconds: float

    def peak_mb(self) -> float:
        """Its memory at the peak, in MB; 0 where the system does not say."""
        with contextlib.suppress(OSError):
            status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="utf-8")
            return int(status.partition("VmHWM:")[2].split()[0]) / 1024
        return 0.0

    def cpu_seconds(self) -> float:
        """Of the processor so far, also in processes that it started; 0 where the system does not say."""
        pids, seconds = [self.process.pid], 0.0
        for pid in pids:
            with contextlib.suppress(OSError):
                tasks = Path(f"/proc/{pid}/task")
                stat = (tasks.parent / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
                # utime, stime, and those of children that have ended (proc(5)).
                seconds += sum(map(int, stat[11:15])) / os.sysconf("SC_CLK_TCK")
                for file in tasks.glob("*/children"):
                    pids += map(int, file.read_text(encoding="utf-8").split())
        return seconds


@contextlib.contextmanager
def serving(command: Sequence[str], threads: int | None, log: Path) -> Iterator[Server]:
    """A server, from when it listens until it has ended."""
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    if threads:
        environment |= {name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    begin = time.perf_counter()
    with log.open("wb") as written:
        process = subprocess.Popen(command, stdout=written, stderr=written, env=environment)  # noqa: S603
    try:
        while not (found := _URL.search(log.read_text(encoding="utf-8"))):
            if process.poll() is not None or time.perf_counter() - begin > _STARTING_SECONDS:
                raise RuntimeError(f"the server did not start:\n{log.read_text(encoding='utf-8')}")
            time.sleep(0.05)
        yield Server(process, int(found[1]), time.perf_counter() - begin)
    finally:
        process.terminate()
        process.wait(timeout=60)


@dataclass
class Round:
    """What came of all requests of one round."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    right: int = 0
    wrong: int = 0
    refused: int = 0
    failed: list[str] = field(default_factory=list)


def ask_all(port: int, clients: int, bodies: Sequence[bytes], expected: np.ndarray) -> Round:
    """Send each request once, from so many clients at a time; one that is answered 429 is sent again.

    Args:
        port: Of the server.
        clients: Threads.
        bodies: The requests.
        expected: `(n, dim)`, the vectors that they should get.
    """
    todo: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in range(len(bodies)):
        todo.put(number)
    round_, lock, begin = Round(), threading.Lock(), threading.Barrier(clients + 1)

    def client() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
        connection.connect()
        begin.wait()
        with contextlib.suppress(queue.Empty):
            while True:
                number = todo.get_nowait()
                start = time.perf_counter()
                status, answer, refused = _asked(connection, bodies[number])
                seconds = time.perf_counter() - start
                with lock:
                    round_.latencies.append(seconds)
                    round_.refused += refused
                    if status != 200:
                        round_.failed.append(f"{status}: {answer[:200]!r}")
                    elif _is_right(answer, expected[number]):
                        round_.right += 1
                    else:
                        round_.wrong += 1
        connection.close()

    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    begin.wait()
    start = time.perf_counter()
    for thread in threads:
        thread.join()
    round_.seconds = time.perf_counter() - start
    return round_


def _asked(connection: http.client.HTTPConnection, body: bytes) -> tuple[int, bytes, int]:
    """Status and answer, and how often the server was too busy to take it."""
    refused = 0
    while True:
        connection.request("POST", "/v1/embeddings", body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        answer = response.read()
        if response.status != 429:
            return response.status, answer, refused
        refused += 1
        time.sleep(float(response.headers.get("Retry-After", 1)))


def _is_right(answer: bytes, expected: np.ndarray) -> bool:
    encoded = json.loads(answer)["data"][0]["embedding"]
    vector = np.frombuffer(base64.b64decode(encoded), dtype="<f4")
    return vector.shape == expected.shape and float(np.abs(vector - expected).max()) <= TOLERANCE


@dataclass(frozen=True)
class Work:
    """Requests, and the vectors `(n, dim)` that each server should answer them with."""

    bodies: list[bytes]
    expected: dict[str, np.ndarray]

    @classmethod
    def drawn(cls, kind: str, count: int, writer: Writer, folder: Path) -> Work:
        """So many requests of one kind.

        Args:
            kind: "texts" or "mixed".
            count: Of the requests.
            writer: Draws the inputs.
            folder: Of the model.
        """
        items = drawn(kind, count, writer)
        return cls([body_of(item) for item in items], references(folder, items))


def references(folder: Path, items: Sequence[Item]) -> dict[str, np.ndarray]:
    """Vectors of encoding one by one: servers draw pages of PDFs differently, and are the same otherwise."""
    ours = Encoders(folder).reference(items)
    theirs, padded = ours.copy(), Padded(folder, dtype=torch.float32, device="cpu")
    for number, item in enumerate(items):
        if item.pdf:
            theirs[number] = padded.encode([item], batch_size=1)[0]
    return {OURS: ours, STOCK: theirs}


def apart(vectors: np.ndarray) -> float:
    """The least difference between vectors of two inputs: near the tolerance, wrong ones would count."""
    return min(
        float(np.abs(vectors[number + 1 :] - row).max(axis=1).min())
        for number, row in enumerate(vectors[:-1])
    )


def numbers(rounds: Sequence[Round]) -> dict[str, Any]:
    """Of one server over all rounds."""
    times = 1000 * np.asarray([seconds for one in rounds for seconds in one.latencies])
    return {
        "requests_per_second": float(np.median([one.right / one.seconds for one in rounds])),
        "cpu_ms_per_request": float(
            np.median([1000 * one.cpu_seconds / max(one.right, 1) for one in rounds])
        ),
        "p50_ms": float(np.percentile(times, 50)),
        "p99_ms": float(np.percentile(times, 99)),
        "right": sum(one.right for one in rounds),
        "wrong": sum(one.wrong for one in rounds),
        "answered_429": sum(one.refused for one in rounds),
        "failed": [said for one in rounds for said in one.failed],
    }


def measure(name: str, row: Row, work: Work, servers: Mapping[str, Server], *, runs: int) -> dict[str, Any]:
    """A row: the servers in turn, after a few requests of each that do not count."""
    for way, server in servers.items():
        ask_all(server.port, min(row.clients, 8), work.bodies[:8], work.expected[way])
    rounds: dict[str, list[Round]] = {way: [] for way in servers}
    for _ in range(runs):
        for way, server in servers.items():
            before = server.cpu_seconds()
            rounds[way].append(ask_all(server.port, row.clients, work.bodies, work.expected[way]))
            rounds[way][-1].cpu_seconds = server.cpu_seconds() - before
    found = {way: numbers(of_way) for way, of_way in rounds.items()}
    rates = [found[way]["requests_per_second"] for way in (OURS, STOCK)]
    # Steadier than the clock where others use the machine.
    spent = [found[way]["cpu_ms_per_request"] for way in (OURS, STOCK)]
    return {
        "name": name,
        "clients": row.clients,
        "requests": row.requests,
        "work": "single texts" if row.kind == "texts" else "single texts, pictures, pages and clips",
        "runs": runs,
        "inputs_apart": apart(work.expected[OURS]),
        "servers": found,
        "ratio": rates[0] / rates[1] if rates[1] else None,
        "cpu_ratio": spent[1] / spent[0] if spent[0] else None,
    }


def print_row(row: Mapping[str, Any]) -> None:
    """Two lines of the table."""
    for way, found in row["servers"].items():
        print(
            f"{row['clients']:3d} clients, {row['work']:42s} {way:38s} {found['requests_per_second']:8.1f}/s"
            f" {found['cpu_ms_per_request']:7.0f} ms of CPU"
            f" {found['p50_ms']:9.0f} ms {found['p99_ms']:9.0f} ms {found['right']:6d} right"
            f" {found['wrong']:4d} wrong {found['answered_429']:4d} x 429 {len(found['failed']):4d} failed",
            flush=True,
        )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", choices=SHAPES, help="size of the model (default: small)")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS), help="default: all")
    parser.add_argument("--runs", type=int, default=2, help="rounds of each server (default: 2)")
    parser.add_argument("--threads", type=int, help="of torch in each server (default: its choice)")
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    parser.add_argument("--quick", action="store_true", help="a tiny model and few requests, to try the code")
    parser.add_argument("--stock", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.stock:
        serve_stock(options.stock)
        return
    if options.threads:
        torch.set_num_threads(options.threads)
    model = options.model or ("tiny" if options.quick else "small")
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as scratch, contextlib.ExitStack() as running:
        folder = write_model(Path(scratch), model, DEFAULT_NETWORK)
        commands = {
            OURS: [sys.executable, "-m", "vlm2vec", "serve", str(folder), "--port", "0"],
            STOCK: [sys.executable, __file__, "--stock", str(folder)],
        }
        servers = {
            way: running.enter_context(serving(command, options.threads, Path(scratch) / f"{number}.log"))
            for number, (way, command) in enumerate(commands.items())
        }
        drawn_once: dict[str, Work] = {}
        for name in options.rows:
            row = replace(ROWS[name], requests=8, clients=4) if options.quick else ROWS[name]
            if row.kind not in drawn_once:
                writer = Writer(Path(scratch) / row.kind, Sizes(options.quick))
                drawn_once[row.kind] = Work.drawn(row.kind, row.requests, writer, folder)
            rows.append(measure(name, row, drawn_once[row.kind], servers, runs=options.runs))
            print_row(rows[-1])
            if options.json:
                about = {
                    "machine": machine(),
                    "model": model,
                    "tolerance": TOLERANCE,
                    "starting_seconds": {way: server.starting_seconds for way, server in servers.items()},
                    "peak_mb": {way: server.peak_mb() for way, server in servers.items()},
                }
                write_json(options.json, {**about, "rows": rows})


if __name__ == "__main__":
    main()
