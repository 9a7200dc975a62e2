"""Qwen2-VL on packed rows: attention, positions, the forward pass, and loading checkpoints."""
