"""MMEB-V2: the 78 tasks of the benchmark, and what scores a model on them."""
