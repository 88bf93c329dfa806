"""The documentation does what it says: its commands, snippets, links, tables and configurations.

A fenced block with `<!-- test: name -->` in the line before it is run, those of
a page and a name in their order. What a block of commands prints must be what
the `text` block after it shows, where `…` stands for anything within a line.
"""

from __future__ import annotations

import importlib
import itertools
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from tests.canary import CANARY
from tests.wxauth_command import PATIENCE_S, RunningCommand, environment, running
from wxauth.v1.error_reason_pb2 import ErrorReason
from wxauth_client.errors import OF_THE_CONTRACT
from wxauth_gateway.errors import of_client
from wxauth_server import errors
from wxauth_server.config import DEMO_APP_ID, load_configuration
from wxauth_server.rpc.server import CHANNEL_OPTIONS
from wxauth_server.rpc.status import STATUS_OF_REASON
from wxauth_server.settings import ThrottleSettings
from wxauth_server.store.sessions import Cause
from wxauth_server.store.sqlite import DATABASE_NAME

ROOT = Path(__file__).parents[2]
README, CHINESE = ROOT / "README.md", ROOT / "README.zh-CN.md"
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
NODE = shutil.which("node")

needs_curl = pytest.mark.skipif(
    shutil.which("curl") is None, reason="install curl: apt-get install curl"
)


# --- Reading a page ----------------------------------------------------------


@dataclass(frozen=True)
class Block:
    """A fenced block. `test` is the name in the comment before it, or ""."""

    language: str
    text: str
    test: str


_FENCE = re.compile(
    r"^(?:<!-- test: (?P<test>[a-z-]+) -->\n)?"
    r"^(?P<indent> *)```(?P<language>\w*)\n(?P<text>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)


def blocks(page: Path) -> list[Block]:
    return [
        Block(found["language"], found["text"], found["test"] or "")
        for found in _FENCE.finditer(page.read_text("utf-8"))
    ]


def prose(page: Path) -> str:
    """A page without its blocks and inline code."""
    return re.sub(r"`[^`\n]*`", "", _FENCE.sub("", page.read_text("utf-8")))


def snippet(page: Path, test: str) -> str:
    """The only block of that name."""
    [found] = [block.text for block in blocks(page) if block.test == test]
    return found


# --- A stack to run it against ------------------------------------------------


@dataclass(frozen=True)
class Stack:
    """`wxauth dev` on free ports."""

    sandbox: str
    grpc: str
    gateway: str
    database: Path

    def here(self, text: str) -> str:
        """A text of the documentation with the addresses of this stack."""
        return (
            text.replace("127.0.0.1:8090", self.sandbox)
            .replace("127.0.0.1:50051", self.grpc)
            .replace("127.0.0.1:8080", self.gateway)
        )

    def log_in(self) -> str:
        """A SessionId of the demo account."""
        minted = requests.post(
            f"http://{self.sandbox}/_control/codes",
            json={"appid": DEMO_APP_ID, "user": "reader"},
            timeout=10,
        )
        answer = requests.post(
            f"http://{self.gateway}/login",
            json={
                "code": minted.json()["code"],
                "username": "zhangsan",
                "password": "pwd123456",
            },
            timeout=10,
        )
        return CANARY.keep(answer.json()["sessionId"])


@pytest.fixture(scope="module")
def one_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    directory = tmp_path_factory.mktemp("stack")
    any_port = ("--sandbox", "127.0.0.1:0", "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0")
    cheap = {"WXAUTH_PASSWORDS__BCRYPT_COST": "4"}
    with running("dev", *any_port, cwd=directory, variables=cheap) as command:
        command.wait_for("Ctrl-C stops everything.")
        yield Stack(
            sandbox=_address(command, "sandbox"),
            grpc=_address(command, "gRPC"),
            gateway=_address(command, "gateway"),
            database=directory / ".wxauth" / DATABASE_NAME,
        )
        assert command.stop() == 0


@pytest.fixture
def stack(one_stack: Stack) -> Iterator[Stack]:
    """The stack of this module, in which nobody is bound to the demo account."""
    yield one_stack
    with closing(sqlite3.connect(one_stack.database, isolation_level=None)) as database:
        database.execute("DELETE FROM bindings")


def _address(command: RunningCommand, part: str) -> str:
    line = next(line for line in command.out if line.strip().startswith(f"{part} "))
    return line.split()[1].removeprefix("http://")


# --- Commands and what they print ---------------------------------------------


@needs_curl
@pytest.mark.parametrize(
    ("page", "test"),
    [(README, "first-login"), (DOCS / "gateway.md", "gateway"), (DOCS / "sandbox.md", "sandbox")],
    ids=lambda value: value if isinstance(value, str) else value.name,
)
def test_commands_print_what_the_page_shows(
    page: Path, test: str, stack: Stack, tmp_path: Path
) -> None:
    steps = commands_of(page, test)
    assert len(steps) > 3

    printed = run_in_one_shell([commands for commands, _ in steps], stack, tmp_path)

    for (commands, shown), actual in zip(steps, printed, strict=True):
        assert same(shown, actual), f"after {commands}the page shows\n{shown}but it was\n{actual}"


def commands_of(page: Path, test: str) -> list[tuple[str, str]]:
    """(commands, what they print) of each block."""
    found = blocks(page)
    return [
        (block.text, after.text if after.language == "text" else "")
        for block, after in itertools.pairwise([*found, Block("", "", "")])
        if block.test == test
    ]


def run_in_one_shell(steps: list[str], stack: Stack, directory: Path) -> list[str]:
    """What each step prints, in a shell at the top of the repository, as the pages say."""
    end_of_step = "\x1e"
    script = directory / "commands.sh"
    script.write_text("".join(f"{stack.here(step)}printf '{end_of_step}'\n" for step in steps))
    beside = Path(sys.executable).parent  # where grpcurl is if this is not .venv/
    done = subprocess.run(
        ["bash", "-u", script],
        cwd=ROOT,
        env=environment({"PATH": f"{os.environ['PATH']}{os.pathsep}{beside}"}),
        capture_output=True,
        encoding="utf-8",
        timeout=PATIENCE_S,
    )
    assert done.stderr == ""
    for session_id in re.findall(r"wxs_[0-9A-Za-z]{49}", done.stdout):
        CANARY.keep(session_id)
    *printed, rest = done.stdout.split(end_of_step)
    assert rest == ""
    return printed


def same(shown: str, actual: str) -> bool:
    def lines(text: str) -> str:
        return "\n".join(line.rstrip() for line in text.splitlines())

    pattern = re.escape(lines(shown)).replace("…", "[^\n]*")
    return re.fullmatch(pattern, lines(actual)) is not None


def test_an_output_that_differs_is_noticed() -> None:
    assert same("a …\n", "a b c \n")
    assert same("", "")
    assert not same("a …\n", "a b\nc\n")
    assert not same("", "a\n")


def test_both_readmes_say_the_same() -> None:
    """The same commands, outputs and number of rows; each begins with a link to the other."""
    translated = {"mermaid", "python"}
    english, chinese = (
        [block for block in blocks(page) if block.language not in translated]
        for page in (README, CHINESE)
    )
    assert english == chinese
    first, second = (page.read_text("utf-8") for page in (README, CHINESE))
    for shape in (r"^\|", r"^#", r"^- ", r"^<!-- figures -->$"):
        assert len(re.findall(shape, first, re.MULTILINE)) == len(
            re.findall(shape, second, re.MULTILINE)
        ), shape
    assert CHINESE.name in first.partition("\n")[0]
    assert README.name in second.partition("\n")[0]


# --- Snippets -------------------------------------------------------------------


def test_python_snippets(stack: Stack) -> None:
    session_id = stack.log_in()
    ask = f"\nprint(user_of({session_id!r}), user_of('wxs_nonsense'))\nauth.close()\n"
    for page in (README, CHINESE, DOCS / "python-client.md"):
        assert run_python(stack.here(snippet(page, "client")) + ask) == "10001 None\n"
    show = f"\nasyncio.run(show({session_id!r}))\n"
    told = run_python(stack.here(snippet(DOCS / "python-client.md", "asyncio")) + show)
    assert told.startswith("local 10001 ")


def test_the_sandbox_in_python() -> None:
    mint = """
import requests
asked = {"appid": "wx0123456789abcdef", "user": "carol"}
print(requests.post(base_url + "/_control/codes", json=asked, timeout=10).json()["code"])
server.should_exit = True
"""
    said = run_python(snippet(DOCS / "sandbox.md", "sandbox-in-python") + mint)
    assert re.fullmatch("0[0-9A-Za-z]{31}\n", said)


def run_python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment(),
        capture_output=True,
        encoding="utf-8",
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


_MINI_PROGRAM = """
let logins = 0
const kept = new Map()
global.wx = {
  login: ({ success, fail }) =>
    fetch('http://SANDBOX/_control/codes', {
      method: 'POST',
      body: JSON.stringify({ appid: 'wxdec0de0000000001', user: 'dave' }),
    }).then((answer) => answer.json()).then(success, fail),
  request: ({ url, method = 'GET', data, header = {}, success, fail }) => {
    if (url.endsWith('/login')) logins++
    const body = method === 'GET' ? undefined : JSON.stringify(data)
    fetch(url, { method, body, headers: { 'Content-Type': 'application/json', ...header } })
      .then(async (answer) => ({ statusCode: answer.status, data: await answer.json() }))
      .then(success, fail)
  },
  getRandomValues: ({ length, success }) =>
    success({ randomValues: crypto.getRandomValues(new Uint8Array(length)).buffer }),
  getStorageSync: (key) => kept.get(key) || '',
  setStorageSync: (key, value) => kept.set(key, value),
  removeStorageSync: (key) => kept.delete(key),
}
const { login, call } = require('./auth.js')
async function main() {
  const session = { url: 'http://GATEWAY/session' }
  console.log((await login().catch((error) => error)).reason)
  await login({ username: 'zhangsan', password: 'pwd123456' })
  console.log((await call(session)).data.account.id)
  for (const key of kept.keys()) kept.set(key, 'wxs_dead')
  logins = 0
  const answers = await Promise.all(Array.from({ length: 10 }, () => call(session)))
  console.log(answers.map((answer) => answer.statusCode).join(), logins)
}
main()
"""

# Defined only where there is a node: CI, which may have none, forbids skips.
if NODE is not None:

    def test_the_mini_programs_login(stack: Stack, tmp_path: Path) -> None:
        """With a wx that keeps to the rules of the real one."""
        code = snippet(DOCS / "real-mini-program.md", "mini-program")
        base = "https://login.example.com"
        assert base in code
        (tmp_path / "auth.js").write_text(code.replace(base, f"http://{stack.gateway}"))
        harness = _MINI_PROGRAM.replace("SANDBOX", stack.sandbox).replace("GATEWAY", stack.gateway)
        (tmp_path / "main.js").write_text(harness)

        done = subprocess.run(
            [str(NODE), "main.js"],
            cwd=tmp_path,
            env=environment(),
            capture_output=True,
            encoding="utf-8",
            timeout=PATIENCE_S,
        )

        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.split("\n") == [
            "BINDING_REQUIRED",
            "10001",
            ",".join(["200"] * 10) + " 1",
            "",
        ]


def test_every_configuration_can_be_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("WXAUTH_"):
            monkeypatch.delenv(name)
    shown = [block.text for page in PAGES for block in blocks(page) if block.language == "toml"]
    assert shown
    for number, text in enumerate(shown):
        file = tmp_path / f"{number}.toml"
        file.write_text(text, "utf-8")
        load_configuration(file)


# --- Links ----------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"https?://", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert target.is_relative_to(ROOT), link
        if anchor:
            assert anchor in anchors(target), link


def test_every_page_can_be_found() -> None:
    """From the README, by links."""
    found: set[Path] = set()
    waiting = [README]
    while waiting:
        page = waiting.pop()
        if page in found:
            continue
        found.add(page)
        links = re.findall(r"\]\(([^)#\s]+\.md)", prose(page))
        waiting += [(page.parent / link).resolve() for link in links if "://" not in link]
    assert set(PAGES) <= found


def anchors(page: Path) -> set[str]:
    """What GitHub makes of the headings."""
    headings = re.findall(r"^#+ (.*)$", _FENCE.sub("", page.read_text("utf-8")), re.MULTILINE)
    return {
        re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in headings
    }


# --- Tables that repeat what the code says ----------------------------------------


def rows(page: Path, *cells: str) -> list[tuple[str, ...]]:
    """The rows of tables whose first cells have this form, one group in each cell."""
    pattern = r"^\| " + r" \| ".join(cells) + r" \|"
    return [found.groups() for found in re.finditer(pattern, page.read_text("utf-8"), re.MULTILINE)]


def test_every_reason_is_explained() -> None:
    told = rows(DOCS / "errors.md", r"`([A-Z_]+)`", r"([A-Z_]+)", r"(\d{3})", r"(.*)", r"(.+)")
    names = {name.removeprefix("ERROR_REASON_"): number for name, number in ErrorReason.items()}
    del names["UNSPECIFIED"]
    assert [reason for reason, *_ in told] == sorted(names, key=names.__getitem__)
    sent = {
        kind.reason_name()
        for kind in vars(errors).values()
        if isinstance(kind, type)
        and issubclass(kind, errors.AuthError)
        and kind is not errors.AuthError
    }
    for reason, status, http, meaning, _ in told:
        assert STATUS_OF_REASON[ErrorReason.ValueType(names[reason])].name == status, reason
        assert str(of_client(OF_THE_CONTRACT[reason]()).code) == http, reason
        assert ("*Not sent by this version*" in meaning) == (reason not in sent), reason


def test_every_cause_is_explained() -> None:
    told = {cause for (cause,) in rows(DOCS / "errors.md", r"`([A-Z_]+)`", ".+")}
    assert {cause.value for cause in Cause} <= told


def test_the_limits_are_those_of_the_code() -> None:
    limits = rows(DOCS / "operations.md", r"[^|]+", r"([\d.,]+)", r"`([\w.]+)`")
    assert len(limits) > 20
    options = dict(CHANNEL_OPTIONS)
    for told, where in limits:
        module, _, name = where.rpartition(".")
        actual = options[where] if where in options else vars(importlib.import_module(module))[name]
        assert float(told.replace(",", "")) == actual, where


def test_every_dependency_has_a_reason() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras: dict[str, list[str]] = project["optional-dependencies"]
    needed = {
        re.split(r"[^\w-]", requirement, maxsplit=1)[0]
        for requirement in itertools.chain(project["dependencies"], *extras.values())
    } - {"wxauth"}
    told = rows(DOCS / "decisions" / "0001-dependencies.md", r"([a-z][\w-]*)", r"(.+)")
    assert sorted(name for name, _ in told if name != "dependency") == sorted(needed)
    for page in PAGES:
        for extra in re.findall(r"\.\[([a-z]+)\]", page.read_text("utf-8")):
            assert extra in extras, page


def test_the_limits_of_guessing_are_those_of_the_code() -> None:
    """OWASP ASVS 5.0 6.1.1: what is documented of throttling is the default."""
    text = (ROOT / "docs/security.md").read_text("utf-8")
    settings = ThrottleSettings()
    told = dict(re.findall(r"\| (\d+)[^|]*?\(`throttle\.(\w+)`", text))
    by_name = {name: int(number) for number, name in told.items()}
    assert by_name == {
        name: getattr(settings, name)
        for name in ThrottleSettings.model_fields
        if name != "longest_wait_s"
    }
    assert settings.longest_wait_s == 15 * 60
    assert "up to 15 minutes (`throttle.longest_wait_s`)" in text
