"""What a checkpoint says of the run beyond transformers' own files, and which checkpoints are complete."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vlm2vec.arguments import is_number, possible_path
from vlm2vec.atomic_write import replacing
from vlm2vec.describe import shorten
from vlm2vec.errors import CheckpointError, InputError
from vlm2vec.json_file import read_json

__all__ = ["RunState", "cut_off_checkpoint", "newest_checkpoint"]

_NAME = "vlm2vec_run.json"


@dataclass(frozen=True)
class RunState:
    """Where a run stands.

    Written last of all files of a checkpoint, so that one without it was cut off.

    Attributes:
        sampler: The sampler's state, at the batch that comes next.
        log_temperature: Of the loss.
        settings: What else decides what is learned, by name.
    """

    sampler: Mapping[str, Any]
    log_temperature: float
    settings: Mapping[str, Any]

    def _check(self) -> None:
        """Raise TypeError where a value is not of the form that is written."""
        if not (isinstance(self.sampler, dict) and isinstance(self.settings, dict)):
            raise TypeError("its sampler or its settings are no mapping")
        if not is_number(self.log_temperature):
            raise TypeError("its temperature is no number")

    def check_settings(self, settings: Mapping[str, Any]) -> None:
        """Raise unless a run that goes on has the settings that it began with.

        Raises:
            InputError: One of them is another.
        """
        for name, value in settings.items():
            if name in self.settings and self.settings[name] != value:
                raise InputError(
                    f"{name} is {value}, and the run began with {shorten(str(self.settings[name]))}",
                    fix="Resume with the settings of the run, or begin another in its own output_dir.",
                )

    def save(self, folder: Path) -> None:
        """Write the file, in one go."""
        with replacing(folder / _NAME) as unfinished, unfinished.open("w", encoding="utf-8") as file:
            json.dump(asdict(self), file)
            file.flush()
            os.fsync(file.fileno())

    @classmethod
    def load(cls, folder: Path) -> RunState:
        """Read the file of a checkpoint.

        Raises:
            CheckpointError: There is none.
        """
        try:
            found = cls(**read_json(folder / _NAME))
            found._check()
        except (OSError, ValueError, TypeError) as error:
            raise CheckpointError(
                f"this is no complete checkpoint of a run ({shorten(str(error), 200)})",
                fix="Resume from a folder named checkpoint-N that fit() has written.",
                source=str(folder),
            ) from error
        return found


def newest_checkpoint(output_dir: Path) -> Path | None:
    """The complete checkpoint of most steps in a run's folder."""
    found = [folder for folder in _checkpoints(output_dir) if (folder / _NAME).is_file()]
    return found[-1] if found else None


def cut_off_checkpoint(output_dir: Path) -> Path | None:
    """A checkpoint of more steps than the newest complete one, which was not written to its end."""
    found = _checkpoints(output_dir)
    return found[-1] if found and not (found[-1] / _NAME).is_file() else None


def _checkpoints(output_dir: Path) -> list[Path]:
    """Those of fewer steps first."""
    found = {
        int(folder.name.rpartition("-")[2]): folder
        for folder in possible_path(output_dir).glob("checkpoint-*")
        if folder.name.rpartition("-")[2].isdecimal()
    }
    return [found[steps] for steps in sorted(found)]
