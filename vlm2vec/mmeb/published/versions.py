"""Which publications there are, and where the data behind their numbers differ."""

from __future__ import annotations

from dataclasses import dataclass

from vlm2vec.errors import InputError

__all__ = ["Version", "version_names", "version_of"]


@dataclass(frozen=True)
class Version:
    """One publication of the scores of all eight models.

    Attributes:
        name: What it is asked for by.
        source: Where the numbers come from, and what is odd about them.
        moment_seeker: Queries of MomentSeeker: 1,800 with 413 pairs of duplicates, or 1,602 without.
        pages_fixed: Whether the labels of ViDoSeek-page and MMLongBench-page name the right pages; in older
            data they are off by one page.
    """

    name: str
    source: str
    moment_seeker: int
    pages_fixed: bool

    def data(self, task: str) -> str:
        """Which data of a task its scores are of; "" where there is only one.

        Example:
            >>> version_of("v2.0.0").data("MomentSeeker")
            '1,800 queries'
        """
        if task == "MomentSeeker":
            return f"{self.moment_seeker:,} queries"
        if task in {"ViDoSeek-page", "MMLongBench-page"}:
            return "page labels fixed" if self.pages_fixed else "page labels off by one"
        return ""


_VERSIONS = {
    version.name: version
    for version in (
        Version(
            "table6",
            "Table 6 of the VLM2Vec-V2 paper (one decimal): the scores of v2.0.0, MomentSeeker's of v2.0.1",
            1602,
            False,
        ),
        Version("v2.0.0", "public score files v2.0.0 (June 2025)", 1800, False),
        Version("v2.0.1", "public score files v2.0.1 (August 2025): all run anew", 1602, False),
        Version(
            "v2.1",
            "public score files v2.1-baselines-visdoc-page-fixed (December 2025): v2.0.1 with the two page "
            "tasks run on fixed labels, without ViDoSeek-doc and MMLongBench-doc",
            1602,
            True,
        ),
        Version(
            "newest",
            "public score files v2.1-baselines-visdoc-page-fixed (December 2025), ViDoSeek-doc and "
            "MMLongBench-doc from v2.0.1",
            1602,
            True,
        ),
    )
}
_ALIASES = {"paper": "table6", "table 6": "table6", "v2.1-baselines-visdoc-page-fixed": "v2.1"}


def version_names() -> list[str]:
    """The publications that `published` knows, oldest first.

    Example:
        >>> version_names()
        ['table6', 'v2.0.0', 'v2.0.1', 'v2.1', 'newest']
    """
    return list(_VERSIONS)


def version_of(name: str) -> Version:
    """The publication of that name.

    Raises:
        InputError: There is none.

    Example:
        >>> version_of("v2.1-baselines-visdoc-page-fixed").name
        'v2.1'
    """
    key = _ALIASES.get(name.lower(), name.lower())
    if key not in _VERSIONS:
        raise InputError(
            f"there is no published version {name!r}", fix=f"Choose one of {', '.join(_VERSIONS)}."
        )
    return _VERSIONS[key]
