"""Which rows make a batch: sub-batches by source, smart batches, and the rows themselves, read ahead."""
