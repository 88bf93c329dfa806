"""Forks for each process of ours that a test starts, from an interpreter with the modules loaded.

What forks is a process of its own with its own descriptors, variables and
directory, and runs the same code as `python -m MODULE`; what it is spared is
a second of CPU for what is the same each time, more than a thousand times over.

`python -m tests.warm_command FD`: the descriptor is a socket of datagrams. Each has
five descriptors with it: a file with the command as JSON, standard input, output and
error, and where to tell the process id and then the wait status, a line each.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import runpy
import select
import socket
import sys
import traceback
from typing import Any, NoReturn

import typer.main

DESCRIPTORS = 5


def main() -> None:
    """Fork until the socket is closed."""
    requests = socket.socket(fileno=int(sys.argv[1]))
    _load()
    ready = select.poll()
    ready.register(requests, select.POLLIN)
    #: Descriptor of a process -> its id, and where to tell its end.
    running: dict[int, tuple[int, int]] = {}
    while True:
        for descriptor, _ in ready.poll():
            if descriptor in running:
                ready.unregister(descriptor)
                os.close(descriptor)
                _tell_the_end(*running.pop(descriptor))
                continue
            message, descriptors, _, _ = socket.recv_fds(requests, 1, DESCRIPTORS)
            if not message:
                return
            *given, told = descriptors
            child = os.fork()
            if child == 0:
                requests.detach()  # closed with all the others
                _run(*given)
            for each in given:
                os.close(each)
            os.write(told, b"%d\n" % child)
            process = os.pidfd_open(child)
            running[process] = child, told
            ready.register(process, select.POLLIN)


def _tell_the_end(child: int, told: int) -> None:
    _, status = os.waitpid(child, 0)
    with contextlib.suppress(BrokenPipeError):  # nobody waits for it any more
        os.write(told, b"%d\n" % status)
    os.close(told)


def _load() -> None:
    """What most commands and what servers import."""
    # As wxauth sets it, which must be before gRPC is imported.
    os.environ["GRPC_VERBOSITY"] = "NONE"
    import wechat_sandbox.server  # noqa: F401 - they are loaded, that is all
    import wxauth_gateway.serve  # noqa: F401
    import wxauth_server.accounts.imports.importing
    import wxauth_server.cli.http_part
    import wxauth_server.development_ca
    import wxauth_server.key_rotation
    import wxauth_server.rpc.admin_calls
    import wxauth_server.store.opening
    import wxauth_server.wiring  # noqa: F401
    from wxauth_server.cli import commands

    # Half of a command's time is Typer's, for the tree of all commands. It is the same
    # in each of them. Help has what else is loaded late; ours goes to /dev/null.
    vars(typer.main)["get_command"] = functools.cache(typer.main.get_command)
    commands.app(["--help"], standalone_mode=False)
    sys.stdout.flush()
    # A fork has this thread only. gRPC starts its own with its first channel or server.
    assert len(os.listdir("/proc/self/task")) == 1


def _run(command: int, stdin: int, stdout: int, stderr: int) -> NoReturn:
    with open(command, encoding="utf-8") as file:
        read: dict[str, Any] = json.load(file)
    for number, descriptor in enumerate((stdin, stdout, stderr)):
        os.dup2(descriptor, number)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    os.chdir(read["cwd"])
    os.environ.clear()
    os.environ.update(read["env"])
    sys.argv = [read["module"], *read["arguments"]]
    if read["finalizes"]:
        # Its threads, its buffers and its tracebacks are for the interpreter to end.
        _main(read["module"])
        sys.exit()
    os._exit(_status(read["module"]))


def _main(module: str) -> None:
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _status(module: str) -> int:
    """Run it to its end; an interpreter that ends takes a while, and has nothing to do here."""
    try:
        _main(module)
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
