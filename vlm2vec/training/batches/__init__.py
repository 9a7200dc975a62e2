"""Which rows make a batch: sub-batches by source, and the rows themselves, read ahead."""
