import http.server
import socket
import threading
import time
from contextlib import suppress

import pytest

from vlm2vec.errors import InputError, LimitError, MediaError
from vlm2vec.media import fetch as fetch_module
from vlm2vec.media.deadline import Cancelled, cancellable
from vlm2vec.media.fetch import fetch

over = threading.Event()


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        name, _, argument = self.path.lstrip("/").partition("/")
        getattr(self, f"serve_{name}")(argument)

    def answer(self, body=b"", status=200, **headers):
        self.send_response(status)
        headers.setdefault("Content_Length", str(len(body)))
        for key, value in headers.items():
            self.send_header(key.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def serve_file(self, _):
        self.answer(b"content" * 1000)

    def serve_host(self, _):
        self.answer(self.headers["Host"].encode())

    def serve_status(self, code):
        self.answer(status=int(code))

    def serve_reason(self, _):
        self.wfile.write(b"HTTP/1.1 404 \x1b[31mred\x07 " + b"long " * 100 + b"\r\nContent-Length: 0\r\n\r\n")

    def serve_nonsense(self, _):
        self.wfile.write(b"\x1b[31mno status" + b"x" * 5000 + b"\r\n\r\n")

    def serve_to(self, target):
        self.answer(status=302, Location=target.replace("|", "/"))

    def serve_hops(self, count):
        self.answer(status=302, Location=f"/hops/{int(count) - 1}" if int(count) > 1 else "/file")

    def serve_gzip(self, _):
        self.answer(b"x", Content_Encoding="gzip")

    def serve_short(self, _):
        self.answer(b"half", Content_Length="100")

    def serve_endless(self, _):
        self.send_response(200)
        self.end_headers()
        try:
            while True:
                self.wfile.write(b"x" * 65536)
        except OSError:
            pass

    def serve_chunk(self, size):
        self.wfile.write(f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{size}\r\n".encode())
        with suppress(OSError):
            for _ in range(200):
                self.wfile.write(b"x" * 65536)

    def serve_claim(self, size):
        """Says how long the file is, and sends nothing of it."""
        self.send_response(200)
        self.send_header("Content-Length", size)
        self.end_headers()
        self.wfile.flush()
        over.wait(20)

    def serve_slow(self, _):
        self.send_response(200)
        self.end_headers()
        try:
            for _ in range(100):
                self.wfile.write(b"x")
                time.sleep(0.05)
        except OSError:
            pass

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def server():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def local(server, monkeypatch):
    """The test's own server counts as public."""
    monkeypatch.setattr(fetch_module, "_is_public", lambda address: address == "127.0.0.1")
    return server


def get(url, max_bytes=100_000, seconds=5.0):
    return fetch(url, max_bytes=max_bytes, seconds=seconds)


def test_a_file_is_downloaded(local):
    assert get(f"{local}/file") == b"content" * 1000


def test_the_named_host_is_asked_for(local):
    assert get(f"{local}/host").decode() == local.removeprefix("http://")


def test_up_to_three_redirects_are_followed(local):
    assert get(f"{local}/hops/3") == b"content" * 1000
    with pytest.raises(MediaError, match="redirects more than 3"):
        get(f"{local}/hops/4")


@pytest.mark.parametrize("target", ["http://10.0.0.1|a", "http://[::1]|", "http://169.254.169.254|latest"])
def test_a_redirect_to_a_private_address_is_refused(local, target):
    with pytest.raises(InputError, match="not on the public internet"):
        get(f"{local}/to/{target}")


def test_a_redirect_to_another_scheme_is_refused(local):
    with pytest.raises(InputError, match="'file'"):
        get(f"{local}/to/file:|||etc|passwd")


def test_a_redirect_to_a_malformed_url_is_an_error(local):
    with pytest.raises(MediaError, match="redirects to a malformed URL"):
        get(f"{local}/to/http:||[")


@pytest.mark.parametrize("code", [404, 429, 503])
def test_the_status_is_named(local, code):
    with pytest.raises(MediaError, match=str(code)):
        get(f"{local}/status/{code}")


@pytest.mark.parametrize("path", ["reason", "nonsense"])
def test_what_a_server_says_is_one_short_printable_line(local, path):
    with pytest.raises(MediaError) as caught:
        get(f"{local}/{path}")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 250


def test_what_is_too_large_is_refused(local):
    with pytest.raises(LimitError, match="larger than 10 bytes"):
        get(f"{local}/file", max_bytes=10)
    with pytest.raises(LimitError, match="larger than 100,000 bytes"):
        get(f"{local}/endless")


def test_what_says_that_it_is_too_large_is_refused_unread(local):
    begin = time.monotonic()
    try:
        with pytest.raises(LimitError, match="larger than 100,000 bytes"):
            get(f"{local}/claim/100001", seconds=30.0)
        assert time.monotonic() - begin < 10
    finally:
        over.set()


def test_the_time_limit_is_for_everything_and_not_for_each_read(local):
    begin = time.monotonic()
    with pytest.raises(LimitError, match="longer than"):
        get(f"{local}/slow", seconds=0.4)
    assert time.monotonic() - begin < 2


def test_a_compressed_answer_is_refused(local):
    with pytest.raises(MediaError, match="compressed"):
        get(f"{local}/gzip")


def test_a_broken_connection_is_an_error(local):
    with pytest.raises(MediaError, match="broke before the end"):
        get(f"{local}/short")


def test_a_server_that_does_not_answer_is_an_error(local):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(MediaError, match="download failed"):
        get(f"http://127.0.0.1:{port}/")


@pytest.mark.parametrize("silent", ["while connecting", "in the handshake"])
def test_a_server_that_is_silent_from_the_beginning_does_not_keep_a_caller_who_gives_up(
    silent, local, monkeypatch
):
    monkeypatch.setattr(fetch_module, "_CONNECTING", 0.2)
    stop, over = threading.Event(), threading.Event()
    with socket.create_server(("127.0.0.1", 0), backlog=0) as quiet:
        scheme = "https"
        others = []
        if silent == "while connecting":
            scheme = "http"
            for _ in range(8):  # more than the queue takes: who comes after them waits
                others.append(socket.socket())
                others[-1].setblocking(False)
                others[-1].connect_ex(quiet.getsockname())

        def download():
            with suppress(Cancelled), cancellable(stop):
                get(f"{scheme}://127.0.0.1:{quiet.getsockname()[1]}/", seconds=30.0)
            over.set()

        threading.Thread(target=download, daemon=True).start()
        assert not over.wait(0.5)
        stop.set()
        assert over.wait(10)
        for other in others:
            other.close()


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0.0.0.0",  # noqa: S104
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "192.0.0.1",
        "198.18.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:10.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "[fe80::1]",
        "[fc00::1]",
        "[fec0::1]",
        "[ff02::1]",
        "localhost",
    ],
)
def test_addresses_that_are_not_public_are_refused(host):
    with pytest.raises(InputError, match="not on the public internet"):
        get(f"http://{host}:9/")


@pytest.mark.parametrize("address", ["8.8.8.8", "2001:4860:4860::8888", "64:ff9b::808:808"])
def test_public_addresses_are_public(address):
    assert fetch_module._is_public(address)


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org\\@127.0.0.1/",
        "http://user:secret@example.org/",
        "http:///path",
        "http://example.org:99999/",
        "http://[::1/",
        "http://example.org/a b",
        "http://example.org/\r\nHost: x",
        "ftp://example.org/",
        "http://ex\u0430mple.org/",
    ],
)
def test_ambiguous_urls_are_refused_before_any_look_up(url, monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: pytest.fail("looked up"))
    with pytest.raises(InputError):
        get(url)


def test_a_name_with_one_private_address_is_refused(monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answers("8.8.8.8", "10.0.0.1"))
    with pytest.raises(InputError, match="not on the public internet"):
        get("http://example.org/")


def test_the_name_is_looked_up_once_and_the_checked_address_is_used(local, monkeypatch):
    port = int(local.rsplit(":", 1)[1])
    asked = []

    def look_up(host, *_, **__):
        asked.append(host)
        return answers("127.0.0.1", port=port) if len(asked) == 1 else pytest.fail("looked up again")

    real = socket.create_connection
    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    monkeypatch.setattr(socket, "create_connection", lambda address, **_: connect(real, address))
    assert get(f"http://rebinding.test:{port}/host") == f"rebinding.test:{port}".encode()
    assert asked == ["rebinding.test"]


def connect(_, address):
    connection = socket.socket()
    connection.connect(address)
    return connection


def test_a_name_without_address_is_an_error(monkeypatch):
    def fail(*_, **__):
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(MediaError, match=r"nowhere\.test has no address"):
        get("http://nowhere.test/")


def answers(*addresses, port=80):
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]


@pytest.mark.parametrize("size", ["-5", "-" + "f" * 40])
def test_a_chunk_of_impossible_length_is_an_error(local, size):
    with pytest.raises(MediaError, match="the download failed"):
        get(f"{local}/chunk/{size}")


def test_a_chunk_of_length_minus_one_is_read_no_further_than_the_limit(local):
    with pytest.raises(LimitError, match="more than its file may have"):
        get(f"{local}/chunk/-1")
