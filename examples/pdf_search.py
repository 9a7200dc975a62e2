"""Search PDFs page by page, without OCR, and go on when a file is broken.

python examples/pdf_search.py                        # on PDFs drawn for it
python examples/pdf_search.py my/papers "a table of results"
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from vlm2vec import VLM2Vec, pdf_pages
from vlm2vec.world.samples import write_samples


def main(folder: Path | None = None, query: str | None = None) -> None:
    if folder is None:
        folder = Path(tempfile.mkdtemp())
        query = write_samples(folder)[-1].caption
        (folder / "broken.pdf").write_bytes(b"%PDF-1.7 and then nothing")

    # Counts the pages; each is drawn when it is encoded. A file that cannot be opened is one page that fails.
    pages = [page for path in sorted(folder.glob("*.pdf")) for page in pdf_pages(path)]

    model = VLM2Vec()
    # A page that cannot be drawn costs its own row, not the job: -inf is its similarity to any query.
    vectors = model.encode_document(pages, on_error=lambda _, error: print(f"left out: {error}"))
    scores = model.similarity(model.encode_query(query), vectors)[0]

    print(f"{query!r} in {len(pages)} pages:")
    for place in scores.argsort(descending=True)[:3].tolist():
        if scores[place].isfinite():
            print(f"  {scores[place]:.3f}  {pages[place]}")


if __name__ == "__main__":
    arguments = sys.argv[1:]
    if len(arguments) not in (0, 2) or not all(Path(folder).is_dir() for folder in arguments[:1]):
        print("usage: pdf_search.py [FOLDER QUERY]", file=sys.stderr)
        sys.exit(2)
    main(*(kind(word) for kind, word in zip((Path, str), arguments, strict=False)))
