"""A real database server of a test run's own: in a temporary directory, on the loopback only.

Not as root, which they refuse, and ended by its process id. What each needs is
in mariadb_server.py and postgres_server.py.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.certificates import CA, SERVER, SERVER_KEY, write_certificates

#: How long it may take to start or to stop.
PATIENCE_S = 60


class DatabaseServer(ABC):
    """A server that runs from `start` to `stop`. Its data survive both."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port: int = listener.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def create(self) -> None:
        """Make the files of an empty server."""

    @abstractmethod
    def command(self) -> Sequence[str]:
        """What runs it, in the foreground."""

    @abstractmethod
    def administer(self, *statements: str, database: str = "") -> None:
        """Run statements as the one who may do everything."""

    @property
    def ca_file(self) -> Path:
        """The authority that its certificate for 127.0.0.1 is from."""
        return self.directory / CA

    @property
    def certificate_files(self) -> tuple[Path, Path]:
        """Its certificate and the key of that."""
        return self.directory / SERVER, self.directory / SERVER_KEY

    @property
    @abstractmethod
    def stop_signal(self) -> signal.Signals:
        """What ends it at once, its clients' calls too."""

    @property
    def crash_signal(self) -> signal.Signals:
        """What ends it without a farewell to its clients."""
        return signal.SIGKILL

    def start(self) -> None:
        """Returns when it accepts connections."""
        notices = self.directory / "notify"
        notices.unlink(missing_ok=True)
        # Both servers tell systemd when they are ready; here we are systemd.
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
            listener.bind(str(notices))
            notices.chmod(0o777)
            listener.settimeout(0.2)
            with (self.directory / "log").open("ab") as log:
                self._process = subprocess.Popen(
                    self.command(),
                    cwd=self.directory,
                    env={**os.environ, "NOTIFY_SOCKET": str(notices)},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    user=unprivileged_user(),
                )
            end = time.monotonic() + PATIENCE_S
            while b"READY=1" not in _received(listener):
                assert self._process.poll() is None, self.said()
                assert time.monotonic() < end, self.said()

    def stop(self) -> None:
        """End it, if it runs."""
        self._end(self.stop_signal)

    def crash(self) -> None:
        """End it without a farewell to its clients."""
        self._end(self.crash_signal)

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """It keeps its connections and does nothing: a machine that hangs."""
        processes = self.processes()
        for process in processes:
            os.kill(process, signal.SIGSTOP)
        try:
            yield
        finally:
            for process in processes:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGCONT)

    def processes(self) -> list[int]:
        """The server's process and its children, the parent first."""
        assert self._process is not None
        parent = self._process.pid
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        return [parent, *map(int, children)]

    def said(self) -> str:
        """Its own log, for the one who looks into a failure."""
        return (self.directory / "log").read_text("utf-8", "replace")[-2000:]

    def run(self, *command: str) -> None:
        """Run a program of the server's to its end."""
        done = subprocess.run(
            command,
            cwd=self.directory,
            capture_output=True,
            encoding="utf-8",
            timeout=PATIENCE_S,
            user=unprivileged_user(),
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(how)
            self._process.wait(PATIENCE_S)
        self._process = None


@contextlib.contextmanager
def running(kind: type[DatabaseServer]) -> Iterator[DatabaseServer]:
    """A new server until the block ends; nothing is left of it."""
    # Short and for everybody to pass through: a socket's path has at most 107 bytes.
    directory = Path(tempfile.mkdtemp(prefix="wxauth-"))
    try:
        write_certificates(directory)
        if (user := unprivileged_user()) is not None:
            for path in (directory, *directory.iterdir()):
                shutil.chown(path, user)
        server = kind(directory)
        server.create()
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(directory)


def unprivileged_user() -> str | None:
    """Who runs the server: somebody else where the tests run as root."""
    return pwd.getpwnam("nobody").pw_name if os.geteuid() == 0 else None


def _received(listener: socket.socket) -> bytes:
    try:
        return listener.recv(4096)
    except TimeoutError:
        return b""
