"""`python -m tests.bench [--short] [--only NAME]`: measure and print the figures.

Fails only when a call failed: how fast a machine is says nothing about whether
the code is right.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from rich.console import Console

from tests.bench import (
    batch,
    import_accounts,
    latency,
    logins,
    startup,
    validate_cpu,
)
from tests.bench.figures import Benchmark, Figure, Scale, print_table

BENCHMARKS = (
    Benchmark("validate", validate_cpu.run),
    Benchmark("batch", batch.run),
    Benchmark("silent", logins.silent),
    Benchmark("password", logins.with_password),
    Benchmark("startup", startup.run),
    Benchmark("latency", latency.run),
    Benchmark("import", import_accounts.run),
)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--only", choices=[benchmark.name for benchmark in BENCHMARKS])
    parser.add_argument("--short", action="store_true", help="fewer rounds: for a first look")
    chosen = parser.parse_args(arguments)
    results: list[tuple[str, Figure]] = []
    console = Console(stderr=True)
    for benchmark in BENCHMARKS:
        if chosen.only in {None, benchmark.name}:
            with console.status(f"measuring: {benchmark.name}"):
                found = benchmark.run(Scale(short=chosen.short))
            results += [(benchmark.name, figure) for figure in found]
    print_table(results)
    return int(any(figure.failed_calls for _, figure in results))


if __name__ == "__main__":
    sys.exit(main())
