"""QStashBackend is a backend as Django describes one (docs.djangoproject.com, topics and reference of tasks).

Where Django has an implementation of its own, the ImmediateBackend, it is what ours is compared with.
"""

from datetime import datetime, timedelta
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.db import transaction
from django.test import LiveServerTestCase, TestCase, modify_settings, override_settings
from django.utils import timezone
from test_tea_shop import WithQStash

from jobs_core.django import QStashBackend, dispatcher, flush
from jobs_core.django.models import Job, OutboxMessage
from tests.django_project import tasks
from tests.django_project.either import (
    InvalidTask,
    TaskResultDoesNotExist,
    TaskResultMismatch,
    TaskResultStatus,
    default_task_backend,
    task,
    task_backends,
    task_enqueued,
    task_finished,
    task_started,
)
from tests.django_project.pages import OutOfLuck


def facts(result: Any) -> dict[str, Any]:
    """Return the facts that two backends must agree on."""
    is_successful = result.status == TaskResultStatus.SUCCESSFUL
    return {
        "status": str(result.status),
        "is_finished": result.is_finished,
        "args": result.args,
        "kwargs": result.kwargs,
        "return_value": result.return_value if is_successful else None,
        "errors": [each.exception_class_path for each in result.errors],
        "raised": [each.traceback.rstrip().rpartition("\n")[2] for each in result.errors],
        "attempts": result.attempts,
        "has_times": None
        not in {result.enqueued_at, result.started_at, result.finished_at, result.last_attempted_at},
        "task": (result.task.module_path, result.task.queue_name, result.task.priority),
    }


class TestEnds(WithQStash, LiveServerTestCase):
    def setUp(self) -> None:
        overriding = self.settings_with(self.live_server_url)
        overriding.enable()
        self.addCleanup(overriding.disable)

    def turn(self) -> None:
        flush()
        self.qstash.run_until_idle()

    def test_tasks_end_as_they_do_with_djangos_own_backend(self) -> None:
        expected = [
            facts(each.using(backend="immediate").enqueue(*args, **kwargs))
            for each, args, kwargs in tasks.ENDS
        ]
        results = [each.enqueue(*args, **kwargs) for each, args, kwargs in tasks.ENDS]
        self.turn()
        for (each, args, kwargs), result, there in zip(tasks.ENDS, results, expected, strict=True):
            with self.subTest(task=each.name, args=args, kwargs=kwargs):
                result.refresh()
                assert facts(result) == there
                assert facts(default_task_backend.get_result(result.id)) == there
                if there["errors"]:
                    with pytest.raises(ValueError, match="Task failed"):
                        _ = result.return_value

    def test_signals_are_sent_once_each_in_their_order(self) -> None:
        heard: list[tuple[str, str, str]] = []

        def note(name: str) -> Any:
            def hear(sender: type, task_result: Any, **_: Any) -> None:
                assert sender is QStashBackend
                heard.append((name, task_result.id, str(task_result.status)))

            return hear

        signals = {"enqueued": task_enqueued, "started": task_started, "finished": task_finished}
        hearers = {name: note(name) for name in signals}
        for name, signal in signals.items():
            signal.connect(hearers[name])
        try:
            done, failed = tasks.answer.enqueue(1), tasks.leave.enqueue()
            self.turn()
        finally:
            for name, signal in signals.items():
                signal.disconnect(hearers[name])
        for result, end in ((done, "SUCCESSFUL"), (failed, "FAILED")):
            mine = [(name, status) for name, task_id, status in heard if task_id == result.id]
            assert mine == [("enqueued", "READY"), ("started", "RUNNING"), ("finished", end)]

    def test_a_transaction_that_is_rolled_back_runs_no_task(self) -> None:
        with pytest.raises(OutOfLuck), transaction.atomic():
            undone = tasks.answer.enqueue(1)
            raise OutOfLuck
        with transaction.atomic():
            kept = tasks.answer.enqueue(2)
        self.turn()
        kept.refresh()
        assert kept.return_value == 2
        with pytest.raises(TaskResultDoesNotExist):
            undone.refresh()

    def test_a_task_that_was_cancelled_has_failed_and_says_so(self) -> None:
        result = tasks.answer.using(run_after=timezone.now() + timedelta(days=1)).enqueue(1)
        flush()
        dispatcher().cancel(result.id)
        result.refresh()
        assert (result.status, result.attempts) == (TaskResultStatus.FAILED, 0)
        assert "cancelled" in result.errors[0].traceback

    def test_the_async_faces_do_the_same(self) -> None:
        async def enqueue() -> Any:
            return await tasks.answer.aenqueue("later")

        async def read(task_id: str) -> Any:
            return await tasks.answer.aget_result(task_id)

        result = async_to_sync(enqueue)()
        self.turn()
        assert facts(async_to_sync(read)(result.id))["return_value"] == "later"
        async_to_sync(result.arefresh)()
        assert result.return_value == "later"


class TestWhatIsAskedOfABackend(WithQStash, TestCase):
    def test_a_new_result_is_ready_and_unfinished(self) -> None:
        result = tasks.answer.enqueue((1, 2))
        again = default_task_backend.get_result(result.id)
        for each in (result, again):
            assert (each.status, each.is_finished, each.attempts) == (TaskResultStatus.READY, False, 0)
            assert (each.args, each.kwargs, each.backend, each.errors) == ([[1, 2]], {}, "default", [])
            assert (each.started_at, each.finished_at, each.last_attempted_at) == (None, None, None)
            assert each.enqueued_at is not None
            with pytest.raises(ValueError, match="Task has not finished yet"):
                _ = each.return_value

    def test_a_task_can_be_called_without_a_backend(self) -> None:
        assert tasks.answer.call(1) == 1
        assert tasks.answer_later.call(1, twice=True) == [1, 1]

    def test_a_result_is_of_its_own_task_alone(self) -> None:
        result = tasks.answer.enqueue(1)
        assert tasks.answer.get_result(result.id).id == result.id
        with pytest.raises(TaskResultMismatch):
            tasks.chip.get_result(result.id)
        for unknown in ("", "nothing", "0", result.id.upper() + "x"):
            with pytest.raises(TaskResultDoesNotExist):
                tasks.answer.get_result(unknown)

    def test_what_a_backend_supports_is_said(self) -> None:
        backend = task_backends["default"]
        assert backend.supports_defer
        assert backend.supports_async_task
        assert backend.supports_get_result
        assert not backend.supports_priority

    def test_a_task_that_cannot_be_run_is_refused_where_it_is_made(self) -> None:
        for function, options, words in (
            (tasks.nested(), {}, "module level"),
            (len, {}, "module level"),
            (tasks.takes_another_argument, {"takes_context": True}, "first argument of 'context'"),
            (tasks.takes_another_argument, {"queue_name": "none"}, "Queue 'none'"),
            (tasks.takes_another_argument, {"priority": 1}, "priority"),
        ):
            with self.subTest(words), pytest.raises(InvalidTask, match=words):
                task(**options)(function)

    def test_options_are_checked_where_they_are_used(self) -> None:
        naive = timezone.make_naive(timezone.now())
        options: tuple[dict[str, Any], ...] = (
            {"priority": 101}, {"priority": 1.5}, {"priority": -1}, {"run_after": naive}, {"queue_name": "none"},
        )  # fmt: skip
        for each in options:
            with self.subTest(each), pytest.raises(InvalidTask):
                tasks.answer.using(**each)
        assert tasks.answer.using(priority=0).priority == 0

    def test_options_of_one_use_leave_the_task_as_it_is(self) -> None:
        at = timezone.now() + timedelta(hours=1)
        other = tasks.answer.using(run_after=at, queue_name="slow")
        assert (tasks.answer.run_after, tasks.answer.queue_name) == (None, "default")
        result = other.enqueue(1)
        assert tasks.answer.get_result(result.id).task.queue_name == "slow"
        assert OutboxMessage.objects.get(job_id=result.id).queue == "slow"
        assert Job.objects.get(job_id=result.id).next_attempt_at == at

    def test_arguments_that_are_not_json_are_refused_and_nothing_is_written(self) -> None:
        for refused in tasks.REFUSED:
            with self.subTest(refused), pytest.raises((TypeError, ValueError)):
                tasks.answer.enqueue(refused)
        assert not Job.objects.exists()

    def test_a_backend_without_queues_takes_every_queue(self) -> None:
        assert tasks.answer.using(backend="any queue", queue_name="whatever").queue_name == "whatever"

    def test_an_option_that_is_not_known_is_named(self) -> None:
        with pytest.raises(ImproperlyConfigured, match="no 'retry'; accepted: retries, timeout, retry_delay"):
            QStashBackend("default", {"OPTIONS": {"retry": 1}})

    def test_the_check_says_what_is_missing(self) -> None:
        assert not [found for found in checks.run_checks() if found.level >= checks.ERROR]
        with modify_settings(INSTALLED_APPS={"remove": "jobs_core.django"}):
            assert "jobs_core.E002" in {found.id for found in task_backends["default"].check()}

    def test_without_time_zones_a_naive_time_is_one_of_the_projects(self) -> None:
        with override_settings(USE_TZ=False, TIME_ZONE="Europe/Berlin"):
            result = tasks.answer.using(run_after=datetime(2030, 7, 1, 12)).enqueue(1)  # noqa: DTZ001 -- as Django has it
        assert Job.objects.get(job_id=result.id).next_attempt_at.timestamp() == 1_909_130_400
