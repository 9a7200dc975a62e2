"""Forms of requests that clients of servers send, one file each: JSON in, `Asked` out, and JSON back.

`SHAPES` has one for each route. `/v1/embeddings` takes six, which `embeddings.shape_of` tells apart.
"""

from vlm2vec.serve.shapes import cohere, embeddings, nomic, voyage
from vlm2vec.serve.shapes.shape import Shape, ShapeError

__all__ = ["SHAPES", "Shape", "ShapeError"]

SHAPES: tuple[Shape, ...] = (embeddings.SHAPE, cohere.SHAPE, voyage.SHAPE, nomic.SHAPE)
