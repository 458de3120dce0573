"""The polls in plain tests, through Django's own client."""

import threading

import polls
import pytest
from django.core.cache import cache
from django.test import Client, override_settings


@pytest.fixture
def browser(qstash):
    with override_settings(ROOT_URLCONF="polls", ALLOWED_HOSTS=["*"], MIDDLEWARE=[]):
        qstash.mount(polls.PUBLIC_URL, polls.create_wsgi())
        cache.clear()
        yield Client()


def test_a_poll_is_closed_after_a_week(qstash, browser) -> None:
    assert browser.post("/polls/lunch").status_code == 201
    qstash.advance("6d")
    assert browser.get("/polls/lunch/state").json() == {"state": "open"}
    qstash.advance("1d")
    assert browser.get("/polls/lunch/state").json() == {"state": "closed"}
    qstash.assert_delivered(f"{polls.PUBLIC_URL}/jobs/close/lunch", attempts=1)


def test_opening_it_twice_closes_it_once(qstash, browser) -> None:
    browser.post("/polls/lunch")
    browser.post("/polls/lunch")
    qstash.assert_published(f"{polls.PUBLIC_URL}/jobs/close/lunch", count=1)


def test_jobs_run_in_the_tests_own_thread_where_its_transaction_is(qstash, browser, monkeypatch) -> None:
    threads = []
    monkeypatch.setattr(cache, "set", lambda *_: threads.append(threading.get_ident()))
    browser.post("/polls/lunch")
    qstash.run_until_idle()
    assert threads == [threading.get_ident()] * 2


def test_nobody_else_can_close_a_poll(browser) -> None:
    assert browser.post("/jobs/close/lunch").status_code == 401
