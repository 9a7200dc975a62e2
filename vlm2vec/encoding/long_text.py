"""Texts far longer than the context: only their start and end are tokenised, where that tells the same.

Tokenising costs a second and 175 MiB a megabyte, and a text of 60 MB ends the process. But a text is refused,
or shortened, as soon as its first tokens are more than the context holds, and of the rest only the end is
kept. So its middle may go before it is tokenised, if both cuts are where the tokenizer splits texts whatever
stands around: behind a letter, before a character such as a space, which no rule joins to letters before it.

Tokenizers that come from SentencePiece (LLaVA-NeXT, Phi) do not split texts before they merge characters.
There a character is such a place if no token has it behind a letter: merging never passes it.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import pairwise, product
from typing import Any
from weakref import WeakKeyDictionary

from transformers import PreTrainedTokenizerBase

from vlm2vec.encoding.clips import Words
from vlm2vec.encoding.prompt import Plain

__all__ = ["LongTexts"]

_CHARACTERS_A_TOKEN = 4  # that a first look expects; English has about as many
_SHORT = 8  # texts of so many characters for each token of the context are tokenised as they are
_END = 1024  # characters before the last ones that are left: more than the last tokens have
_LOST_END = 2**16  # characters at the end without a place to cut, which is too many

# Characters that a text may be cut before, if the tokenizer agrees, and what may stand around.
_CUTS = ' \n\t.,;:!?/+-=()[]{}"<>@#、。，！？；：…—'  # noqa: RUF001  # of Chinese too
_LETTERS = "aZ中"
_BEFORE = ("", "a", " ", "1", "'", "\n", ".")
_BEHIND = ("", "a", " ", "1", "\n", ".", "s ")

# How SentencePiece writes a space, and the normalizers that do nothing else.
_SPACE = "\u2581"
_SPACES_WRITTEN = (
    {"type": "Prepend", "prepend": _SPACE},
    {"type": "Replace", "pattern": {"String": " "}, "content": _SPACE},
)

# Asking takes a tenth of a second.
_KNOWN_CUTS: WeakKeyDictionary[PreTrainedTokenizerBase, frozenset[str]] = WeakKeyDictionary()

# Characters that become one when a text is composed (Unicode 15, NFC): four at most.
_COMPOSED = 4


@dataclass(frozen=True, eq=False)
class LongTexts:
    """Shortens texts for one tokenizer and context before they are tokenised.

    Attributes:
        tokenizer: Of the model.
        max_tokens: What its context holds.
        token_ids: Tokenises texts; it is told whether control tokens in them are plain text.
    """

    tokenizer: PreTrainedTokenizerBase
    max_tokens: int
    token_ids: Callable[..., list[Sequence[int]]]

    def shortened(self, words: Words) -> Words | None:
        """The text, or its start and its end, which have the same first and last tokens as the whole.

        The start alone has more tokens than the context holds. So a text without its middle is too long as
        well, and truncation, which cuts before the end, gives what it gives for the whole.

        Args:
            words: The text.

        Returns:
            `None` for a text that is too long to be tokenised and has no place to cut.
        """
        text = words.text
        if len(text) <= _SHORT * self.max_tokens:
            return words
        start = self._start(text, plain=isinstance(words, Plain))
        if start is None:
            return None if len(text) > self.max_tokens * self._most_characters(text) else words
        if not isinstance(words, Plain):
            return replace(words, text=text[:start])  # never truncated: that it is too long is enough
        end = self._cut(text, len(text) - words.uncut_end - _END) or 0
        if end <= start:
            return words if len(text) - words.uncut_end - start <= _LOST_END else None
        if len(text) - words.uncut_end - end > _LOST_END:
            return None
        return Plain(
            text[:start] + text[end:],
            uncut=min(words.uncut, start),
            uncut_end=min(words.uncut_end, len(text) - end),
        )

    def _start(self, text: str, *, plain: bool) -> int | None:
        """Where a start ends that the context does not hold; `None` if no place to cut is behind it."""
        size = _CHARACTERS_A_TOKEN * self.max_tokens
        while size < len(text):
            cut = self._cut(text, size)
            if cut is not None and len(self.token_ids([text[:cut]], plain=plain)[0]) > self.max_tokens:
                return cut
            if cut is None and size > self.max_tokens * self._most_characters(text):
                return None
            size *= 2
        return None

    def _cut(self, text: str, end: int) -> int | None:
        """The last place at `end` or before it where the tokenizer splits any text."""
        for i in range(min(end, len(text) - 1), max(0, end - _LOST_END), -1):
            if text[i] in self._cuts and _is_letter(text[i - 1]):
                return i
        return None

    @property
    def _cuts(self) -> frozenset[str]:
        if self.tokenizer not in _KNOWN_CUTS:
            _KNOWN_CUTS[self.tokenizer] = _cuts_of(self.tokenizer)
        return _KNOWN_CUTS[self.tokenizer]

    def _most_characters(self, text: str) -> float:
        """The most characters of this text that a token may stand for; infinity where that is not known.

        Tokens are bytes, and a character has at least one.
        """
        backend = getattr(self.tokenizer, "backend_tokenizer", None)
        if backend is None:
            return float("inf")
        if _merges_whole_texts(backend):
            return self._longest_token if self._has_all_bytes else float("inf")
        if "ByteLevel" not in str(backend.pre_tokenizer):
            return float("inf")
        if not _only_composes(backend.normalizer):
            return float("inf")
        return self._longest_token * (1 if text.isascii() else _COMPOSED)

    @cached_property
    def _longest_token(self) -> int:
        return max(map(len, self.tokenizer.get_vocab()))

    @cached_property
    def _has_all_bytes(self) -> bool:
        """Whether no character is unknown: of unknown ones any number may be one token."""
        vocabulary = self.tokenizer.get_vocab()
        return all(f"<0x{byte:02X}>" in vocabulary for byte in range(256))


def _cuts_of(tokenizer: PreTrainedTokenizerBase) -> frozenset[str]:
    """Those of `_CUTS` before which a tokenizer always splits, when a letter is before them."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return frozenset()
    if _merges_whole_texts(backend):
        splits = _never_behind_a_letter(tokenizer.get_vocab())
    elif backend.pre_tokenizer is not None and _only_composes(backend.normalizer):
        splits = partial(_is_seen_to_split, backend.pre_tokenizer)
    else:
        return frozenset()
    within_tokens = set("".join(token.content for token in tokenizer.added_tokens_decoder.values()))
    return frozenset(cut for cut in _CUTS if cut not in within_tokens and splits(cut))


def _is_seen_to_split(pre_tokenizer: Any, cut: str) -> bool:
    """Whether a tokenizer that is asked splits before a character, whatever stands around."""
    for before, letter, behind in product(_BEFORE, _LETTERS, _BEHIND):
        start = len(before) + 1
        pieces = pre_tokenizer.pre_tokenize_str(before + letter + cut + behind)
        if all(begin != start for _, (begin, _) in pieces):
            return False
    return True


def _never_behind_a_letter(vocabulary: Collection[str]) -> Callable[[str], bool]:
    """Tells of a character whether it is a token, and no token has it behind a letter."""
    behind = {b for token in vocabulary for a, b in pairwise(token) if _is_letter(a)}

    def splits(cut: str) -> bool:
        written = _SPACE if cut == " " else cut
        return written in vocabulary and written not in behind

    return splits


def _merges_whole_texts(backend: Any) -> bool:
    """Whether it is byte pair encoding of whole texts, of which only the spaces are written otherwise.

    So transformers writes what was made with SentencePiece, which splits nothing either.
    """
    model = backend.model
    if type(model).__name__ != "BPE" or model.continuing_subword_prefix or model.end_of_word_suffix:
        return False
    if backend.pre_tokenizer is not None or backend.normalizer is None:
        return False
    state = json.loads(backend.normalizer.__getstate__())
    return all(step in _SPACES_WRITTEN for step in state.get("normalizers", [state]))


def _only_composes(normalizer: object) -> bool:
    """Whether what is done to a text before it is split leaves a letter and what is behind it two things."""
    return normalizer is None or type(normalizer).__name__ == "NFC"


def _is_letter(character: str) -> bool:
    """Whether it is a letter to every tokenizer: it has been one since Unicode 3.2."""
    return unicodedata.ucd_3_2_0.category(character).startswith("L")
