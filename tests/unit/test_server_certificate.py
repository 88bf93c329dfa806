"""What certificate a server takes: one that clients accept, now and for a while."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.certificates import Authority, Issued
from wxauth_client.certificates import Certificates
from wxauth_client.file_watch import FileUnusable, FileWatch
from wxauth_client.server_certificate import EndOfCertificate, load_server_certificate
from wxauth_server.callers.watching import watch_server_certificates
from wxauth_server.config import load_configuration

DAY = timedelta(days=1)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def watched(issued: Issued) -> FileWatch[Certificates] | None:
    tls = {"certificate_file": issued.certificate, "key_file": issued.key}
    return watch_server_certificates(load_configuration(grpc={"tls": tls}))


def test_one_that_has_ended(authority: Authority) -> None:
    with pytest.raises(FileUnusable, match=r"server\.pem: the certificate has expired, on 20"):
        watched(authority.issue("server", good_for=-DAY))


def test_one_without_a_name(authority: Authority) -> None:
    with pytest.raises(FileUnusable, match="has no subject alternative name"):
        load_server_certificate(authority.ca, authority.ca.read_bytes())


def test_one_of_tomorrow(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose first day is not there yet, by the clock of this machine."""
    issued = authority.issue("server")

    class Earlier(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
            return datetime(2020, 1, 1, tzinfo=UTC)

    monkeypatch.setattr("wxauth_client.server_certificate.datetime", Earlier)
    with pytest.raises(FileUnusable, match=r"is not valid before .* UTC; is the clock right"):
        load_server_certificate(issued.certificate, issued.certificate.read_bytes())


def test_one_that_has_ended_takes_no_good_ones_place(
    authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    issued = authority.issue("server")
    watch = watched(issued)
    assert watch is not None
    good = watch.value
    authority.issue("server", good_for=-DAY)
    for _ in range(3):  # the second look tells of it, and no other
        assert not watch.refresh()
    assert watch.value is good
    [told] = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "the new one cannot be used, the old one stays" in told.getMessage()
    assert "has expired" in told.getMessage()

    authority.issue("server")
    assert watch.refresh()
    assert watch.value is not good


def test_its_end_is_told_of_once_a_day(
    authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    now = datetime.now(UTC)
    pem = authority.issue("server", good_for=20 * DAY).certificate.read_bytes()
    end = EndOfCertificate("certificate of the gRPC server")

    def told(day: float) -> list[str]:
        caplog.clear()
        for hour in (0, 1, 2):
            end.look(pem, now + day * DAY + timedelta(hours=hour))
        return [f"{record.levelname} {record.getMessage()}" for record in caplog.records]

    assert told(5) == []
    assert told(7) == ["WARNING certificate of the gRPC server: it ends soon"]
    assert told(8.5) == ["WARNING certificate of the gRPC server: it ends soon"]
    assert told(21) == [
        "ERROR certificate of the gRPC server: it has ended, and no client accepts it"
    ]
