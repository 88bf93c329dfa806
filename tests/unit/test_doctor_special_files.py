"""wxauth doctor: pipes and devices in place of files, which it neither waits for nor reads out."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.certificates import Authority
from tests.unit.configured import APP, app, nothing_set
from tests.unit.examined import Report, examined, refused
from wxauth_server.doctor.findings import Check, Status

__all__ = ["nothing_set"]

#: Far longer than it takes; what hangs ends with the process.
PATIENCE_S = 20.0
WECHAT = '[wechat]\nbase_url = "http://127.0.0.1:9"\n'


def without_end(path: Path) -> None:
    path.symlink_to("/dev/zero")


KINDS = pytest.mark.parametrize("put", [os.mkfifo, without_end])


def soon(text: str, *, offline: bool = True) -> Report:
    found: list[Report] = []

    def look() -> None:
        found.append(examined(text, offline=offline))

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    thread.join(PATIENCE_S)
    assert found, "it hangs"
    return found[0]


@KINDS
@pytest.mark.parametrize(
    ("name", "checks"),
    [
        ("server.pem", [Check.GRPC_CERTIFICATE, Check.GATEWAY_CERTIFICATE]),
        ("server.key", [Check.GRPC_CERTIFICATE, Check.GATEWAY_CERTIFICATE]),
        ("ca.pem", [Check.GRPC_CLIENT_CA, Check.CREDENTIALS_CA]),
        ("ours.key", [Check.CREDENTIALS_CERTIFICATE]),
        ("ours.token", [Check.CREDENTIALS_TOKEN]),
    ],
)
def test_certificates_keys_and_tokens(
    put: Callable[[Path], None], name: str, checks: list[Check], nothing_set: Path
) -> None:
    authority = Authority(Path())
    for subject in ("server", "ours"):
        authority.issue(subject)
    Path(name).unlink(missing_ok=True)
    put(Path(name))
    tls = 'certificate_file = "server.pem"\nkey_file = "server.key"\n'
    report = soon(
        f'{app()}[grpc.tls]\n{tls}client_ca_file = "ca.pem"\n[gateway.tls]\n{tls}'
        '[gateway]\nserver = "server:1"\n[gateway.credentials]\nca_file = "ca.pem"\n'
        'certificate_file = "ours.pem"\nkey_file = "ours.key"\ntoken_file = "ours.token"\n',
    )
    for check in checks:
        refused(report, check, f"{name} is no regular file")


@KINDS
def test_a_secret_of_a_mini_program(put: Callable[[Path], None]) -> None:
    put(Path("app.secret"))
    report = soon(app(more='app_secret_file = "app.secret"') + WECHAT, offline=False)
    refused(report, Check.CONFIGURATION_APPS, APP, "app.secret is no regular file")
    assert report.only(Check.WECHAT_APP).status is Status.SKIPPED


@KINDS
@pytest.mark.parametrize("key", ["key_file", "ca_file"])
def test_a_file_of_a_service(put: Callable[[Path], None], key: str) -> None:
    put(Path("special"))
    Path("key").write_text("k" * 32)
    more = 'key_file = "key"\n' if key == "ca_file" else ""
    report = soon(
        f'{app()}{WECHAT}[[account_sources]]\nname = "hr"\nkind = "http"\n'
        f'url = "https://127.0.0.1:9"\n{key} = "special"\n{more}',
        offline=False,
    )
    status = Status.SKIPPED if key == "ca_file" else Status.PROBLEM
    told = refused(report, Check.ACCOUNT_SOURCES_CONNECTION, "hr: special", status=status)
    assert "no regular file" in told.what
