"""Networks, a folder each, found by the `model_type` of a configuration, and the packed forward of all."""
