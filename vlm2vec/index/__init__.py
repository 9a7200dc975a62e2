"""An index on disk that follows folders of files, and a search in it. The extra `index` brings LanceDB.

    walk -> segments -> encoder -> writer (rows, then manifest)      sync.py drives it
    encoder -> search over rows                                     search.py

Nothing here is imported by the rest of the package but the command line.
"""

from vlm2vec.index.ann import AnnReport
from vlm2vec.index.index import Index
from vlm2vec.index.manifest import Failure
from vlm2vec.index.search import Hit
from vlm2vec.index.settings import IndexSettings
from vlm2vec.index.stats import IndexStats
from vlm2vec.index.sync import SyncReport

__all__ = ["AnnReport", "Failure", "Hit", "Index", "IndexSettings", "IndexStats", "SyncReport"]
