"""`read`: the tables of published numbers beside this file."""

from __future__ import annotations

import csv
from importlib.resources import files

__all__ = ["read"]


def read(name: str) -> list[dict[str, str]]:
    """The rows of a table of facts beside this file."""
    return list(csv.DictReader(files(__package__).joinpath(name).read_text(encoding="utf-8").splitlines()))
