"""`wxauth dev-ca`: certificates for development, and how to use them."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wxauth_server.callers.caller import Role
from wxauth_server.cli.output import CommandFailed

if TYPE_CHECKING:
    from wxauth_server.development_ca import Issued

_GRPC_PORT = 50051
_HTTP_PORT = 8080


def dev_ca(
    directory: Annotated[
        Path,
        typer.Argument(
            metavar="DIR",
            help="Where the authority is, or a new directory for a new one.",
            show_default=False,
        ),
    ],
    servers: Annotated[
        list[str] | None,
        typer.Option(
            "--server",
            metavar="NAME",
            help="A DNS name or IP address by which servers and gateways are reached, once for "
            "each. localhost, 127.0.0.1 and ::1 are always among them.",
            show_default=False,
        ),
    ] = None,
    clients: Annotated[
        list[str] | None,
        typer.Option(
            "--client",
            metavar="NAME",
            help="A caller that proves itself by a certificate, such as gateway or orders, once "
            "for each. Then every caller needs one. Without, callers have tokens.",
            show_default=False,
        ),
    ] = None,
    days: Annotated[
        int,
        typer.Option(
            "--days", metavar="N", help="How long the certificates are good.", min=1, max=365
        ),
    ] = 30,
) -> None:
    """Make a certificate authority for development, and certificates of it.

    Run again, it keeps the authority and exchanges the certificates that are
    asked for; what runs takes them up within a second or two. Prints what to
    configure.

    For development only: the authority's key lies beside what it signs.
    Production uses the company's own authority, or one such as cert-manager or
    step-ca.
    """
    from wxauth_server.cli.dev_ca_names import client_name, server_name
    from wxauth_server.development_ca import opened

    server_names = _checked("--server", server_name, servers or [])
    client_names = _checked("--client", client_name, clients or [])
    with opened(directory) as authority:
        server = None
        if server_names or not authority.has_server:
            server = authority.issue_server(server_names, days)
        elif not client_names:
            raise CommandFailed(
                f"{directory} has an authority and a server certificate: name with --server or "
                "--client what to make a new one for"
            )
        issued = [authority.issue_client(name, days) for name in client_names]
    _print_made(authority.certificate_file, server, issued)
    _print_use(authority.certificate_file.resolve(), server, server_names, client_names)


def _checked(option: str, check: Callable[[str], str], names: Sequence[str]) -> tuple[str, ...]:
    checked = []
    for name in names:
        try:
            checked.append(check(name))
        except ValueError as problem:
            raise typer.BadParameter(f"{name!r}: {problem}", param_hint=option) from None
    return tuple(dict.fromkeys(checked))


def _print_made(authority: Path, server: Issued | None, clients: Sequence[Issued]) -> None:
    print(f"{authority}: the authority. Its key, {authority.with_suffix('.key').name}, stays here.")
    for made in (*(() if server is None else (server,)), *clients):
        print(
            f"{made.certificate}, {made.key.name}: for {', '.join(made.names)}; "
            f"good until {made.ends:%Y-%m-%d %H:%M} UTC."
        )


def _print_use(
    authority: Path, server: Issued | None, names: Sequence[str], clients: Sequence[str]
) -> None:
    directory = authority.parent
    if server is not None:
        print("\n# wxauth.toml of the server and of the gateway, with the files copied to each:")
        print("# The server's first start needs an [[apps]] table too, and wxauth keys init.\n")
        _print_table("grpc", listen=f"0.0.0.0:{_GRPC_PORT}")
        tls = {
            "certificate_file": str(directory / server.certificate.name),
            "key_file": str(directory / server.key.name),
        }
        _print_table("grpc.tls", **tls, **({"client_ca_file": str(authority)} if clients else {}))
        _print_table(
            "gateway",
            listen=f"0.0.0.0:{_HTTP_PORT}",
            server=f"{_host(names[0] if names else 'localhost')}:{_GRPC_PORT}",
        )
        _print_table("gateway.tls", **tls)
        if clients and not _clients_of(Role.GATEWAY, clients):
            print("# It needs certificate_file and key_file too: --client gateway makes them.")
        _print_table("gateway.credentials", **_proof(authority, clients, Role.GATEWAY))
    elif clients:
        print(f"\n# So that the server asks for them, grpc.tls.client_ca_file: {authority}\n")
    print("# Who may call; on the server's machine:\n")
    for name in clients:
        print(f"wxauth callers add {name} --role {_role(name)} --certificate-name {name}")
    for role in () if clients else Role:
        output = shlex.quote(str(_token_file(authority, role)))
        print(f"wxauth callers add {role} --role {role} --output {output}")
    print("\n# Variables of other callers: services with the client library, wxauth … --server:\n")
    for key, value in _proof(authority, clients, Role.SERVICE).items():
        print(f"export WXAUTH_{key.upper()}={shlex.quote(value)}")
    print(
        "\nFor development: whoever has ca.key can be anybody. Production uses the company's own"
        "\nauthority, or cert-manager, step-ca and the like."
    )


def _print_table(table: str, **keys: str) -> None:
    print(f"[{table}]")
    for key, value in keys.items():
        print(f"{key} = {json.dumps(value, ensure_ascii=False)}")  # JSON strings are TOML's
    print()


def _proof(authority: Path, clients: Sequence[str], role: Role) -> dict[str, str]:
    """Keys of [gateway.credentials], which are the names of the variables too."""
    if not clients:
        return {"ca_file": str(authority), "token_file": str(_token_file(authority, role))}
    proof = {"ca_file": str(authority)}
    for client in _clients_of(role, clients)[-1:]:
        proof["certificate_file"] = str(authority.with_name(f"{client}.pem"))
        proof["key_file"] = str(authority.with_name(f"{client}.key"))
    return proof


def _token_file(authority: Path, role: Role) -> Path:
    return authority.with_name(f"{role}.token")


def _clients_of(role: Role, clients: Sequence[str]) -> list[str]:
    """Those that gateways, or else those that others, prove themselves as."""
    return [name for name in clients if (_role(name) is Role.GATEWAY) == (role is Role.GATEWAY)]


def _role(client: str) -> Role:
    """A guess by the name, to be read before it is pasted."""
    return next((role for role in Role if client == role), Role.SERVICE)


def _host(name: str) -> str:
    return f"[{name}]" if ":" in name else name
