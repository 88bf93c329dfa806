"""bcrypt for callers in threads of other pools, in the pool that is for it."""

from __future__ import annotations

from wxauth_server.accounts.passwords import PasswordHasher
from wxauth_server.pools import BoundedPool


class HashesInPool:
    """A `Hashes`, whose bcrypt counts among those of the logins."""

    def __init__(self, hasher: PasswordHasher, pool: BoundedPool) -> None:
        self._hasher = hasher
        self._pool = pool

    def hash(self, password: str) -> str:
        """The stored form. Blocking: waits its turn. Raises: Overloaded."""
        return self._pool.run_and_wait(self._hasher.hash, password)
