"""From parsed inputs to vectors: lay out the prompt, prepare, pack, and encode row by row."""
