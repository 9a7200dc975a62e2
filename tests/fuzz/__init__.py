"""A fuzzer for everything that reads what others wrote: `python -m tests.fuzz image --minutes 5`."""
