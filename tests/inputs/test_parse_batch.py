from __future__ import annotations

import builtins
import os
import pathlib
import socket
import subprocess
import sys

import numpy as np
import PIL.Image
import pytest
import torch
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st

from vlm2vec.errors import InputError, MediaError, VLM2VecError
from vlm2vec.inputs import Input, PdfPage, Text, Video, is_single, parse_batch, parse_input
from vlm2vec.media.source import Source

PHOTO = PIL.Image.new("RGB", (6, 4))
ARRAY = np.zeros((4, 6, 3), np.uint8)
MESSAGE = {"role": "user", "content": "hi"}
PAGE = PdfPage(Source.from_bytes(b"%PDF-1.7"), 1)

SINGLE = [
    "a",
    "",
    pathlib.Path("x"),
    PHOTO,
    ARRAY,
    np.zeros(3),
    np.float32(1),
    np.array("a"),
    torch.zeros(4, 6, 3),
]
SINGLE += [b"x", bytearray(b"x"), {}, {"text": "a"}, MESSAGE, Video([PHOTO]), PAGE, [MESSAGE, MESSAGE]]
SINGLE += [None, 3, {"a"}, frozenset()]

BATCHES = [
    [],
    (),
    ["a"],
    ("a", "b"),
    [[MESSAGE]],
    (MESSAGE,),
    [PHOTO],
    [["a", PHOTO]],
    range(2),
    {"a": 1}.values(),
]
BATCHES += [np.array(["a", "b"]), np.array(["a", None], dtype=object)]


@pytest.mark.parametrize("inputs", SINGLE)
def test_one_input_is_single(inputs):
    assert is_single(inputs) is True


@pytest.mark.parametrize("inputs", BATCHES)
def test_an_iterable_of_inputs_is_a_batch(inputs):
    assert is_single(inputs) is False


def test_generators_and_dataset_columns_are_batches():
    rows = Dataset.from_dict({"text": ["a", "b"]})
    assert not is_single(x for x in "ab")
    assert not is_single(rows["text"])
    assert [r.parts[0].text for r in parse_batch(rows["text"])] == ["a", "b"]
    assert [r.parts[0].text for r in parse_batch(rows)] == ["a", "b"]


def test_a_table_and_an_open_file_are_no_batches(tmp_path):
    pandas = pytest.importorskip("pandas")
    with pytest.raises(InputError, match="to_dict"):
        next(parse_batch(pandas.DataFrame({"text": ["a"]})))
    assert [r.parts[0].text for r in parse_batch(pandas.Series(["a", "b"]))] == ["a", "b"]
    path = tmp_path / "lines.txt"
    path.write_text("one\ntwo\n")
    with path.open() as file, pytest.raises(InputError, match="open file"):
        next(parse_batch(file))


@pytest.mark.parametrize("kind", ["pyarrow array", "pyarrow chunks", "pandas", "polars", "numpy", "objects"])
def test_a_column_of_strings_is_a_batch_of_texts(kind):
    texts = ["a cat", "a dog", "a bird"]
    if kind.startswith("pyarrow"):
        arrow = pytest.importorskip("pyarrow")
        column = (
            arrow.array(texts) if kind == "pyarrow array" else arrow.chunked_array([texts[:1], texts[1:]])
        )
    elif kind in ("pandas", "polars"):
        column = pytest.importorskip(kind).Series(texts)
    else:
        column = np.array(texts, dtype=object if kind == "objects" else str)
    assert not is_single(column)
    assert [r.parts for r in parse_batch(column)] == [(Text(text),) for text in texts]


def test_a_row_of_a_table_of_strings_is_one_input_of_several_texts():
    pairs = [["what is it", "a cat"], ["who is it", "a dog"]]
    expected = [r.parts for r in parse_batch(pairs)]
    for dtype in (str, object, np.dtypes.StringDType()):
        assert [r.parts for r in parse_batch(np.array(pairs, dtype=dtype))] == expected
    assert [r.parts for r in parse_batch(np.array("a cat"))] == [(Text("a cat"),)]
    with pytest.raises(InputError, match="a list stands inside the list of one input"):
        next(parse_batch(np.array([pairs])))


def test_missing_values_of_arrow_are_errors_at_their_place():
    arrow = pytest.importorskip("pyarrow")
    found = list(parse_batch(arrow.array(["a cat", None]), on_error="nan"))
    assert found[1].index == 1
    (row,) = parse_batch(arrow.array([{"text": "a cat", "instruction": "Find:"}]))
    assert (row.parts, row.instruction) == ((Text("a cat"),), "Find:")


def test_one_input_alone_is_a_batch_of_one():
    assert [r.parts for r in parse_batch("abc")] == [(Text("abc"),)]
    assert [r.instruction for r in parse_batch("abc", ["i"])] == ["i"]


def test_an_empty_batch_gives_nothing():
    assert list(parse_batch([])) == []
    assert list(parse_batch([], [])) == []
    assert list(parse_batch(iter(()), "i")) == []


def test_raise_stops_at_the_first_bad_input_and_names_it():
    results = parse_batch(["a", None, "b"])
    assert next(results).index == 0
    with pytest.raises(InputError) as caught:
        next(results)
    assert caught.value.index == 1


def test_a_stream_is_read_only_as_far_as_asked_for():
    taken = []
    results = parse_batch(taken.append(i) or str(i) for i in range(100))
    next(results)
    assert taken == [0]


def test_instructions_are_one_for_all_or_one_each():
    assert [r.instruction for r in parse_batch(["a", "b"], "i")] == ["i", "i"]
    assert [r.instruction for r in parse_batch(["a", "b"], ["i", None])] == ["i", None]
    assert [r.instruction for r in parse_batch(iter("ab"), np.array(["i", "j"]))] == ["i", "j"]
    assert [r.instruction for r in parse_batch(["a", "b"], (x for x in "ij"))] == ["i", "j"]


def test_unequal_counts_with_lengths_are_an_error_before_any_work():
    with pytest.raises(InputError, match="there are 1 instructions for 2 inputs"):
        parse_batch(["a", "b"], ["i"])


@pytest.mark.parametrize(
    ("inputs", "instructions", "match"),
    [("ab", ["i"], "1 instructions for more inputs"), ("a", ["i", "j"], "more instructions for 1 inputs")],
)
def test_unequal_counts_in_a_stream_are_an_error_when_one_ends(inputs, instructions, match):
    results = parse_batch(iter(inputs), instructions, on_error="nan")
    assert isinstance(next(results), Input)
    with pytest.raises(InputError, match=match):
        next(results)


@pytest.mark.parametrize("instruction", [3, b"i", {"i": 1}, {"i"}])
def test_an_instruction_of_another_type_is_an_error(instruction):
    with pytest.raises(InputError, match="instruction is"):
        parse_batch(["a"], instruction)


def test_a_bad_instruction_costs_one_input():
    good, bad = parse_batch(["a", "b"], ["i", 3], on_error="nan")
    assert isinstance(good, Input)
    assert isinstance(bad, InputError)
    assert bad.index == 1


def test_errors_are_given_in_place_of_inputs():
    results = list(parse_batch(["a", pathlib.Path("no/such.png"), "b", {"x": 1}], on_error=lambda *_: None))
    assert [type(r) for r in results] == [Input, MediaError, Input, InputError]
    assert [r.index for r in results] == [0, 1, 2, 3]


scalars = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.binary(max_size=20)
)
keys = st.sampled_from(
    [
        "text",
        "image",
        "images",
        "video",
        "pdf",
        "prompt",
        "instruction",
        "page",
        "fps",
        "role",
        "content",
        "type",
    ]
)
arrays = st.lists(st.integers(0, 3), max_size=5).map(lambda shape: np.zeros(shape, np.uint8))
anything = st.recursive(
    scalars | arrays | st.just(PHOTO) | st.sampled_from([object(), 1j, PAGE, Video([PHOTO])]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(keys | st.text(max_size=5) | st.integers(), inner, max_size=3)
    ),
    max_leaves=6,
)


@settings(deadline=None)
@given(st.lists(anything, max_size=6))
def test_n_inputs_give_n_results_in_order_whatever_they_are(items):
    if is_single(items):
        items = [items, "end"]
    results = list(parse_batch(items, on_error="nan"))
    assert [result.index for result in results] == list(range(len(items)))
    for item, result in zip(items, results, strict=True):
        if isinstance(result, VLM2VecError):
            assert len(result.source) <= 60
            assert str(result).startswith(f"input {result.index} (")
            with pytest.raises(type(result)):
                parse_input(item)
        else:
            assert result.parts or result.prompt
            assert len(result.describe()) <= 60
            assert result.describe().isprintable()


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"])).filter(str.strip))
def test_every_encodable_string_is_its_own_text(text):
    assert parse_input(text).parts == (Text(text),)


@settings(deadline=None)
@given(st.text(min_size=1))
def test_a_string_never_touches_files_or_sockets(text):
    def fail(*args, **kwargs):
        raise AssertionError("touched the outside")

    paths = ["/etc/hostname", __file__, "https://example.org/a.png", "file:///etc/hostname"]
    with pytest.MonkeyPatch.context() as patch:
        for module, name in [
            (os, "stat"),
            (os, "lstat"),
            (os, "open"),
            (os.path, "isfile"),
            (os.path, "exists"),
        ]:
            patch.setattr(module, name, fail)
        patch.setattr(builtins, "open", fail)
        patch.setattr(socket, "socket", fail)
        for name in ("stat", "open", "exists", "is_file"):
            patch.setattr(pathlib.Path, name, fail)
        results = list(parse_batch([text, {"text": text}, [text], *paths], on_error="nan", allow_urls=True))
    assert all(isinstance(result, Input) for result in results[3:])


@settings(deadline=None)
@given(st.binary(min_size=8, max_size=200).map(lambda tail: b"%PDF-1.7\n" + tail), st.text(max_size=200))
def test_descriptions_are_short_and_never_hold_bytes(data, text):
    parsed = parse_input([data, text, data, PHOTO, Video([PHOTO] * 3), ARRAY, text])
    assert len(parsed.describe()) <= 60
    assert repr(data)[2:-1] not in parsed.describe()
    assert repr(data)[2:-1] not in repr(parsed)


def test_parsing_loads_no_torch_and_none_of_its_kin(files):
    code = (
        "import sys, pathlib, vlm2vec.inputs as inputs\n"
        "list(inputs.parse_batch(['a', pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])]))\n"
        "heavy = {'torch', 'transformers', 'sentence_transformers', 'datasets'} & set(sys.modules)\n"
        "sys.exit(f'loaded {heavy}' if heavy else 0)"
    )
    command = [sys.executable, "-c", code, str(files.png), str(files.gif)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
