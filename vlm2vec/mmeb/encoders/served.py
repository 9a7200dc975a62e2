"""`ServedModel`: a model behind HTTP in the benchmark, on another machine or of another company."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from vlm2vec.arguments import is_whole, one_of, whole_number
from vlm2vec.describe import describe_value, shorten
from vlm2vec.errors import InputError, MediaError
from vlm2vec.mmeb.encoders.function import unit_length
from vlm2vec.mmeb.encoders.protocol import Role, Row
from vlm2vec.mmeb.encoders.served_client import Client, RefusedError, ServerError
from vlm2vec.mmeb.encoders.served_shapes import SHAPES, Place, Sample
from vlm2vec.mmeb.samples import Content
from vlm2vec.mmeb.tasks.task import Task

__all__ = ["ServedModel"]

_MOST_BYTES = 16 * 2**20
"""Of one request that has several samples."""


@dataclass
class ServedModel:
    """A model behind a server that takes OpenAI's or vLLM's requests for embeddings.

    Pictures are sent as they lie on the disk, so that nothing is lost, and what is no JPEG, PNG, WebP or GIF
    as PNG. A server that is busy (429, 503) is asked again when it says, and one that says that an input is
    wrong is sent each by itself, so that one bad sample costs no other.

    Attributes:
        url: Of the server, up to what stands before `/embeddings`: `http://127.0.0.1:8000/v1`.
        model: What the server calls it; by default the only one that it lists.
        api_key: Sent as `Authorization: Bearer KEY`; neither kept nor shown.
        shape: "openai": texts, and pictures as content parts; no clips. "vllm": a conversation for each
            sample, which the server's chat template words. "vlm2vec": `vlm2vec serve`, whose profile places
            the instruction.
        name: What to call it in results; that of the model by default.
        batch_size: Samples of one request; with vLLM always one.
        threads: Requests at a time.
        instructions: Whose instructions it is given: those of queries and candidates ("both"), of queries
            alone, or none.
        instruction_in: Where they stand: in the "text", before it; in a "system" message, with the begin of
            an answer behind, as vLLM runs Qwen3-VL-Embedding; or beside the input, a "field" `instruction`.
            By default in the text, of "vlm2vec" in the field.
        default_instruction: Of samples that are given none.
        frames: Of a clip: "all", the "middle" one as a picture, or at most so many.
        fields: More of each request, such as `{"dimensions": 256}`.
        role_fields: The same of queries and of candidates: `{"query": {"input_type": "query"}, ...}`.
        timeout: Seconds without an answer after which a request has failed.
        patience: Seconds that a busy server is asked again for.

    Raises:
        InputError: A setting has no such value, or the server lists several models.
        ServerError: It does not say which models it has.

    Example:
        >>> served = ServedModel("http://127.0.0.1:8000/v1", "some/model", shape="vllm")
        >>> served.name, served.described()["prompts"]
        ('some/model', 'instruction before the text')
    """

    url: str
    model: str = ""
    api_key: str | None = field(default=None, repr=False)
    shape: Literal["openai", "vllm", "vlm2vec"] = "openai"
    name: str = ""
    batch_size: int = 16
    threads: int = 4
    instructions: Literal["both", "query", "none"] = "both"
    instruction_in: Place | None = None
    default_instruction: str = ""
    frames: Literal["all", "middle"] | int = "all"
    fields: Mapping[str, Any] = field(default_factory=dict)
    role_fields: Mapping[Role, Mapping[str, Any]] = field(default_factory=dict)
    timeout: float = 600.0
    patience: float = 600.0
    late_interaction: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        one_of("shape", self.shape, SHAPES)
        one_of("instructions", self.instructions, ("both", "query", "none"))
        places = SHAPES[self.shape].places
        self._place = places[0] if self.instruction_in is None else self.instruction_in
        one_of(f"instruction_in of {self.shape}", self._place, places)
        if not is_whole(self.frames, minimum=1):
            one_of("frames", self.frames, ("all", "middle"), or_else="or a whole number of at least 1")
        for what in ("batch_size", "threads"):
            whole_number(what, getattr(self, what))
        self._client = Client(self.url, self.api_key, self.timeout, self.patience)
        self._dimensions: int | None = None
        self.model = self.model or self._only_model()
        self.name = self.name or self.model

    def identity(self) -> Mapping[str, Any]:
        """Server, model, and how it is asked. Whether the server's model has changed cannot be known."""
        return {
            "server": self.url.rstrip("/"),
            "model": self.model,
            "shape": self.shape,
            "instructions": self.instructions,
            "instruction_in": self._place,
            "default_instruction": self.default_instruction,
            "frames": self.frames,
            "fields": dict(self.fields),
            "role_fields": {role: dict(fields) for role, fields in self.role_fields.items()},
        }

    def changes(self, task: Task) -> Mapping[str, Any]:
        """How many frames a task gives, where it is another number."""
        is_other = isinstance(self.frames, int) and task.frames not in (None, self.frames)
        return {"frames": self.frames} if is_other else {}

    def described(self) -> Mapping[str, str]:
        """How the model is asked, without the server, whose address may be nobody's business."""
        whose = {"both": "", "query": ", of queries alone", "none": ""}[self.instructions]
        where = {"text": "before the text", "system": "as system message", "field": "beside the input"}
        prompts = f"instruction {where[self._place]}{whose}"
        return {
            "served": f"{self.model}, with requests in the shape of {self.shape}",
            "prompts": "without instructions" if self.instructions == "none" else prompts,
            "frames": {
                "all": "all that a task gives",
                "middle": "the middle one of a clip, as a picture",
            }.get(str(self.frames), f"at most {self.frames} of a clip, spread evenly"),
        }

    def encode(self, contents: Sequence[Content], *, role: Role) -> list[Row]:
        """A row for each sample, or the error that it gave.

        Raises:
            InputError: There is a clip, and the shape of requests has none.
            ServerError: The server cannot be asked, or has refused all samples so far.
        """
        rows: dict[int, Row] = {}
        stopping = threading.Event()
        pool = ThreadPoolExecutor(self.threads)
        try:
            batches = self._batches(contents, role)
            for found in pool.map(lambda batch: self._rows(contents, batch, role, stopping), batches):
                rows |= found
        finally:
            stopping.set()  # requests under way end by themselves; none waits for a busy server any more
            pool.shutdown(wait=False, cancel_futures=True)
        refused = [row for row in rows.values() if isinstance(row, RefusedError)]
        if refused and len(refused) == len(rows) > 1 and self._dimensions is None:
            # Not the samples, but all requests are wrong: as missed samples they would be scored 0.
            raise refused[0]
        return [rows[index] for index in range(len(contents))]

    def _only_model(self) -> str:
        listed = self._client.get("/models")
        try:
            names = [str(one["id"]) for one in listed["data"]]
        except (TypeError, KeyError):
            raise ServerError(f"{self.url} does not list its models", fix="Pass model=...") from None
        if len(names) != 1:
            raise InputError(
                f"{self.url} has {len(names)} models: {shorten(', '.join(names), 200)}", fix="Pass model=..."
            )
        return names[0]

    def _instruction(self, content: Content, role: Role) -> str:
        given = content.instruction if self.instructions in ("both", role) else ""
        return given or self.default_instruction

    def _batches(self, contents: Sequence[Content], role: Role) -> list[list[int]]:
        """Indices of samples that go into one request, if that does not get too large."""
        groups: dict[str, list[int]] = {}
        for index, content in enumerate(contents):
            shared = self._instruction(content, role) if self._place == "field" else ""
            groups.setdefault(shared, []).append(index)
        size = self.batch_size if SHAPES[self.shape].together else 1
        return [
            group[start : start + size] for group in groups.values() for start in range(0, len(group), size)
        ]

    def _rows(
        self, contents: Sequence[Content], indices: Sequence[int], role: Role, stopping: threading.Event
    ) -> dict[int, Row]:
        rows: dict[int, Row] = {}
        samples: dict[int, Sample] = {}
        for index in indices:
            content = contents[index]
            try:
                samples[index] = Sample.of(content, self._instruction(content, role), self.frames)
            except (OSError, ValueError) as error:
                rows[index] = MediaError(f"its picture cannot be read ({error})")
        for part in _parts_of_size(samples):
            found = self._embedded([samples[index] for index in part], role, stopping)
            rows |= zip(part, found, strict=True)
        return rows

    def _embedded(self, samples: Sequence[Sample], role: Role, stopping: threading.Event) -> list[Row]:
        """Of each sample; where the server refuses one of several, each is sent by itself."""
        try:
            return list(self._vectors(samples, role, stopping))
        except RefusedError as error:
            if len(samples) == 1:
                return [error]
        return [row for sample in samples for row in self._embedded([sample], role, stopping)]

    def _vectors(self, samples: Sequence[Sample], role: Role, stopping: threading.Event) -> np.ndarray:
        body = {
            "model": self.model,
            **SHAPES[self.shape].body(samples, self._place, role),
            "encoding_format": "float",
            **self.fields,
            **self.role_fields.get(role, {}),
        }
        vectors = unit_length(_read(self._client.post("/embeddings", body, stopping), len(samples)))
        dimensions = vectors.shape[1]
        if self._dimensions not in (None, dimensions):
            raise ServerError(
                f"the server gives vectors of {self._dimensions} components, and now of {dimensions}",
                fix="Look at what it has loaded.",
            )
        self._dimensions = dimensions
        return vectors


def _parts_of_size(samples: Mapping[int, Sample]) -> Iterator[list[int]]:
    part: list[int] = []
    size = 0
    for index, sample in samples.items():
        if part and size + sample.size > _MOST_BYTES:
            yield part
            part, size = [], 0
        part.append(index)
        size += sample.size
    if part:
        yield part


def _read(answer: Any, count: int) -> np.ndarray:
    """Vectors `(count, dim)` in the order of what was sent.

    Raises:
        ServerError: The answer has not one vector for each.
    """
    try:
        data = sorted(answer["data"], key=lambda one: one["index"])
        vectors = np.asarray([one["embedding"] for one in data], dtype=np.float32)
        indices = [one["index"] for one in data]
    except (TypeError, KeyError, ValueError) as error:
        raise ServerError(
            f"the server answers with {describe_value(answer)}, which are no vectors "
            f"({type(error).__name__}: {shorten(str(error), 120)})",
            fix="Pass a server that gives one vector for each input, and its shape.",
        ) from None
    if vectors.ndim != 2 or not vectors.shape[1] or indices != list(range(count)):
        raise ServerError(
            f"the server gives vectors of the shape {vectors.shape} for {count} inputs",
            fix="Pass a server that gives one vector for each input.",
        )
    return vectors
