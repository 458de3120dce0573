"""The newsletter in plain tests: the blocking client, the WSGI app, and the clock."""

from datetime import UTC, datetime

import pytest
from newsletter import PUBLIC_URL, create_app, schedule_issues


@pytest.fixture
def app(qstash):
    app = create_app()
    qstash.mount(PUBLIC_URL, app)
    return app


def test_a_welcome_comes_a_day_later(app, qstash) -> None:
    assert app.test_client().post("/readers", json={"address": "ada@example.com"}).status_code == 202
    qstash.advance("23h")
    assert app.sent == []
    qstash.advance("1h")
    assert app.sent == [("welcome", "ada@example.com")]
    qstash.assert_delivered(f"{PUBLIC_URL}/jobs/welcome", attempts=1)


@pytest.mark.qstash(now_at=datetime(2028, 3, 20, 12, tzinfo=UTC))
def test_issues_come_at_nine_in_berlin_before_and_after_the_clocks_change(app, qstash) -> None:
    app.test_client().post("/readers", json={"address": "ada@example.com"})
    schedule_issues()
    qstash.advance_to(datetime(2028, 4, 10, tzinfo=UTC))
    assert app.sent.count(("issue", "ada@example.com")) == 2
    issues = qstash.find(f"{PUBLIC_URL}/jobs/issue")
    # Europe/Berlin goes from UTC+1 to UTC+2 on the 26th of March.
    assert [f"{datetime.fromtimestamp(one.created_at / 1000, UTC):%d %b %H:%M}" for one in issues] == [
        "27 Mar 07:00",
        "03 Apr 07:00",
    ]


def test_a_reader_never_hears_of_a_failure_of_ours(app, qstash) -> None:
    qstash.faults.add("answer", status=500, count=1)
    app.test_client().post("/readers", json={"address": "ada@example.com"})
    qstash.run_until_idle()
    assert app.sent == [("welcome", "ada@example.com")]
    qstash.assert_delivered(f"{PUBLIC_URL}/jobs/welcome", attempts=2)
