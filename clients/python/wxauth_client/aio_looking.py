"""Looks at the files of an AsyncAuthClient in a thread: its event loop never waits for them.

The twin for threads needs none: Access.look holds up one of them at most.
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress

from wxauth_client.access import Access


class AsyncLooks:
    """At most one look at a time, in one event loop."""

    def __init__(self, access: Access) -> None:
        self._access = access
        # Set when the look that is under way has ended, or nobody is to wait for it any more.
        self._over: asyncio.Event | None = None

    async def look(self, timeout_s: float) -> None:
        """Have the files looked at, if that is due and is not being done.

        The call that begins a look waits for it, so long at most: it may be the first
        one for days, when what there is has expired. The others go on with what there is.
        """
        if self._over is None and self._access.is_due:
            self._over = over = asyncio.Event()
            if self._begin(asyncio.get_running_loop()):
                with suppress(TimeoutError):
                    async with asyncio.timeout(timeout_s):
                        await over.wait()

    def close(self) -> None:
        """Let nobody wait. A look that hangs goes on by itself."""
        if self._over is not None:
            self._over.set()

    def _begin(self, loop: asyncio.AbstractEventLoop) -> bool:
        def look() -> None:
            try:
                self._access.look()
            finally:
                with suppress(RuntimeError):  # the loop was closed meanwhile
                    loop.call_soon_threadsafe(self._end)

        # No executor, whose threads the end of the loop or of the process waits for.
        thread = threading.Thread(target=look, name="wxauth-files", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # this machine has no thread left: the next call tries again
            self._end()
            return False
        return True

    def _end(self) -> None:
        if self._over is not None:
            self._over.set()
            self._over = None
