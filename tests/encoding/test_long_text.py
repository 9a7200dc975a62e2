"""Texts far longer than the context are refused or shortened without being tokenised as a whole."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from vlm2vec import VLM2Vec
from vlm2vec.encoding import long_text, plan
from vlm2vec.encoding.long_text import LongTexts
from vlm2vec.encoding.plan import Planner
from vlm2vec.encoding.prompt import Control, Plain
from vlm2vec.errors import ContextLengthError, LimitError
from vlm2vec.inputs.parse import parse_input
from vlm2vec.inputs.sources import _MAX_TEXT_BYTES

MAX_TOKENS = 12

PIECES = st.sampled_from(
    [
        *(
            "the ",
            "cat",
            " sat.",
            "it's",
            "'s",
            "'re ",
            "Don't",
            "\n",
            "\n\n ",
            "  ",
            "\t",
            "   x",
            "1",
            "23",
            "x1",
        ),
        *(
            "é",
            "e\u0301",
            "\u0301",
            "=\u0338",
            "ñ.",
            "中文",
            "。",
            "，中",  # noqa: RUF001
            "가",
            "\u1100\u1161",
            "\U0001f600",
            "ß/",
        ),
        *(
            "<|im_start|>",
            "<|image_pad|>",
            "|>",
            "<",
            ">",
            "_",
            "a|b",
            "http://a.b/c?d=e",
            "((x))",
            "--",
            "…a",
        ),
    ]
)
TEXTS = st.lists(PIECES, min_size=1, max_size=120).map("".join)


DATA = Path(__file__).parents[1] / "data"


@pytest.fixture(scope="module")
def llava() -> VLM2Vec:
    """A network whose tokenizer, from SentencePiece, splits no text before it merges characters."""
    folder = DATA / "golden_llava_next" / "tiny_llava_next"
    return VLM2Vec(folder, profile="vlm2vec-v1-llava-next", device="cpu")


@pytest.fixture(scope="module")
def phi() -> VLM2Vec:
    """Another, some of whose control tokens take the spaces behind them."""
    return VLM2Vec(DATA / "golden_phi3v" / "tiny_phi3v", profile="vlm2vec-v1-phi3v", device="cpu")


@pytest.fixture(scope="module")
def planners(tiny: VLM2Vec, embedded: VLM2Vec, llava: VLM2Vec, phi: VLM2Vec) -> list[Planner]:
    return [model[0].preparer.planner for model in (tiny, embedded, llava, phi)]


def ids(planner: Planner, text: str, *, plain: bool) -> list[int]:
    return list(planner._token_ids([text], plain=plain)[0])


@settings(max_examples=300, deadline=None)
@given(text=TEXTS, plain=st.booleans(), end=st.integers(0, 9))
@example(text="http://a.b/c?d=ehttp://a.b/c?d=ethe the ", plain=True, end=3)  # "he" alone has more tokens
def test_start_and_end_have_the_tokens_of_the_whole(
    planners: list[Planner], text: str, plain: bool, end: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(long_text, "_SHORT", 0)
        patch.setattr(long_text, "_CHARACTERS_A_TOKEN", 1)
        patch.setattr(long_text, "_END", end)
        for planner in planners:
            texts = LongTexts(planner.tokenizer, MAX_TOKENS, planner._token_ids)
            shortened = texts.shortened(Plain(text) if plain else Control(text))
            if shortened is None or shortened.text == text:
                continue
            whole, part = (ids(planner, one, plain=plain) for one in (text, shortened.text))
            assert len(whole) >= len(part) > MAX_TOKENS
            assert part[: MAX_TOKENS + 1] == whole[: MAX_TOKENS + 1]
            if plain:
                tail = shortened.text[texts._start(text, plain=True) :]
                before = ids(planner, "a", plain=True)  # a letter is before it, and no start of a text
                kept = ids(planner, f"a{tail}", plain=True)[len(before) :]
                assert len(tail) >= end
                assert part[-len(kept) :] == kept == whole[-len(kept) :]


@settings(max_examples=150, deadline=None)
@given(
    text=st.lists(PIECES, min_size=40, max_size=160).map("".join),
    instruction=st.sampled_from(["", "Find it. "]),
)
def test_truncation_gives_what_it_gives_for_the_whole(
    planners: list[Planner], text: str, instruction: str
) -> None:
    given_inputs: list[Any] = [text, ["before", text], [text, "behind"]]
    for planner in planners:
        small = Planner(planner.tokenizer, planner.profile, planner.limits, 40)
        items = [parse_input(one, instruction=instruction, index=0) for one in given_inputs if text.strip()]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(long_text, "_SHORT", 10**9)
            whole = truncated(small, items)
            patch.setattr(long_text, "_SHORT", 0)
            patch.setattr(long_text, "_CHARACTERS_A_TOKEN", 1)
            patch.setattr(long_text, "_END", 32)
            patch.setattr(long_text, "_LOST_END", 400)
            shortened = truncated(Planner(planner.tokenizer, planner.profile, planner.limits, 40), items)
        for one, other in zip(whole, shortened, strict=True):
            assert one == other


def truncated(planner: Planner, items: Sequence[Any]) -> list[list[int] | None]:
    """The tokens of each text input, shortened to the context; `None` where it is refused."""
    rows: list[list[int] | None] = []
    for planned in planner.plan(list(enumerate(items)), truncate=True):
        if isinstance(planned, plan.Failed):
            rows.append(None)
            continue
        shown = planner._shown(list(planned.pieces), truncate=True)
        rows.append([token for piece in shown for token in piece.ids])  # type: ignore[union-attr]
    return rows


def test_most_texts_are_shortened(embedded: VLM2Vec) -> None:
    """The properties above would hold of a rule that leaves every text as it is."""
    planner = embedded[0].preparer.planner
    texts = LongTexts(planner.tokenizer, MAX_TOKENS, planner._token_ids)
    assert {" ", "\n", ".", "。"} <= texts._cuts
    assert not {"|", "<", ">", "'", "_"} & texts._cuts
    shortened = texts.shortened(Plain("the cat sat on a mat. " * 1000))
    assert shortened is not None
    assert len(shortened.text) < 2000


def test_texts_of_sentencepiece_are_cut_where_no_token_passes(llava: VLM2Vec) -> None:
    tokenizer = llava.tokenizer
    vocabulary = set(tokenizer.get_vocab())
    cuts = long_text._cuts_of(tokenizer)
    assert " " in cuts
    assert all(cut == " " or cut in vocabulary for cut in cuts)
    splits = long_text._never_behind_a_letter({"\u2581", ".", ",", "s.", "1,", "\u2581.a", "s\u2581b"})
    assert [splits(cut) for cut in " .,;"] == [False, False, True, False]


@pytest.mark.parametrize(
    "normalizer",
    [
        normalizers.NFKC(),
        normalizers.Sequence([normalizers.Replace(" ", "\u2581"), normalizers.Replace("a", "b")]),
        normalizers.Sequence([normalizers.Strip(), normalizers.Replace(" ", "\u2581")]),
    ],
)
def test_other_rules_for_texts_are_not_taken_for_those_of_sentencepiece(normalizer: Any) -> None:
    backend = Tokenizer(models.BPE({"a": 0, "\u2581": 1}, []))
    backend.normalizer = normalizer
    assert not long_text._merges_whole_texts(backend)
    backend.normalizer = normalizers.Replace(" ", "\u2581")
    assert long_text._merges_whole_texts(backend)
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    assert not long_text._merges_whole_texts(backend)


LONG = "lorem ipsum dolor sit amet " * 40_000
CHINESE = "春眠不觉晓，处处闻啼鸟。" * 40_000  # noqa: RUF001
FORMS: dict[str, Any] = {
    "a text": LONG,
    "a Chinese text": CHINESE,
    "a text without a space": "a" * 1_000_000,
    "blanks": "a" + " " * 1_000_000,
    "a prompt": {"prompt": LONG},
    "a conversation": [{"role": "user", "content": LONG}],
    "an instruction": {"text": "cat", "instruction": LONG},
    "one of several parts": ["cat", LONG, "dog"],
}


@pytest.mark.parametrize("network", range(4))
@pytest.mark.parametrize("name", FORMS)
def test_it_is_refused_before_it_is_tokenised(
    planners: list[Planner], network: int, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenised: list[int] = []
    real = Planner._token_ids

    def counted(self: Planner, texts: list[str], *, plain: bool) -> Any:
        tokenised.append(sum(map(len, texts)))
        return real(self, texts, plain=plain)

    monkeypatch.setattr(Planner, "_token_ids", counted)
    full = planners[network]
    planner = Planner(full.tokenizer, full.profile, full.limits, 8192)
    (planned,) = planner.plan([(0, parse_input(FORMS[name]))])
    assert isinstance(planned, plan.Failed)
    assert isinstance(planned.error, ContextLengthError)
    assert re.search(r"has at least .* tokens, and the model's context holds", str(planned.error))
    assert sum(tokenised) < 300_000


@pytest.mark.parametrize("text", [LONG, CHINESE])
def test_its_shortened_vector_is_that_of_the_whole(
    embedded: VLM2Vec, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    vector = embedded.encode([text], truncate=True)
    monkeypatch.setattr(long_text, "_SHORT", 10**9)
    assert np.array_equal(embedded.encode([text], truncate=True), vector)


# Of digits and signs, which are nowhere to be cut, or of letters alone.
UNCUT = {"letters": "ACGT" * 40_000, "signs": "|---" * 40_000, "numbers": "1.5,20\n" * 30_000}


@pytest.mark.parametrize("name", UNCUT)
def test_a_text_of_moderate_length_without_a_place_to_cut_is_truncated(
    embedded: VLM2Vec, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    vector = embedded.encode([UNCUT[name]], truncate=True)
    monkeypatch.setattr(long_text, "_SHORT", 10**9)
    assert np.array_equal(embedded.encode([UNCUT[name]], truncate=True), vector)


def test_one_that_cannot_be_truncated_is_not_told_to_be(embedded: VLM2Vec) -> None:
    with pytest.raises(ContextLengthError, match="Pass a part of the text") as caught:
        embedded.encode(["ACGT" * 500_000], truncate=True)
    assert "truncate" not in str(caught.value)


def test_a_text_that_fits_is_tokenised_once(embedded: VLM2Vec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LongTexts, "_start", lambda *_, **__: pytest.fail("it is short"))
    embedded.encode(["a red circle " * 100])


def test_texts_are_tokenised_a_few_at_a_time() -> None:
    most, characters = plan._TOKENISED_AT_ONCE
    long, short = "a" * (characters // 2), "b"
    assert [len(some) for some in plan._some_at_a_time([short] * (most + 3))] == [most, 3]
    assert [len(some) for some in plan._some_at_a_time([long] * 7)] == [3, 3, 1]


def test_a_text_file_has_a_limit_before_it_is_read(embedded: VLM2Vec, tmp_path: Path) -> None:
    path = tmp_path / "dump.txt"
    with path.open("wb") as file:
        file.truncate(_MAX_TEXT_BYTES + 1)
    with pytest.raises(LimitError, match=r"dump\.txt.*67,108,865 bytes, more than 67,108,864"):
        embedded.encode([path])


MEMORY = """
import resource, sys
from vlm2vec import VLM2Vec

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)

model = VLM2Vec(device="cpu")
model.encode(["the cat sat " * 20_000], truncate=True)
before = peak()
text = "lorem ipsum dolor sit amet " * 400_000
model.encode([text], truncate=True)
print(peak() - before)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="the peak of memory is asked for otherwise there")
def test_memory_does_not_grow_with_a_text() -> None:
    told = subprocess.run([sys.executable, "-c", MEMORY], check=True, capture_output=True, text=True)
    assert int(told.stdout) < 300 * 2**20  # tokens of the 11 MB would take 1.9 GiB
