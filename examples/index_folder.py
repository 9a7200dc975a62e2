"""Keep an index of a folder, and search in it: the second time nothing is encoded.

python examples/index_folder.py                            # on files drawn for it
python examples/index_folder.py my/files "a dog on a beach"
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from vlm2vec import Index
from vlm2vec.world.samples import write_samples


def main(folder: Path | None = None, query: str = "a large red ring moving down") -> None:
    if folder is None:
        folder = Path(tempfile.mkdtemp())
        write_samples(folder)
        (folder / "broken.pdf").write_bytes(b"%PDF-1.7 and then nothing")

    # Kept in FOLDER/.vlm2vec; stopped at any time, the next call goes on.
    index = Index(folder)
    print(index.sync())
    for failure in index.failures():
        print(f"left out: {failure}")
    print(f"again: {index.sync()}")

    print(f"{query!r} in {len(index)} rows:")
    for hit in index.search(query, k=3, per_file=1):
        print(f"  {hit.score:.3f}  {hit.name}, {hit.label}")


if __name__ == "__main__":
    arguments = sys.argv[1:]
    if len(arguments) not in (0, 2) or not all(Path(folder).is_dir() for folder in arguments[:1]):
        print("usage: index_folder.py [FOLDER QUERY]", file=sys.stderr)
        sys.exit(2)
    main(*(kind(word) for kind, word in zip((Path, str), arguments, strict=False)))
