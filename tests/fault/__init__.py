"""Faults: killed processes, stalled neighbours, storms and races, with real processes.

Each test has a negative control: the same check on something unprotected must
fail, else the test proves nothing. None of them is ever retried. `--long` gives
the long form, which `make faults` runs.
"""
