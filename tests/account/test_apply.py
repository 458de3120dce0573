"""A file says what is wanted; apply does it, once, and says what it did when it could not do it all."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import Result

from emulator.testing import ServerProcess
from emulator.testing.server import ServerTenant
from tests.account.conftest import Run
from tests.account.proxy import AFTER, BEFORE, Answer, Proxy

WANTED: dict[str, Any] = {
    "schedules": {
        "nightly": {
            "cron": "CRON_TZ=Europe/Berlin 0 3 * * *",
            "destination": "https://example.com/a/../b//c%2Fd?q=a+b",
            "method": "PUT",
            "headers": {"Content-Type": "text/plain", "X-Key": {"env": "THE_KEY"}, "X-Two": ["a", "b, c"]},
            "body": "Grüße, 100 %",
            "retries": 0,
            "retryDelay": "1000 * retried",
            "delay": "1m30s",
            "timeout": 30,
            "callback": "https://example.com/done?x=1",
            "callbackHeaders": {"X-Of": "callback"},
            "failureCallback": "https://example.com/failed",
            "failureCallbackHeaders": {"X-Of": "failure"},
            "queue": "mails",
            "labels": ["one", "zwei Wörter"],
            "flowControl": {"key": "api/v1 ü%", "rate": 2, "period": "1m"},
            "paused": True,
        },
        "to-group": {"cron": "@daily", "destination": "billing"},
        "binary": {"cron": "0 0 * * 0", "destination": "https://example.com", "bodyBase64": "AP8="},
    },
    "urlGroups": {
        "billing": {
            "endpoints": [
                {"url": "https://example.com/1", "name": "Büro / 100 %"},
                {"url": "https://example.com/2"},
            ],
            "headers": {"Upstash-Retries": "1"},
        }
    },
    "queues": {"mails": {"parallelism": 2}, "..": {"paused": True}},
    "flowControl": {
        "api/v1 ü%": {"parallelism": 3, "rate": 10, "period": "1h"},
        "../pause": {"paused": True},
    },
}

Write = Callable[[object], object]


@pytest.fixture
def write(tmp_path: Path, monkeypatch) -> Write:
    monkeypatch.setenv("THE_KEY", "s3cr3t")
    return lambda wanted: (tmp_path / "qstash.yaml").write_text(yaml.safe_dump(wanted, allow_unicode=True))


def test_apply_brings_an_account_to_what_the_file_says_and_again_does_nothing(
    run: Run, account: ServerTenant, write: Write
) -> None:
    write(WANTED)
    planned = run("plan").stdout
    assert planned.splitlines()[-1] == "8 to make, 0 to change, 0 to delete"
    assert account.call("GET", "/v2/schedules") == []
    done = run("apply").stdout
    assert done.splitlines()[-1] == "account: 8 steps done"
    assert "s3cr3t" not in planned + done
    assert run("diff", "account", "qstash.yaml").stdout == "no difference\n"
    before = account.call("GET", "/v2/schedules")
    assert run("apply").stdout == "account: nothing to do\n"
    assert account.call("GET", "/v2/schedules") == before
    nightly = account.call("GET", "/v2/schedules/nightly")
    assert nightly["destination"] == "https://example.com/a/../b//c%2Fd?q=a+b"
    assert nightly["header"] == {"Content-Type": ["text/plain"], "X-Key": ["s3cr3t"], "X-Two": ["a", "b, c"]}
    assert (nightly["delay"], nightly["timeout"], nightly["period"]) == (90, 30, 60)
    assert nightly["callbackHeader"] == {"X-Of": ["callback"]}
    assert nightly["isPaused"]
    assert account.call("GET", "/v2/schedules/binary")["bodyBase64"] == "AP8="
    assert account.call("GET", "/v2/queues/%2E%2E")["paused"]
    key = account.call("GET", "/v2/flowControl/api%2Fv1%20%C3%BC%25")
    assert (key["parallelismMax"], key["rateMax"], key["ratePeriod"]) == (3, 10, 3600)


def test_what_was_pulled_can_be_applied_elsewhere(
    run: Run, account: ServerTenant, local: ServerTenant, write: Write
) -> None:
    write(WANTED)
    run("apply")
    secrets = [f"--with-secrets={name}" for name in ("X-Key", "X-Two", "X-Of", "body")]
    run("pull", "--file", "pulled.yaml", *secrets)
    run("apply", "pulled.yaml", "--to", "emulator")
    assert run("diff").stdout == "no difference\n"
    for name in ("schedules", "topics"):
        views = [tenant.call("GET", f"/v2/{name}") for tenant in (account, local)]
        for view in (one for each in views for one in each):
            for time in ("createdAt", "updatedAt", "nextScheduleTime"):
                view.pop(time, None)
        assert sorted(views[0], key=str) == sorted(views[1], key=str)


def test_a_change_is_planned_told_and_made(run: Run, account: ServerTenant, write: Write) -> None:
    write(WANTED)
    run("apply")
    changed = yaml.safe_load(yaml.safe_dump(WANTED))
    changed["schedules"]["nightly"] |= {"cron": "0 4 * * *", "paused": False}
    changed["schedules"]["to-group"]["paused"] = True
    changed["urlGroups"]["billing"] = {"endpoints": [{"url": "https://example.com/1"}]}
    changed["flowControl"]["api/v1 ü%"] = {"rate": 5}
    write(changed)
    planned = run("plan").stdout
    assert "  cron: 'CRON_TZ=Europe/Berlin 0 3 * * *' in account, '0 4 * * *' in qstash.yaml\n" in planned
    assert planned.endswith("0 to make, 4 to change, 0 to delete\n")
    run("apply")
    assert run("diff", "account", "qstash.yaml").stdout == "no difference\n"
    group = account.call("GET", "/v2/topics/billing")
    assert group["endpoints"] == [{"url": "https://example.com/1"}]
    assert "headers" not in group
    assert not account.call("GET", "/v2/schedules/nightly")["isPaused"]


def test_a_withheld_value_stays_as_the_account_has_it(run: Run, account: ServerTenant, write: Write) -> None:
    write(WANTED)
    run("apply")
    run("pull", "--file", "qstash.yaml")
    file = Path("qstash.yaml")
    file.write_text(file.read_text().replace("0 3 * * *", "0 5 * * *"))
    assert "s3cr3t" not in file.read_text()
    run("apply")
    nightly = account.call("GET", "/v2/schedules/nightly")
    assert nightly["cron"] == "CRON_TZ=Europe/Berlin 0 5 * * *"
    assert nightly["header"]["X-Key"] == ["s3cr3t"]
    assert nightly["body"] == "Grüße, 100 %"
    account.call("DELETE", "/v2/schedules/nightly")
    refused = run("apply", code=1).stderr
    assert "schedule nightly: body is not known (account has none to keep)" in refused
    assert "write it into qstash.yaml, or {env: NAME} in its place" in refused


def test_only_prune_deletes_and_it_asks_first(run: Run, account: ServerTenant, write: Write) -> None:
    write(WANTED)
    run("apply")
    write({"schedules": {"to-group": WANTED["schedules"]["to-group"]}, "queues": {}})
    kept = run("apply").stdout
    assert "left alone (--prune deletes): " in kept
    assert "schedule nightly" in kept
    assert len(account.call("GET", "/v2/schedules")) == 3
    refused = run("apply", "--prune", code=2).stderr
    assert "say --yes" in refused
    assert "schedule nightly" in refused
    assert len(account.call("GET", "/v2/schedules")) == 3
    assert "delete queue mails\n  with the messages that wait in it\n" in run("plan", "--prune").stdout
    run("apply", "--prune", "--yes")
    assert [one["scheduleId"] for one in account.call("GET", "/v2/schedules")] == ["to-group"]
    assert account.call("GET", "/v2/queues") == []
    # The file says nothing of them, so they are nobody's business.
    assert len(account.call("GET", "/v2/topics")) == 1
    assert account.call("GET", "/v2/flowControl/..%2Fpause")["isPaused"]
    write({"flowControl": {}, "urlGroups": {}})
    run("apply", "--prune", "--yes")
    assert not account.call("GET", "/v2/flowControl/..%2Fpause")["isPaused"]
    assert account.call("GET", "/v2/topics") == []


def test_endpoints_may_swap_names_lose_them_and_be_replaced(
    run: Run, account: ServerTenant, write: Write
) -> None:
    forms = [
        [{"url": "https://a.example", "name": "a"}, {"url": "https://b.example", "name": "b"}],
        [{"url": "https://b.example", "name": "a"}, {"url": "https://a.example", "name": "b"}],
        [{"url": "https://a.example"}, {"url": "https://c.example", "name": "a"}],
        [{"url": "https://d.example"}],
    ]
    for endpoints in forms:
        write({"urlGroups": {"g": {"endpoints": endpoints, "headers": {"Upstash-Delay": "1s"}}}})
        run("apply")
        found = account.call("GET", "/v2/topics/g")
        assert sorted(found["endpoints"], key=str) == sorted(endpoints, key=str)
        assert found["headers"] == {"Upstash-Delay": ["1s"]}


def test_a_read_only_token_reads_and_its_refusal_says_that_nothing_was_done(
    run: Run, account: ServerTenant, manual_server: ServerProcess, write: Write, monkeypatch
) -> None:
    made = account.call("POST", "/emulator/tenants", {})
    monkeypatch.setenv("QSTASH_TOKEN", made["readOnlyToken"])
    write(WANTED)
    assert "8 to make" in run("plan").stdout
    run("pull")
    run("diff", "account", "qstash.yaml", code=1)
    refused = run("apply", code=1).stderr
    assert "403" in refused
    assert "a read-only token of account can pull, diff, plan and replay" in refused
    assert "0 of 8 steps are done" in refused
    assert refused.count("NOT TRIED") == 7


def through(proxy: Proxy, run: Run, *arguments: str, code: int = 0) -> Result:
    return run(*arguments, "--account-url", proxy.url, code=code)


def test_a_rate_limit_is_waited_for_and_said(run: Run, account: ServerTenant, write: Write) -> None:
    write(WANTED)
    limited = Answer(429, b'{"error": "rate limit exceeded"}', {"Retry-After": "1"})
    with Proxy(account.url, lambda one: limited if one.number == 6 else None) as proxy:
        done = through(proxy, run, "apply")
    assert "account limits the rate: waiting 1 s\n" in done.stderr
    assert "8 steps done" in done.stdout
    assert run("diff", "account", "qstash.yaml").stdout == "no difference\n"


def test_a_rate_limit_of_hours_ends_it_with_what_is_done_and_what_is_not(
    run: Run, account: ServerTenant, write: Write
) -> None:
    write(WANTED)
    limited = Answer(429, b'{"error": "daily limit"}', {"RateLimit-Reset": "99999999999"})
    with Proxy(account.url, lambda one: limited if one.number == 7 else None) as proxy:
        refused = through(proxy, run, "apply", code=1)
    assert "longer than the 60 s of --max-wait: 429 daily limit" in refused.stderr
    assert "2 of 8 steps are done" in refused.stderr
    assert refused.stdout.count("made ") == 2
    assert run("apply").stdout.splitlines()[-1] == "account: 6 steps done"


@pytest.mark.parametrize("when", [BEFORE, AFTER])
def test_a_connection_that_breaks_off_leaves_nothing_unsaid(
    run: Run, account: ServerTenant, write: Write, when: str
) -> None:
    write(WANTED)
    # The group takes two requests: the second of them is cut.
    with Proxy(account.url, lambda one: when if one.method == "PATCH" else None) as proxy:
        broken = through(proxy, run, "apply", code=1)
    assert "NOT DONE: make URL group billing" in broken.stderr
    assert "1 of its 2 requests were carried out" in broken.stderr
    assert "whether the last request was carried out is not known" in broken.stderr
    assert "2 of 8 steps are done" in broken.stderr
    assert broken.stderr.count("NOT TRIED") == 5
    assert bool(account.call("GET", "/v2/topics/billing").get("headers")) == (when == AFTER)
    run("apply")
    assert run("diff", "account", "qstash.yaml").stdout == "no difference\n"


def test_a_connection_that_breaks_off_while_reading_changes_nothing(
    run: Run, account: ServerTenant, local: ServerTenant
) -> None:
    account.call("POST", "/v2/queues", {"queueName": "q"})
    with Proxy(account.url, lambda one: BEFORE if one.number == 3 else None) as proxy:
        broken = through(proxy, run, "pull", code=3)
    assert "account broke off at GET /v2/queues" in broken.stderr
    assert local.call("GET", "/v2/queues") == []


def test_a_wrong_region_a_wrong_token_and_nobody_are_told_apart(run: Run, account: ServerTenant) -> None:
    # The real service's words (contract 1.2).
    words = (
        b'{"error": "user (u) not found in this region (eu-central-1). Check that you are using the correct '
        b'endpoint. Learn more: https://upstash.com/docs/qstash/howto/multi-region"}'
    )
    with Proxy(account.url, lambda _: Answer(404, words)) as proxy:
        told = through(proxy, run, "diff", code=1).stderr
    assert "user (u) not found in this region (eu-central-1)" in told
    assert "are of different regions" in told
    assert "is the token of account right?" in run("diff", "--account-token", "x", code=1).stderr
    assert (
        "nothing answers for account at http://127.0.0.1:9"
        in run("diff", "--account-url", "http://127.0.0.1:9", code=3).stderr
    )
    with Proxy(account.url, lambda _: Answer(200, b"<html>")) as proxy:
        assert "with JSON: is" in through(proxy, run, "diff", code=1).stderr
    with Proxy(account.url, lambda _: Answer(200, b'[{"cron": 5}]')) as proxy:
        assert (
            "/v2/schedules answered something unknown: 0.scheduleId"
            in through(proxy, run, "diff", code=1).stderr
        )


def test_without_an_account_it_says_which_variables(run: Run, monkeypatch) -> None:
    monkeypatch.delenv("QSTASH_TOKEN")
    assert "Set QSTASH_URL and QSTASH_TOKEN" in run("diff", code=2).stderr


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("schedules: {a: {cron: 61 * * * *, destination: https://e.com}}", "schedules.a.cron: "),
        ("schedules: {a: {cron: 1 * * * *, destination: e.com/x}}", "schedules.a.destination: invalid destination url"),
        ("schedules: {a b: {cron: 1 * * * *, destination: https://e.com}}", "invalid schedule id 'a b'"),
        ("schedules: {a: {cron: 1 * * * *, destination: 'https://e.com?upstash-delay=1s'}}", "has an option"),
        ("schedules: {a: {cron: 1 * * * *, destination: https://e.com, retires: 3}}", "schedules.a.retires: "),
        ("schedules: {a: {cron: 1 * * * *, destination: https://e.com, delay: 1w}}", "schedules.a.delay: "),
        ("schedules: {a: {cron: 1 * * * *, destination: https://e.com, body: {env: GONE}}}", "GONE is not set"),
        ("schedules: {a: {cron: 1 * * * *, destination: https://e.com, redact: [all]}}", "schedules.a.redact: "),
        ("queues: {a: {parallelism: 0}}", "queues.a.parallelism: Input should be greater than or equal to 1 (got '0')"),
        ("queues: {a: {}, a: {}}", "'a' appears twice"),
        ("urlGroups: {a: {endpoints: []}}", "urlGroups.a.endpoints: "),
        ("flowControl: {a: {}}", "flowControl.a: expected parallelism, rate or paused"),
        ("queus: {}", "queus: "),
        ("[", "is not valid YAML"),
        ("? [a]\n: b", "qstash.yaml is not valid YAML: expected text as a name, not a list or a mapping"),
        ("queues: {? {a: b} : {}}", "expected text as a name, not a list or a mapping"),
        ("", "expected schedules, urlGroups, queues, flowControl"),
    ],
)  # fmt: skip
def test_what_a_file_cannot_mean_is_named(run_alone: Run, text: str, words: str) -> None:
    Path("qstash.yaml").write_text(text)
    refused = run_alone("plan", code=2).stderr
    assert refused.startswith("qstash-emulator: qstash.yaml")
    assert words in refused


def test_a_file_that_is_not_there_is_said(run_alone: Run) -> None:
    assert "cannot read qstash.yaml" in run_alone("apply", code=2).stderr
    assert "expected account or emulator" in run_alone("plan", "--to", "both", os.devnull, code=2).stderr


def test_without_its_extra_it_names_it(run_alone: Run, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)
    monkeypatch.delitem(sys.modules, "emulator.account.file", raising=False)
    Path("qstash.yaml").write_text("queues: {}")
    assert run_alone("plan", code=2).stderr == "qstash-emulator: this needs yaml: add the extra 'account'\n"


@pytest.mark.parametrize(
    "field",
    [
        'headers: {Authorization: "Bearer s3cr3t\\n"}',
        'callbackHeaders: {Authorization: "Bearer s3cr3t\\n"}',
        'failureCallbackHeaders: {Authorization: "Bearer s3cr3t\\n"}',
        "callbackHeaders: Bearer s3cr3t",
        "headers: {Authorization: {Bearer: s3cr3t}}",
        "headers: {Authorization: {env: THE_KEY}}",
        "authorization: Bearer s3cr3t",
        "callback: https://user:s3cr3t@example.com:port",
        "callback: ftp://example.com?token=s3cr3t",
    ],
)
def test_what_a_file_cannot_mean_is_named_without_its_secrets(
    run_alone: Run, monkeypatch, field: str
) -> None:
    monkeypatch.setenv("THE_KEY", "Bearer s3cr3t\n")
    Path("qstash.yaml").write_text(
        f"schedules:\n  a:\n    cron: 1 * * * *\n    destination: https://e.com\n    {field}\n"
    )
    refused = run_alone("plan", code=2).stderr
    assert f"schedules.a.{field.partition(':')[0]}" in refused
    assert "s3cr3t" not in refused


def test_a_body_of_several_lines_may_come_from_the_environment(
    run: Run, account: ServerTenant, write: Write, monkeypatch
) -> None:
    monkeypatch.setenv("THE_BODY", "one\ntwo\n")
    write(
        {"schedules": {"a": {"cron": "@daily", "destination": "https://e.com", "body": {"env": "THE_BODY"}}}}
    )
    run("apply")
    assert account.call("GET", "/v2/schedules/a")["body"] == "one\ntwo\n"
