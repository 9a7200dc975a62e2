"""`Encoder`: what `Dataset.map_batches` calls, with vectors and errors as columns."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from ray.data.block import BlockAccessor

from vlm2vec.errors import InputError, VLM2VecError
from vlm2vec.inputs.parts import Role
from vlm2vec.integrations.ray.cell import input_of_cell
from vlm2vec.integrations.ray.loading import check_model, check_role, load_model

__all__ = ["Encoder"]


class Encoder:
    """Adds vectors to the batches of a Ray dataset; each actor loads the model once.

    It is passed as a class, with its arguments beside it:
    `dataset.map_batches(Encoder, fn_constructor_kwargs={"column": "caption"}, batch_size=1024)`. Whatever
    `batch_size` is, the engine computes by its own budget of tokens.

    Args:
        column: Where the inputs are. A string is text; bytes, arrays of pictures and of frames, and structs
            of `bytes` and `path` are media; other structs and lists are as `encode` takes dicts and lists,
            null keys left out.
        model: Folder or hub id; by default the small model in the package.
        paths: Whether the strings of the column are paths of files that each machine can read.
        role: Whether the inputs are documents or queries, as for `encode_document` and `encode_query`.
        instruction: As in `encode`, one for all.
        truncate: As in `encode`.
        truncate_dim: As in `encode`.
        max_tokens_per_batch: As in `encode`.
        vector_column: What the column of vectors is called.
        error_column: What the column of errors is called.
        model_kwargs: What else `VLM2Vec` takes, such as `{"profile": "vlm2vec-v2", "dtype": "bfloat16"}`.

    Raises:
        InputError: An argument makes no sense.
        CheckpointError: The model cannot be loaded.

    Example:
        >>> import pyarrow as pa
        >>> table = Encoder("caption")(pa.table({"caption": ["a red circle", ""]}))
        >>> table.column_names
        ['caption', 'vector', 'error']
        >>> table["vector"].type, table["vector"].null_count
        (FixedSizeListType(fixed_size_list<item: float>[224]), 1)
        >>> table["error"].to_pylist()
        ['', 'text "": the text is empty or blank. Pass at least one character ...']
    """

    def __init__(
        self,
        column: str,
        *,
        model: str | Path | None = None,
        paths: bool = False,
        role: Role = "document",
        instruction: str | None = None,
        truncate: bool = False,
        truncate_dim: int | None = None,
        max_tokens_per_batch: int | None = None,
        vector_column: str = "vector",
        error_column: str = "error",
        model_kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        check_role(role)
        if vector_column == error_column:
            raise InputError(
                f'vector_column and error_column are both "{vector_column}"', fix="Pass two names."
            )
        self.column = column
        self.paths = paths
        self.role = role
        self.columns = vector_column, error_column
        self.settings: dict[str, Any] = {
            "instruction": instruction,
            "truncate": truncate,
            "truncate_dim": truncate_dim,
            "max_tokens_per_batch": max_tokens_per_batch,
        }
        self.loaded_from = check_model(model), model_kwargs
        self.model = load_model(*self.loaded_from)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "model"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, model=load_model(*state["loaded_from"]))

    def __call__(self, batch: Any) -> pa.Table:
        """A batch with two columns more, in whichever format it came.

        Returns:
            The batch, with a vector of `(dim,)` float32, or null where an input failed, and with an error
            that says why, or `""`: a column has one type in all batches, and one of nulls alone has none.

        Raises:
            InputError: The batch has no such column, or has one already of a name that is to be added.
        """
        table = BlockAccessor.for_block(BlockAccessor.batch_to_block(batch)).to_arrow()
        self._check(table)
        inputs = [input_of_cell(cell.as_py(), paths=self.paths) for cell in table[self.column]]
        errors = [""] * len(inputs)

        def note(index: int | None, error: VLM2VecError) -> None:
            error.index = None  # it would be the place in this batch, which says nothing to anybody
            errors[index or 0] = str(error)

        encode = self.model.encode_query if self.role == "query" else self.model.encode_document
        vectors = np.asarray(encode(inputs, on_error=note, show_progress_bar=False, **self.settings))
        failed = np.array([error != "" for error in errors], bool)
        vector_column, error_column = self.columns
        table = table.append_column(vector_column, _column(vectors, failed))
        return table.append_column(error_column, pa.array(errors, pa.string()))

    def _check(self, table: pa.Table) -> None:
        if self.column not in table.column_names:
            raise InputError(
                f'there is no column "{self.column}"', fix=f"There are {', '.join(table.column_names)}."
            )
        for name in self.columns:
            if name in table.column_names:
                raise InputError(
                    f'there is a column "{name}" already',
                    fix="Choose other names with vector_column= and error_column=, or drop it.",
                )


def _column(vectors: npt.NDArray[np.float32], failed: npt.NDArray[np.bool_]) -> pa.Array:
    """`(n, dim)` vectors as a column, null where an input failed."""
    values = pa.array(np.ascontiguousarray(vectors, np.float32).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(values, vectors.shape[1], mask=pa.array(failed))
