"""The page is small, whole in the package, and loads nothing from elsewhere."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

import pytest
from search_cases import searching
from serving_cases import ask

from vlm2vec import VLM2Vec

PAGE = Path(str(files("vlm2vec.serve"))) / "page"
NAMES = ("index.html", "page.css", "page.js")


def test_the_page_is_small() -> None:
    assert sorted(path.name for path in PAGE.iterdir()) == sorted(NAMES)
    assert sum(path.stat().st_size for path in PAGE.iterdir()) < 60_000


@pytest.mark.parametrize("name", NAMES)
def test_the_page_names_no_other_host(name: str) -> None:
    text = (PAGE / name).read_text(encoding="utf-8")
    assert not re.search(r"https?:|//[a-z0-9-]+\.|@import|url\(", text)


def test_the_page_needs_no_exception_of_its_policy() -> None:
    html = (PAGE / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"\sstyle=|\son[a-z]+=|<style|<script(?! src)", html)


def test_it_is_served_with_a_policy_that_lets_nothing_else_in(embedded: VLM2Vec) -> None:
    with searching(embedded, None) as app:
        for path, name in zip(("/", "/page.css", "/page.js"), NAMES, strict=True):
            answer = ask(app, "GET", path)
            assert answer.content == (PAGE / name).read_bytes()
            policy = answer.headers["content-security-policy"]
            assert "default-src 'none'; script-src 'self'; style-src 'self'" in policy
            assert "unsafe" not in policy
            assert "frame-ancestors 'none'" in policy
        tag = ask(app, "GET", "/").headers["etag"]
        assert ask(app, "GET", "/", headers={"If-None-Match": tag}).status_code == 304
