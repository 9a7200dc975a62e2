"""Two prompts around one medium: the form of most video and page data sets."""

from __future__ import annotations

import string
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["PromptPair"]


@dataclass(frozen=True)
class PromptPair:
    """The exact prompts of a pair, and which of them shows the medium.

    Rows hold raw prompts, to which nothing is added, so that the tokens are those of the original code.

    Attributes:
        query: The query's prompt; `{name}` stands for a field of the record.
        document: The document's.
        medium: Which of the two has the picture or clip.
        key: The media key it is passed under.

    Example:
        >>> pair = PromptPair("<|image_pad|> {text}", "{answer}", medium="query", key="images")
        >>> pair.row({"text": "What is it?", "answer": "A cat."}, [b"..."])
        {'query': {'prompt': '<|image_pad|> What is it?', 'images': [b'...']},
         'document': {'prompt': 'A cat.'}}
    """

    query: str
    document: str
    medium: Literal["query", "document"]
    key: Literal["images", "video"]

    def row(self, fields: Mapping[str, str | None], medium: Any) -> dict[str, Any]:
        """The row of a record; a side one of whose fields is empty is `None`, for the check of rows to find.

        Args:
            fields: Texts of the record.
            medium: The picture or clip; `None` if the record has none.
        """
        row: dict[str, Any] = {}
        for side, template in (("query", self.query), ("document", self.document)):
            names = [name for _, name, _, _ in string.Formatter().parse(template) if name]
            row[side] = None
            if all(fields[name] for name in names):
                row[side] = {"prompt": template.format_map(fields)}
                if side == self.medium and medium is not None:
                    row[side][self.key] = medium
        return row
