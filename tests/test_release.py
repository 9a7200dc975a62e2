"""`.ci/release` refuses a commit that cannot be released, before it builds anything."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

import vlm2vec

ROOT = Path(__file__).parent.parent
VERSION = vlm2vec.__version__
FILES = (".ci/release", "vlm2vec/_version.py", "CITATION.cff", "CHANGELOG.md")
DATED = f"## [Unreleased]\n\n## [{VERSION}] - 2026-12-01\n\n### Added\n\n- Something.\n"

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the script is for bash")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What the script reads of a commit that could be released, and that git does not know."""
    for name in FILES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "CHANGELOG.md").write_text(DATED, encoding="utf-8")
    return tmp_path


def refusal(checkout: Path, *arguments: str) -> str:
    command = [str(checkout / ".ci" / "release"), *arguments]
    no_repository = {**os.environ, "GIT_CEILING_DIRECTORIES": str(checkout.parent)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env=no_repository)
    assert done.returncode
    assert "==> wheel and sdist" not in done.stdout
    return done.stderr


def test_a_tag_of_another_version(checkout: Path) -> None:
    assert f"the tag is v9.9, and vlm2vec/_version.py has {VERSION}." in refusal(checkout, "v9.9")


def test_a_citation_of_another_version(checkout: Path) -> None:
    citation = checkout / "CITATION.cff"
    citation.write_text(citation.read_text(encoding="utf-8").replace(VERSION, "9.9"), encoding="utf-8")
    assert f"CITATION.cff has another version than {VERSION}." in refusal(checkout)


@pytest.mark.parametrize("heading", [f"## [{VERSION}]", f"## [{VERSION}.1] - 2026-12-01", "## [Unreleased]"])
def test_a_version_without_a_date_in_the_changelog(checkout: Path, heading: str) -> None:
    text = re.sub(r"## \[\d.*", heading, DATED)
    (checkout / "CHANGELOG.md").write_text(text, encoding="utf-8")
    assert f'CHANGELOG.md has no line "## [{VERSION}] - YYYY-MM-DD".' in refusal(checkout, f"v{VERSION}")


def test_entries_that_no_version_has(checkout: Path) -> None:
    text = DATED.replace("## [Unreleased]\n", "## [Unreleased]\n\n### Fixed\n\n- Something else.\n")
    (checkout / "CHANGELOG.md").write_text(text, encoding="utf-8")
    assert "CHANGELOG.md has entries under Unreleased." in refusal(checkout)


def test_changes_that_are_not_committed(checkout: Path) -> None:
    git = shutil.which("git") or pytest.skip("there is no git")
    subprocess.run([git, "init", "--quiet", str(checkout)], check=True)
    assert "there are changes that are not committed." in refusal(checkout, f"v{VERSION}")
