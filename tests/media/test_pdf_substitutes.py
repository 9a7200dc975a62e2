import random
import subprocess
import sys
from functools import partial

import numpy as np
import pypdfium2
import pytest
from pdf_making import cjk_font, features, simple_font

from vlm2vec.media.pdf import render_page
from vlm2vec.media.pdf_substitutes import reset_substitutes
from vlm2vec.media.pixels import PixelRules
from vlm2vec.media.source import Source

pytestmark = pytest.mark.filterwarnings("ignore::vlm2vec.errors.VLM2VecWarning")
RULES = PixelRules(max_pixels=56 * 112)


def documents() -> list[bytes]:
    """Fonts that are not in the file, of all weights, widths and kinds, and other pages between them."""
    made = [
        simple_font(name, kind, flags=flags, stem=stem, width=width, encoding=encoding)
        for name in ("Tahoma", "Qwertz", "Helvetica", "ArialMT", "Times-Bold", "Symbol", "ZapfDingbats")
        for kind in ("Type1", "TrueType")
        for flags, stem, width, encoding in (
            (32, 0, 0, "WinAnsi"),
            (32, 30, 250, "WinAnsi"),
            (34, 220, 900, "WinAnsi"),
            (34, 150, 0, "MacRoman"),
            (4, 80, 0, ""),
            (4, 80, 0, "WinAnsi"),
        )
    ]
    made += [
        cjk_font(name, "UniGB-UCS2-H", "GB1", b"<0041004200434E2D>", stem=stem)
        for name in ("STSong-Light", "Qwertz")
        for stem in (40, 200)
    ]
    return made + list(features().values())[::9]


def drawn(data: bytes) -> bytes:
    return render_page(Source.from_bytes(data), 1, RULES).tobytes()


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Each page as it is drawn straight after PDFium was started anew.

    In a process of its own: documents that are open when PDFium ends, such as the canvas that drawn pages
    share, point nowhere afterwards.
    """
    folder = tmp_path_factory.mktemp("documents")
    found = documents()
    for i, data in enumerate(found):
        (folder / f"{i}.pdf").write_bytes(data)
    code = (
        "import sys; from pathlib import Path; import pypdfium2.raw as pdfium\n"
        "from vlm2vec.media.pdf import render_page; from vlm2vec.media.pixels import PixelRules\n"
        "from vlm2vec.media.source import Source\n"
        "for path in Path(sys.argv[1]).glob('*.pdf'):\n"
        "    pdfium.FPDF_DestroyLibrary()\n"
        "    pdfium.FPDF_InitLibrary()\n"
        "    picture = render_page(Source.from_path(path), 1, PixelRules(max_pixels=56 * 112))\n"
        "    path.with_suffix('.rgb').write_bytes(picture.tobytes())"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", code, str(folder)], check=True)
    pictures = [(folder / f"{i}.rgb").read_bytes() for i in range(len(found))]
    assert len(set(pictures)) > 20
    return list(zip(found, pictures, strict=True))


@pytest.mark.parametrize("seed", range(3))
def test_a_page_does_not_depend_on_what_was_drawn_before(pages, seed):
    order = pages * 2
    random.Random(seed).shuffle(order)  # noqa: S311
    assert [drawn(data) for data, _ in order] == [picture for _, picture in order]


def test_nor_on_documents_that_the_caller_holds_open_and_those_stay_whole(pages):
    held = [pypdfium2.PdfDocument(data) for data, _ in pages[::4]]
    before = [document[0].render().to_numpy() for document in held]
    for data, picture in pages:
        assert drawn(data) == picture
    for document, page in zip(held, before, strict=True):
        assert len(document) == 1
        assert document[0].render().to_numpy().shape == page.shape
        document.close()


def test_without_the_reset_it_does(pages, monkeypatch):
    monkeypatch.setattr("vlm2vec.media.pdf.reset_substitutes", lambda: None)
    assert any(drawn(data) != picture for data, picture in pages)


def test_the_reset_works_as_often_as_it_is_called():
    page, other = simple_font("Tahoma", stem=0), simple_font("Qwertz", stem=220, width=900)
    first = drawn(page)
    with pypdfium2.PdfDocument(page) as held:
        held[0].render()
        for _ in range(30):
            drawn(other)
            assert drawn(page) == first


def test_a_new_process_draws_the_same(tmp_path):
    page = simple_font("Tahoma", stem=0)
    (tmp_path / "page.pdf").write_bytes(page)
    drawn(simple_font("Qwertz", stem=220, width=900))
    code = (
        "import sys; from pathlib import Path; from vlm2vec.media.pdf import render_page\n"
        "from vlm2vec.media.pixels import PixelRules; from vlm2vec.media.source import Source\n"
        "picture = render_page(Source.from_path(Path(sys.argv[1])), 1, PixelRules(max_pixels=56 * 112))\n"
        "sys.stdout.buffer.write(picture.tobytes())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "page.pdf")], capture_output=True, check=True
    )
    assert done.stdout == drawn(page)


def test_the_faces_are_as_a_new_process_finds_them():
    """Within a thousandth of an em: their weight can be set to 470, and is 469 at first."""
    draw = partial(simple_font, "Tahoma", stem=0)
    reset_substitutes()
    picture = np.frombuffer(drawn(draw()), np.uint8).astype(int)
    code = (
        "import sys; import vlm2vec.media.pdf as pdf; pdf.reset_substitutes = lambda: None\n"
        "from vlm2vec.media.pixels import PixelRules; from vlm2vec.media.source import Source\n"
        "page = Source.from_bytes(sys.stdin.buffer.read())\n"
        "sys.stdout.buffer.write(pdf.render_page(page, 1, PixelRules(max_pixels=56 * 112)).tobytes())"
    )
    done = subprocess.run([sys.executable, "-c", code], input=draw(), capture_output=True, check=True)
    untouched = np.frombuffer(done.stdout, np.uint8).astype(int)
    assert np.abs(picture - untouched).mean() < 2  # and 26 at the weight of other text
