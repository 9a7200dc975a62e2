"""Adapters for programs that users already have: one module for each, imported only when asked for.

Each needs an extra of its own name, as `pip install ".[langchain]"` in a clone. `docs/integrations` has their
pages.
"""
