"""AdminService for commands: on a data directory itself, or through a server that runs.

A command is written once, against the messages of the contract. Without --server
the same code answers in this process, and no gRPC is imported.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from wxauth_client.credentials import Credentials, names
from wxauth_client.target import is_on_this_machine, split_address
from wxauth_server.admin_token import FILE_NAME, read_token
from wxauth_server.cli.options import load, require_database
from wxauth_server.cli.output import CommandFailed
from wxauth_server.clock import SystemClock
from wxauth_server.config import Configuration
from wxauth_server.errors import AuthError

if TYPE_CHECKING:
    from wxauth_server.rpc.admin_calls import AdminCalls

ServerAddress = Annotated[
    str | None,
    typer.Option(
        "--server",
        metavar="HOST:PORT",
        help="Ask this gRPC server, such as 127.0.0.1:50051, in place of the data directory "
        "itself. Off this machine with TLS: WXAUTH_CA_FILE is the file of its authority, "
        "WXAUTH_CERTIFICATE_FILE and WXAUTH_KEY_FILE a certificate of ours if it asks for one.",
        show_default=False,
    ),
]

TokenFile = Annotated[
    Path | None,
    typer.Option(
        "--token-file",
        metavar="FILE",
        help="With --server: the file of a token of role admin. Default: WXAUTH_TOKEN_FILE or "
        f"WXAUTH_TOKEN, else, on this machine, {FILE_NAME} in the data directory.",
        show_default=False,
    ),
]

#: Longer than any call takes: one bcrypt behind a full queue of them.
TIMEOUT_S = 30.0

# Names that are no words of a sentence.
_PARAMETER = re.compile(rf"\b(?:{'|'.join(name for name in names() if '_' in name)})\b")

# As clients are connected, but without their look at the health of AuthService: an
# operator may come because of that.
_SERVICE_CONFIG = '{"loadBalancingConfig": [{"round_robin": {}}]}'


class AdminRefused(CommandFailed):
    """AdminService refused; the same text whether a server was asked or not.

    `reason` is the one of the contract, such as "NOT_FOUND". `retry_after_s` is
    None where waiting does not help.
    """

    def __init__(
        self, reason: str, message: str, *, field: str = "", retry_after_s: float | None = None
    ) -> None:
        super().__init__(message)
        self.reason = reason
        #: What an ACCOUNT_EXISTS is about: "id" or "username".
        self.field = field
        self.retry_after_s = retry_after_s


@contextlib.contextmanager
def connect_admin(
    config: Path | None,
    data: Path | None,
    server: str | None,
    token_file: Path | None,
    *,
    may_create: bool = False,
) -> Iterator[AdminCalls]:
    """The methods of AdminService; `may_create` lets a database be made.

    Each raises AdminRefused. Raises: CommandFailed, AdminTokenUnusable, FileUnusable,
    what `load` and `open_store` raise.
    """
    configuration = load(config, data)
    if server is None and token_file is not None:
        raise typer.BadParameter("--token-file needs --server")
    try:
        if server is None:
            with _opened(configuration, may_create=may_create) as calls:
                yield calls
        else:
            with _connected(server, _credentials(configuration, server, token_file)) as calls:
                yield calls
    except UnicodeEncodeError as error:
        if error.encoding != "utf-8":  # of a stream that is written to
            raise
        # Of a message. Not chained: its text quotes the argument.
        raise CommandFailed("an argument is not UTF-8") from None


class _Methods:
    """Any method of AdminService, called by its name."""

    def __init__(self, call: Callable[[str, Any], Any]) -> None:
        self._call = call

    def __getattr__(self, method: str) -> Callable[[Any], Any]:
        return partial(self._call, method)


@contextlib.contextmanager
def _opened(configuration: Configuration, *, may_create: bool) -> Iterator[AdminCalls]:
    # What only this needs: other commands import this module too.
    from wxauth_server.accounts.passwords import PasswordHasher
    from wxauth_server.rpc.admin_calls import AdminCalls
    from wxauth_server.store.audit import Actor
    from wxauth_server.store.opening import open_store

    if not (may_create and configuration.store.directory.is_dir()):
        require_database(configuration)
    store, keyring = open_store(configuration)
    try:
        calls = AdminCalls(
            configuration,
            store=store,
            keyring=keyring,
            hasher=PasswordHasher(keyring, cost=configuration.passwords.bcrypt_cost),
            clock=SystemClock(),
            actor=Actor.COMMAND,
        )

        def call(method: str, request: Any) -> Any:
            try:
                return getattr(calls, method)(request)
            except AuthError as error:
                raise AdminRefused(
                    error.reason_name(),
                    str(error),
                    field=error.metadata.get("field", ""),
                    retry_after_s=error.retry_after_s,
                ) from None

        yield cast("AdminCalls", _Methods(call))
    finally:
        store.close()


@contextlib.contextmanager
def _connected(server: str, credentials: Credentials) -> Iterator[AdminCalls]:
    import grpc

    from wxauth.v1.admin_service_pb2_grpc import AdminServiceStub
    from wxauth_client.access import Access, channel_credentials
    from wxauth_client.errors import ServerUnreachable
    from wxauth_client.reading import error_of

    access = Access(server, credentials, {"grpc.service_config": _SERVICE_CONFIG})
    certificates = access.certificates()
    channel = (
        grpc.insecure_channel(server, access.options)
        if certificates is None
        else grpc.secure_channel(server, channel_credentials(certificates), access.options)
    )
    with channel:
        stub: Any = AdminServiceStub(channel)
        metadata = access.metadata()

        def call(method: str, request: Any) -> Any:
            try:
                return getattr(stub, method)(request, timeout=TIMEOUT_S, metadata=metadata)
            except grpc.RpcError as failed:
                error = error_of(failed, certificates)
            if isinstance(error, ServerUnreachable):
                # What the library calls by its parameters, a command is given by variables.
                why = _PARAMETER.sub(lambda found: f"WXAUTH_{found[0].upper()}", error.message)
                raise CommandFailed(f"no answer of a wxauth server at {server}: {why}")
            message = error.message
            if error.reason == "CALLER_UNAUTHENTICATED":
                proof = "this token" if metadata else "a name of this certificate"
                message = f"the server at {server} has no caller with {proof}"
            elif error.reason == "CALLER_FORBIDDEN":
                caller = error.metadata.get("caller", "")
                message = f"caller {caller} has no role admin: use a token or certificate of one"
            raise AdminRefused(
                error.reason,
                message,
                field=error.metadata.get("field", ""),
                retry_after_s=error.retry_after_s,
            )

        yield cast("AdminCalls", _Methods(call))


def _credentials(configuration: Configuration, server: str, token_file: Path | None) -> Credentials:
    """Who the server has to be, and what proves us to it.

    Raises: CommandFailed, AdminTokenUnusable.
    """
    try:
        split_address(server)
    except ValueError as error:
        raise typer.BadParameter(f"--server: {error}") from None
    try:
        given = Credentials.from_environment()
    except ValueError as problem:
        raise CommandFailed(str(problem)) from None
    if token_file is not None:
        given = replace(given, token="", token_file=token_file)
    is_here = is_on_this_machine(server)
    if given.ca_file is None and not is_here:
        raise CommandFailed(
            f"--server: {server} is refused: not this machine, and without TLS the token would "
            "travel in the open. Set WXAUTH_CA_FILE, and WXAUTH_CERTIFICATE_FILE and "
            "WXAUTH_KEY_FILE where the server asks for certificates; give --token-file with a "
            "token of role admin"
        )
    if given.token or given.token_file or given.certificate_file:
        return given
    if not is_here:
        raise CommandFailed(
            f"nothing proves to {server} who calls: give --token-file or WXAUTH_TOKEN_FILE with "
            "a token of role admin, or WXAUTH_CERTIFICATE_FILE and WXAUTH_KEY_FILE"
        )
    return replace(given, token=read_token(configuration.store.directory / FILE_NAME))
