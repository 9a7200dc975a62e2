"""Downloads from public addresses, for models built with `allow_urls=True`."""

from __future__ import annotations

import http.client
import io
import ipaddress
import socket
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar
from urllib.parse import SplitResult, urljoin, urlsplit

from vlm2vec.describe import shorten
from vlm2vec.errors import InputError, LimitError, MediaError, VLM2VecError
from vlm2vec.media.deadline import raise_if_cancelled

__all__ = ["LargerError", "fetch"]

T = TypeVar("T")

_MAX_REDIRECTS = 3
_CHUNK = 64 * 1024
# Seconds that a silent server keeps this thread from hearing that it is called off. Connecting, which starts
# from the beginning after them, gets more.
_PATIENCE, _CONNECTING = 0.2, 3.0
# What an answer may have beside its file: headers; and as much as the file again, for the lengths of chunks.
_MAX_HEADERS = 2**20
_REDIRECTS = (301, 302, 303, 307, 308)


class LargerError(LimitError):
    """A file has more bytes than are wanted."""


def fetch(url: str, *, max_bytes: int, seconds: float) -> bytes:
    """Downloads a file over http or https.

    The name is resolved once and the connection goes to the address that was checked, so a name server
    cannot answer differently the second time. Redirects are followed up to three times, each one checked.

    Args:
        url: The address, with a public host.
        max_bytes: Greatest size, in bytes.
        seconds: Time for everything together, in seconds.

    Raises:
        InputError: The URL is malformed, or leads to an address that is not public.
        LargerError: The file has more than `max_bytes`, or its server says so.
        LimitError: It takes too long.
        MediaError: The server cannot be reached, or has no such file.
    """
    end = time.monotonic() + seconds
    try:
        for _ in range(_MAX_REDIRECTS + 1):
            parts = _split(url)
            with _connect(parts, _public_address(parts), end) as sock:
                response = _request(sock, parts, end, max_bytes)
                if response.status not in _REDIRECTS:
                    return _body(response, max_bytes=max_bytes)
                url = _redirected(url, response.headers.get("Location", ""))
    except TimeoutError:
        raise LimitError(f"the download took longer than {seconds:g} s", fix="Download it first.") from None
    except VLM2VecError:
        raise
    except (OSError, http.client.HTTPException, ValueError, OverflowError) as error:
        # A chunk of negative or endless length is a ValueError or an OverflowError of http.client.
        raise MediaError(
            f"the download failed ({type(error).__name__}: {shorten(str(error), 120)})"
        ) from error
    raise MediaError(f"the URL redirects more than {_MAX_REDIRECTS} times", fix="Pass the last one.")


def _split(url: str) -> SplitResult:
    """The URL's parts, refused where two parsers could read it differently."""
    if any(c <= " " or c in "\\\x7f" for c in url) or not url.isascii():
        raise InputError(
            "the URL holds a space, a backslash or a character that is not ASCII", fix="Quote it."
        )
    try:
        parts = urlsplit(url)
        bad_port = parts.port == 0
    except ValueError as error:
        raise InputError(f"the URL is malformed ({shorten(str(error))})") from None
    if parts.scheme not in ("http", "https"):
        raise InputError(
            f"the URL's scheme is {shorten(parts.scheme)!r}", fix="Only http and https are fetched."
        )
    if not parts.hostname or bad_port:
        raise InputError("the URL has no host", fix="Write https://host/path.")
    if parts.username is not None or parts.password is not None:
        raise InputError("the URL holds a user name", fix="Download it and pass the bytes.")
    return parts


def _redirected(url: str, location: str) -> str:
    """The address that a redirect names, which may be relative; `_split` checks it."""
    try:
        return urljoin(url, location)
    except ValueError as error:
        raise MediaError(f"the server redirects to a malformed URL ({shorten(str(error))})") from None


def _public_address(parts: SplitResult) -> tuple[str, int]:
    """The address to connect to. One address that is not public makes the whole name unacceptable."""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        answers = socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError):
        raise MediaError(
            f"the host {shorten(str(parts.hostname))} has no address", fix="Check the URL."
        ) from None
    addresses = [str(answer[4][0]) for answer in answers]
    if not addresses or not all(_is_public(address) for address in addresses):
        raise InputError(
            f"the host {shorten(str(parts.hostname))} is not on the public internet",
            fix="Download it and pass the path or bytes.",
        )
    return addresses[0], port


def _is_public(address: str) -> bool:
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return _is_public(str(inner))
        if ip.is_site_local:
            return False
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or ip.is_unspecified)


_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def _connect(parts: SplitResult, address: tuple[str, int], end: float) -> socket.socket:
    """A connection to the checked address that speaks to the named host."""
    sock = _until_cancelled(
        lambda seconds: socket.create_connection(address, timeout=seconds), end, _CONNECTING
    )
    if parts.scheme == "http":
        return sock
    try:
        secure = ssl.create_default_context().wrap_socket(
            sock, server_hostname=parts.hostname, do_handshake_on_connect=False
        )
    except BaseException:
        sock.close()
        raise
    try:
        _until_cancelled(_timed(secure, secure.do_handshake), end, _PATIENCE)
    except BaseException:
        secure.close()
        raise
    return secure


def _until_cancelled(work: Callable[[float], T], end: float, patience: float) -> T:
    """What `work` gives, which gets some seconds at a time and is called again when they are over."""
    while True:
        raise_if_cancelled()
        seconds = min(_remaining(end), patience)
        with suppress(TimeoutError):
            return work(seconds)


def _timed(sock: socket.socket, work: Callable[[], T]) -> Callable[[float], T]:
    """Work on a socket, which has as many seconds as it is called with."""

    def limited(seconds: float) -> T:
        sock.settimeout(seconds)
        return work()

    return limited


def _request(sock: socket.socket, parts: SplitResult, end: float, max_bytes: int) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection(str(parts.hostname))
    connection.sock = _TimedSocket(sock, end, 2 * max_bytes + _MAX_HEADERS)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    # No Accept-Encoding: a small compressed answer could unpack to a huge one.
    headers = {"Host": parts.netloc, "User-Agent": "vlm2vec", "Accept": "*/*", "Connection": "close"}
    connection.request("GET", target, headers=headers)
    return connection.getresponse()


def _body(response: http.client.HTTPResponse, *, max_bytes: int) -> bytes:
    if response.status != 200:
        raise MediaError(
            f"the server answered {response.status} {shorten(response.reason)}".rstrip(), fix="Check the URL."
        )
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise MediaError("the server sent a compressed answer", fix="Download it and pass the bytes.")
    larger = LargerError(f"the file is larger than {max_bytes:,} bytes", fix="Download it first.")
    if response.length is not None and response.length > max_bytes:
        raise larger
    data = bytearray()
    while chunk := response.read(min(_CHUNK, max_bytes + 1 - len(data))):
        data += chunk
        if len(data) > max_bytes:
            raise larger
    if response.length:
        raise MediaError("the connection broke before the end of the file", fix="Try again.")
    return bytes(data)


class _TimedSocket:
    """What http.client needs of a socket, each read getting only the time that is left for everything."""

    def __init__(self, sock: socket.socket, end: float, most: int) -> None:
        self._sock = sock
        self._end = end
        self._most = most

    def sendall(self, data: bytes) -> None:
        self._sock.settimeout(_remaining(self._end))
        self._sock.sendall(data)

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_TimedReader(self._sock, self._end, self._most))

    def close(self) -> None:
        """The owner of the socket closes it."""


class _TimedReader(io.RawIOBase):
    """What comes from a socket, up to a number of bytes: a chunk of length -1 is read to its end at once."""

    def __init__(self, sock: socket.socket, end: float, most: int) -> None:
        self._sock = sock
        self._end = end
        self._left = most

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        receive = _timed(self._sock, lambda: self._sock.recv_into(buffer))
        count = _until_cancelled(receive, self._end, _PATIENCE)
        self._left -= count
        if self._left < 0:
            raise LargerError("the server sends more than its file may have", fix="Download it first.")
        return count


def _remaining(end: float) -> float:
    seconds = end - time.monotonic()
    if seconds <= 0:
        raise TimeoutError
    return seconds
