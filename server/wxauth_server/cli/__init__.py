"""The `wxauth` command: one module a subject, assembled in `commands.py`.

Commands read and print; what they do is in the packages around this one.
Results go to standard output, everything else to standard error.
"""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Run the command line and exit: 0 done, 1 refused or failed, 2 wrong usage.

    What is heavy is imported by the command that needs it, so that `accounts`
    needs no gRPC and `serve` no HTTP server.
    """
    # Databases, their side files and key rings are for their owner only
    # (reliability.md F22).
    os.umask(0o077)
    # gRPC's core writes lines of its own between those of our log; what matters
    # of them reaches us as errors. Must be set before grpc is imported.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    try:
        from wxauth_server.cli.commands import run

        status = run()
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in {"", "wxauth", "wxauth_server", "wxauth_client", "wechat_sandbox"}:
            raise  # a part of ours is missing: that is no matter of extras
        print(
            f"wxauth: {package} is not installed: install wxauth with its extra [server]",
            file=sys.stderr,
        )
        status = 1
    except OSError as error:  # standard output is full or closed
        print(f"wxauth: cannot write: {error.strerror}", file=sys.stderr)
        status = 1
    except KeyboardInterrupt:  # while modules were being imported
        status = 130
    sys.exit(status)
