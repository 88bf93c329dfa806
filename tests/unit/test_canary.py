"""The canary of the test run can sing."""

from __future__ import annotations

import logging
import sys

from tests.canary import Canary, CanaryHandler


def test_a_secret_that_was_said_is_a_leak() -> None:
    canary = Canary()
    secret = canary.keep("correct horse")
    canary.hear("log", "nothing of interest")
    assert canary.leaks() == []
    canary.hear("status", f"refused: {secret}")
    [leak] = canary.leaks()
    assert leak.startswith("status")
    assert secret not in leak


def test_a_secret_in_the_field_or_exception_of_a_log_record_is_a_leak() -> None:
    for place in ("field", "exception"):
        canary = Canary()
        secret = canary.keep("correct horse")
        logger = logging.getLogger(f"canary.{place}")
        logger.setLevel(logging.INFO)
        logger.addHandler(CanaryHandler(canary))
        if place == "field":
            logger.info("said", extra={"detail": secret})
        else:
            try:
                raise RuntimeError(secret)
            except RuntimeError:
                logger.info("said", exc_info=sys.exc_info())
        assert canary.leaks(), place


def test_what_is_too_short_is_no_secret() -> None:
    canary = Canary()
    canary.keep("x")
    canary.hear("log", "x")
    assert canary.leaks() == []
    assert canary.size == (0, 1)
