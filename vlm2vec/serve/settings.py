"""`ServeSettings`: where a server listens, whom it lets in, and how much it takes."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ServeSettings"]


@dataclass(frozen=True)
class ServeSettings:
    """Settings of a server.

    Attributes:
        host: Address that it listens on. Any but this machine's own wants a key.
        port: The same; 0 takes a free one.
        api_key: What clients send as `Authorization: Bearer KEY`; `None` asks for none.
        auth: Whether another host than this machine's own wants a key.
        allowed_hosts: Names that clients may call it by, beside `host` and those of this machine.
        cors_origins: Pages of other origins that may call it.
        allow_urls: Whether it fetches what http(s) URLs lead to, under the package's policy.
        max_request_bytes: Of one request's body.
        max_inputs: Of one request.
        max_waiting: Inputs that wait for the model; beyond it requests are answered 429.
        max_waiting_bytes: The same of all inputs of requests that are not answered yet, as they were sent.
        gather_seconds: How long a first input waits for others to be encoded with it.
        body_seconds: Within which the body of a request must have come.
        request_seconds: Within which a request must be answered.
        stop_seconds: Within which what was begun is finished when the server stops.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    api_key: str | None = None
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
