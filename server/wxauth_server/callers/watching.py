"""The files that decide who gets in, as the server starts with them and follows them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from wxauth_client.certificates import Certificates, read_certificates
from wxauth_client.file_watch import INTERVAL_S, FileUnusable, FileWatch
from wxauth_client.server_certificate import EndOfCertificate, load_server_certificate
from wxauth_server.callers.caller import CallerBook
from wxauth_server.callers.callers_file import CallersUnusable, load_callers
from wxauth_server.config import Configuration
from wxauth_server.logs import trace_without_text

log = logging.getLogger("wxauth.files")

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

    One that no client would accept is refused, also in exchange for one that is good:
    gRPC itself takes what has expired, and keys that none of its clients can verify.
    Raises: FileUnusable.
    """
    tls = configuration.grpc.tls
    if tls is None:
        return None

    def read() -> Certificates:
        found = read_certificates(
            certificate_file=tls.certificate_file,
            key_file=tls.key_file,
            ca_file=tls.client_ca_file,
        )
        _refuse_useless(tls.certificate_file, found.certificate or b"")
        return found

    files = [tls.certificate_file, tls.key_file, tls.client_ca_file]
    return FileWatch(
        "certificate of the gRPC server", [file for file in files if file is not None], read
    )


async def follow(watches: Sequence[FileWatch[Any]]) -> None:
    """Look at the files each second until it is cancelled, whatever comes of a look.

    In a thread of its own: disks can hang.
    """
    loop = asyncio.get_running_loop()
    ends = {watch: EndOfCertificate(watch.subject) for watch in watches}
    # The last fault of each, so that one that stays is not told each second.
    faults: dict[FileWatch[Any], list[str]] = {}
    thread = ThreadPoolExecutor(1, "files")
    try:
        while True:
            await asyncio.sleep(INTERVAL_S)
            for watch in watches:
                fault = await loop.run_in_executor(thread, _fault_of_look, watch, ends[watch])
                if fault and fault != faults.get(watch):
                    log.error("%s: a look failed", watch.subject, extra={"trace": fault})
                faults[watch] = fault
    finally:
        # Not waited for: a look that hangs would hold the loop, and with it the stop.
        thread.shutdown(wait=False, cancel_futures=True)


def _fault_of_look(watch: FileWatch[Any], end: EndOfCertificate) -> list[str]:
    """Where a look went wrong that should not have; nothing if it did not."""
    try:
        watch.refresh()
        if isinstance(watch.value, Certificates) and watch.value.certificate is not None:
            end.look(watch.value.certificate, datetime.now(UTC))
    except Exception as error:  # noqa: BLE001 - a fault of ours; without its text
        return trace_without_text(error)
    return []


def _refuse_useless(file: Path, pem: bytes) -> None:
    # Not needed on loopback, where most commands are.
    from wxauth_server.certificate_reading import unusable_key_of

    why = unusable_key_of(load_server_certificate(file, pem))
    if why is not None:
        raise FileUnusable(f"{file}: {why}")
