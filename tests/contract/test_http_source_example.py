"""The example of docs/http-account-source.md is what the page says: a real process is asked."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.contract.source_suite import ID, NAME, OpenSource, SourceSuite, soon
from tests.scripted_business import alarms
from tests.wxauth_command import environment
from wxauth_server.accounts.sources.http_source import HttpSource
from wxauth_server.accounts.sources.http_source_messages import Fault, signed_headers
from wxauth_server.accounts.sources.http_source_settings import HttpSourceSettings
from wxauth_server.errors import AccountSourceUnavailable

PAGE = Path(__file__).parents[2] / "docs" / "http-account-source.md"
KEY = "0123456789abcdef0123456789abcdef"
VERIFY = b'{"username": "zhangsan", "password": "pwd123456"}'


def block(test: str) -> str:
    found = re.findall(
        rf"^<!-- test: {test} -->\n```\w*\n(.*?)^```$",
        PAGE.read_text("utf-8"),
        re.MULTILINE | re.DOTALL,
    )
    assert len(found) == 1
    return str(found[0])


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the example listens."""
    file = tmp_path_factory.mktemp("example") / "accounts.py"
    file.write_text(block("example-server"), "utf-8")
    with (file.parent / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-W", "error", file],
            env=environment({"MEMBERS_KEY": KEY, "PORT": "0"}),
            stdout=subprocess.PIPE,
            stderr=log,
            encoding="utf-8",
        )
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
            assert "Traceback" not in (file.parent / "log").read_text("utf-8")
        finally:
            process.kill()
            process.communicate()


def source_at(url: str, key: str = KEY) -> HttpSource:
    fields = {"kind": "http", "name": NAME, "url": url, "key": key, "timeout_s": 5}
    return HttpSource.open(HttpSourceSettings.model_validate(fields))


class TestExample(SourceSuite):
    @pytest.fixture
    def open_source(self, url: str) -> OpenSource:
        return lambda: source_at(url)


def headers(body: bytes, *, path: str = "/verify", age_s: int = 0) -> dict[str, str]:
    return signed_headers(
        KEY.encode(), timestamp_s=int(time.time()) - age_s, request_id="r", path=path, body=body
    )


def status_of(url: str, body: bytes, said: dict[str, str], path: str = "/verify") -> int:
    return requests.post(url + path, data=body, headers=said, timeout=10).status_code


def test_a_request_that_is_signed_is_answered(url: str) -> None:
    for age_s in (0, 290, -290):
        assert status_of(url, VERIFY, headers(VERIFY, age_s=age_s)) == 200
    assert status_of(url, b"{}", headers(b"{}", path="/other"), "/other") == 404


def test_a_request_that_is_not_is_refused(url: str) -> None:
    good = headers(VERIFY)
    signature = good["Wxauth-Signature"]
    get = b'{"id":"10001"}'
    bad: dict[str, dict[str, str]] = {
        "too old": headers(VERIFY, age_s=310),
        "from the future": headers(VERIFY, age_s=-310),
        "another path": headers(VERIFY, path="/get"),
        "another body": headers(get),
        "another request id": good | {"Wxauth-Request-Id": "s"},
        "another time": good | {"Wxauth-Signature": re.sub(r"t=\d+", "t=1767225600", signature)},
        "no time": good | {"Wxauth-Signature": re.sub(r"t=\d+,", "", signature)},
        "cut": good | {"Wxauth-Signature": signature[:-1]},
        "longer": good | {"Wxauth-Signature": signature + "0"},
        "not ASCII": good | {"Wxauth-Signature": "t=1,v1=\xe9"},
        "another version": good | {"Wxauth-Signature": signature.replace("v1", "v0")},
        "empty": good | {"Wxauth-Signature": ""},
        "none": {},
    }
    assert {name: status_of(url, VERIFY, said) for name, said in bad.items()} == dict.fromkeys(
        bad, 401
    )


def test_a_wrong_key_is_an_alarm_and_no_wrong_password(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        source = source_at(url, key=KEY[::-1])
        try:
            with pytest.raises(AccountSourceUnavailable):
                await source.get(ID, soon())
        finally:
            await source.close()

    asyncio.run(scenario())
    assert [alarm.kind for alarm in alarms(caplog)] == ["key_refused"]


# --- The rest of the page -------------------------------------------------------


def test_the_signature_on_the_page() -> None:
    page = PAGE.read_text("utf-8")
    shown = re.search(r"^Wxauth-Signature: t=(\d+),v1=([0-9a-f]{64})$", page, re.MULTILINE)
    signed = re.search(r"^```text\n(v1\n.*?)\n```$", page, re.MULTILINE | re.DOTALL)
    assert shown
    assert signed
    assert hmac.new(KEY.encode(), signed[1].encode(), hashlib.sha256).hexdigest() == shown[2]
    assert f"With the key `{KEY}`" in page
    version, timestamp, request_id, method, path, body = signed[1].split("\n")
    assert (version, timestamp, method) == ("v1", shown[1], "POST")
    assert f"Wxauth-Request-Id: {request_id}\n" in page
    ours = signed_headers(
        KEY.encode(),
        timestamp_s=int(timestamp),
        request_id=request_id,
        path=path,
        body=body.encode(),
    )
    assert ours["Wxauth-Signature"] == f"t={timestamp},v1={shown[2]}"


def test_every_kind_of_alarm_is_explained() -> None:
    _, table = PAGE.read_text("utf-8").split("| `kind` | means |")
    told = re.findall(r"^\| `([a-z_]+)` \| ", table, re.MULTILINE)
    assert sorted(told) == sorted(fault.value for fault in Fault)


@pytest.mark.skipif(
    not (shutil.which("curl") and shutil.which("openssl")),
    reason="install curl and openssl: apt-get install curl openssl",
)
def test_the_commands_on_the_page(url: str) -> None:
    commands = block("ask-the-example").replace("http://127.0.0.1:8070", url)
    done = subprocess.run(
        ["bash", "-eu", "-c", commands],
        env=environment({"MEMBERS_KEY": KEY}),
        capture_output=True,
        encoding="utf-8",
        timeout=30,
    )
    assert done.stderr == ""
    page = PAGE.read_text("utf-8")
    after = page[page.index("<!-- test: ask-the-example -->") :]
    shown = re.search(r"^```text\n(.*?)^```$", after, re.MULTILINE | re.DOTALL)
    assert shown
    assert done.stdout.strip() == shown[1].strip()
