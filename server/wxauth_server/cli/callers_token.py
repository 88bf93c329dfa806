"""How a new token of a caller reaches whoever asked for it: printed once, or in a file."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from wxauth_server.callers.caller import Caller
from wxauth_server.cli.output import CommandFailed


def described(caller: Caller) -> dict[str, object]:
    """What `handed_over` prints beside a token."""
    return {
        "name": caller.name,
        "roles": sorted(caller.roles),
        "certificate_names": list(caller.certificate_names),
    }


@contextlib.contextmanager
def handed_over(
    token: str, output: Path | None, fields: Mapping[str, object] | None = None
) -> Iterator[None]:
    """Print a token, or put it into a new file, mode 0600; the block makes it good.

    In this order, so that no token is good that nobody has. When the block raises,
    the file is removed again. `fields` are printed as JSON, with the token if there
    is no file for it; an empty token is none. Raises: CommandFailed when there is
    such a file, which is left as it is, or it cannot be written; OSError of standard
    output.
    """
    with contextlib.ExitStack() as stack:
        if token and output is not None:
            stack.enter_context(_written(token, output))
        shown = token if output is None else ""
        if fields is not None:
            shown = json.dumps(dict(fields) | {"token": shown or None}, indent=2)
        if shown:
            print(shown, flush=True)
        yield


@contextlib.contextmanager
def _written(token: str, output: Path) -> Iterator[None]:
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
