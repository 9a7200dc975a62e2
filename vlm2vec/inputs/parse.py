"""From what a caller passes to inputs: which objects are one input, and what each is made of."""

from __future__ import annotations

import io
import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sized
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from vlm2vec.arrays import is_array
from vlm2vec.describe import describe_value, shorten
from vlm2vec.errors import InputError, LimitError, VLM2VecError
from vlm2vec.inputs.access import FileAccess, allowed_source, check_file_access
from vlm2vec.inputs.composed import PART_KEYS, Content, parse_dict, parse_parts
from vlm2vec.inputs.media_forms import bare_part, is_media, opened
from vlm2vec.inputs.messages import is_content_part, is_message, parse_content_part, parse_conversation
from vlm2vec.inputs.parts import Input, Part, Text
from vlm2vec.inputs.replace import sources_of, with_sources
from vlm2vec.inputs.text import check_text, mention_file_name
from vlm2vec.media.deadline import raise_if_cancelled
from vlm2vec.media.fetch import LargerError
from vlm2vec.media.source import Source

__all__ = [
    "fetched",
    "fetched_if_small",
    "is_single",
    "paired",
    "parse_batch",
    "parse_input",
    "release",
    "with_instructions",
]

T = TypeVar("T")
S = TypeVar("S")

_FETCHED_BYTES = 2**30  # of all URLs of an input

_FORMS = (
    "Pass a string, a pathlib.Path, a PIL image, a uint8 array, bytes, a dict, a Video, or a list of these."
)


def is_single(inputs: Any) -> bool:
    """Whether `inputs` is one input, rather than a batch of them.

    A list, a tuple, a generator or any other iterable is a batch, except for a list of messages, which is one
    conversation. What cannot be a batch is one input, so that the error about it can say why.

    Example:
        >>> is_single("a cat"), is_single(["a cat"]), is_single([{"role": "user", "content": "a cat"}])
        (True, False, True)
    """
    if isinstance(inputs, np.ndarray):
        return inputs.ndim == 0 or inputs.dtype.kind not in "OUT"
    if isinstance(inputs, list):
        return bool(inputs) and is_message(inputs[0])
    if isinstance(inputs, (str, Mapping)) or is_media(inputs):
        return True
    return not isinstance(inputs, Iterable) or _never_a_batch(inputs) is not None


def parse_input(
    item: Any,
    *,
    index: int | None = None,
    instruction: str | None = None,
    allow_urls: bool = False,
    allow_files: FileAccess = True,
    open_files: bool = True,
) -> Input:
    """Understand one input.

    Args:
        item: Any row of the table of inputs: text, media, a dict, messages, or a list of parts in order; or
            what this function has returned.
        index: Its position in the batch.
        instruction: Used unless the input brings its own.
        allow_urls: Whether a string under a media key may be a URL. None is fetched here: see `fetched`.
        allow_files: Whether paths are read: all, none, or what is below these folders. A path that is refused
            is not looked up.
        open_files: Look into files: whether they are there, and of the kind that their key says. Without,
            they are taken to be so, and a file that no key names is not known to be anything yet; giving
            the result to this function again opens them.

    Raises:
        InputError: It has a form that cannot be embedded, or names a file or URL that is not to be read.
        MediaError: A file is missing or of an unknown format.

    Example:
        >>> parse_input({"text": "what is this?", "image": np.zeros((56, 56, 3), np.uint8)}).describe()
        'text "what is this?" + array (56, 56, 3) uint8'
    """
    try:
        content = _parse(item)
        if not allow_urls or allow_files is not True:
            content = _allowed(content, allow_urls, allow_files)
        if open_files:
            content = content._replace(parts=tuple(opened(part) for part in content.parts))
        _check_not_empty(content)
        if instruction is not None:
            instruction = check_text(instruction, "the instruction")
            if content.prompt is not None:
                raise InputError(
                    "an instruction is given for a prompt, to which nothing is added",
                    fix="Write it into the prompt, or give instruction=None for this input.",
                )
    except VLM2VecError as error:
        error.source = shorten(error.source or "") or None
        error.at(index, item.describe() if isinstance(item, Input) else describe_value(item))
        raise
    own = content.instruction if content.instruction is not None else instruction
    role = item.role if isinstance(item, Input) else None
    return Input(content.parts, own, content.prompt, index, content.bare_tokens, role)


def fetched(item: Input) -> Input | VLM2VecError:
    """The input with what its URLs lead to, held until `release`; or what is wrong with it.

    Raises:
        Cancelled: The work was called off.
    """
    found = fetched_if_small(item, _FETCHED_BYTES)
    if found is not None:
        return found
    error = LimitError(
        f"what its URLs lead to has more than {_FETCHED_BYTES:,} bytes together",
        fix="Download it first, or split the input.",
    )
    return error.at(item.index, item.describe())


def fetched_if_small(item: Input, max_bytes: int) -> Input | VLM2VecError | None:
    """As `fetched`, or `None`, and nothing is held, if what the URLs lead to has more bytes together.

    Raises:
        Cancelled: The work was called off.
    """
    left = max_bytes

    def fetch(source: Source) -> None:
        nonlocal left
        left -= len(source.fetched(left))

    if all(source.url is None for source in sources_of(item)):
        return item
    try:
        return replace(item, parts=tuple(opened(part, fetch=fetch) for part in item.parts))
    except LargerError:
        release(item)
        return None
    except VLM2VecError as error:
        release(item)
        return error.at(item.index, item.describe()).without_frames()


def release(item: Input) -> None:
    """Let go of what the URLs of an input led to."""
    for source in sources_of(item):
        source.release()


def parse_batch(
    inputs: Any,
    instruction: str | Iterable[str | None] | None = None,
    *,
    allow_urls: bool = False,
    allow_files: FileAccess = True,
    on_error: object = "raise",
) -> Iterator[Input | VLM2VecError]:
    """Understand the inputs of a batch, one by one and in order.

    Args:
        inputs: An iterable of inputs, read as far as asked for; one input alone is a batch of one.
        instruction: One for all, or one per input.
        allow_urls: Whether a string under a media key may be a URL.
        allow_files: Whether paths are read, as in `parse_input`.
        on_error: "raise" raises the first error; anything else yields the error in place of the input.

    Returns:
        As many inputs or errors as `inputs` has, in order.

    Raises:
        InputError: There are not as many instructions as inputs: at once if both have a length, otherwise
            when either ends.

    Example:
        >>> [type(result).__name__ for result in parse_batch(["a cat", None], on_error="nan")]
        ['Input', 'InputError']
    """
    if is_single(inputs):
        inputs = [inputs]
    pairs = with_instructions(inputs, instruction)
    return _parse_each(pairs, on_error, allow_urls=allow_urls, allow_files=check_file_access(allow_files))


def with_instructions(
    inputs: Iterable[T], instruction: str | Iterable[str | None] | None
) -> Iterator[tuple[T, str | None]]:
    """Each input with its instruction.

    Args:
        inputs: Inputs, read as far as asked for.
        instruction: One for all, or one per input.

    Raises:
        InputError: As `parse_batch`.

    Example:
        >>> list(with_instructions(["a cat", "a dog"], "Find it."))
        [('a cat', 'Find it.'), ('a dog', 'Find it.')]
    """
    if instruction is None or isinstance(instruction, str):
        return zip(inputs, itertools.repeat(instruction))
    no_list = isinstance(instruction, (bytes, Mapping, set, frozenset))
    no_list = no_list or (is_array(instruction) and np.ndim(instruction) == 0)  # type: ignore[arg-type]
    if no_list or not isinstance(instruction, Iterable):
        raise InputError(
            f"instruction is {describe_value(instruction)}",
            fix="Pass a string, or a list with one per input.",
        )
    return paired(inputs, instruction, "instructions")


def paired(inputs: Iterable[T], beside: Iterable[S], what: str) -> Iterator[tuple[T, S]]:
    """Each input with what is given beside it.

    Args:
        inputs: Inputs, read as far as asked for.
        beside: One for each.
        what: What these are, for the error.

    Raises:
        InputError: There are not as many: at once if both have a length, otherwise when either ends.

    Example:
        >>> list(paired(["a cat", "a dog"], [7, 8], "ids"))
        [('a cat', 7), ('a dog', 8)]
    """
    if isinstance(inputs, Sized) and isinstance(beside, Sized) and len(inputs) != len(beside):
        raise _unequal(f"{len(beside)} {what}", f"{len(inputs)} inputs", what)
    return _pair(inputs, beside, what)


def _parse_each(
    pairs: Iterable[tuple[Any, str | None]], on_error: object, **settings: Any
) -> Iterator[Input | VLM2VecError]:
    for index, (item, instruction) in enumerate(pairs):
        raise_if_cancelled()
        yield _parse_one(item, on_error, index=index, instruction=instruction, **settings)


def _parse_one(item: Any, on_error: object, **settings: Any) -> Input | VLM2VecError:
    try:
        return parse_input(item, **settings)
    except VLM2VecError as error:
        if on_error == "raise":
            raise
        return error


def _pair(inputs: Iterable[T], beside: Iterable[S], what: str) -> Iterator[tuple[T, S]]:
    nothing: Any = object()
    pairs = itertools.zip_longest(inputs, beside, fillvalue=nothing)
    for count, (item, value) in enumerate(pairs):
        if value is nothing:
            raise _unequal(f"{count} {what}", "more inputs", what)
        if item is nothing:
            raise _unequal(f"more {what}", f"{count} inputs", what)
        yield item, value


def _unequal(beside: str, inputs: str, what: str) -> InputError:
    one_for_all = "one instruction for all, or " if what == "instructions" else ""
    return InputError(f"there are {beside} for {inputs}", fix=f"Pass {one_for_all}exactly one per input.")


def _parse(item: Any) -> Content:
    """What the form of an input says; no file is opened."""
    item = _as_python(item)
    if isinstance(item, Input):
        # What was read of its files in another call may have changed.
        item = with_sources(item, lambda source: replace(source, facts={}))
        return Content(item.parts, item.instruction, item.prompt, item.bare_tokens)
    if isinstance(item, str) or is_media(item):
        return Content(_parse_part(item))
    if is_message(item):
        return parse_conversation([item])
    if is_content_part(item):
        raise InputError(
            "a content part is not an input by itself",
            fix="Put it into the content of a message, or the parts of one input into a nested list.",
        )
    if isinstance(item, Mapping):
        return parse_dict(item)
    if not isinstance(item, (list, tuple)):
        raise _refusal(item)
    if any(is_message(part) for part in item):
        return parse_conversation(item)
    return Content(tuple(part for entry in item for part in _parse_part(entry)))


def _as_python(item: Any) -> Any:
    """A value of an Arrow array, or a row of a numpy array of strings or objects, as Python has it."""
    if hasattr(item, "as_py"):
        return item.as_py()
    return item.tolist() if isinstance(item, np.ndarray) and item.dtype.kind in "OUT" else item


def _parse_part(item: Any) -> tuple[Part, ...]:
    """The parts for one entry of an interleaved list."""
    if isinstance(item, str):
        text = check_text(item)
        mention_file_name(text)
        return (Text(text),)
    if is_media(item):
        return (bare_part(item),)
    if is_content_part(item):
        return parse_content_part(item)
    if isinstance(item, Mapping):
        return parse_parts(item, PART_KEYS)
    if isinstance(item, (list, tuple)):
        raise InputError(
            "a list stands inside the list of one input",
            fix="Pass its parts in one flat list; several frames of a clip as Video(frames).",
        )
    raise _refusal(item)


def _allowed(content: Content, allow_urls: bool, allow_files: FileAccess) -> Content:
    item = Input(content.parts)
    if all(source.data is not None for source in sources_of(item)):
        return content  # nothing is named
    item = with_sources(item, lambda source: allowed_source(source, allow_urls, allow_files))
    return content._replace(parts=item.parts)


def _check_not_empty(content: Content) -> None:
    # Beside an instruction of its own, a blank text is meant: benchmarks have answers that say nothing.
    meant = content.instruction is not None
    if content.prompt is not None or any(
        not isinstance(part, Text) or part.text.strip() or (meant and part.text) for part in content.parts
    ):
        return
    if content.parts:
        raise InputError(
            "the text is empty or blank",
            fix="Pass at least one character that is not whitespace, or leave the input out.",
        )
    raise InputError("the list of parts is empty", fix="Pass at least one part, or leave the input out.")


def _refusal(item: object) -> InputError:
    """Why `item` is no input, for what is neither text, media, a dict nor a list."""
    if reason := _never_a_batch(item):
        return reason
    if isinstance(item, (float, np.floating)) and math.isnan(item):
        return InputError("NaN is a missing value, not an input", fix="Leave it out, or replace it by text.")
    if isinstance(item, Iterator):
        return InputError(f"a {type(item).__name__} is not an input", fix="Pass list(...) of it.")
    return InputError(f"{describe_value(item)} is not an input", fix=_FORMS)


def _never_a_batch(value: object) -> InputError | None:
    """The error for iterables whose items are not inputs in an order."""
    if isinstance(value, (set, frozenset)):
        return InputError("a set has no order", fix="Pass a list.")
    if isinstance(value, io.IOBase):
        return InputError(
            "an open file is not an input", fix="Pass its path as pathlib.Path, or handle.read()."
        )
    if type(value).__name__ == "DataFrame":
        return InputError(
            "a table is not an input",
            fix="Pass one column, as in table['text'], or a list of dicts, as in table.to_dict('records').",
        )
    if hasattr(value, "to_pylist") and hasattr(value, "schema"):
        return InputError(
            "a table of Arrow is not an input",
            fix="Pass one column, as in table['text'], or a list of dicts, as in table.to_pylist().",
        )
    return None
