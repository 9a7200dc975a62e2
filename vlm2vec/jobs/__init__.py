"""Encoding jobs that can be stopped anywhere and go on: a folder of shards, and what reads it."""

from __future__ import annotations

from vlm2vec.jobs.encode_to import EncodingReport, encode_to
from vlm2vec.jobs.read import read_vectors, stream_vectors
from vlm2vec.jobs.shards import Row

__all__ = ["EncodingReport", "Row", "encode_to", "read_vectors", "stream_vectors"]
