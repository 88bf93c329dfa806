"""`make check`: the committed stubs are what the .proto files generate now."""

from __future__ import annotations

import filecmp
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch)
        subprocess.run(["make", "--silent", "generate", f"STUBS={out}"], cwd=ROOT, check=True)
        fresh = {path.relative_to(out) for path in out.rglob("*_pb2*")}
        committed = {path.relative_to(ROOT / "proto") for path in ROOT.glob("proto/**/*_pb2*.py*")}
        committed = {path for path in committed if path.suffix in {".py", ".pyi"}}
        stale = sorted(
            str(path)
            for path in fresh | committed
            if path not in fresh
            or path not in committed
            or not filecmp.cmp(out / path, ROOT / "proto" / path, shallow=False)
        )
    for path in stale:
        print(f"proto/{path} is not what the .proto files generate: run make generate")
    return bool(stale)


if __name__ == "__main__":
    sys.exit(main())
