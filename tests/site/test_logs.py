"""A log record is one line, whatever stands in it."""

from __future__ import annotations

import io
import json
import logging
import logging.config
from collections.abc import Iterator

import pytest
from django.conf import settings

FORGED = "bob\n2026-11-21 CRITICAL rewards: all is lost\r\x1b[2J\u2028\x00"


@pytest.fixture(params=["text", "json"])
def log(request: pytest.FixtureRequest) -> Iterator[tuple[str, logging.Logger, io.StringIO]]:
    stream = io.StringIO()
    configuration = {
        **settings.LOGGING,
        "handlers": {"console": {"class": "logging.StreamHandler", "formatter": request.param, "stream": stream}},
        "root": {},
        "loggers": {"forgery": {"handlers": ["console"], "level": "INFO", "propagate": False}},
    }
    logging.config.dictConfig(configuration)
    yield request.param, logging.getLogger("forgery"), stream
    logging.config.dictConfig(settings.LOGGING)


def test_a_message_cannot_forge_another_record(log: tuple[str, logging.Logger, io.StringIO]) -> None:
    _, logger, stream = log
    logger.info("Unknown user %s", FORGED, extra={"event": "unknown_user"})

    assert len(stream.getvalue().splitlines()) == 1
    assert "\x1b" not in stream.getvalue()


def test_an_exception_cannot_either(log: tuple[str, logging.Logger, io.StringIO]) -> None:
    form, logger, stream = log
    try:
        raise ValueError(FORGED)
    except ValueError:
        logger.exception("Failed")

    first, *rest = stream.getvalue().splitlines()
    assert "Failed" in first
    assert all(line.startswith("    ") for line in rest)
    assert (not rest) == (form == "json")


def test_production_logs_are_json_with_what_the_caller_adds(log: tuple[str, logging.Logger, io.StringIO]) -> None:
    form, logger, stream = log
    logger.warning("Paid %s", 3, extra={"event": "distribution_paid", "amount": 3})

    if form == "json":
        record = json.loads(stream.getvalue())
        assert record.pop("time").endswith("+00:00")
        assert record == {
            "level": "WARNING",
            "logger": "forgery",
            "message": "Paid 3",
            "event": "distribution_paid",
            "amount": 3,
        }
    else:
        assert "WARNING  forgery: Paid 3" in stream.getvalue()
