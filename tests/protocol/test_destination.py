"""Reading destinations out of raw request targets (contract 2.1)."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.errors import InvalidInput
from emulator.wire.destination import (
    DestinationKind,
    origin_of,
    parse_destination,
    split_target,
    token_parameter,
)


def _resolve(target: str) -> tuple[str, str, list[tuple[str, str]]]:
    remainder, _, query = target.partition("?")
    raw, kept, parameters = split_target(remainder, query)
    destination = parse_destination(raw, kept)
    return destination.kind.value, destination.value, parameters


@pytest.mark.parametrize(
    ("target", "url", "parameters"),
    [
        ("https://example.com", "https://example.com", []),
        ("https://a.b/c?d=e", "https://a.b/c?d=e", []),
        ("https://example.com/123/?asdasd=ooo", "https://example.com/123/?asdasd=ooo", []),
        ("https://example.com/a//b%2Fc", "https://example.com/a//b%2Fc", []),
        ("https://e.com/x?", "https://e.com/x", []),
        ("https://e.com/?a=%2f&b=+&a=2", "https://e.com/?a=%2f&b=+&a=2", []),
        (
            "http://localhost:3000/hook?qstash_token=T&x=1&upstash-retries=5",
            "http://localhost:3000/hook?x=1",
            [("upstash-retries", "5")],
        ),
        ("https://e.com/?Upstash-Delay=10s", "https://e.com/", [("upstash-delay", "10s")]),
        ("HTTPS://E.com/X", "HTTPS://E.com/X", []),
    ],
)
def test_known_targets(target: str, url: str, parameters: list[tuple[str, str]]) -> None:
    assert _resolve(target) == ("url", url, parameters)


def test_a_bare_name_is_a_url_group() -> None:
    assert _resolve("my-group?upstash-delay=1m") == ("url group", "my-group", [("upstash-delay", "1m")])


@pytest.mark.parametrize(
    "target", ["https%3A%2F%2Fe.com", "e.com/x", "ftp://e.com", "https:/e.com", "localhost:3000"]
)
def test_what_looks_like_a_url_needs_its_scheme(target: str) -> None:
    with pytest.raises(InvalidInput, match="endpoint has invalid scheme, add http:// or https://"):
        parse_destination(target)


def test_an_empty_destination_is_refused_in_the_services_words() -> None:
    with pytest.raises(InvalidInput, match="a non-empty destination must be provided"):
        parse_destination("")


@pytest.mark.parametrize(
    "target", ["https://", "http://:80/x", "http://[::1/x", "http://h:port/", "http://a b/"]
)
def test_urls_without_a_usable_host_are_refused(target: str) -> None:
    with pytest.raises(InvalidInput, match="destination url"):
        parse_destination(target)


_URL_TEXT = st.text(alphabet=string.ascii_letters + string.digits + "/%-._~:;,@!$'()*+=", max_size=40)
_PAIRS = st.lists(st.text(alphabet=string.ascii_letters + "%+=.-", min_size=1, max_size=12), max_size=5)


@given(_URL_TEXT, _PAIRS)
def test_every_byte_of_a_destination_that_is_not_configuration_survives(path: str, pairs: list[str]) -> None:
    kept = [pair for pair in pairs if not pair.lower().startswith(("upstash", "qstash", "%"))]
    query = "&".join([*kept, "qstash_token=secret", "upstash-retries=1"])
    raw, remaining, _ = split_target(f"https://example.com/{path}", query)
    destination = parse_destination(raw, remaining)
    assert destination.kind is DestinationKind.URL
    expected = f"https://example.com/{path}" + (f"?{'&'.join(kept)}" if kept else "")
    assert destination.value == expected
    assert "secret" not in destination.value


@given(st.text(max_size=60), st.text(max_size=40))
def test_parsing_a_destination_ends_in_a_value_or_a_clear_refusal(raw: str, query: str) -> None:
    try:
        destination = parse_destination(*split_target(raw, query)[:2])
    except InvalidInput as error:
        assert str(error)
    else:
        assert destination.value


def test_token_parameter_is_decoded() -> None:
    assert token_parameter("a=1&qstash_token=ey%3D%3D&b=2") == "ey=="
    assert token_parameter("a=1") is None


def test_origins_spell_out_the_port_and_ignore_case() -> None:
    assert origin_of("HTTPS://Example.com/x") == "https://example.com:443"
    assert origin_of("http://[::1]:3000/x") == "http://::1:3000"
