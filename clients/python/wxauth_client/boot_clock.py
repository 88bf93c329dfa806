"""The clock that leases are counted on."""

from __future__ import annotations

import sys
import time

if sys.platform == "linux":
    _CLOCK = time.CLOCK_BOOTTIME
else:
    _CLOCK = time.CLOCK_MONOTONIC


def boot_time_s() -> float:
    """Seconds since some moment before: nobody sets it, and it goes on in a machine's sleep.

    `time.monotonic` stands still while a Linux machine is suspended, and a lease would
    outlive its time by as long.
    """
    return time.clock_gettime(_CLOCK)
