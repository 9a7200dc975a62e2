"""Where an input's bytes are: a file, a folder of frames, memory, or an address on the web."""

from __future__ import annotations

import base64
import binascii
import io
import stat
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from vlm2vec.describe import shorten, without_base64
from vlm2vec.errors import InputError, LimitError, MediaError
from vlm2vec.media.fetch import LargerError, fetch
from vlm2vec.media.signature import HEAD_BYTES, Signature, recognise

__all__ = ["MAX_DOWNLOAD_BYTES", "Source", "is_url", "url_refusal"]

MAX_DOWNLOAD_BYTES = 256 * 2**20
"""What a URL may lead to."""

_URI_TYPES = ("image/", "video/", "application/pdf", "application/octet-stream")
# Room is left in 60 characters for what stands beside it, such as a page.
_DESCRIPTION = 48
_DATA_URI = "pass it as a data-URI, data:image/png;base64,..., or decode it and pass the bytes."
_MAX_INLINE_BYTES = 64 * 2**20
_DOWNLOAD_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Source:
    """A file, a folder of frames, bytes, or a URL: one of the first three attributes says which.

    Build one with `from_path`, `from_bytes`, `from_string` or `from_url`. Nothing is read or fetched until
    asked for, except what the constructors say. Hashable, and cheap to pickle for a path and a URL.

    Attributes:
        path: The file or folder.
        data: The bytes.
        url: The address. What it leads to is fetched when it is first read, and held until `release`.
        key: The media key it stands under, or "file" for a bare file, while nobody has looked whether it is
            of that kind; `None` once that is known.
        facts: What has been read of it so far, each once: its signature, its header, what its URL led to.
        shown: What messages call it, where the path is not as it was given.

    Example:
        >>> Source.from_bytes(b"%PDF-1.7 ...").describe()
        '12 bytes of PDF'
    """

    path: Path | None = None
    data: bytes | None = field(default=None, repr=False)
    url: str | None = field(default=None, repr=False)
    key: str | None = field(default=None, compare=False, repr=False)
    facts: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)
    shown: str | None = field(default=None, compare=False, repr=False)

    @classmethod
    def from_path(cls, path: Path) -> Source:
        """A file or a folder that exists.

        Raises:
            MediaError: Nothing is there, or it is neither a regular file nor a folder.
        """
        source = cls(path=path)
        source.check_exists()
        return source

    @classmethod
    def from_bytes(cls, data: bytes | bytearray | memoryview) -> Source:
        """Media in memory.

        Raises:
            MediaError: There are no bytes.
        """
        if not len(data):
            raise MediaError("there are no bytes", fix="Pass the content of a file.")
        return cls(data=bytes(data))

    @classmethod
    def from_data_uri(cls, uri: str) -> Source:
        """Media in a `data:` URI, base64 encoded. Messages never repeat its data.

        Raises:
            InputError: It is not a base64 data-URI of an image, a video or a PDF.
            LimitError: It holds more than 64 MiB.
        """
        header, comma, payload = uri.partition(",")
        scheme, _, mime = header.partition(":")
        if scheme.lower() != "data" or not comma:
            raise InputError("the data-URI has no comma", fix="Write data:image/png;base64,...")
        mime, *parameters = [part.strip() for part in mime.split(";")]
        if not mime.lower().startswith(_URI_TYPES):
            raise InputError(
                f"the data-URI has the type {shorten(mime)!r}" if mime else "the data-URI has no type",
                fix="Its type must be image/..., video/... or application/pdf.",
            )
        if "base64" not in [parameter.lower() for parameter in parameters]:
            raise InputError("the data-URI is not base64", fix="Write data:image/png;base64,...")
        if len(payload) * 3 // 4 > _MAX_INLINE_BYTES:
            raise LimitError(
                f"the data-URI holds about {len(payload) * 3 // 4:,} bytes, more than {_MAX_INLINE_BYTES:,}",
                fix="Pass a path.",
            )
        try:
            data = base64.b64decode(payload, validate=True)
        except (binascii.Error, ValueError):
            raise InputError(
                "the data-URI's data is not valid base64", fix="Encode it with base64.b64encode."
            ) from None
        return cls.from_bytes(data)

    @classmethod
    def from_string(cls, text: str) -> Source:
        """What a string under a media key means: a data-URI, or a path, which is not looked up.

        Raises:
            InputError: It is empty, or a URL.
        """
        if not text.strip():
            raise InputError("the path is empty", fix="Pass a path or a data-URI.")
        scheme = _scheme(text)
        if scheme == "data":
            return cls.from_data_uri(text)
        if scheme == "file":
            raise InputError("file:// URLs are not read", fix="Pass the path itself.")
        if is_url(text):
            raise url_refusal()
        if "\0" in text:
            raise InputError("the path holds a null character", fix="Pass a path or a data-URI.")
        return cls(path=Path(text))

    @classmethod
    def from_url(cls, url: str) -> Source:
        """What is fetched when it is read: at most 256 MiB in 30 s, from public addresses alone.

        Whether URLs may be fetched at all is for the caller to decide.
        """
        return cls(url=url)

    def check_exists(self) -> None:
        """Raises MediaError if this is the path of nothing, or of neither a file nor a folder."""
        if self.path is None:
            return
        try:
            mode = self.path.stat().st_mode
        except FileNotFoundError:
            name = without_base64(self._given)
            fix = "Check the path."
            if self.path.parts[:1] == ("~",):
                fix = "Path.expanduser() resolves a leading ~."
            elif name != self._given:
                fix = f"If it is base64 data, {_DATA_URI}"
            raise MediaError("the file does not exist", fix=fix, source=name) from None
        except (OSError, ValueError) as error:
            raise MediaError(f"the file cannot be reached ({_reason(error)})", source=self.name) from error
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            raise MediaError(
                "this is a device, a pipe or a socket", fix="Pass a file or a folder.", source=self._given
            )

    @property
    def is_folder(self) -> bool:
        """Whether this is a folder of frames. What cannot be looked up is none: opening it says why."""
        with suppress(OSError):
            return self.path is not None and self.path.is_dir()
        return False

    @property
    def signature(self) -> Signature | None:
        """Kind and format by the first bytes; `None` for an unknown format.

        Raises:
            MediaError: There are no bytes.
        """
        if "signature" not in self.facts:
            with self.open() as file:
                self.signature_of(file)
        signature: Signature | None = self.facts["signature"]
        return signature

    def signature_of(self, file: BinaryIO) -> Signature | None:
        """The signature, from the content just opened.

        Raises:
            MediaError: There are no bytes, or they cannot be read.
        """
        head = self._bytes_of(file, HEAD_BYTES)
        if not head:
            raise MediaError("the file is empty", fix="Check that it was written.", source=self.name)
        self.facts["signature"] = signature = recognise(head)
        return signature

    def open(self) -> BinaryIO:
        """The content as a binary file; close it.

        Raises:
            MediaError: The file cannot be opened.
        """
        if self.path is None:
            return io.BytesIO(self.read())
        try:
            return self.path.open("rb")
        except OSError as error:
            raise MediaError(f"the file cannot be opened ({_reason(error)})", source=self.name) from error

    def _bytes_of(self, file: BinaryIO, size: int = -1) -> bytes:
        """Bytes from the content just opened: a disk or a network may fail after it opened a file."""
        try:
            return file.read(size)
        except OSError as error:
            raise MediaError(f"the file cannot be read ({_reason(error)})", source=self.name) from error

    def read(self) -> bytes:
        """The content as a whole; what a URL leads to is fetched once, until it is released.

        Raises:
            InputError: The URL is malformed, or leads to an address that is not public.
            LimitError: What it leads to is too large, or takes too long.
            MediaError: The file cannot be opened or read, or the download failed.
        """
        if self.data is not None:
            return self.data
        if self.path is not None:
            with self.open() as file:
                return self._bytes_of(file)
        return self.fetched(MAX_DOWNLOAD_BYTES)

    def fetched(self, max_bytes: int) -> bytes:
        """What the URL leads to, which is fetched once, until it is released.

        Args:
            max_bytes: How many bytes are wanted at most.

        Raises:
            LargerError: It has more, though not more than may be fetched.
            InputError: The URL is malformed, or leads to an address that is not public.
            LimitError: It takes too long.
            MediaError: The download failed.
        """
        if self.url is None:
            raise MediaError("the source has neither a path nor bytes", fix="Use Source.from_path.")
        fetched: bytes | None = self.facts.get("fetched")
        if fetched is not None:
            return fetched
        most = min(max_bytes, MAX_DOWNLOAD_BYTES)
        try:
            fetched = fetch(self.url, max_bytes=most, seconds=_DOWNLOAD_SECONDS)
        except LargerError as error:
            if most < MAX_DOWNLOAD_BYTES:
                raise
            raise LimitError(error.cause, fix=error.fix) from None
        self.facts["fetched"] = fetched
        return fetched

    @property
    def bytes_held(self) -> int:
        """Bytes of what the URL led to, while they are held."""
        return len(self.facts.get("fetched", b""))

    def release(self) -> None:
        """Let go of what the URL led to."""
        self.facts.pop("fetched", None)

    def describe(self) -> str:
        """Short text for messages: the path or URL (its end, if it is long), or how many bytes of what.

        Example:
            >>> Source.from_bytes(b"%PDF-1.7").describe()
            '8 bytes of PDF'
        """
        if self.data is None:
            return self.name or "nothing"
        signature = recognise(self.data[:HEAD_BYTES])
        return f"{len(self.data):,} bytes of {signature.label if signature else 'an unknown format'}"

    @property
    def name(self) -> str | None:
        """The path, or the URL without its query, which may be secret; `None` for bytes."""
        if self.path is None and self.url is None:
            return None
        text = without_base64(self._given if self.url is None else self.url.partition("?")[0])
        # Of a long path the end says more.
        return text if len(text) <= _DESCRIPTION else f"...{text[3 - _DESCRIPTION :]}"

    @property
    def _given(self) -> str:
        return self.shown or str(self.path)

    def __reduce__(self) -> tuple[Any, ...]:
        # Another process reads for itself.
        return Source, (self.path, self.data, self.url, self.key, {}, self.shown)


def is_url(text: str) -> bool:
    """Whether a string under a media key is an address on the web; of those, http and https are fetched."""
    scheme = _scheme(text)
    return scheme not in ("data", "file") and (scheme in ("http", "https") or "://" in text[:32])


def url_refusal() -> InputError:
    """The error for a URL where none is fetched."""
    return InputError(
        "this is a URL, and URLs are not fetched",
        fix="Download it and pass the path or bytes, or build the model with allow_urls=True.",
    )


def _reason(error: OSError | ValueError) -> str:
    """What the system says, without the path, which is said beside it and may be long."""
    return (error.strerror if isinstance(error, OSError) else None) or shorten(str(error))


def _scheme(text: str) -> str:
    scheme, colon, _ = text[:12].lower().partition(":")
    return scheme if colon else ""  # a file may be named data or http
