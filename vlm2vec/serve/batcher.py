"""`Batcher`: inputs of requests that wait are encoded together, by one thread that has the model."""
