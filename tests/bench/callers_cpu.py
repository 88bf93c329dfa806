"""What it costs to ask who calls: validations of callers that prove themselves."""

from __future__ import annotations

import ssl
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bench.figures import Figure, Scale
from tests.bench.h2_load import LoadResult, run_load
from tests.bench.seeded_sessions import seed_sessions
from tests.bench.validate_cpu import PATH, SESSIONS, TARGET, interleaved, requests
from tests.certificates import Authority
from tests.fault.secured_server import (
    SecuredOptions,
    SecuredServer,
    new_caller_token,
    write_callers,
)
from tests.fault.serving import ChildProcess

CERTIFICATE_NAME = "orders.internal"


@dataclass(frozen=True)
class _Way:
    """How the caller is connected and proves itself."""

    name: str
    tls: bool
    #: By its certificate; else by a token.
    mutual: bool = False


_WAYS = (
    _Way("with a token, plaintext", tls=False),
    _Way("with a token, TLS", tls=True),
    _Way("with a certificate, mTLS", tls=True, mutual=True),
)


def run(scale: Scale) -> Sequence[Figure]:
    """For each way the bare handler and ours, connected alike, in interleaved rounds."""
    # Many short rounds: what else the machine does changes from one second to the next.
    rounds, calls = scale.pick(25, 3), 1_500
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        messages = requests(seed_sessions(directory / "data", SESSIONS))
        token = new_caller_token()
        write_callers(directory / "data", {"orders": token}, [CERTIFICATE_NAME])
        return [
            _measure_way(way, directory, messages, token, rounds=rounds, calls=calls)
            for way in _WAYS
        ]


def _measure_way(
    way: _Way, directory: Path, messages: Iterator[bytes], token: str, *, rounds: int, calls: int
) -> Figure:
    metadata = () if way.mutual else (("authorization", f"Bearer {token}"),)
    table: dict[str, object] = {"require_callers": True}
    files: list[str] = []
    context = None
    if way.tls:
        authority = Authority(directory)
        issued = authority.issue("server", "127.0.0.1")
        context = ssl.create_default_context(cafile=authority.ca)
        context.set_alpn_protocols(["h2"])
        files = [str(issued.certificate), str(issued.key)]
        if way.mutual:
            own = authority.issue(CERTIFICATE_NAME)
            context.load_cert_chain(own.certificate, own.key)
            files.append(str(authority.ca))
        keys = ("certificate_file", "key_file", "client_ca_file")[: len(files)]
        table["tls"] = dict(zip(keys, files, strict=True))

    def load(port: int, calls: int) -> LoadResult:
        return run_load(port, PATH, messages, calls=calls, metadata=metadata, tls=context)

    store = directory / "data"
    checked = ChildProcess("tests.bench.check_server", str(store), *files)
    try:
        failed = load(checked.port, 1).failed
    finally:
        check_us = float(checked.stop())
    servers = [
        ChildProcess("tests.bench.bare_server", *files),
        SecuredServer(SecuredOptions(str(store), table)),
    ]
    costs = interleaved(servers, load, store, rounds=rounds, calls=calls)
    ratios = costs.ratios(0, 1)
    median = statistics.median(ratios)
    return Figure(
        f"ValidateSession {way.name}: CPU of a bare grpc.aio handler connected the same way / ours",
        f"{median:.3f} ({min(ratios):.2f} to {max(ratios):.2f} in {rounds} rounds; "
        f"{costs.median_us(0):.0f} / {costs.median_us(1):.0f} µs a call, "
        f"{check_us:.1f} µs of it to know the caller)",
        f"≥ {TARGET:.2f}",
        median >= TARGET,
        costs.failed + failed,
    )
