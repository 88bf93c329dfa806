"""TLS handshakes that are only tried: what one says of the certificates of both sides.

OpenSSL's verdict. That of gRPC's BoringSSL is the same on authorities, names, times and
uses; it takes fewer kinds of keys, of which certificate_reading.py knows.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from wxauth_server.doctor.findings import TIMEOUT_S


class Fault(Enum):
    """Why there is no connection; the text completes "the server …"."""

    NOBODY = "is not there: nothing listens on that address"
    NO_WAY = "cannot be reached: this machine has no way to that address"
    SILENT = "does not answer in time"
    NO_NAME = "has a name that cannot be resolved"
    NO_TLS = "does not speak TLS"
    TLS = "speaks TLS, and is spoken to without"
    EXPIRED = "has a certificate that has expired, or one in its chain has"
    NOT_YET = "has a certificate that is not valid yet"
    UNTRUSTED = "has a certificate of another authority than ca_file, or sends no intermediate one"
    NAME = "has a certificate for other names than the one it is reached by"
    USE = "has a certificate that is not for servers"
    WEAK = "has a certificate whose key or signature is too weak"
    ASKS = "asks clients for a certificate and refuses ours"
    OTHER = "breaks off the TLS handshake"
    STRANGE = "takes connections, and does not answer as wxauth"


#: By OpenSSL's X509_V_ERR_… number (x509_vfy.h).
_OF_VERIFICATION = {
    9: Fault.NOT_YET,
    10: Fault.EXPIRED,
    18: Fault.UNTRUSTED,  # self-signed
    19: Fault.UNTRUSTED,  # its authority is self-signed, and not ours
    20: Fault.UNTRUSTED,  # its issuer is not known
    21: Fault.UNTRUSTED,
    24: Fault.USE,  # its issuer is no authority
    26: Fault.USE,
    62: Fault.NAME,
    64: Fault.NAME,  # of an IP address
    66: Fault.WEAK,
    67: Fault.WEAK,
    68: Fault.WEAK,
}


@dataclass(frozen=True, slots=True)
class Ours:
    """What a client brings along. Without authorities it checks nothing."""

    ca_file: Path | str | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None

    def context(self) -> ssl.SSLContext:
        """Raises: OSError, ssl.SSLError among them."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.set_alpn_protocols(["h2", "http/1.1"])
        if self.ca_file is None:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        else:
            context.load_verify_locations(self.ca_file)
        if self.certificate_file is not None:
            context.load_cert_chain(self.certificate_file, self.key_file)
        return context


def connect(
    host: str, port: int, context: ssl.SSLContext | None, *, name: str, greets: bool = False
) -> Fault | None:
    """Why a server cannot be spoken to; None if it can. Nothing is asked of it.

    `name` is what its certificate must have; without a context there is no TLS.
    `greets`: the server speaks first, as those of HTTP/2 do over TLS.
    """
    try:
        with socket.create_connection((host, port), TIMEOUT_S) as connection:
            if context is None:
                return None
            with context.wrap_socket(connection, server_hostname=name) as secured:
                # With TLS 1.3 a server that misses our certificate breaks off only now.
                if greets and not secured.recv(1):
                    return Fault.ASKS
    except ssl.SSLError as error:
        return fault_of(error)
    except (socket.gaierror, ValueError):  # it cannot be resolved, or is no name at all
        return Fault.NO_NAME
    except TimeoutError:
        return Fault.SILENT
    except ConnectionResetError:
        return Fault.OTHER
    except ConnectionRefusedError:
        return Fault.NOBODY
    except OSError:  # no route, or a firewall that says so
        return Fault.NO_WAY
    return None


def rehearse(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> Fault | None:
    """A handshake within this process: why there would be no connection."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(to_client, to_server, server_hostname=name)
    theirs = server.wrap_bio(to_server, to_client, server_side=True)
    # Three flights in TLS 1.2, two in 1.3.
    for _ in range(4):
        try:
            with contextlib.suppress(ssl.SSLWantReadError):
                ours.do_handshake()
        except ssl.SSLError as error:
            return fault_of(error)
        try:
            with contextlib.suppress(ssl.SSLWantReadError):
                theirs.do_handshake()
        except ssl.SSLError:
            return Fault.ASKS
    return None


def fault_of(error: ssl.SSLError) -> Fault:
    """What an error of OpenSSL's means."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _OF_VERIFICATION.get(error.verify_code, Fault.OTHER)
    reason = error.reason or ""
    if reason in {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"}:
        return Fault.NO_TLS
    if "CERTIFICATE_REQUIRED" in reason or "ALERT" in reason:
        return Fault.ASKS
    return Fault.OTHER
