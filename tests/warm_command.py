"""Forks for each `wxauth` command of a test, from an interpreter that has the modules loaded.

What forks is a process of its own with its own descriptors, variables and
directory, and runs the same function as the installed command; what it is spared is
0.7 s of CPU for imports, a thousand times over.

`python -m tests.warm_command FD`: the descriptor is a socket of datagrams. Each has
five descriptors with it: a file with the command as JSON, standard input, output and
error, and where to tell the process id and then the wait status, a line each.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import traceback
from typing import Any, NoReturn

DESCRIPTORS = 5


def main() -> None:
    """Fork until the socket is closed."""
    requests = socket.socket(fileno=int(sys.argv[1]))
    _load()
    # Nobody waits for the processes in between.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        message, descriptors, _, _ = socket.recv_fds(requests, 1, DESCRIPTORS)
        if not message:
            return
        if os.fork() == 0:
            requests.close()
            _supervise(*descriptors)
        for descriptor in descriptors:
            os.close(descriptor)


def _load() -> None:
    """What most commands import; no gRPC, whose threads a fork would lose."""
    import wxauth_server.accounts.imports.importing
    import wxauth_server.cli.commands
    import wxauth_server.development_ca
    import wxauth_server.key_rotation
    import wxauth_server.rpc.admin_calls
    import wxauth_server.store.opening  # noqa: F401 - they are loaded, that is all

    assert "grpc" not in sys.modules


def _supervise(command: int, stdin: int, stdout: int, stderr: int, told: int) -> NoReturn:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    child = os.fork()
    if child == 0:
        os.close(told)
        with open(command, encoding="utf-8") as file:
            read = json.load(file)
        for number, descriptor in enumerate((stdin, stdout, stderr)):
            os.dup2(descriptor, number)
            os.close(descriptor)
        os._exit(_run(read))
    os.write(told, b"%d\n" % child)
    _, status = os.waitpid(child, 0)
    os.write(told, b"%d\n" % status)
    os._exit(0)


def _run(command: dict[str, Any]) -> int:
    os.chdir(command["cwd"])
    os.environ.clear()
    os.environ.update(command["env"])
    sys.argv = ["wxauth", *command["arguments"]]
    from wxauth_server.cli import main as wxauth

    try:
        wxauth()
        status: object = 0
    except SystemExit as ended:
        status = ended.code
    except BaseException:  # noqa: BLE001 - as the interpreter does at its end
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    if isinstance(status, str):
        print(status, file=sys.stderr, flush=True)
        return 1
    return status if isinstance(status, int) else 0


if __name__ == "__main__":
    main()
