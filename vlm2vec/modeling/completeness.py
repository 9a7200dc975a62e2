"""Weights must fit the network exactly; transformers and peft only warn where they do not."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from vlm2vec.errors import CheckpointError

__all__ = ["require_complete"]


def require_complete(
    folder: Path, *, missing: Iterable[str], unexpected: Iterable[str], misshapen: Iterable[str] = ()
) -> None:
    """Refuse weights that do not fit the network exactly: random or dropped weights give wrong vectors."""
    complaints = [
        f"{len(keys)} {kind} ({', '.join(keys[:3])}{', ...' if len(keys) > 3 else ''})"
        for kind, keys in (
            ("missing", sorted(missing)),
            ("unexpected", sorted(unexpected)),
            ("of another shape", sorted(misshapen)),
        )
        if keys
    ]
    if complaints:
        raise CheckpointError(
            f"the weights do not fit the model: {'; '.join(complaints)}",
            fix="Check that the folder is complete and of the model it claims to be.",
            source=str(folder),
        )
