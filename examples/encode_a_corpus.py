"""Embed a corpus into a folder, stop, and go on; then search it.

python examples/encode_a_corpus.py                   # on samples drawn for it
python examples/encode_a_corpus.py my/photos "a dog on a beach"
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from vlm2vec import VLM2Vec, encode_to, read_vectors
from vlm2vec.world.samples import write_samples


def main(folder: Path | None = None, query: str = "a large blue diamond in the top right") -> None:
    work = Path(tempfile.mkdtemp())
    if folder is None:
        folder = work / "samples"
        write_samples(folder)
    pictures = [path for path in sorted(folder.iterdir()) if path.suffix in (".jpg", ".png")]
    model = VLM2Vec()

    def interrupted() -> Iterator[Path]:
        yield from pictures[: len(pictures) // 2]
        raise KeyboardInterrupt

    try:
        encode_to(work / "vectors", interrupted(), model=model, rows_per_shard=2)
    except KeyboardInterrupt:
        print("stopped in the middle")
    # The same call goes on. On several machines, each would do its share: part=(1, 4), part=(2, 4), ...
    report = encode_to(work / "vectors", pictures, model=model)
    print(f"{report.kept} were there, {report.encoded} encoded, {report.failed} failed")
    for row in report.failures():
        print(f"left out: {row.source}: {row.error}")

    vectors, rows = read_vectors(work / "vectors")
    scores = np.nan_to_num(vectors @ model.encode_query(query), nan=-np.inf)
    print(f"{query!r}:")
    for place in scores.argsort()[::-1][:3]:
        print(f"  {scores[place]:.3f}  {Path(rows[place].source).name}")


if __name__ == "__main__":
    arguments = sys.argv[1:]
    if len(arguments) not in (0, 2) or not all(Path(folder).is_dir() for folder in arguments[:1]):
        print("usage: encode_a_corpus.py [FOLDER QUERY]", file=sys.stderr)
        sys.exit(2)
    main(*(kind(word) for kind, word in zip((Path, str), arguments, strict=False)))
