"""The files that decide who gets in, as the server starts with them and follows them."""

from __future__ import annotations

from wxauth_client.certificates import Certificates, watch_certificates
from wxauth_client.file_watch import FileWatch
from wxauth_server.callers.caller import CallerBook
from wxauth_server.callers.callers_file import CallersUnusable, load_callers
from wxauth_server.config import Configuration

_WHAT_TO_DO = (
    "Without one nobody may call this server: run wxauth callers add NAME --role gateway, and "
    "--role service for each internal service"
)


def watch_callers(configuration: Configuration) -> FileWatch[CallerBook]:
    """The callers of the configuration.

    A file that goes away later leaves its callers as they are; one that names none
    lets none in. Raises: CallersUnusable, also where callers are needed and there
    is none.
    """
    path = configuration.callers_file
    required = configuration.grpc.callers_required
    book = CallerBook()

    def read() -> CallerBook:
        nonlocal book
        # Where there were callers a file that is gone is a mistake, and no order to forget them.
        book = load_callers(path, must_exist=bool(book.callers))
        return book

    watch = FileWatch("callers", [path], read)
    if required and not watch.value.callers:
        what = "names no callers" if path.exists() else "does not exist"
        raise CallersUnusable(f"{path} {what}. {_WHAT_TO_DO}")
    return watch


def watch_server_certificates(configuration: Configuration) -> FileWatch[Certificates] | None:
    """The certificates of the gRPC server; None where it is plaintext.

    Raises: FileUnusable.
    """
    tls = configuration.grpc.tls
    if tls is None:
        return None
    return watch_certificates(
        "certificate of the gRPC server",
        certificate_file=tls.certificate_file,
        key_file=tls.key_file,
        ca_file=tls.client_ca_file,
    )
