"""The loss: InfoNCE over the batches of all ranks, in chunks."""
