"""How a new token of a caller reaches whoever asked for it: printed once, or in a file."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from wxauth_server.callers.caller import Caller, CallerBook
from wxauth_server.callers.callers_file import CallersFile
from wxauth_server.cli.output import CommandFailed


def hand_over(
    token: str,
    caller: Caller,
    file: CallersFile,
    book: CallerBook,
    *,
    output: Path | None,
    as_json: bool,
) -> None:
    """Make a caller's new token good, then print it, or put it into a new file, mode 0600.

    In this order: what reads standard output may put the token in the place of one that
    is good. Whatever fails, the callers are as they were and there is no such file, so
    that no token is good that nobody has. An empty token is none.

    Raises: CommandFailed when there is such a file, which is left as it is, or it cannot
    be written; CallersUnusable; OSError of standard output.
    """
    shown = token if output is None else ""
    if as_json:
        fields = {
            "name": caller.name,
            "roles": sorted(caller.roles),
            "certificate_names": list(caller.certificate_names),
            "token": shown or None,
        }
        shown = json.dumps(fields, indent=2)
    # Else print would say nothing, and say nothing of that.
    if shown and sys.stdout is None:
        raise CommandFailed("standard output is closed: nothing was changed")
    with contextlib.ExitStack() as stack:
        if token and output is not None:
            stack.enter_context(_written(token, output))
        with file.replaced(book):
            if shown:
                print(shown, flush=True)


@contextlib.contextmanager
def _written(token: str, output: Path) -> Iterator[None]:
    """The token in a new file, which goes away again when the block raises."""
    try:
        # Not through a link either, and nothing is ever written over.
        descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise CommandFailed(f"{output} exists already and is left as it is") from None
    except OSError as error:
        raise CommandFailed(f"{output} cannot be written: {error.strerror}") from None
    try:
        try:
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                file.write(token + "\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise CommandFailed(f"{output} cannot be written: {error.strerror}") from None
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            output.unlink()
        raise
