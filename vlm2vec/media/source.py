"""Where an input's bytes are: a file, a folder of frames, or memory."""

from __future__ import annotations

import base64
import binascii
import io
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from vlm2vec.errors import InputError, LimitError, MediaError
from vlm2vec.media.fetch import fetch
from vlm2vec.media.signature import HEAD_BYTES, Kind, Signature, recognise

__all__ = ["Source"]

_TEXT_SUFFIXES = {".txt", ".md"}
_READABLE = "Images (JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF), videos, PDFs and .txt or .md files can be read."
_URI_TYPES = ("image/", "video/", "application/pdf", "application/octet-stream")
# Room is left in 60 characters for what stands beside it, such as a page.
_DESCRIPTION = 48
_MAX_INLINE_BYTES = 64 * 2**20
_MAX_DOWNLOAD_BYTES = 256 * 2**20
_DOWNLOAD_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Source:
    """A file, a folder of frames, or bytes. Build one with `from_path`, `from_bytes` or `from_string`.

    Nothing is read until asked for, except what the constructors say. Hashable, and cheap to pickle for a
    path.

    Attributes:
        path: The file or folder; `None` for bytes.
        data: The bytes; `None` for a path.

    Example:
        >>> Source.from_bytes(b"%PDF-1.7 ...").kind
        'pdf'
    """

    path: Path | None = None
    data: bytes | None = field(default=None, repr=False)

    @classmethod
    def from_path(cls, path: Path) -> Source:
        """A file or a folder that exists.

        Raises:
            MediaError: Nothing is there, or it is neither a regular file nor a folder.
        """
        try:
            mode = path.stat().st_mode
        except FileNotFoundError:
            fix = "Path.expanduser() resolves a leading ~." if path.parts[:1] == ("~",) else "Check the path."
            raise MediaError("the file does not exist", fix=fix, source=str(path)) from None
        except (OSError, ValueError) as error:
            raise MediaError(f"the file cannot be reached ({error})", source=str(path)) from error
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            raise MediaError(
                "this is a device, a pipe or a socket", fix="Pass a file or a folder.", source=str(path)
            )
        return cls(path=path)

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
        mime, *parameters = [part.strip().lower() for part in mime.split(";")]
        if not mime.startswith(_URI_TYPES):
            raise InputError(
                f"the data-URI has the type {mime[:60]!r}" if mime else "the data-URI has no type",
                fix="Its type must be image/..., video/... or application/pdf.",
            )
        if "base64" not in parameters:
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
    def from_string(cls, text: str, *, allow_urls: bool = False) -> Source:
        """What a string under a media key means: a data-URI or a path, or a URL where those are allowed.

        Args:
            text: The string.
            allow_urls: Download http and https URLs (at most 256 MiB in 30 s, public addresses only).

        Raises:
            InputError: It is empty, or a URL that is not allowed.
            MediaError: The file does not exist, or the download failed.
        """
        if not text.strip():
            raise InputError("the path is empty", fix="Pass a path or a data-URI.")
        scheme, colon, _ = text[:12].lower().partition(":")
        scheme = scheme if colon else ""  # a file may be named data or http
        if scheme == "data":
            return cls.from_data_uri(text)
        if scheme == "file":
            raise InputError("file:// URLs are not read", fix="Pass the path itself.")
        if scheme in ("http", "https") or "://" in text[:32]:
            if not allow_urls:
                raise InputError(
                    "this is a URL, and URLs are not fetched",
                    fix="Download it and pass the path or bytes, or build the model with allow_urls=True.",
                )
            return cls.from_bytes(fetch(text, max_bytes=_MAX_DOWNLOAD_BYTES, seconds=_DOWNLOAD_SECONDS))
        if "\0" in text:
            raise InputError("the path holds a null character", fix="Pass a path or a data-URI.")
        return cls.from_path(Path(text))

    @property
    def is_folder(self) -> bool:
        """Whether this is a folder of frames."""
        return self.path is not None and self.path.is_dir()

    @property
    def size(self) -> int:
        """Encoded size, in bytes."""
        if self.data is not None:
            return len(self.data)
        with self.open() as file:
            return file.seek(0, io.SEEK_END)

    @property
    def kind(self) -> Kind:
        """What this is, from its first bytes; a GIF, WebP or PNG that moves is a video.

        Raises:
            MediaError: It is empty, or of no kind that can be embedded.
        """
        if self.is_folder:
            return "video"
        if self.path is not None and self.path.suffix.lower() in _TEXT_SUFFIXES:
            return "text"
        signature = self.signature
        if signature is None or signature.kind is None:
            what = "is not a known format" if signature is None else f"is {_article(signature.label)} file"
            raise MediaError(f"the content {what}", fix=_READABLE, source=self._name)
        if signature.kind == "image":
            from vlm2vec.media.image import is_animated

            return "video" if is_animated(self) else "image"
        return signature.kind

    @property
    def signature(self) -> Signature | None:
        """Kind and format by the first bytes; `None` for an unknown format.

        Raises:
            MediaError: There are no bytes.
        """
        head = self.data[:HEAD_BYTES] if self.data is not None else self._read_head()
        if not head:
            raise MediaError("the file is empty", fix="Check that it was written.", source=self._name)
        return recognise(head)

    def open(self) -> BinaryIO:
        """The content as a binary file; close it.

        Raises:
            MediaError: The file cannot be opened.
        """
        if self.data is not None:
            return io.BytesIO(self.data)
        if self.path is None:
            raise MediaError("the source has neither a path nor bytes", fix="Use Source.from_path.")
        try:
            return self.path.open("rb")
        except OSError as error:
            raise MediaError(
                f"the file cannot be opened ({error.strerror or error})", source=self._name
            ) from error

    def describe(self) -> str:
        """Short text for messages: the path (its end, if it is long), or how many bytes of what.

        Example:
            >>> Source.from_bytes(b"%PDF-1.7").describe()
            '8 bytes of PDF'
        """
        if self.data is None:
            return self._name or "nothing"
        signature = recognise(self.data[:HEAD_BYTES])
        return f"{len(self.data):,} bytes of {signature.label if signature else 'an unknown format'}"

    @property
    def _name(self) -> str | None:
        if self.path is None:
            return None
        text = str(self.path)
        # Of a long path the end says more.
        return text if len(text) <= _DESCRIPTION else f"...{text[3 - _DESCRIPTION :]}"

    def _read_head(self) -> bytes:
        with self.open() as file:
            return file.read(HEAD_BYTES)


def _article(label: str) -> str:
    return f"an {label}" if label[0] in "AEFHILMNORSX" and label[:2].isupper() else f"a {label}"
