"""Nothing in a request can forge a line of the log, or reach the terminal that shows it."""

import base64
import io
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import jwt
import pytest

from emulator.log_format import OneLineFormatter
from emulator.testing import Harness
from jobs_core.log_format import FactsFormatter, JsonFormatter
from jobs_core.qstash.signature import Rejected, Verifier
from tests.conftest import NOW_AT

_FORGED = "x\nWARNING all is well\r\x1b[2J\x1b]0;owned\x07\x85\u2028\x00"


@contextmanager
def _written(name: str, formatter: logging.Formatter) -> Iterator[io.StringIO]:
    """Return the text that the logger ``name`` writes with ``formatter``."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    logger = logging.getLogger(name)
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield stream
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)


def _controls(text: str) -> set[str]:
    return {one for one in text if not one.isprintable() and one != "\n"}


@pytest.mark.parametrize(
    "target",
    [
        "/v2/publish/https://example.com?upstash-%0aWARNING%20forged=1",
        "/v2/publish/https://example.com?upstash-x%1b%5b2J=1",
        "/v2/publish/https://example.com?upstash-callback-forward-x=%0d%0aWARNING+forged",
        "/v2/publish/https://example.com?upstash-" + 5_000 * "x" + "=1",
        "/v2/queues/%0aWARNING%20forged",
    ],
)
async def test_a_requests_own_text_stays_on_its_line(qstash: Harness, target: str) -> None:
    with _written("emulator", OneLineFormatter()) as log:
        assert (await qstash.client.post(target)).status_code < 500
        assert (await qstash.client.delete(target)).status_code < 500
    text = log.getvalue()
    assert _controls(text) == set()
    assert not any(line.startswith("WARNING forged") for line in text.splitlines())
    assert all(len(line) < 2_500 for line in text.splitlines())


@pytest.mark.parametrize("formatter", [OneLineFormatter(), FactsFormatter(), JsonFormatter()])
def test_what_a_failure_says_stays_on_lines_of_its_traceback(formatter: logging.Formatter) -> None:
    with _written("emulator.forged", formatter) as log:
        try:
            raise ValueError(_FORGED)
        except ValueError:
            logging.getLogger("emulator.forged").exception("told %s", _FORGED, extra={"fact": _FORGED})
    text = log.getvalue()
    assert _controls(text) == set()
    assert len([line for line in text.splitlines() if line[:1].strip()]) == 1
    assert "ValueError" in text


def test_an_algorithm_that_a_stranger_sends_to_the_worker_is_one_word_of_the_log() -> None:
    _, _, rest = jwt.encode({"iss": "Upstash"}, "k" * 64, algorithm="HS256").partition(".")
    head = base64.urlsafe_b64encode(json.dumps({"alg": _FORGED, "typ": "JWT"}).encode()).decode().rstrip("=")
    verifier = Verifier(current_key="a", next_key="b")
    result = verifier.verify(
        f"{head}.{rest}", body=b"", url="https://a", now=datetime.fromtimestamp(NOW_AT / 1000, UTC)
    )
    assert isinstance(result, Rejected)
    assert result.received == _FORGED
    with _written("jobs_core.forged", FactsFormatter()) as log:
        logging.getLogger("jobs_core.forged").warning(
            "refused %s", result.received, extra={"received": result.received}
        )
    assert _controls(log.getvalue()) == set()
    assert log.getvalue().count("\n") == 1
