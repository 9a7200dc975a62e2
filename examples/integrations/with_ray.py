"""Encode a corpus with Ray Data, stop half way, and go on; broken files cost their own rows.

python examples/integrations/with_ray.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import ray

from vlm2vec import VLM2Vec, read_vectors
from vlm2vec.integrations.ray import encode_dataset
from vlm2vec.world.samples import write_samples


def main(query: str = "a large blue diamond in the top right") -> None:
    work = Path(tempfile.mkdtemp())
    write_samples(work / "samples")
    (work / "samples" / "broken.jpg").write_bytes(b"no picture")
    files = sorted(str(path) for path in (work / "samples").glob("*.jpg"))

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    for count in (len(files) // 2, len(files)):  # the second call goes on
        dataset = ray.data.from_items([{"file": file} for file in files[:count]])
        report = encode_dataset(dataset, "file", paths=True, output=work / "vectors")
        print(f"{report.kept} were there, {report.encoded} encoded, {report.failed} failed")
    ray.shutdown()

    vectors, rows = read_vectors(work / "vectors")
    scores = vectors @ VLM2Vec().encode_query(query)
    scores[[row.error is not None for row in rows]] = -1
    print(f"{query!r}: {Path(rows[scores.argmax()].source).name}")


if __name__ == "__main__":
    main()
