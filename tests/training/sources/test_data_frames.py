"""Tables of pandas and Arrow as rows: of `fit`, its `eval`, mining, evaluators and checks."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import PIL.Image
import pyarrow
import pyarrow.parquet
import pytest

from vlm2vec import VLM2Vec
from vlm2vec.errors import InputError, MediaError
from vlm2vec.training import Mixture, TrainingSource, mine_hard_negatives, row_evaluator
from vlm2vec.training.data.rows import check_row, check_rows
from vlm2vec.training.sources.data_frames import records_of

ROWS = [
    {
        "query": "a red circle",
        "document": "red",
        "negatives": ["blue", "green"],
        "query_instruction": "Find it.",
    },
    {"query": "a blue circle", "document": "blue"},
    {"query": "a green circle", "document": "green", "negatives": ["red"]},
]


class _Capsule:
    """What polars and others are to Arrow."""

    def __init__(self, table: pyarrow.Table) -> None:
        self._table = table

    def __len__(self) -> int:
        return len(self._table)

    def __getitem__(self, index: int) -> object:
        raise KeyError(index)

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self._table.__arrow_c_stream__(requested_schema)


def _from_parquet(rows: list[dict[str, Any]]) -> pandas.DataFrame:
    """Lists in it are arrays of objects."""
    file = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), file)
    return pandas.read_parquet(file)


FORMS: dict[str, Callable[[list[dict[str, Any]]], Any]] = {
    "pandas": pandas.DataFrame,
    "pandas, another index": lambda rows: pandas.DataFrame(rows, index=range(7, 7 + len(rows))),
    "pandas, names for an index": lambda rows: pandas.DataFrame(rows, index=list("abcdefgh")[: len(rows)]),
    "pandas, from Parquet": _from_parquet,
    "pandas, Arrow's types": lambda rows: _from_parquet(rows).convert_dtypes(dtype_backend="pyarrow"),
    "a column of dicts": pandas.Series,
    "Arrow": pyarrow.Table.from_pylist,
    "Arrow, in chunks": lambda rows: pyarrow.Table.from_batches(
        pyarrow.Table.from_pylist(rows).to_batches(max_chunksize=1)
    ),
    "a batch of Arrow": pyarrow.RecordBatch.from_pylist,
    "structs of Arrow": pyarrow.array,
    "what gives itself as Arrow": lambda rows: _Capsule(pyarrow.Table.from_pylist(rows)),
}


@pytest.mark.parametrize("form", FORMS)
def test_rows_of_a_table_are_those_of_a_list(form: str) -> None:
    found = TrainingSource("pets", FORMS[form](ROWS))
    assert len(found) == 3
    for number, row in enumerate(ROWS):
        assert {name: cell for name, cell in found[number].items() if cell is not None} == row
    assert check_row(found[-1]).negatives[0].describe() == 'text "red"'
    with pytest.raises(IndexError):
        found[3]


@pytest.mark.parametrize("form", ["pandas, another index", "Arrow"])
def test_fit_eval_mining_and_evaluators_take_tables(embedded: VLM2Vec, form: str) -> None:
    table = FORMS[form](ROWS)
    losses = {}
    for name, train in (("list", ROWS), ("table", table), ("dict", {"pets": table})):
        model = VLM2Vec(device="cpu")
        result = model.fit(train, eval=table, max_steps=1, batch_size=3, show_progress_bar=False)
        losses[name] = result.losses
    assert losses["table"] == losses["list"] == losses["dict"]
    options: dict[str, Any] = {"num_negatives": 1, "relative_margin": None}
    assert mine_hard_negatives(embedded, table, **options) == mine_hard_negatives(embedded, ROWS, **options)
    assert row_evaluator(table)(embedded) == row_evaluator(ROWS)(embedded)


def test_a_column_is_a_corpus(embedded: VLM2Vec) -> None:
    colours = ["white", "black", "pink"]
    expected = mine_hard_negatives(embedded, ROWS, colours, relative_margin=None)
    for corpus in (pandas.Series(colours, index=[4, 5, 6]), pyarrow.array(colours)):
        assert mine_hard_negatives(embedded, ROWS, corpus, relative_margin=None) == expected


def test_bad_rows_of_a_table_are_named_or_skipped() -> None:
    table = pandas.DataFrame([*ROWS, {"query": None, "document": "x"}, {"query": "y", "document": np.nan}])
    with pytest.raises(InputError, match="train, row 3: the row has no query"):
        check_rows(table)
    assert list(check_rows(table, on_error="skip").kept) == [0, 1, 2]
    assert Mixture.of(table).checked(on_error="skip").sizes == [3]


@pytest.mark.parametrize(
    "empty", [pandas.DataFrame(), pandas.DataFrame(columns=["query"]), pyarrow.table({})]
)
def test_an_empty_table_is_an_error(empty: Any) -> None:
    with pytest.raises(InputError, match="no rows"):
        Mixture.of(empty)


def test_names_of_columns_that_are_no_keys_are_errors() -> None:
    with pytest.raises(InputError, match='two columns are named text "query"'):
        records_of(pandas.DataFrame([["a", "b"]], columns=["query", "query"]))
    with pytest.raises(InputError, match="a column's name is int 0"):
        records_of(pandas.DataFrame([["a", "b"]]))
    with pytest.raises(InputError, match='unknown key "anchor"'):
        check_rows(pandas.DataFrame([{"anchor": "a", "document": "b"}]))


def _picture(colour: str) -> bytes:
    file = io.BytesIO()
    PIL.Image.new("RGB", (60, 60), colour).save(file, "PNG")
    return file.getvalue()


def test_media_as_arrow_holds_them_are_media(embedded: VLM2Vec, tmp_path: Path) -> None:
    path = tmp_path / "red.png"
    path.write_bytes(_picture("red"))
    expected = embedded.encode(path)
    forms: list[Any] = [
        {"bytes": path.read_bytes(), "path": None},
        {"bytes": path.read_bytes(), "path": "gone.png"},
        {"bytes": None, "path": str(path)},
        {"image": {"bytes": path.read_bytes(), "path": "gone.png"}},
        {"images": [{"bytes": None, "path": str(path)}]},
        [{"bytes": None, "path": str(path)}],
    ]
    for form in forms:
        np.testing.assert_array_equal(embedded.encode([form])[0], expected)
    np.testing.assert_array_equal(embedded.encode(forms[0]), expected)  # alone it is one input
    frames = {"video": [forms[0], forms[2]]}
    np.testing.assert_array_equal(embedded.encode(frames), embedded.encode({"video": [path, path]}))


@pytest.mark.parametrize("form", ["pandas, from Parquet", "Arrow"])
def test_rows_of_media_train(form: str) -> None:
    rows = [
        {"query": {"bytes": _picture(colour), "path": f"{colour}.png"}, "document": colour}
        for colour in ("red", "blue", "green")
    ]
    result = VLM2Vec(device="cpu").fit(FORMS[form](rows), max_steps=1, batch_size=3, show_progress_bar=False)
    assert result.steps == 1


def test_media_without_bytes_and_path_are_one_bad_row() -> None:
    rows = [*ROWS, {"query": {"bytes": None, "path": None}, "document": "a"}]
    with pytest.raises(InputError, match=r"row 3: query .*: it has neither bytes nor a path"):
        check_rows(rows)
    with pytest.raises(MediaError, match=r"gone\.png"):
        check_rows([{"query": {"bytes": None, "path": "gone.png"}, "document": "a"}])


@pytest.mark.parametrize(
    ("inputs", "fix"),
    [
        (pyarrow.table({"text": ["a"]}), "to_pylist"),
        (pandas.DataFrame({"text": ["a"]}), "to_dict"),
    ],
)
def test_encode_says_how_to_pass_a_table(embedded: VLM2Vec, inputs: Any, fix: str) -> None:
    with pytest.raises(InputError, match=fix):
        embedded.encode(inputs)


def test_rows_of_other_kinds_import_neither_library() -> None:
    code = (
        "import sys\n"
        "from vlm2vec.training.sources.data_frames import records_of\n"
        "rows = [{'query': 'a'}]\n"
        "assert records_of(rows) is rows\n"
        "assert not {'pandas', 'pyarrow'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
