"""Requests in the shapes that the official SDKs send (contract 7.6)."""

import json

import pytest
from qstash import Receiver
from qstash.errors import SignatureError

from emulator.testing import Listener
from emulator.testing import Receiver as Destination

# On one worker: two servers are started for all of them.
pytestmark = pytest.mark.xdist_group("conformance")

_LATER = {"Upstash-Delay": "1h"}


def test_redaction_flow_control_and_telemetry_as_the_sdks_spell_them(account) -> None:
    message_id = account.publish(
        "https://example.com",
        "secret",
        Upstash_Redact_Fields="body,header[Authorization]",
        Upstash_Flow_Control_Key=account.named("key"),
        Upstash_Flow_Control_Value="parallelism=3, rate=5",
        Upstash_Telemetry_Sdk="a, b",
        Upstash_Forward_Authorization="Bearer secret",
        **_LATER,
    )
    message = account.message(message_id)
    assert "secret" not in json.dumps(message)
    assert (message["parallelism"], message["rate"]) == (3, 5)


@pytest.mark.parametrize("method", ["GET", "PATCH", "PUT", "DELETE", "POST"])
def test_batch_items_may_have_no_body_and_any_method(account, method: str) -> None:
    item = {"destination": "https://example.com", "headers": {"upstash-method": method, **_LATER}}
    [answer] = account.http.post("/v2/batch", json=[item]).json()
    message = account.message(answer["messageId"])
    assert (message["method"], "body" in message) == (method, False)


def test_filters_repeat_their_keys_and_are_percent_encoded(account) -> None:
    one, two = account.named("x"), account.named("c")
    first = account.publish(f"https://example.com/a%2Fb?{one}=1", **_LATER)
    second = account.publish(f"https://example.com/{two}", **_LATER)

    def found(query: str) -> set[str]:
        return {event["messageId"] for event in account.http.get(f"/v2/events?{query}").json()["events"]}

    both = f"url=https%3A%2F%2Fexample.com%2Fa%252Fb%3F{one}%3D1&url=https%3A%2F%2Fexample.com%2F{two}"
    account.agrees(lambda: found(both), {first, second})
    account.agrees(lambda: found(f"path=%2F{two}"), {second})


@pytest.mark.parametrize(
    ("url", "header"),
    [
        ("https://api.openai.com/v1/chat/completions", "Authorization"),
        ("https://api.anthropic.com/v1/messages", "X-Api-Key"),
        ("https://api.resend.com/emails/batch", "Authorization"),
        ("https://gateway.helicone.ai/v1/chat/completions", "Helicone-Auth"),
    ],
)
def test_providers_are_raw_destinations_with_forwarded_headers(account, url: str, header: str) -> None:
    message = account.message(account.publish(url, "{}", **{f"Upstash-Forward-{header}": "key"}, **_LATER))
    assert (message["url"], message["header"][header]) == (url, ["key"])


@pytest.mark.emulator_only("the real service does not reach this machine")
def test_a_delivery_verifies_with_the_current_then_the_next_key_and_for_its_url_only(account) -> None:
    destination = Destination(now=lambda: 0)
    with Listener(destination) as listener:
        url = f"{listener.url}/hook"
        account.publish(url, "body")
        [delivery] = account.eventually(lambda: destination.got, 10)
    signature = delivery.headers["upstash-signature"]
    current, following = account.current_signing_key, account.next_signing_key
    for keys in ((current, following), ("sig_other", current)):
        Receiver(*keys).verify(signature=signature, body="body", url=url)
    for keys, wrong_url in ((("sig_a", "sig_b"), url), ((current, following), f"{url}/")):
        with pytest.raises(SignatureError):
            Receiver(*keys).verify(signature=signature, body="body", url=wrong_url)
