"""`Metrics`: what a server counts, in the form that Prometheus reads."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import Metric

__all__ = ["CONTENT_TYPE_LATEST", "Metrics"]

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
_COUNTS = tuple(float(2**power) for power in range(13))
_TOKENS = tuple(float(2**power) for power in range(3, 18))


class _Registry(CollectorRegistry):
    """Without the times at which counters were made: half as many lines again, which nobody asks for."""

    def collect(self) -> Iterator[Metric]:
        for metric in super().collect():
            metric.samples = [one for one in metric.samples if not one.name.endswith("_created")]
            yield metric


class Metrics:
    """Counters of one server, in a registry of its own, so that several can live in a process.

    It is what a `Batcher` reports to; every method may be called from any thread.

    Example:
        >>> metrics = Metrics()
        >>> metrics.request("/v1/embeddings", 200, seconds=0.02, inputs=2, tokens=9)
        >>> print([line for line in metrics.text().decode().splitlines() if "inputs_total{" in line][0])
        vlm2vec_inputs_total{route="/v1/embeddings"} 2.0
    """

    def __init__(self) -> None:
        registry = self._registry = _Registry()
        self._requests = Counter(
            "vlm2vec_requests", "Requests that were answered.", ["route", "status"], registry=registry
        )
        self._seconds = Histogram(
            "vlm2vec_request_seconds",
            "From the head of a request to the end of its answer.",
            ["route"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._inputs = Counter("vlm2vec_inputs", "Inputs that were embedded.", ["route"], registry=registry)
        self._tokens = Counter(
            "vlm2vec_tokens", "Their tokens, media included.", ["route"], registry=registry
        )
        self._errors = Counter("vlm2vec_errors", "Requests refused or failed.", ["kind"], registry=registry)
        self._waiting = Gauge("vlm2vec_waiting_inputs", "Inputs that wait for the model.", registry=registry)
        self._body_bytes = Gauge("vlm2vec_body_bytes", "Of the bodies of open requests.", registry=registry)
        self._batch_inputs = Histogram(
            "vlm2vec_batch_inputs", "Inputs encoded together.", buckets=_COUNTS, registry=registry
        )
        self._batch_tokens = Histogram(
            "vlm2vec_batch_tokens", "Tokens encoded together.", buckets=_TOKENS, registry=registry
        )
        self._batch_seconds = Histogram(
            "vlm2vec_batch_seconds", "That encoding them took.", buckets=_SECONDS, registry=registry
        )

    def request(
        self,
        route: str,
        status: int,
        *,
        seconds: float,
        inputs: int = 0,
        tokens: int = 0,
        error: str | None = None,
    ) -> None:
        """A request was answered.

        Args:
            route: The pattern of its path, never the path itself: there would be a row for each.
            status: Of HTTP.
            seconds: That it took.
            inputs: That were embedded for it.
            tokens: Of these.
            error: What went wrong, in a word.
        """
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)
        if inputs:
            self._inputs.labels(route).inc(inputs)
            self._tokens.labels(route).inc(tokens)
        if error is not None:
            self._errors.labels(error).inc()

    def batch(self, *, inputs: int, tokens: int, seconds: float) -> None:
        """Inputs were encoded together."""
        self._batch_inputs.observe(inputs)
        self._batch_tokens.observe(tokens)
        self._batch_seconds.observe(seconds)

    def waiting(self, inputs: int) -> None:
        """So many inputs wait for the model now."""
        self._waiting.set(inputs)

    def body_bytes(self, held: int) -> None:
        """So many bytes are of bodies whose requests are open."""
        self._body_bytes.set(held)

    def text(self) -> bytes:
        """All of it, as `/metrics` answers."""
        return generate_latest(self._registry)
