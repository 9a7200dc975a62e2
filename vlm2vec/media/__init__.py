"""Bytes to pixels: images, videos and PDF pages, their sources and limits. Needs no torch."""
