"""`Links`: links to files and thumbnails that a browser follows without a key, for a while.

A browser sends no key with what an `img`, a `video` or a new tab loads. To fetch these by script and show
the bytes would load a whole video before its first frame, and a whole PDF before one page. So an answer to
a request that had the key signs the links that are in it.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from urllib.parse import parse_qs, unquote

__all__ = ["SIGNED_ROUTES", "Links"]

SIGNED_ROUTES = ("/files/", "/thumbnails/")
"""What links may lead to: to nothing else is a signature worth anything."""

_HOUR = 3600


class Links:
    """Signs links, and knows those that it has signed.

    They are of this process: when it starts again, it knows none of them. One is good for an hour at least
    and two at most, and is the same for an hour, so that a browser may keep what it led to.

    Args:
        signed: Whether links need a signature, as they do where there is a key.
    """

    def __init__(self, *, signed: bool) -> None:
        self._signed = signed
        self._secret = secrets.token_bytes(32)

    def sign(self, address: str) -> str:
        """The link for an address below the root, percent-encoded and without a query.

        Example:
            >>> Links(signed=False).sign("/files/a.png")
            '/files/a.png'
        """
        if not self._signed:
            return address
        expires = (int(time.time()) // _HOUR + 2) * _HOUR
        return f"{address}?expires={expires}&signature={self._signature(unquote(address), expires)}"

    def is_good(self, path: str, query: str) -> bool:
        """Whether a request for this path, decoded, and with this query has a signature that still holds.

        Example:
            >>> links = Links(signed=True)
            >>> path, _, query = links.sign("/files/a.png").partition("?")
            >>> links.is_good(path, query), links.is_good("/files/b.png", query)
            (True, False)
        """
        if not path.startswith(SIGNED_ROUTES):
            return False
        try:
            said = parse_qs(query, max_num_fields=8)
            expires, signature = said["expires"][0], said["signature"][0]
        except (KeyError, ValueError):
            return False
        if not (expires.isascii() and expires.isdigit() and len(expires) < 16 and int(expires) > time.time()):
            return False
        wanted = self._signature(path, int(expires))
        return hmac.compare_digest(signature.encode("utf-8", "replace"), wanted.encode())

    def _signature(self, path: str, expires: int) -> str:
        said = f"{expires} {path}".encode("utf-8", "surrogatepass")
        return hmac.new(self._secret, said, hashlib.sha256).hexdigest()
