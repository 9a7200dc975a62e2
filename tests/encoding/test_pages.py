import io

import PIL.Image
import pytest

from vlm2vec.encoding.pages import expand_documents
from vlm2vec.errors import InputError, LimitError, MediaError
from vlm2vec.inputs.parts import Document, Input, Text
from vlm2vec.media import documents
from vlm2vec.media.limits import Limits
from vlm2vec.media.source import Source


def document(count=5, pages=None):
    file, page = io.BytesIO(), PIL.Image.new("RGB", (100, 140), "white")
    page.save(file, "PDF", save_all=True, append_images=[page] * (count - 1))
    return Document(Source.from_bytes(file.getvalue()), pages)


def expanded(*parts, limits=None):
    return expand_documents(Input(parts), limits or Limits()).parts


@pytest.mark.parametrize(
    ("pages", "expected"), [(None, [1, 2, 3, 4, 5]), (3, [3]), ("4-", [4, 5]), ((5, 1), [5, 1])]
)
def test_a_document_becomes_one_part_a_page(pages, expected):
    parts = expanded(Text("a"), document(pages=pages), Text("b"))
    assert [part.pages for part in parts[1:-1]] == [(page,) for page in expected]
    assert (parts[0], parts[-1]) == (Text("a"), Text("b"))


def test_what_is_expanded_stays_as_it_is():
    once = expand_documents(Input((document(),)), Limits())
    twice = expand_documents(once, Limits())
    assert [part.pages for part in twice.parts] == [part.pages for part in once.parts]


def test_the_file_is_not_opened_for_a_single_page(monkeypatch):
    parts = (document(pages=2), document(pages=(3,)))
    monkeypatch.setattr(documents, "_read", lambda *_: pytest.fail("opened"))
    assert [part.pages for part in expanded(*parts)] == [(2,), (3,)]


def test_too_many_pages_must_be_chosen_from():
    with pytest.raises(LimitError, match="5 pages, more than the 4"):
        expanded(document(), limits=Limits(max_pages=4))
    assert len(expanded(document(pages="1-5"), limits=Limits(max_pages=4))) == 5


def test_a_selection_that_does_not_fit_is_an_error():
    with pytest.raises(InputError, match="no page 6"):
        expanded(document(pages="5-6"))
    with pytest.raises(MediaError, match="not a PDF"):
        expanded(Document(Source.from_bytes(b"<html>")))
