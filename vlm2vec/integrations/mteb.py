"""`MTEBEncoder`: a `VLM2Vec` on the tasks of mteb: texts, images, videos, and items that mix them."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping, Sized
from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
from datasets import Dataset, Image, Video
from sentence_transformers.util import quantize_embeddings
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from vlm2vec.arguments import did_you_mean
from vlm2vec.describe import describe_value
from vlm2vec.encoding.policy import check_settings, check_truncation
from vlm2vec.errors import InputError
from vlm2vec.extra import extra
from vlm2vec.model import EMBEDDED_MODEL, VLM2Vec
from vlm2vec.sameness import weights_digest

with extra("mteb"):
    from mteb import AbsTask
    from mteb.abstasks.task_metadata import TaskMetadata, TaskType
    from mteb.models import ModelMeta
    from mteb.models.abs_encoder import get_prompt_name
    from mteb.types import PromptType

__all__ = ["MTEBEncoder"]

logger = logging.getLogger(__name__)

_MEDIA = ("image", "video")
_READ = ("text", "query", "instruction", *_MEDIA)
_WINDOWS = {"file": 1024, "decoded": 64, "video": 64}  # rows in memory at once


class MTEBEncoder:
    """A `VLM2Vec` as an encoder of mteb: its `EncoderProtocol`, for `mteb.evaluate` and `mteb.mock_run`.

    Batches are those of the model's own token budget; mteb's `batch_size` only says how many rows are read
    at once. Images and videos are decoded by this package, so torchcodec is not needed, and clips are
    sampled as the model's profile says. An item with a text and media is one input, media first.

    Texts that do not fit the model's context are shortened, and an empty text is embedded as a blank: tasks
    of mteb have both, and expect a vector of each. Any other input that cannot be embedded ends the task,
    for a score without it would be another score. Audio is refused.

    Args:
        model: The model; or folder or hub id of one, which is loaded.
        revision: Of the hub id. For a model that is given, what results call its revision; by default the
            commit of its repository, or a digest of its weights where there is none.
        name: What results call the model, as "organization/name"; by default its hub id, or "local/" and the
            name of its folder.
        prompts: Instructions by task name, task type and prompt type, such as `{"STS": ...,
            "Retrieval-query": ..., "query": ...}`, in mteb's order: task name with prompt type, task name,
            task type with prompt type, task type, prompt type. What is not in it is as the model has it.
        truncate: Shorten texts that do not fit; `False` refuses them.
        truncate_dim: Components to keep of each vector.
        device: Where to load a model that is named.

    Raises:
        InputError: An argument has a value that it cannot have.
        CheckpointError: A model that is named cannot be loaded.

    Example:
        >>> import mteb
        >>> from mteb.mocks import MockAny2AnyRetrievalT2ITask
        >>> from vlm2vec import VLM2Vec
        >>> encoder = MTEBEncoder(VLM2Vec(), prompts={"query": "Find a picture."})
        >>> encoder.mteb_model_meta.name, encoder.mteb_model_meta.embed_dim
        ('vlm2vec/embedded', 224)
        >>> task = MockAny2AnyRetrievalT2ITask()
        >>> results = mteb.evaluate(encoder, task, cache=None, show_progress_bar=False)
        >>> results.model_name
        'vlm2vec/embedded'
    """

    mteb_model_meta: ModelMeta

    def __init__(
        self,
        model: VLM2Vec | str | Path,
        revision: str | None = None,
        *,
        name: str | None = None,
        prompts: Mapping[str, str] | None = None,
        truncate: bool = True,
        truncate_dim: int | None = None,
        device: str | None = None,
    ) -> None:
        check_settings("raise", truncate=truncate, truncate_dim=truncate_dim)
        own = _checked(prompts)
        if isinstance(model, str | Path):
            self.model = VLM2Vec(model, revision=revision, device=device)
            revision = self.model[0].revision or revision
        elif not isinstance(model, VLM2Vec):
            raise InputError(
                f"the model is {describe_value(model)}", fix="Pass a VLM2Vec, or a folder or hub id."
            )
        elif device is not None:
            raise InputError(
                "device is given beside a model", fix="Load the model there: VLM2Vec(device=...)."
            )
        else:
            self.model = model
        check_truncation(truncate_dim, self.model.full_width)
        self.truncate = truncate
        self.truncate_dim = truncate_dim
        self.prompts = {
            **{key: text for key, text in self.model.prompts.items() if text is not None},
            **own,
        }
        self.mteb_model_meta = _meta(self.model, name, revision, prompts=own, truncate_dim=truncate_dim)

    def encode(
        self,
        inputs: DataLoader[Any],
        *,
        task_metadata: Any,
        hf_split: str,
        hf_subset: str,
        prompt_type: Any = None,
        batch_size: int | None = None,
        show_progress_bar: bool = True,
        precision: str | None = None,
        max_tokens_per_batch: int | None = None,
        **others: Any,
    ) -> npt.NDArray[Any]:
        """Vectors of a task's inputs, in their order.

        Args:
            inputs: Batches with the columns `text`, `image` and `video`, one or several. Queries with an
                `instruction` of their own are embedded with that, and without its words in the text.
            task_metadata: Of the task; its name and type choose the instruction.
            hf_split: Of the task, for the log.
            hf_subset: Of the task, for the log.
            prompt_type: Query, document, or `None` for tasks without these.
            batch_size: Not used: the token budget decides.
            show_progress_bar: On a terminal.
            precision: "int8" or "uint8" quantizes the vectors of the call together.
            max_tokens_per_batch: What bounds memory, as in `VLM2Vec.encode`.
            **others: Refused: what would change vectors is an argument of the class.

        Returns:
            `(n, dim)`, float32 unless `precision` says otherwise.

        Raises:
            InputError: There is audio, or no column that can be embedded; an input cannot be embedded, which
                is named by its index; an argument has a value that it cannot have.
            MediaError: An image or a video cannot be read.
            LimitError: An input is larger than a limit allows.

        Example:
            >>> from mteb.mocks import MockSTSTask
            >>> from torch.utils.data import DataLoader
            >>> texts = [{"text": "a red circle"}, {"text": "a blue square"}]
            >>> encoder = MTEBEncoder(VLM2Vec())
            >>> task = MockSTSTask.metadata
            >>> vectors = encoder.encode(
            ...     DataLoader(texts), task_metadata=task, hf_split="test", hf_subset="default"
            ... )
            >>> vectors.shape, vectors.dtype.name
            ((2, 224), 'float32')
        """
        _refuse(others)
        check_settings("raise", precision=precision)
        if precision in ("binary", "ubinary"):
            raise InputError(
                f"precision is {precision!r}, whose bytes hold eight components each and have no cosines",
                fix="Wrap the encoder: mteb.models.CompressionWrapper(encoder, OutputDType.BINARY).",
            )
        role = None if prompt_type is None else str(prompt_type.value)
        key = get_prompt_name(self.prompts, task_metadata, prompt_type)
        prompt = self.model.resolved_prompt(None if key is None else self.prompts[key], None)
        logger.info("%s %s %s, %s: instruction %r", task_metadata.name, hf_split, hf_subset, role, prompt)
        rows, window = _rows(inputs)
        stream: Iterable[tuple[int, np.ndarray]] = self.model.encode_stream(
            (_input(row, prompt, role) for row in rows),
            prompt=prompt,
            task=role,
            truncate=self.truncate,
            truncate_dim=self.truncate_dim,
            max_tokens_per_batch=max_tokens_per_batch,
            window=window,
        )
        if show_progress_bar:
            total = len(inputs.dataset) if isinstance(inputs.dataset, Sized) else None
            stream = tqdm(stream, total=total, desc="Encoding", disable=None)
        found = [vector for _, vector in stream]
        vectors = np.stack(found) if found else np.empty((0, self.mteb_model_meta.embed_dim), np.float32)
        if precision in (None, "float32"):
            return vectors
        quantized: npt.NDArray[Any] = quantize_embeddings(vectors, precision)
        return quantized

    def similarity(self, embeddings1: Any, embeddings2: Any) -> Tensor:
        """`VLM2Vec.similarity`: `(n, m)` of `(n, dim)` and `(m, dim)`, quantized ones too."""
        return self.model.similarity(_floats(embeddings1), _floats(embeddings2))

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> Tensor:
        """`VLM2Vec.similarity_pairwise`: `(n,)` of `(n, dim)` and `(n, dim)`, quantized ones too."""
        return self.model.similarity_pairwise(_floats(embeddings1), _floats(embeddings2))


def _meta(
    model: VLM2Vec,
    name: str | None,
    revision: str | None,
    *,
    prompts: Mapping[str, str],
    truncate_dim: int | None,
) -> ModelMeta:
    """What mteb keeps beside results. What is not known of a model is `None`."""
    path = str(model[0].model.name_or_path or "")
    on_hub = "/" in path and not Path(path).exists()
    if path == str(EMBEDDED_MODEL):
        own_name = "vlm2vec/embedded"
    else:
        own_name = path if on_hub else f"local/{Path(path).name or 'model'}"
    # mteb reuses results of the same name and revision: weights that another commit names are others.
    revision = revision or model[0].revision or weights_digest(model.state_dict())
    weights = list(model.parameters())
    embeddings = model[0].model.get_input_embeddings().weight
    dimensions = truncate_dim or model.truncate_dim
    # Runs that differ in these are apart in mteb's cache, as those of a model that mteb loads with them.
    experiment = {"prompts": dict(prompts) or None, "truncate_dim": dimensions}
    return ModelMeta(
        loader=MTEBEncoder if on_hub else None,
        name=name or own_name,
        revision=revision,
        release_date=None,
        languages=None,
        n_parameters=sum(weight.numel() for weight in weights),
        n_embedding_parameters=embeddings.numel(),
        memory_usage_mb=round(sum(weight.numel() * weight.element_size() for weight in weights) / 2**20, 1),
        max_tokens=model.max_seq_length,
        embed_dim=min(model.full_width, dimensions or model.full_width),
        license=None,
        open_weights=None,
        public_training_code=None,
        public_training_data=None,
        framework=["Sentence Transformers", "PyTorch"],
        reference=f"https://huggingface.co/{path}" if on_hub else None,
        similarity_fn_name=model.similarity_fn_name,
        use_instructions=True,
        training_datasets=None,
        modalities=[kind for kind in ("text", *_MEDIA) if model.supports(kind)],
        experiment_kwargs={key: value for key, value in experiment.items() if value is not None} or None,
    )


def _floats(vectors: Any) -> Any:
    if isinstance(vectors, Tensor):
        return vectors if vectors.is_floating_point() else vectors.float()
    quantized = isinstance(vectors, np.ndarray) and vectors.dtype.kind in "iu"
    return vectors.astype(np.float32) if quantized else vectors


def _checked(prompts: Mapping[str, str] | None) -> dict[str, str]:
    if prompts is None:
        return {}
    if not isinstance(prompts, Mapping) or not all(
        isinstance(text, str) for pair in prompts.items() for text in pair
    ):
        raise InputError(
            f"prompts is {describe_value(prompts)}",
            fix='Pass a dict of strings, such as {"STS": "...", "Retrieval-query": "...", "query": "..."}.',
        )
    sides = [side.value for side in PromptType]
    # Tasks of one's own too; no task looks up a key that is misspelt, and scores would be of other prompts.
    known = {*get_args(TaskType), *sides, *_names_of_tasks(AbsTask)}
    for key in prompts:
        base, _, side = key.rpartition("-")
        if key not in known and not (side in sides and base in known):
            otherwise = 'Keys are tasks, types of tasks, "query" and "document", and "Retrieval-query".'
            raise InputError(
                f'prompts has the key "{key}", which no task looks up',
                fix=did_you_mean(key, known, otherwise=otherwise),
            )
    return dict(prompts)


def _names_of_tasks(kind: type[AbsTask]) -> Iterator[str]:
    for task in kind.__subclasses__():
        if isinstance(metadata := getattr(task, "metadata", None), TaskMetadata):
            yield metadata.name
        yield from _names_of_tasks(task)


def _refuse(encode_kwargs: Collection[str]) -> None:
    """Refuse what has no effect, or would make vectors that mteb's cache takes for others."""
    if encode_kwargs:
        raise InputError(
            f"encode_kwargs has {', '.join(sorted(encode_kwargs))}",
            fix="It may have batch_size, show_progress_bar, precision and max_tokens_per_batch; prompts, "
            "truncate and truncate_dim are arguments of MTEBEncoder.",
        )


def _rows(inputs: DataLoader[Any]) -> tuple[Iterator[Mapping[str, Any]], int]:
    """Rows of a loader by column, and how many of them memory should hold at once."""
    dataset = inputs.dataset
    if not isinstance(dataset, Dataset):
        return _rows_of_batches(inputs), _WINDOWS["decoded"]
    _check_columns(dataset.features)
    window = _WINDOWS["file"]
    for name in _MEDIA:
        feature = dataset.features.get(name)
        # Files as they are, and not decoded: they are small, and the engine decodes them ahead of the model.
        if isinstance(feature, Video) or (isinstance(feature, Image) and feature.mode is None):
            dataset = dataset.cast_column(name, type(feature)(decode=False))
            window = min(window, _WINDOWS["video" if name == "video" else "file"])
        elif feature is not None:
            window = _WINDOWS["decoded"]
    loader: DataLoader[Any] = DataLoader(
        dataset.select_columns([name for name in _READ if name in dataset.features]),
        batch_size=inputs.batch_size,
        num_workers=inputs.num_workers,
        collate_fn=list,
    )
    return (row for rows in loader for row in rows), window


def _rows_of_batches(inputs: DataLoader[Any]) -> Iterator[Mapping[str, Any]]:
    for batch in inputs:
        _check_columns(batch)
        columns = {name: batch[name] for name in _READ if name in batch}
        for values in zip(*columns.values(), strict=True):
            yield dict(zip(columns, values, strict=True))


def _check_columns(columns: Collection[str]) -> None:
    if "audio" in columns:
        raise InputError(
            "the inputs have audio, which is not supported",
            fix="Choose tasks by modality: mteb.get_tasks(modalities=[...], exclusive_modality_filter=True).",
        )
    if not any(name in columns for name in ("text", *_MEDIA)):
        raise InputError(
            f"the inputs have the columns {', '.join(columns)}",
            fix="One of text, image and video has to be among them.",
        )


def _input(row: Mapping[str, Any], prompt: str | None, role: str | None) -> dict[str, Any]:
    """What `encode` is given for a row."""
    media = {name: _medium(name, row[name]) for name in _MEDIA if row.get(name) is not None}
    text, instruction = row.get("text"), None
    if role == "query" and row.get("query") is not None and "instruction" in row:
        text, instruction = row["query"], row["instruction"] or None  # which "text" joins
    if not media and isinstance(text, str) and not text.strip():
        # Blank texts are taken beside an instruction of their own alone.
        text, instruction = text or " ", instruction or prompt or ""
    item = {**media, "text": text, "instruction": instruction}
    return {name: value for name, value in item.items() if value is not None}


def _medium(name: str, value: Any) -> Any:
    if isinstance(value, str):
        raise InputError(
            f"the column {name} holds strings",
            fix=f"Cast it, so that it holds media: dataset.cast_column({name!r}, datasets.{name.title()}()).",
        )
    if isinstance(value, Mapping) and value.get("bytes") is None and value.get("path") is not None:
        return Path(value["path"])  # of a file that the dataset lies in
    return value
