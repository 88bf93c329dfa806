"""`wxauth sandbox`: its mischief file and flags, its platforms; and what documents them."""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path

import pytest
from starlette.routing import Route

from tests.contract.wechat_wire import SHOP, exchange, log_in
from tests.sandbox_server import RunningSandbox
from tests.wxauth_command import running, wxauth
from wechat_sandbox import MischiefRefused, create_app, mischief_of, read_mischief
from wechat_sandbox.mischief import KNOBS
from wxauth_server.cli.sandbox import sandbox as sandbox_command

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"busy = 5", "busy: no such knob"),
        (b"[faults]\nbusy_percent = 5", "faults: no such knob"),
        (b"busy_percent = 500", "busy_percent: must be a percentage"),
        (b"busy_percent", "is not TOML"),
        (b"\xff", "is not UTF-8"),
    ],
)
def test_a_file_that_is_wrong_is_named(tmp_path: Path, content: bytes, told: str) -> None:
    file = tmp_path / "nasty.toml"
    file.write_bytes(content)
    with pytest.raises(MischiefRefused, match=f"nasty.toml.*{told}"):
        read_mischief(file)
    with pytest.raises(MischiefRefused, match=r"gone\.toml cannot be read: No such file"):
        read_mischief(tmp_path / "gone.toml")


def test_the_example_turns_every_knob() -> None:
    knobs = read_mischief(ROOT / "deploy" / "mischief.example.toml")
    assert set(knobs) == set(KNOBS) - {"seed"}
    # Mild enough that a client with retries gets through.
    assert mischief_of(knobs).blocked_percent < 1


def test_the_command_reads_file_and_flags_and_prints_the_seed(tmp_path: Path) -> None:
    (tmp_path / "nasty.toml").write_text("busy_percent = 0\nempty_percent = 100\nseed = 1\n")
    arguments = ("--listen", "127.0.0.1:0", "--app", f"{SHOP.app_id}:{SHOP.secret}")
    platform = ("--platform", f"{SHOP.app_id}:group")
    nasty = ("--mischief", "nasty.toml", "--busy-percent", "100", "--seed", "77")
    with running("sandbox", *arguments, *platform, *nasty, cwd=tmp_path) as command:
        ready = json.loads(command.wait_for('"ready"'))
        sandbox = RunningSandbox("http://" + ready["address"])
        assert exchange(sandbox, SHOP, "x").errcode == -1
        assert any(
            "mischief is on: seed=77, busy_percent=100.0, empty_percent=100" in line
            for line in command.err
        )
        sandbox.set_mischief()
        assert "unionid" in log_in(sandbox, SHOP, "alice")
        assert command.stop() == 0


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (("--mischief", "gone.toml"), 1, "mischief: gone.toml cannot be read"),
        (("--slow-ms", "600001"), 1, "mischief: slow_ms: must be a whole number from 0 to 600000"),
        (("--busy-percent", "101"), 2, "--busy-percent"),
        (("--platform", "wx9:group"), 2, "there is no app wx9"),
        (("--platform", "wx9"), 2, "write it as APPID:NAME"),
    ],
)
def test_the_command_explains_what_is_wrong(
    tmp_path: Path, arguments: tuple[str, ...], status: int, told: str
) -> None:
    done = wxauth("sandbox", *arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (status, "")
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_the_help_names_every_interface(tmp_path: Path) -> None:
    said = wxauth("sandbox", "--help", cwd=tmp_path).stdout
    paths = {route.path for route in create_app([SHOP]).routes if isinstance(route, Route)}
    interfaces = {path for path in paths if not path.startswith("/_control/")}
    assert len(interfaces) == 6
    assert {path for path in interfaces if path not in said} == set()


def test_every_knob_has_a_flag_and_a_row_in_the_documentation() -> None:
    flags = inspect.signature(sandbox_command).parameters
    assert [name for name in flags if name in KNOBS] == list(KNOBS)
    page = (ROOT / "docs" / "sandbox.md").read_text("utf-8")
    assert re.findall(r"^\| `([a-z_0-9]+)` \| ", page, re.MULTILINE) == list(KNOBS)
