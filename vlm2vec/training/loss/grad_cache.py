"""GradCache: the loss and gradients of a large batch in the memory of a small one.

Gao et al., "Scaling deep contrastive learning batch size under memory limited setup" (arXiv:2101.06983). A
batch is embedded in chunks without a graph, the loss is taken over all vectors, and in the backward pass each
chunk is embedded once more, with a graph, to receive the gradient of its vectors. Here besides:

* chunks are cut by tokens and patches, nothing is padded, and prefixes that inputs share are computed once;
* media are decoded chunk by chunk, ahead of the model, and never held all at once;
* the last chunks of a batch keep their graphs as far as that is allowed, and are embedded once;
* what a frozen vision tower made of a chunk is kept, on the GPU or in a file, so it runs once;
* both passes of a chunk use the same dropout masks;
* where memory does not suffice, the step begins again with smaller chunks (`chunk_budget`);
* the norm of DoRA is computed once a step (`dora_norm`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from sentence_transformers.sentence_transformer.modules import Pooling
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from vlm2vec.backbones.registry import layout_of, vision_weights
from vlm2vec.backbones.stock.layout import StockLayout
from vlm2vec.backbones.train_forward import draws
from vlm2vec.blocks.device import to_device
from vlm2vec.blocks.memory import empty_cache
from vlm2vec.encoding.ahead import Workers
from vlm2vec.encoding.batches import Batch
from vlm2vec.encoding.pack import Packed
from vlm2vec.encoding.plan import Failed, Planned
from vlm2vec.encoding.prepare import Prepared
from vlm2vec.encoding.unpacked import Unpacked
from vlm2vec.errors import InputError, VLM2VecError
from vlm2vec.inputs.parse import fetched
from vlm2vec.inputs.parts import Input
from vlm2vec.training.dora_norm import use_dora_norm
from vlm2vec.training.loss.chunk_budget import (
    ChunkBudget,
    ChunkMemoryError,
    Overflow,
    overflow_named,
    reason_of,
)
from vlm2vec.training.loss.chunk_size import tokens_that_fit
from vlm2vec.training.loss.feature_store import FeatureStore
from vlm2vec.training.loss.info_nce import InfoNCE
from vlm2vec.training.loss.random_numbers import drawn_again, random_state, set_random_state
from vlm2vec.training.loss.ranks import gathered, raise_on_all_ranks

__all__ = ["GradCacheLoss", "Pairs"]


@dataclass(frozen=True)
class Pairs:
    """A batch to learn from, of one rank.

    Attributes:
        queries: Parsed, with their instructions.
        documents: The same: the document of each query, and hard negatives.
        positives: For each query, the index of its document.
        query_ids: Numbers that are equal for equal questions, on all ranks: the same content under another
            instruction is another question.
        query_contents: Numbers that are equal for equal contents, whatever the instruction.
        document_ids: The same for documents, in one numbering with `query_contents`.

    Raises:
        InputError: Their lengths do not agree, or an index lies outside.
    """

    queries: Sequence[Input]
    documents: Sequence[Input]
    positives: Sequence[int]
    query_ids: Sequence[int]
    query_contents: Sequence[int]
    document_ids: Sequence[int]

    def __post_init__(self) -> None:
        of_queries = (self.queries, self.positives, self.query_ids, self.query_contents)
        if len({len(values) for values in of_queries}) > 1:
            raise InputError("queries, positives, query_ids and query_contents differ in length")
        if len(self.documents) != len(self.document_ids):
            raise InputError("documents and document_ids differ in length")
        if wrong := [index for index in self.positives if not 0 <= index < len(self.documents)]:
            raise InputError(f"positives has {wrong[0]}, and there are {len(self.documents)} documents")


class GradCacheLoss(nn.Module):
    """InfoNCE over the batches of all ranks, in chunks.

    Without dropout, loss and gradients are those of the whole batch at once, whatever the chunks. Each rank
    gets the loss of the global batch and its own part of all gradients, to be summed over ranks after
    `backward`. The model is not to be wrapped for that: a wrapper would reduce after every chunk.

    Args:
        model: The embedding model, a `VLM2Vec`.
        info_nce: The loss over vectors.
        max_tokens_per_chunk: Tokens that are embedded at a time, and patches where the vision tower learns;
            by default what free memory of a GPU allows. A larger input is a chunk of its own.
        max_inputs_per_chunk: Inputs that are embedded at a time, where tokens alone shall not decide.
        kept_tokens: Tokens, counted as those, whose graphs are kept from the first pass; by default as many
            as a chunk may have, which takes no more memory than embedding a chunk again.

    Where memory does not suffice in `forward`, the batch is embedded again in smaller chunks, and a warning
    names the setting that avoids it. Where it does not suffice in `backward`, some weights have gradients
    already: see `overflow`.
    """

    def __init__(
        self,
        model: Any,
        info_nce: InfoNCE | None = None,
        *,
        max_tokens_per_chunk: int | None = None,
        max_inputs_per_chunk: int | None = None,
        kept_tokens: int | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.info_nce = info_nce or InfoNCE()
        self.max_tokens_per_chunk = max_tokens_per_chunk
        self.max_inputs_per_chunk = max_inputs_per_chunk
        self.kept_tokens = kept_tokens
        self._budget: ChunkBudget | None = None
        self._kept: list[_Chunk] = []  # those of the last batch whose graphs wait for their gradients

    @property
    def budget(self) -> ChunkBudget:
        """How much is embedded at a time, decided when it is first asked for."""
        if self._budget is None:
            self.plan(checkpointing=self.model[0].model.is_gradient_checkpointing)
        assert self._budget is not None  # noqa: S101  # plan has set it
        return self._budget

    def plan(self, *, checkpointing: bool) -> None:
        """Decide how much is embedded at a time, by the memory that is free now.

        Args:
            checkpointing: Whether layers will be computed again on the way back.
        """
        tokens = self.max_tokens_per_chunk or tokens_that_fit(
            self.model[0].model, self.model.device, checkpointing=checkpointing
        )
        self._budget = ChunkBudget(tokens, self.kept_tokens)

    def forward(self, pairs: Pairs) -> Tensor:
        """The loss of the global batch. Its `backward` embeds again what was not kept.

        Raises:
            VLM2VecError: An input cannot be embedded, on this rank or on another.
            OutOfMemoryError: One input alone does not fit, on this rank.
            InputError: No rank has a query.
        """
        use_dora_norm(self.model)
        error, vectors = None, torch.empty(0)
        try:
            vectors = self._embed([*pairs.queries, *pairs.documents])
        except VLM2VecError as caught:
            error = caught
        raise_on_all_ranks(error, self.model.device)
        count, device = len(pairs.queries), vectors.device
        queries, documents = gathered(vectors[:count]), gathered(vectors[count:])
        if not len(queries.rows):
            raise InputError("a batch needs at least one query")
        positives, query_ids, query_contents, document_ids = (
            gathered(torch.tensor(numbers, dtype=torch.int64, device=device)).rows
            for numbers in (
                [documents.first + index for index in pairs.positives],
                pairs.query_ids,
                pairs.query_contents,
                pairs.document_ids,
            )
        )
        same = _as_right(query_ids, query_contents, document_ids, positives)
        loss: Tensor = self.info_nce(queries.rows, documents.rows, positives, same=same, ranks=queries.ranks)
        return loss

    def overflow(self, error: RuntimeError) -> Overflow | None:
        """What did not fit, where `backward` ran out of memory; `None` where smaller chunks are no help.

        Weights may have some of their gradients by then. Leave the error's `except` block, which holds the
        tensors of the failed pass, set all gradients to `None`, call `budget.shrink` with what this returned,
        and begin the step again. With several ranks all of them have to.

        Args:
            error: What `backward` raised.
        """
        if isinstance(error, ChunkMemoryError):
            return error.overflow
        if not self._kept:
            return None
        # The kept graphs come first on the way back, and torch does not say which of them it was at.
        held = sum(chunk.batch.cost for chunk in self._kept)
        return Overflow(self._kept[-1].batch, held, 0, reason_of(error))

    def _embed(self, items: Sequence[Input]) -> Tensor:
        """Vectors `(n, dim)` of unit length, in order; gradients reach the weights through them."""
        device = self.model.device
        drawn = random_state(device)
        while True:
            try:
                return self._embed_in_chunks(items)
            except ChunkMemoryError as error:
                overflow = error.overflow
            # Out here nothing refers to the failed pass and its tensors any more.
            empty_cache()
            self.budget.shrink(overflow)
            set_random_state(drawn, device)

    def _embed_in_chunks(self, items: Sequence[Input]) -> Tensor:
        vectors: list[Tensor] = []
        with Workers() as workers:
            chunks = self._chunks(items, workers)
            learns, left = torch.is_grad_enabled(), sum(chunk.batch.cost for chunk in chunks)
            store = FeatureStore(self.model.device, on_device=self.budget.features_on_device)
            twice = []  # those that are embedded again
            for chunk in chunks:
                if learns and left > self.budget.kept:
                    twice.append(chunk)
                left -= chunk.batch.cost
            self._kept = chunks[len(twice) :] if learns else []
            # Without a packed batch, a chunk is decoded twice whatever learns.
            is_stock = isinstance(layout_of(self.model[0].model), StockLayout)
            again = bool(twice) and (is_stock or _tower_learns(self.model))
            decoded = _decoded(chunks, workers, self.model, again=again)
            held = 0
            for number, (chunk, ready) in enumerate(decoded, start=1):
                keeps = learns and number > len(twice)
                held += chunk.batch.cost if keeps else 0
                with (
                    torch.set_grad_enabled(keeps),
                    overflow_named(chunk.batch, held=held, features=store.held),
                ):
                    vectors.append(chunk.embed(self.model, ready, store if number <= len(twice) else None))
                if number == len(twice):
                    # Before the kept graphs are built: backward goes through these first, and frees them.
                    anchor = torch.zeros((), requires_grad=True)  # so that there is a backward pass
                    work = _Replay(self.model, twice, store)
                    vectors = list(_EmbedAgain.apply(work, anchor, *vectors))  # type: ignore[no-untyped-call]
        if not vectors:
            return torch.zeros(0, self.model.get_embedding_dimension(), device=self.model.device)
        return torch.cat(vectors)

    def _chunks(self, items: Sequence[Input], workers: Workers) -> list[_Chunk]:
        """The inputs in order, cut by what they cost: from the end, so that the last chunk, kept, is full."""
        batches: list[Batch] = []
        chunk: list[Planned] = []
        cost, tower_learns = 0, _tower_learns(self.model)
        for plan in reversed(self._planned(items, workers)):
            own = plan.tokens + sum(piece.patches for piece in plan.media.values() if tower_learns)
            if chunk and (cost + own > self.budget.tokens or len(chunk) == self.max_inputs_per_chunk):
                batches.append(Batch(chunk[::-1], cost))
                chunk, cost = [], 0
            chunk.append(plan)
            cost += own
        if chunk:
            batches.append(Batch(chunk[::-1], cost))
        return [_Chunk(batch) for batch in reversed(batches)]

    def _planned(self, items: Sequence[Input], workers: Workers) -> list[Planned]:
        planned: list[Planned] = []
        arrived = workers.map(fetched, items)
        for plan in self.model[0].preparer.planner.plan(list(enumerate(arrived)), run=workers.map):
            if isinstance(plan, Failed):
                raise plan.error
            planned.append(plan)
        return planned


class _Chunk:
    """Inputs that are embedded together, and what embedding them again needs to know."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        self.known: tuple[Packed, Callable[[], Tensor | None]] | None = None  # on the host
        self._random: list[Tensor] = []

    def embed(self, model: Any, ready: Sequence[Prepared] | None, store: FeatureStore | None) -> Tensor:
        """Vectors `(n, dim)`, for the first time.

        Args:
            model: The embedding model.
            ready: The inputs, decoded.
            store: Takes what the second time will use; without, there will be none.
        """
        assert ready is not None  # noqa: S101  # without a packed batch, everything is decoded
        packed = _packed(model, ready)
        features = {"packed": to_device(packed, model.device)}
        if store is not None:
            self._remember(model, packed, features, store)
        self._random = random_state(model.device)
        return _vectors(model, features)

    def _remember(
        self, model: Any, packed: Packed | Unpacked, features: dict[str, Any], store: FeatureStore
    ) -> None:
        """Keep what spares the second time the decoding, and a frozen tower its second run."""
        if isinstance(packed, Unpacked):
            return
        if packed.vision is not None:
            if _tower_learns(model):
                return
            with torch.no_grad():
                features["media"] = model[0].media_of(features["packed"])
        media = features.get("media")
        self.known = replace(packed, vision=None), _nothing if media is None else store.keep(media)

    def again(self, model: Any, ready: Sequence[Prepared] | None) -> Tensor:
        """The same vectors, under the same dropout masks."""
        packed, media = self.known or (_packed(model, ready or ()), _nothing)
        features = {"packed": to_device(packed, model.device), "media": to_device(media(), model.device)}
        with drawn_again(self._random, model.device):
            return _vectors(model, features)


class _Replay:
    """Embeds chunks again, under the autocast of the first time, and hands each its gradient."""

    def __init__(self, model: Any, chunks: Sequence[_Chunk], store: FeatureStore) -> None:
        self._model = model
        self._chunks = chunks
        self._store = store
        device = model.device.type
        self._autocast: Callable[[], Any] = lambda: torch.autocast(
            device, dtype=dtype, enabled=enabled, cache_enabled=False
        )
        enabled, dtype = torch.is_autocast_enabled(device), torch.get_autocast_dtype(device)

    def __call__(self, gradients: Sequence[Tensor]) -> None:
        with Workers() as workers, torch.enable_grad():
            decoded = _decoded(self._chunks, workers, self._model)
            for (chunk, ready), gradient in zip(decoded, gradients, strict=True):
                with overflow_named(chunk.batch, held=0, features=self._store.held):
                    with self._autocast():
                        vectors = chunk.again(self._model, ready)
                    # A chunk may hold nothing that learns, as a text with a frozen language model.
                    if vectors.requires_grad:
                        torch.autograd.backward(vectors, gradient)


class _EmbedAgain(torch.autograd.Function):
    """Forward gives the vectors of the first pass; backward is the second pass."""

    @staticmethod
    def forward(ctx: Any, work: _Replay, anchor: Tensor, *vectors: Tensor) -> tuple[Tensor, ...]:
        ctx.work = work
        ctx.set_materialize_grads(True)
        return tuple(vector.clone() for vector in vectors)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, ...]:
        ctx.work(gradients)
        return (None, None, *(None for _ in gradients))


def _decoded(
    chunks: Sequence[_Chunk], workers: Workers, model: Any, *, again: bool = False
) -> Iterator[tuple[_Chunk, list[Prepared] | None]]:
    """Each chunk with its inputs, decoded a few chunks ahead; `None` where that is known.

    Args:
        chunks: The chunks.
        workers: Decode them.
        model: The embedding model.
        again: Whether some will be decoded again.
    """
    unknown = [chunk for chunk in chunks if chunk.known is None]
    prepared = workers.prepared((chunk.batch for chunk in unknown), model[0].preparer, again=again)
    for chunk in chunks:
        if chunk.known is not None:
            yield chunk, None
            continue
        _, batch = next(prepared)
        ready = []
        for _, item in batch:
            if isinstance(item, VLM2VecError):
                raise item
            ready.append(item)
        yield chunk, ready


def _packed(model: Any, ready: Sequence[Prepared]) -> Packed | Unpacked:
    """A batch, prefixes that inputs share once, unless each is to have masks of its own."""
    pooling = model[1] if len(model) > 1 else None
    last_only = isinstance(pooling, Pooling) and pooling.pooling_mode == "lasttoken"
    share = not draws(model[0].model)
    packed: Packed | Unpacked = model[0].pack(
        ready, model[0].profile.pixels, pooled_only=last_only, share_prefixes=share
    )
    return packed


def _vectors(model: Any, features: dict[str, Any]) -> Tensor:
    return F.normalize(model({**features, "learn": True})["sentence_embedding"], dim=1)


def _tower_learns(model: Any) -> bool:
    """Whether patches have a graph, which is what takes memory, and are embedded twice."""
    return any(weight.requires_grad for weight in vision_weights(model[0].model))


def _as_right(query_ids: Tensor, query_contents: Tensor, document_ids: Tensor, positives: Tensor) -> Tensor:
    """`(q, d)` bool: documents with the query's own content, or equal to the document of an equal query."""
    equal_queries = query_ids[:, None] == query_ids
    positive = document_ids[positives][:, None] == document_ids
    through_equal = equal_queries.float() @ positive.float() > 0
    return through_equal | (query_contents[:, None] == document_ids)


def _nothing() -> None:
    """Where there are no media."""
