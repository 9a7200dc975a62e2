"""Training rows: what one is, and finding the bad ones before training starts.

A row is a dict: `query`, `document` (the positive), optional `negatives` (a list), `query_instruction` and
`document_instruction`. Each of the inputs is anything that `encode` takes.
"""

from __future__ import annotations

import logging
import math
from array import array
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Unpack

from tqdm import tqdm

from vlm2vec.arguments import close_match
from vlm2vec.describe import describe_value, shorten
from vlm2vec.errors import InputError, MediaError, VLM2VecError
from vlm2vec.inputs.access import Allowed
from vlm2vec.inputs.parts import Input
from vlm2vec.sameness import identity
from vlm2vec.training.data.row_inputs import check_input
from vlm2vec.training.sources.data_frames import records_of
from vlm2vec.training.sources.lazy_rows import Records

__all__ = ["ROW_KEYS", "Row", "RowReport", "check_row", "check_rows", "read_row"]

logger = logging.getLogger(__name__)

ROW_KEYS = ("query", "document", "negatives", "query_instruction", "document_instruction")
"""The keys of a training row."""

_MEANT = {  # what other packages and data sets call these
    "anchor": "query",
    "question": "query",
    "qry": "query",
    "positive": "document",
    "pos": "document",
    "answer": "document",
    "passage": "document",
    "target": "document",
    "negative": "negatives",
    "neg": "negatives",
    "instruction": "query_instruction",
}


@dataclass(frozen=True, eq=False)
class Row:
    """A training row that was checked, its inputs parsed, with the row's instructions where they have none.

    Attributes:
        query: What is looked for.
        document: What should be found: the positive.
        negatives: What should not be found.
        query_instruction: What to represent the query for; `None` leaves it to the model.
        document_instruction: The same for the document and the negatives.
    """

    query: Input
    document: Input
    negatives: tuple[Input, ...] = ()
    query_instruction: str | None = None
    document_instruction: str | None = None


@dataclass(frozen=True)
class RowReport:
    """Which rows of a source are usable.

    Attributes:
        source: Name of the source.
        total: Rows looked at.
        kept: Positions of the usable ones, increasing.
        skipped: Number of rows left out, by reason.
    """

    source: str
    total: int
    kept: array[int] = field(repr=False)
    skipped: Mapping[str, int]

    def __str__(self) -> str:
        if not self.skipped:
            return f"{self.source}: {self.total:,} rows, all usable"
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in self.skipped.items())
        return f"{self.source}: skipped {self.total - len(self.kept):,} of {self.total:,} rows ({reasons})"


class _Problem(NamedTuple):
    reason: str  # the same for all rows that suffer from it
    error: VLM2VecError


def check_row(
    row: Any,
    *,
    source: str = "train",
    number: int = 0,
    open_files: bool = False,
    **allowed: Unpack[Allowed],
) -> Row:
    """The row, if it can be trained on.

    Args:
        row: A training row.
        source: Name of its source, for the error.
        number: Its position in the source, for the error.
        open_files: Also read the first bytes of each file.
        **allowed: `allow_urls` and `allow_files`, as `parse_input` takes them.

    Raises:
        InputError: A side is missing or empty, a key is unknown, the negatives are no list or hold the
            document, or an input has a form that cannot be embedded.
        MediaError: A file does not exist.

    Example:
        >>> check_row({"query": "a cat", "document": "a photo of a cat"}).document.describe()
        'text "a photo of a cat"'
        >>> check_row({"query": "a cat", "positive": "a photo"}, source="pets", number=7)
        Traceback (most recent call last):
        vlm2vec.errors.InputError: pets, row 7: unknown key "positive". Did you mean "document"? ...
    """
    checked = _checked(row, open_files=open_files, **allowed)
    if isinstance(checked, _Problem):
        raise checked.error.under(f"{source}, row {number}")
    return checked


def check_rows(
    rows: Records[Any],
    *,
    source: str = "train",
    on_error: Literal["raise", "skip"] = "raise",
    open_files: bool = False,
    show_progress_bar: bool = True,
    **allowed: Unpack[Allowed],
) -> RowReport:
    """Look at every row before training.

    Args:
        rows: A list of rows, a table of pandas or pyarrow, or any sequence; read one by one and not kept.
        source: Its name, for errors and the summary.
        on_error: "raise" stops at the first bad row; "skip" leaves bad rows out, counts them by reason and
            logs one line.
        open_files: Also read the first bytes of each file.
        show_progress_bar: Show one when it takes longer than two seconds and a terminal is there.
        **allowed: `allow_urls` and `allow_files`, as `parse_input` takes them.

    Raises:
        VLM2VecError: A row is bad and `on_error` is "raise", or no row is left.

    Example:
        >>> rows = [{"query": "a cat", "document": "a photo"}, {"document": "a photo"}]
        >>> print(check_rows(rows, source="pets", on_error="skip"))
        pets: skipped 1 of 2 rows (1 without a query)
    """
    if on_error not in ("raise", "skip"):
        raise InputError(f"on_error is {describe_value(on_error)}", fix='Pass "raise" or "skip".')
    rows = records_of(rows)
    kept, skipped = array("q"), Counter[str]()
    first_error: VLM2VecError | None = None
    disable = None if show_progress_bar else True  # None: silent unless there is a terminal
    for number in tqdm(range(len(rows)), desc=f"Checking {source}", disable=disable, delay=2, leave=False):
        try:
            checked = _checked(read_row(rows, number), open_files=open_files, **allowed)
        except VLM2VecError as error:
            checked = _Problem("with an unreadable record", error)
        if isinstance(checked, Row):
            kept.append(number)
            continue
        skipped[checked.reason] += 1
        first_error = first_error or checked.error.under(f"{source}, row {number}")
        if on_error == "raise":
            raise first_error
    report = RowReport(source, len(rows), kept, dict(skipped))
    if first_error is not None:
        logger.warning("%s; the first is %s", report, first_error)
    if not kept:
        raise InputError(
            f"no row is usable: {report}" if len(rows) else "there are no rows",
            fix=f"The first error is: {first_error}" if first_error else "Pass at least one row.",
            source=source,
        )
    return report


def read_row(rows: Records[Any], number: int) -> Any:
    """The record at a position; what reading it raises is one of our errors.

    Raises:
        VLM2VecError: A loader refuses the record, its file cannot be read, or its picture not decoded.

    Example:
        >>> read_row([{"query": "a cat", "document": "a photo"}], 0)["query"]
        'a cat'
    """
    try:
        return rows[number]
    except VLM2VecError:
        raise
    except (OSError, ValueError) as error:  # of files, of Pillow, of Arrow
        raise MediaError(f"the record cannot be read ({error})", fix="Mend it, or leave it out.") from error


def _checked(row: Any, *, open_files: bool, **allowed: Unpack[Allowed]) -> Row | _Problem:
    """The row, or what is wrong with it first of all."""
    if not isinstance(row, Mapping):
        cause = f"a row is {describe_value(row)}, not a dict"
        return _problem("of another form", cause, 'Pass {"query": ..., "document": ...}.')
    if unknown := [key for key in row if key not in ROW_KEYS]:
        return _unknown_key(unknown[0])
    negatives = row.get("negatives")
    if negatives is not None and not isinstance(negatives, (list, tuple)):
        cause = f'"negatives" is {describe_value(negatives)}, not a list'
        return _problem("whose negatives are no list", cause, "Pass a list, [negative].")
    inputs = [("query", row.get("query")), ("document", row.get("document"))]
    inputs += [(f"negative {i}", negative) for i, negative in enumerate(negatives or ())]
    parsed: list[Input] = []
    for name, value in inputs:
        instruction = row.get("query_instruction" if name == "query" else "document_instruction")
        if problem := _absence(name, value):
            return problem
        try:
            parsed.append(check_input(value, instruction=instruction, open_files=open_files, **allowed))
        except VLM2VecError as error:
            return _unusable(name, error)
    query, document, *others = parsed
    own = identity(document) if others else None
    for i, negative in enumerate(others):
        if identity(negative) == own:
            cause = f"negative {i} is the document itself"
            return _problem("whose negative is the document", cause, "Leave it out of the negatives.")
    return Row(query, document, tuple(others), row.get("query_instruction"), row.get("document_instruction"))


def _problem(reason: str, cause: str, fix: str) -> _Problem:
    return _Problem(reason, InputError(cause, fix=fix))


def _absence(name: str, value: Any) -> _Problem | None:
    kind = name.split(maxsplit=1)[0]
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return _problem(
            f"without a {kind}", f"the row has no {name}", f'Give "{kind}", or leave the row out.'
        )
    content = value.strip() if isinstance(value, str) else value
    empty = isinstance(content, (str, bytes, list, tuple, Mapping)) and not len(content)
    if empty or (isinstance(value, Mapping) and set(value) <= {"text", "prompt"} and not any(value.values())):
        return _problem(f"with an empty {kind}", f"the {name} is empty", "Fill it, or leave the row out.")
    return None


def _unusable(name: str, error: VLM2VecError) -> _Problem:
    missing = isinstance(error, MediaError)
    reason = "with a missing or broken file" if missing else f"with an unusable {name.split(maxsplit=1)[0]}"
    described = f"{name} ({shorten(error.source)})" if error.source else name
    return _Problem(reason, type(error)(f"{described}: {error.cause}", fix=error.fix))


def _unknown_key(key: Any) -> _Problem:
    reason, fix = "with an unknown key", f"The keys are {', '.join(ROW_KEYS)}."
    if not isinstance(key, str):
        return _problem(reason, f"a key is {describe_value(key)}, not a string", fix)
    meant = _MEANT.get(key.lower()) or close_match(key[:30].lower(), ROW_KEYS)
    fix = f'Did you mean "{meant}"? {fix}' if meant else fix
    return _problem(reason, f'unknown key "{shorten(key, 30)}"', fix)
