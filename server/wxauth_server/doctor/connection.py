"""From the gateway to the server, with the gateway's own address and credentials."""

from __future__ import annotations

from collections.abc import Iterator

from wxauth_client import AuthClient
from wxauth_client.credentials import Credentials
from wxauth_client.errors import (
    CallerForbidden,
    CallerUnauthenticated,
    DeadlineExceeded,
    ProtocolError,
    RequestInvalid,
    ServerUnreachable,
    SessionInvalid,
    WxauthError,
)
from wxauth_client.file_watch import FileUnusable
from wxauth_gateway.settings import GatewaySettings
from wxauth_server.certificate_reading import caller_names_of
from wxauth_server.doctor.certificate_form import load_chain
from wxauth_server.doctor.findings import (
    NO_GATEWAY,
    TIMEOUT_S,
    Check,
    Finding,
    Installation,
    ok,
    problem,
    skipped,
    warning,
)
from wxauth_server.doctor.handshake import Fault, Ours, connect
from wxauth_server.doctor.trust import CURES, host_and_port

_CHECK = Check.SERVER_CONNECTION
_TOKEN_PLACE = "gateway.credentials.token_file or WXAUTH_TOKEN_FILE"  # noqa: S105 - no secret
_TURN_TLS_ON = "set gateway.credentials.ca_file or WXAUTH_CA_FILE, which turns TLS on"

#: What mends each fault of an address.
_CURES_OF_ABSENCE = {
    Fault.NOBODY: "start it with wxauth serve, or correct gateway.server",
    Fault.NO_WAY: "correct gateway.server, or look at the routes between the two machines",
    Fault.SILENT: "see whether gateway.server is right and the server's machine up, and look at "
    "the firewalls between",
    Fault.NO_NAME: "correct gateway.server, or look at the name servers of this machine: "
    "/etc/resolv.conf",
}


def check_connection(installation: Installation) -> Iterator[Finding]:
    if not installation.has_gateway:
        yield skipped(_CHECK, NO_GATEWAY)
        return
    settings = installation.configuration.gateway
    address, credentials = settings.server, settings.credentials
    try:
        client = AuthClient(address, credentials=credentials)
    except FileUnusable:
        yield skipped(_CHECK, "the files of gateway.credentials cannot be used")
        return
    except ValueError:
        yield problem(
            _CHECK,
            f"the token of gateway.credentials would travel in the open to {address}",
            _TURN_TLS_ON,
        )
        return
    with client:
        try:
            # Refused for its form, before anything is looked up; but after who asks. Internal
            # services may not ask this one.
            client.list_sessions("", timeout_s=TIMEOUT_S)
        except (SessionInvalid, RequestInvalid):
            yield ok(_CHECK, f"the server at {address} admits this gateway")
        except (CallerUnauthenticated, CallerForbidden) as refusal:
            yield _not_admitted(address, credentials, refusal)
        except (ServerUnreachable, DeadlineExceeded, ProtocolError):
            yield _unreachable(settings)
        except WxauthError as error:
            yield problem(
                _CHECK,
                f"the server at {address} answers {error.reason}",
                "look into its log; docs/errors.md says what the reason means",
            )
        else:
            yield problem(
                _CHECK,
                f"what answers at {address} takes an empty SessionId for one",
                "correct gateway.server: that is no wxauth",
            )


def _not_admitted(
    address: str, credentials: Credentials, refusal: CallerUnauthenticated | CallerForbidden
) -> Finding:
    if isinstance(refusal, CallerForbidden):
        return problem(
            _CHECK,
            f"the server at {address} knows this gateway, and not as a gateway",
            "give it a token or a certificate of a caller with the role gateway: on the server, "
            "wxauth callers list",
        )
    if credentials.token or credentials.token_file is not None:
        return problem(
            _CHECK,
            f"the server at {address} does not know the token of this gateway, or it has ended",
            "on the server: wxauth callers rotate NAME, or, where wxauth callers list does not "
            "show it any more, wxauth callers add NAME --role gateway prints another one for "
            f"{_TOKEN_PLACE}",
        )
    if credentials.certificate_file is not None:
        names = [
            name
            for certificate in load_chain(credentials.certificate_file)[:1]
            for name in caller_names_of(certificate)
        ]
        return problem(
            _CHECK,
            f"the server at {address} has no caller with a name of this gateway's certificate",
            f"on the server: wxauth callers add NAME --role gateway --certificate-name {names[0]}"
            if names
            else "ask the authority for a certificate with a DNS name or a URI",
        )
    return problem(
        _CHECK,
        f"the server at {address} asks who calls, and this gateway proves nothing",
        f"on the server: wxauth callers add NAME --role gateway prints a token for {_TOKEN_PLACE}",
    )


def _unreachable(settings: GatewaySettings) -> Finding:
    address = settings.server
    fault = _fault(address, settings.credentials)
    if fault in _CURES_OF_ABSENCE:
        # Where nobody says that there is a server, it may only not have been started yet.
        say = warning if address == GatewaySettings.model_fields["server"].default else problem
        return say(_CHECK, f"the server at {address} {fault.value}", _CURES_OF_ABSENCE[fault])
    return problem(
        _CHECK,
        f"the server at {address} {fault.value}",
        {
            Fault.TLS: _TURN_TLS_ON,
            Fault.NO_TLS: "set grpc.tls at the server, or leave gateway.credentials.ca_file out "
            "where both are on this machine",
            Fault.STRANGE: "see whether another program has that port, and what the server's log "
            "says",
            **CURES,
        }.get(fault, "compare grpc.tls of the server with gateway.credentials (docs/tls.md)"),
    )


def _fault(address: str, credentials: Credentials) -> Fault:
    found = host_and_port(address)
    if found is None:
        return Fault.SILENT
    host, port = found
    if credentials.ca_file is None:
        fault = connect(host, port, None, name="")
        if fault is None and connect(host, port, Ours().context(), name=host) is None:
            return Fault.TLS
        return fault or Fault.STRANGE
    ours = Ours(credentials.ca_file, credentials.certificate_file, credentials.key_file)
    name = credentials.server_name or host
    return connect(host, port, ours.context(), name=name, greets=True) or Fault.STRANGE
