"""The options of a publish (contract 3)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.errors import EmulatorError, InvalidInput, QuotaExceeded
from emulator.wire.flow_control import FlowControl
from emulator.wire.limits import LENIENT, PLANS
from emulator.wire.option_headers import OPTION_PREFIXES
from emulator.wire.options import Callback, PublishOptions, parse_options


def _parse(*lines: tuple[str, str]) -> PublishOptions:
    return parse_options(lines, limits=LENIENT)


def test_nothing_given_means_the_defaults() -> None:
    assert _parse() == PublishOptions()


def test_option_names_are_read_in_any_case() -> None:
    options = _parse(
        ("upstash-RETRIES", "0"),
        ("Upstash-Method", "patch"),
        ("upstash-delay", "1m"),
        ("UPSTASH-TIMEOUT", "90s"),
        ("Upstash-Not-Before", "1700000000"),
        ("Upstash-Content-Based-Deduplication", "True"),
    )
    assert (options.retries, options.method, options.delay_ms, options.timeout_ms) == (
        0,
        "PATCH",
        60_000,
        90_000,
    )
    assert options.not_before_at == 1_700_000_000_000
    assert options.content_based_deduplication


def test_only_content_type_and_explicit_forwards_reach_the_destination() -> None:
    options = _parse(
        ("Content-Type", "text/plain"),
        ("User-Agent", "x"),
        ("Accept", "*/*"),
        ("Upstash-Forward-My-header", "undefined"),
        ("upstash-forward-host", "kept here, dropped on delivery"),
        ("Upstash-Telemetry-Sdk", "a, b"),
    )
    assert options.headers == (
        ("Content-Type", "text/plain"),
        ("My-Header", "undefined"),
        ("Host", "kept here, dropped on delivery"),
    )


def test_header_forward_copies_what_is_not_the_connections_own() -> None:
    options = _parse(
        ("Host", "q"),
        ("X-Hub-Signature-256", "sha256=AbC"),
        ("Accept-Encoding", "gzip"),
        ("User-Agent", "GitHub-Hookshot"),
        ("X-Github-Event", "push"),
        ("Upstash-Forward-X-GitHub-Event", "issues"),
        ("Upstash-Header-Forward", "true"),
    )
    assert options.headers == (("X-Hub-Signature-256", "sha256=AbC"), ("X-Github-Event", "issues"))


def test_callback_options_lose_one_prefix_and_are_checked_at_once() -> None:
    options = _parse(
        ("Upstash-Callback", "https://cb.com/?foo=bar"),
        ("Upstash-Callback-Retries", "1"),
        ("Upstash-Callback-Forward-Auth", "x"),
        ("Upstash-Failure-Callback", "https://fail.com"),
        ("Upstash-Failure-Callback-Method", "PUT"),
    )
    assert options.callback == Callback(
        url="https://cb.com/?foo=bar", headers=(("Upstash-Retries", "1"), ("Upstash-Forward-Auth", "x"))
    )
    assert options.failure_callback == Callback(url="https://fail.com", headers=(("Upstash-Method", "PUT"),))
    with pytest.raises(InvalidInput, match="Upstash-Callback-Retries 'x'"):
        _parse(("Upstash-Callback", "https://cb.com"), ("Upstash-Callback-Retries", "x"))
    with pytest.raises(InvalidInput, match="Upstash-Callback-Delay"):
        _parse(("Upstash-Callback", "https://cb.com"), ("Upstash-Callback-Delay", "5s"))


def test_earlier_sources_win() -> None:
    options = parse_options(
        [("Upstash-Retries", "1")],
        [("upstash-retries", "2"), ("upstash-delay", "5s")],
        [("Upstash-Delay", "9s"), ("Upstash-Forward-A", "group")],
        limits=LENIENT,
    )
    assert (options.retries, options.delay_ms, options.headers) == (1, 5_000, (("A", "group"),))


def test_labels_are_trimmed_and_keep_their_order() -> None:
    assert _parse(("Upstash-Label", "b, a,,b ,c")).labels == ("b", "a", "c")


def test_flow_control() -> None:
    options = _parse(
        ("Upstash-Flow-Control-Key", "k"),
        ("Upstash-Flow-Control-Value", "parallelism=3, rate=5 ,period=1h30m3s"),
    )
    assert options.flow_control == FlowControl(key="k", parallelism=3, rate=5, period_seconds=5403)


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([("Upstash-Delay", "-5s")], "Upstash-Delay '-5s'"),
        ([("Upstash-Delay", "soon")], "Upstash-Delay 'soon'"),
        ([("Upstash-Delay", "10")], "Upstash-Delay '10'"),
        ([("Upstash-Not-Before", "tomorrow")], "Upstash-Not-Before 'tomorrow'"),
        # JavaScript's Date.now() and Java's nanoTime() are no seconds.
        (
            [("Upstash-Not-Before", "1795710760980")],
            "unix seconds, and these are after the year 9999; 1795710760 if milliseconds",
        ),
        ([("Upstash-Not-Before", "1795710760980000000")], "'1795710760980000000': it takes unix seconds"),
        ([("Upstash-Not-Before", "9" * 400)], "it takes unix seconds"),
        ([("Upstash-Retries", "-1")], "Upstash-Retries '-1'"),
        ([("Upstash-Retries", "1.5")], "Upstash-Retries '1.5'"),
        ([("Upstash-Timeout", "0s")], "Upstash-Timeout '0s'"),
        ([("Upstash-Method", "TRACE")], "Upstash-Method 'TRACE'"),
        ([("Upstash-Retry-Delay", "1 +")], "Upstash-Retry-Delay '1 +'"),
        ([("Upstash-Deduplication-Id", "a:b")], "DeduplicationId cannot contain ':'"),
        ([("Upstash-Callback", "example.com")], "Upstash-Callback url"),
        ([("Upstash-Redact-Fields", "boddy")], "Upstash-Redact-Fields 'boddy'"),
        ([("Upstash-Content-Based-Deduplication", "yes")], "Upstash-Content-Based-Deduplication 'yes'"),
        ([("Upstash-Flow-Control-Key", "k")], "Upstash-Flow-Control-Key 'k' needs"),
        ([("Upstash-Flow-Control-Value", "rate=1")], "needs Upstash-Flow-Control-Key"),
        (
            [("Upstash-Flow-Control-Key", "k"), ("Upstash-Flow-Control-Value", "paralelism=1")],
            "should be either rate=X or parallelism=Y, or both as comma-separated values",
        ),
        (
            [("Upstash-Flow-Control-Key", "k"), ("Upstash-Flow-Control-Value", "rate=1, period=8d")],
            "period='8d'",
        ),
        ([("Upstash-Queue-Name", "a b")], "Upstash-Queue-Name 'a b'"),
    ],
)
def test_bad_values_are_refused_with_the_header_and_the_value(
    lines: list[tuple[str, str]], words: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        _parse(*lines)
    assert words in str(refused.value)


def test_retries_over_the_plan_are_refused_in_the_services_words() -> None:
    with pytest.raises(QuotaExceeded, match="quota maxRetries exceeded"):
        parse_options([("Upstash-Retries", "6")], limits=PLANS["payg"])


def test_options_of_a_callback_that_come_to_nothing_are_warnings() -> None:
    url = ("Upstash-Callback", "https://example.com")
    assert _parse(
        url, ("Upstash-Callback-Retrys", "3"), ("Upstash-Failure-Callback-Retries", "1")
    ).warnings == (
        "unknown header Upstash-Callback-Retrys is ignored; did you mean Upstash-Callback-Retries?",
        "Upstash-Failure-Callback-Retries is ignored without Upstash-Failure-Callback",
    )


def test_what_sdks_say_about_themselves_is_ignored_without_a_warning() -> None:
    options = _parse(
        ("Upstash-Telemetry-Sdk", "a"), ("Upstash-Feature-Set", "b"), ("Upstash-Workflow-Url", "c")
    )
    assert (options.headers, options.warnings) == ((), ())


def test_every_prefix_of_the_table_is_understood() -> None:
    lines = [(f"Upstash-{prefix}Retries", "1") for prefix in OPTION_PREFIXES]
    urls = (("Upstash-Callback", "https://a.com"), ("Upstash-Failure-Callback", "https://a.com"))
    assert _parse(*urls, *lines).warnings == ()


def test_an_unknown_option_is_a_warning_with_the_likely_name() -> None:
    assert _parse(("Upstash-Retrys", "3")).warnings == (
        "unknown header Upstash-Retrys is ignored; did you mean Upstash-Retries?",
    )


_NAMES = st.sampled_from(
    [
        "Upstash-Delay", "upstash-retries", "Upstash-Timeout", "Upstash-Label", "Upstash-Forward-X", "Upstash-Callback",
        "Upstash-Callback-Retries", "Upstash-Retry-Delay", "Upstash-Flow-Control-Key", "Upstash-Flow-Control-Value",
        "Upstash-Redact-Fields", "Upstash-", "Upstash-Forward-", "Content-Type", "Upstash-Cron", "X",
    ]
)  # fmt: skip


@given(st.lists(st.tuples(_NAMES, st.text(max_size=20)), max_size=8))
def test_no_header_lines_break_the_reader(lines: list[tuple[str, str]]) -> None:
    try:
        options = _parse(*lines)
    except EmulatorError as error:
        assert str(error)
    else:
        assert all(not name.lower().startswith("upstash-") for name, _ in options.headers)
