"""`python -m vlm2vec` is the `vlm2vec` command."""

from __future__ import annotations

from vlm2vec.cli import main

main()
