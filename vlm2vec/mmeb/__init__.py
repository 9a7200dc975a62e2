"""MMEB-V2: the 78 tasks of the benchmark, and what scores a model on them.

Example:
    >>> from vlm2vec import mmeb
    >>> len(mmeb.list_tasks())
    78
    >>> round(mmeb.summarize(mmeb.published("VLM2Vec-V2.0", "table6").scores)["overall"], 2)
    58.06
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vlm2vec.mmeb import metrics
from vlm2vec.mmeb.averages import coverage, summarize
from vlm2vec.mmeb.published import published, published_means, published_names
from vlm2vec.mmeb.tasks import Task, get_task, list_tasks
from vlm2vec.notices import quiet_import

if TYPE_CHECKING:
    from vlm2vec.mmeb.data import check, download
    from vlm2vec.mmeb.encoders.served import ServedModel
    from vlm2vec.mmeb.evaluation import evaluate
    from vlm2vec.mmeb.results import Results
    from vlm2vec.mmeb.show import write_report

__all__ = [
    "Results",
    "ServedModel",
    "Task",
    "check",
    "coverage",
    "download",
    "evaluate",
    "get_task",
    "list_tasks",
    "metrics",
    "published",
    "published_means",
    "published_names",
    "summarize",
    "write_report",
]


# These need torch, or other libraries that take long, which are not loaded before they are needed.
_HOMES = {
    "Results": "vlm2vec.mmeb.results",
    "ServedModel": "vlm2vec.mmeb.encoders.served",
    "check": "vlm2vec.mmeb.data",
    "download": "vlm2vec.mmeb.data",
    "evaluate": "vlm2vec.mmeb.evaluation",
    "write_report": "vlm2vec.mmeb.show",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(quiet_import(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
