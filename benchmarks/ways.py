"""Ways in which this package may encode beside the default one: what a run of `gpu.py` decides between."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from typing import Any

from encode import OURS

from vlm2vec import VLM2Vec
from vlm2vec.encoding.settings import EngineSettings
from vlm2vec.media.cores import core_count

_MOST_READERS = 4  # that are started by default


@dataclass(frozen=True)
class Way:
    """How ours encodes.

    Attributes:
        name: What results call it.
        settings: Of the engine.
        readers: Processes that draw pages; `None` for as many as by default.
    """

    name: str
    settings: EngineSettings = field(default_factory=EngineSettings)
    readers: int | None = None

    @contextmanager
    def set_in(self, model: VLM2Vec) -> Iterator[None]:
        """Within it, the model encodes in this way."""
        settings, limits = model.engine_settings, model[0].limits
        model.engine_settings = self.settings
        model[0].limits = replace(limits, readers=self.readers)
        try:
            yield
        finally:
            model.engine_settings, model[0].limits = settings, limits


def way_of(text: str) -> Way:
    """The way that a command line asks for, such as "share_prefixes=false,kernel=torch".

    Raises:
        ValueError: It is not of that form.
        TypeError: The engine has no such setting.
    """
    given: dict[str, Any] = {}
    for pair in text.split(","):
        name, found, value = pair.partition("=")
        if not found:
            raise ValueError(f"{pair!r} is not NAME=VALUE")
        try:
            given[name] = json.loads(value)
        except json.JSONDecodeError:  # a word
            given[name] = value
    return Way(f"{OURS}, {text}", EngineSettings(**given))


def off_by_default() -> list[Way]:
    """A way for each switch of the engine that is off until it was measured, and one with all of them on."""
    names = [switch.name for switch in fields(EngineSettings) if switch.default is False]
    ways = [Way(f"{OURS}, {name}", EngineSettings(**{name: True})) for name in names]
    if len(names) > 1:
        ways.append(Way(f"{OURS}, {' and '.join(names)}", EngineSettings(**dict.fromkeys(names, True))))
    return ways


def of_pages() -> list[Way]:
    """Pages drawn by a process for each core, where there are more cores than processes by default."""
    cores = core_count()
    return [Way(f"{OURS}, readers={cores}", readers=cores)] if cores > _MOST_READERS else []
