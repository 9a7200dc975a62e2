"""A table of LanceDB that embeds the pictures that are added, and is searched by text.

python examples/integrations/with_lancedb.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import lancedb
from lancedb.pydantic import LanceModel

from vlm2vec.integrations.lancedb import VLM2VecEmbeddings
from vlm2vec.world.samples import write_samples

folder = Path(tempfile.mkdtemp())
write_samples(folder / "files")
(folder / "files" / "broken.jpg").write_bytes(b"no picture")

# With another model: create(model="VLM2Vec/VLM2Vec-V2.0", ...).
function = VLM2VecEmbeddings.create(source="image", allow_files=True)


class Picture(LanceModel):
    path: str = function.SourceField()
    vector: list[float] = function.VectorField()


table = lancedb.connect(folder / "base").create_table("pictures", schema=Picture)
paths = [path for path in (folder / "files").iterdir() if path.suffix in (".jpg", ".png")]
table.add([{"path": str(path)} for path in paths], on_bad_vectors="null")

for row in table.search("a large blue diamond").limit(2).to_list():
    print(f"{1 - row['_distance'] / 2:.3f}  {Path(row['path']).name}")
for row in table.search().where("vector IS NULL").to_list():
    print(f"no vector: {Path(row['path']).name}")
