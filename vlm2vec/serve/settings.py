"""`ServeSettings`: where a server listens, whom it lets in, and how much it takes."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from math import inf

from vlm2vec.arguments import is_number, is_whole, whole_number
from vlm2vec.describe import describe_value
from vlm2vec.errors import InputError

__all__ = ["ServeSettings", "is_loopback"]

_NAME = re.compile(r"[A-Za-z0-9._:\[\]-]+")
_ORIGIN = re.compile(r"https?://[A-Za-z0-9._\[\]:-]+")
_KEY = re.compile(r"[!-~]+")


@dataclass(frozen=True)
class ServeSettings:
    """Settings of a server.

    Attributes:
        host: Address that it listens on. Any but this machine's own wants a key.
        port: The same; 0 takes a free one.
        api_key: What clients send as `Authorization: Bearer KEY`; `None` asks for none.
        auth: Whether another host than this machine's own wants a key.
        allowed_hosts: Names that clients may call it by, beside `host` and those of this machine.
        cors_origins: Pages of other origins that may call it, such as "https://search.example.com".
        allow_urls: Whether it fetches what http(s) URLs lead to, under the package's policy.
        max_request_bytes: Of one request's body.
        max_inputs: Of one request.
        max_waiting: Inputs that wait for the model; beyond it requests are answered 429.
        max_waiting_bytes: The same of all inputs of requests that are not answered yet, as they were sent.
        gather_seconds: How long a first input waits for others to be encoded with it.
        body_seconds: Within which the body of a request must have come.
        request_seconds: Within which a request must be answered.
        stop_seconds: Within which what was begun is finished when the server stops.

    Raises:
        InputError: A setting has a value that it cannot have, or other machines could use the server without
            a key.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    api_key: str | None = field(default=None, repr=False)
    auth: bool = True
    allowed_hosts: tuple[str, ...] = ()
    cors_origins: tuple[str, ...] = ()
    allow_urls: bool = False
    max_request_bytes: int = 64 * 2**20
    max_inputs: int = 2048
    max_waiting: int = 4096
    max_waiting_bytes: int = 512 * 2**20
    gather_seconds: float = 0.003
    body_seconds: float = 30.0
    request_seconds: float = 120.0
    stop_seconds: float = 30.0

    def __post_init__(self) -> None:
        _matching("host", self.host, _NAME, fix="Pass a name or an address, such as 127.0.0.1.")
        if not is_whole(self.port, 0) or self.port > 65535:
            raise InputError(f"port is {describe_value(self.port)}", fix="Pass a number from 0 to 65535.")
        if self.api_key is not None and not (isinstance(self.api_key, str) and _KEY.fullmatch(self.api_key)):
            # The key itself is in no message.
            raise InputError(
                "the API key is empty, or has characters that a header cannot hold",
                fix="Pass one of visible ASCII characters, without spaces.",
            )
        for name in ("auth", "allow_urls"):
            if not isinstance(getattr(self, name), bool):
                raise InputError(
                    f"{name} is {describe_value(getattr(self, name))}", fix="Pass True or False."
                )
        self._check_names()
        for name in ("max_request_bytes", "max_inputs", "max_waiting", "max_waiting_bytes"):
            whole_number(name, getattr(self, name))
        for name in ("gather_seconds", "body_seconds", "request_seconds", "stop_seconds"):
            value, may_be_zero = getattr(self, name), name in ("gather_seconds", "stop_seconds")
            if not is_number(value) or not (0 < value < inf or (may_be_zero and value == 0)):
                raise InputError(f"{name} is {describe_value(value)}", fix="Pass a number of seconds.")
        if self.auth and self.api_key is None and not is_loopback(self.host):
            raise InputError(
                f"at {self.host} other machines could use this server, and no key is set",
                fix="Set one: --api-key, or VLM2VEC_API_KEY in the environment; or say --no-auth.",
            )

    def _check_names(self) -> None:
        for name in ("allowed_hosts", "cors_origins"):
            if not isinstance(getattr(self, name), tuple):
                raise InputError(f"{name} is {describe_value(getattr(self, name))}", fix="Pass a tuple.")
        for host in self.allowed_hosts:
            _matching("an allowed host", host, _NAME, fix="Pass a name such as search.example.com.")
        for origin in self.cors_origins:
            _matching(
                "an origin",
                origin,
                _ORIGIN,
                fix="Pass one such as https://search.example.com, without a path.",
            )


def is_loopback(host: str) -> bool:
    """Whether only programs of the same machine reach that address.

    Example:
        >>> is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("localhost"), is_loopback("0.0.0.0")
        (True, True, True, False)
    """
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _matching(name: str, value: object, pattern: re.Pattern[str], *, fix: str) -> None:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise InputError(f"{name} is {describe_value(value)}", fix=fix)
