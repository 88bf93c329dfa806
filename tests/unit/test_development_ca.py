"""The development authority: what strict verifiers say of it, and what it leaves alone."""

from __future__ import annotations

import datetime
import ipaddress
import socket
import ssl
import stat
import subprocess
import threading
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store

from tests.certificates import Authority
from wxauth_client.certificates import read_certificates, watch_certificates
from wxauth_client.file_watch import FileUnusable
from wxauth_server import development_ca
from wxauth_server.development_ca import Issued, opened

NAMES = ("auth.example.com", "192.0.2.7")


def issue(directory: Path, *, days: int = 30) -> tuple[Issued, Issued]:
    """A server's and a client's certificate."""
    with opened(directory) as authority:
        return authority.issue_server(NAMES, days), authority.issue_client("gateway", days)


def certificate(file: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(file.read_bytes())


def strict(purpose: ssl.Purpose, directory: Path, own: Issued) -> ssl.SSLContext:
    """TLS as Python 3.13 has it by default."""
    context = ssl.create_default_context(purpose, cafile=str(directory / "ca.pem"))
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(own.certificate, own.key)
    return context


# --- What it issues ------------------------------------------------------------------


@pytest.mark.parametrize("name", ["auth.example.com", "192.0.2.7", "localhost", "127.0.0.1", "::1"])
def test_both_sides_of_a_strict_handshake_accept_it(tmp_path: Path, name: str) -> None:
    server, client = issue(tmp_path / "ca")
    ours, theirs = socket.socketpair()
    serving = strict(ssl.Purpose.CLIENT_AUTH, tmp_path / "ca", server)

    def serve() -> None:
        with serving.wrap_socket(theirs, server_side=True) as connection:
            connection.sendall(repr(connection.getpeercert()).encode())

    thread = threading.Thread(target=serve)
    thread.start()
    context = strict(ssl.Purpose.SERVER_AUTH, tmp_path / "ca", client)
    with context.wrap_socket(ours, server_hostname=name) as connection:
        seen = connection.recv(65_536).decode()
    thread.join()
    assert "('DNS', 'gateway')" in seen


@pytest.mark.parametrize(
    ("file", "purpose", "verdict"),
    [
        ("server", "sslserver", 0),
        ("gateway", "sslclient", 0),
        # Not for each other's purpose.
        ("gateway", "sslserver", 2),
        ("server", "sslclient", 2),
    ],
)
def test_openssl_is_as_strict(tmp_path: Path, file: str, purpose: str, verdict: int) -> None:
    issue(tmp_path / "ca")
    flags = ["-x509_strict", "-purpose", purpose, "-CAfile", "ca.pem", f"{file}.pem"]
    done = subprocess.run(["openssl", "verify", *flags], cwd=tmp_path / "ca", capture_output=True)
    assert done.returncode == verdict, done.stderr


def test_the_rules_of_the_web_hold_too(tmp_path: Path) -> None:
    server, client = issue(tmp_path / "ca")
    policy = PolicyBuilder().store(Store([certificate(tmp_path / "ca" / "ca.pem")]))
    for name in (x509.DNSName(NAMES[0]), x509.IPAddress(ipaddress.ip_address(NAMES[1]))):
        chain = policy.build_server_verifier(name).verify(certificate(server.certificate), [])
        assert len(chain) == 2
    policy.build_client_verifier().verify(certificate(client.certificate), [])


def test_what_is_secret_is_private(tmp_path: Path) -> None:
    issue(tmp_path / "new" / "ca")
    directory = tmp_path / "new" / "ca"
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()}
    assert modes == dict.fromkeys(
        ["ca.key", "ca.pem", "gateway.key", "gateway.pem", "server.key", "server.pem"], 0o600
    )


def test_how_long_it_is_good(tmp_path: Path) -> None:
    before = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    server, _ = issue(tmp_path / "ca", days=2)
    ends = certificate(server.certificate).not_valid_after_utc
    assert ends == server.ends
    late = ends - before - datetime.timedelta(days=2)
    assert datetime.timedelta(0) <= late < datetime.timedelta(minutes=1)
    with opened(tmp_path / "ca") as authority:
        longest = authority.issue_client("gateway", 100_000)
    # As long as its authority, no longer.
    assert longest.ends == certificate(tmp_path / "ca" / "ca.pem").not_valid_after_utc


# --- Again in the same directory -----------------------------------------------------


def test_the_authority_stays_and_what_it_issues_is_new(tmp_path: Path) -> None:
    def files() -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in (tmp_path / "ca").iterdir()}

    issue(tmp_path / "ca")
    first = files()
    issue(tmp_path / "ca")
    again = files()
    assert first.keys() == again.keys()
    assert {name for name in first if first[name] == again[name]} == {"ca.key", "ca.pem"}


def test_what_follows_the_files_takes_them_up(tmp_path: Path) -> None:
    server, _ = issue(tmp_path / "ca")
    watch = watch_certificates(
        "a test's", certificate_file=server.certificate, key_file=server.key, ca_file=None
    )
    assert watch.refresh() is False
    issue(tmp_path / "ca")
    assert watch.refresh() is True
    assert watch.value.certificate == server.certificate.read_bytes()


def test_two_at_once_have_one_authority(tmp_path: Path) -> None:
    begin = threading.Barrier(2)

    def run(name: str) -> None:
        begin.wait()
        with opened(tmp_path / "ca") as authority:
            authority.issue_client(name, 1)

    threads = [threading.Thread(target=run, args=(name,)) for name in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    authority = certificate(tmp_path / "ca" / "ca.pem")
    for name in ("one", "two"):
        certificate(tmp_path / "ca" / f"{name}.pem").verify_directly_issued_by(authority)


# --- What it leaves alone ------------------------------------------------------------


def refused(directory: Path) -> str:
    """Why nothing is done; that nothing was."""
    files = {path: path.read_bytes() for path in directory.iterdir()}
    with pytest.raises(FileUnusable) as refusal:
        issue(directory)
    assert {path: path.read_bytes() for path in directory.iterdir()} == files
    return str(refusal.value)


@pytest.mark.parametrize("file", ["ca.key", "ca.pem"])
def test_half_an_authority(tmp_path: Path, file: str) -> None:
    issue(tmp_path / "ca")
    (tmp_path / "ca" / file).unlink()
    assert f"{file} is missing" in refused(tmp_path / "ca")


def test_somebody_elses_authority(tmp_path: Path) -> None:
    theirs = Authority(tmp_path).issue("other")
    (tmp_path / "ca").mkdir()
    theirs.certificate.rename(tmp_path / "ca" / "ca.pem")
    theirs.key.rename(tmp_path / "ca" / "ca.key")
    assert "another authority" in refused(tmp_path / "ca")


def test_a_key_of_another_authority(tmp_path: Path) -> None:
    issue(tmp_path / "ca")
    issue(tmp_path / "other")
    (tmp_path / "other" / "ca.key").replace(tmp_path / "ca" / "ca.key")
    assert "is not the key of the certificate" in refused(tmp_path / "ca")


def test_an_authority_that_has_expired(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(development_ca, "_AUTHORITY_DAYS", 0)
        issue(tmp_path / "ca")
    assert "ca.pem has expired" in refused(tmp_path / "ca")


def test_a_key_that_others_can_read(tmp_path: Path) -> None:
    issue(tmp_path / "ca")
    (tmp_path / "ca" / "ca.key").chmod(0o644)
    assert "is open to others" in refused(tmp_path / "ca")


def test_files_that_are_no_authority(tmp_path: Path) -> None:
    (tmp_path / "server.key").write_text("the key of something that runs")
    assert "holds other files" in refused(tmp_path)


def test_a_file_in_place_of_the_directory(tmp_path: Path) -> None:
    (tmp_path / "ca").write_text("")
    with pytest.raises(FileUnusable, match="ca cannot be used: File exists"):
        issue(tmp_path / "ca")


def test_an_exchange_that_was_cut_off_is_mended_by_the_next(tmp_path: Path) -> None:
    """A crash between the two files of a pair."""
    server, _ = issue(tmp_path / "ca")
    old = server.certificate.read_bytes()
    issue(tmp_path / "ca")
    server.certificate.write_bytes(old)
    with pytest.raises(FileUnusable, match="is not the key of"):
        read_certificates(certificate_file=server.certificate, key_file=server.key, ca_file=None)
    issue(tmp_path / "ca")
    read_certificates(certificate_file=server.certificate, key_file=server.key, ca_file=None)
