"""Stand-ins for decoding and planning, so that tests of the engine need neither media nor a network."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from vlm2vec.encoding.pieces import MediaPiece, TextPiece
from vlm2vec.encoding.plan import Failed, Planned
from vlm2vec.encoding.prepare import Prepared
from vlm2vec.errors import MediaError, VLM2VecError
from vlm2vec.inputs.parts import Image, Input, Text
from vlm2vec.media.deadline import Deadline


def picture(number: int) -> Image:
    """A medium; its number says which, and is all that is seen of it."""
    return Image(np.full((1, 1, 3), number, dtype=np.uint8))


def number_of(part: Image) -> int:
    return int(part.content[0, 0, 0])


def planned(index: int, *numbers: int) -> Planned:
    """An input that shows these media."""
    pieces = tuple(MediaPiece(picture(number), number, (1, 2, 2), 1) for number in numbers)
    item = Input(tuple(piece.part for piece in pieces), index=index)
    return Planned(index, item, pieces, len(pieces), False)


def text(index: int, tokens: int) -> Input:
    """An input that costs so many tokens, and is equal to no other; with 13, it turns out to be broken."""
    return Input((Text(f"{index}"), Text("x" * tokens)), index=index)


def workers_alive() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("vlm2vec")]


class Planner:
    """As many tokens as the last text has letters."""

    def plan(
        self,
        items: Sequence[tuple[int, Input | VLM2VecError]],
        *,
        truncate: bool,
        run: Callable[..., Iterable[Any]],
    ) -> list[Planned | Failed]:
        found: list[Planned | Failed] = []
        for index, item in items:
            if isinstance(item, VLM2VecError):
                found.append(Failed(index, item))
                continue
            first = item.parts[0]
            name = int(first.text) if isinstance(first, Text) else number_of(first)
            letters = len(item.parts[-1].text)
            pieces = [MediaPiece(part, number_of(part)) for part in item.parts if isinstance(part, Image)]
            pieces.append(TextPiece([name * 100 + i for i in range(letters)], 0))
            found.append(Planned(index, item, tuple(pieces), letters, truncate))
        return found


class Preparer:
    """Gives the number of each medium, after `work` on it; remembers what was decoded."""

    def __init__(self, work: Callable[[int], Any] = lambda _: None) -> None:
        self.planner = Planner()
        self.work = work
        self.decoded: list[int] = []

    def decode(self, part: Image) -> Any:
        number = number_of(part)
        self.decoded.append(number)
        return self.work(number)

    def lay_out(self, planned: Planned, visuals: Mapping[Hashable, Any]) -> Prepared | VLM2VecError:
        for visual in (visuals[key] for key in planned.media):
            if isinstance(visual, VLM2VecError):
                return visual.copy().at(planned.item.index)
        if planned.tokens == 13:
            return MediaError("broken").at(planned.item.index)
        names = [piece.ids for piece in planned.pieces if isinstance(piece, TextPiece)]
        ids = np.array([token for some in names for token in some], dtype=np.int64)
        no_media = np.zeros(len(ids), dtype=bool)
        return Prepared(ids, np.repeat(ids[:, None], 3, axis=1), (), no_media, planned.item)


def endless(started: threading.Event) -> Callable[[int], None]:
    """Work that is quick for the numbers below 10, and above lasts until it is called off."""

    def work(number: int) -> None:
        if number < 10:
            return
        deadline = Deadline(20, "the test")
        started.set()
        while True:
            deadline.check()
            time.sleep(0.002)

    return work
