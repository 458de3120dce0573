"""The shop, with an emulator beside it: what is committed is published, what is rolled back is not."""

import io
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import redirect_stdout
from datetime import timedelta

import httpx
import pytest
import uvicorn
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.db import connection, transaction
from django.db.migrations.loader import MigrationLoader
from django.test import LiveServerTestCase, TestCase, TransactionTestCase, override_settings
from django.utils import timezone
from tea_shop import tasks
from tea_shop.jobs import confirm_order
from tea_shop.models import Order

from emulator.testing import ServerTenant
from jobs_core import JobStatus, JobValidationError
from jobs_core.database import migrations
from jobs_core.django import aenqueue, dispatcher, enqueue, flush, project
from jobs_core.django.models import Job, OutboxMessage

try:
    from django.tasks import TaskResultStatus, default_task_backend
    from django.tasks.exceptions import InvalidTask, TaskResultDoesNotExist
except ImportError:  # before Django 6
    from django_tasks import TaskResultStatus, default_task_backend
    from django_tasks.exceptions import InvalidTaskError as InvalidTask
    from django_tasks.exceptions import TaskResultDoesNotExist


class WithQStash:
    """A tenant of an emulator for each test; ``base_url`` is where it delivers to."""

    base_url = "http://127.0.0.1:9"

    @pytest.fixture(autouse=True)
    def _tenant(self, qstash_server: ServerTenant) -> Iterator[None]:
        self.qstash = qstash_server
        with self.settings_with(self.base_url):
            yield
        project.close()

    def settings_with(self, base_url: str) -> override_settings:
        return override_settings(JOBS_CORE={**self.qstash.environment, "BASE_URL": base_url})

    def published(self) -> int:
        """How many messages QStash has taken."""
        return len({entry["messageId"] for entry in self.qstash.call("GET", "/v2/logs")["logs"]})


class OutOfLuck(Exception):
    """Something in the transaction fails."""


class TestTransactions(WithQStash, TransactionTestCase):
    def order(self, item: str = "tea") -> str:
        order = Order.objects.create(item=item)
        return enqueue(confirm_order, {"order_id": order.pk})

    def test_an_order_and_its_job_are_committed_together(self) -> None:
        with transaction.atomic():
            job_id = self.order()
            assert self.published() == 0
        flush()
        assert self.published() == 1
        assert dispatcher().get(job_id).status is JobStatus.PENDING
        assert dispatcher().get(job_id).message_id is not None
        assert Job.objects.get().payload == {"orderId": Order.objects.get().pk}

    def test_without_a_transaction_the_job_is_committed_at_once(self) -> None:
        job_id = enqueue(confirm_order, {"order_id": 1}, user_id="7", delay=60)
        flush()
        assert dispatcher().get(job_id).user_id == "7"
        assert self.published() == 1

    def test_a_rollback_publishes_nothing_and_leaves_nothing(self) -> None:
        with pytest.raises(OutOfLuck), transaction.atomic():
            self.order()
            raise OutOfLuck
        flush()
        assert (self.published(), Order.objects.count(), Job.objects.count()) == (0, 0, 0)
        assert OutboxMessage.objects.count() == 0

    def test_a_savepoint_rolled_back_takes_its_job_along(self) -> None:
        with transaction.atomic():
            kept = self.order("kept")
            with pytest.raises(OutOfLuck), transaction.atomic():
                self.order("undone")
                raise OutOfLuck
        flush()
        assert self.published() == 1
        assert [job.job_id for job in Job.objects.all()] == [kept]

    def test_an_exception_in_on_commit_loses_nothing(self) -> None:
        def fail() -> None:
            raise OutOfLuck

        with pytest.raises(OutOfLuck), transaction.atomic():
            transaction.on_commit(fail)  # ours comes after it, and is not called
            self.order()
        assert self.published() == 0
        flush()
        assert self.published() == 1

    def test_an_idempotency_key_holds_inside_a_transaction(self) -> None:
        with transaction.atomic():
            ids = {enqueue(confirm_order, {"order_id": 1}, idempotency_key="k") for _ in range(2)}
        assert len(ids) == Job.objects.count() == 1

    def test_a_payload_that_is_refused_leaves_the_transaction_usable(self) -> None:
        with transaction.atomic():
            with pytest.raises(JobValidationError):
                enqueue(confirm_order, {"order_id": "many"})
            self.order()
        assert Job.objects.count() == 1

    def test_a_process_killed_between_commit_and_publish_loses_no_job(self) -> None:
        script = (
            "import django, os, signal; django.setup()\n"
            "from django.db import transaction\n"
            "from jobs_core.django import enqueue\n"
            "from tea_shop.jobs import confirm_order\n"
            "from tea_shop.models import Order\n"
            "with transaction.atomic():\n"
            "    order = Order.objects.create(item='tea')\n"
            "    transaction.on_commit(lambda: os.kill(os.getpid(), signal.SIGKILL))\n"
            "    enqueue(confirm_order, {'order_id': order.pk})\n"
        )
        name = str(connection.settings_dict["NAME"])
        environment = {**os.environ, **self.qstash.environment, "DATABASE_NAME": name}
        environment["PYTHONPATH"] = os.pathsep.join(sys.path)
        died = subprocess.run([sys.executable, "-c", script], env=environment, check=False)
        assert died.returncode == -signal.SIGKILL
        assert (Order.objects.count(), Job.objects.count(), self.published()) == (1, 1, 0)
        flush()
        assert self.published() == 1

    def test_an_async_view_enqueues(self) -> None:
        # Not asyncio.run, whose threads nobody tells to close their connections: a view's are closed with its request.
        job_id = async_to_sync(aenqueue)(confirm_order, {"order_id": 1})
        assert Job.objects.get(job_id=job_id).status == "pending"

    def test_the_command_line_has_the_projects_settings_and_job_types(self) -> None:
        job_id = self.order()
        said = io.StringIO()
        with redirect_stdout(said):
            call_command("jobs", "types")
        assert "confirm-order" in said.getvalue()
        name = str(connection.settings_dict["NAME"])
        environment = {**os.environ, **self.qstash.environment, "DATABASE_NAME": name}
        environment["PYTHONPATH"] = os.pathsep.join(sys.path)
        shown = subprocess.run(
            [sys.executable, "-m", "django", "jobs", "show", job_id, "--json"],
            env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert shown.returncode == 0, shown.stderr
        assert json.loads(shown.stdout)["jobId"] == job_id


class TestInsideATestCase(WithQStash, TestCase):
    """Django rolls each of these tests back, so nothing is ever published; what is written can be looked at."""

    def test_a_job_is_there_to_look_at(self) -> None:
        with self.captureOnCommitCallbacks(execute=True) as callbacks:
            self.client.post("/orders", {"item": "tea"}, content_type="application/json")
        assert len(callbacks) == 1
        assert Job.objects.get().job_type == "confirm-order"
        assert OutboxMessage.objects.get().job.status == "pending"
        assert self.published() == 0

    def test_nothing_is_left_of_the_test_before(self) -> None:
        assert Job.objects.count() == 0

    def test_the_admin_shows_jobs_and_changes_none(self) -> None:
        self.client.force_login(User.objects.create_superuser("ada"))
        enqueue(confirm_order, {"order_id": 1})
        row = Job.objects.get()
        shown = self.client.get("/admin/jobs_core/job/")
        assert row.job_id in shown.content.decode()
        assert "orderId" in self.client.get(f"/admin/jobs_core/job/{row.pk}/change/").content.decode()
        assert self.client.get("/admin/jobs_core/outboxmessage/").status_code == 200
        assert self.client.get("/admin/jobs_core/job/add/").status_code == 403
        assert self.client.post(f"/admin/jobs_core/job/{row.pk}/delete/").status_code == 403

    def test_a_task_is_seen_by_its_own_transaction(self) -> None:
        result = tasks.confirm.enqueue(7)
        found = tasks.confirm.get_result(result.id)
        assert (found.status, found.args, found.attempts) == (TaskResultStatus.READY, [7], 0)
        with pytest.raises(TaskResultDoesNotExist):
            default_task_backend.get_result("nothing")


class TestThePath(WithQStash, LiveServerTestCase):
    """The whole way, under Django's own WSGI server: enqueue, publish, signed delivery, handler, record."""

    def setUp(self) -> None:
        overriding = self.settings_with(self.live_server_url)
        overriding.enable()
        self.addCleanup(overriding.disable)

    def turn(self) -> None:
        flush()
        self.qstash.run_until_idle()

    def test_an_order_is_confirmed(self) -> None:
        placed = httpx.post(f"{self.live_server_url}/orders", json={"item": "tea"}).json()
        self.turn()
        order = httpx.get(f"{self.live_server_url}/orders/{placed['orderId']}").json()
        assert order == {"item": "tea", "isConfirmed": True}
        assert Job.objects.get().status == "completed"

    def test_the_worker_answers_beside_the_shop(self) -> None:
        url = self.live_server_url
        assert httpx.get(f"{url}/health").json() == {"status": "ok"}
        assert httpx.post(f"{url}/api/jobs/confirm-order", content=b"{}").status_code == 401
        assert httpx.post(f"{url}/api/jobs/confirm-order", content=b"x" * 5_000_000).status_code == 413
        assert httpx.get(f"{url}/no/such/page").status_code == 404

    def test_tasks_run_and_have_results(self) -> None:
        order = Order.objects.create(item="tea")
        results = {
            "confirm": tasks.confirm.enqueue(order.pk),
            "async": tasks.add.enqueue(2, second=3),
            "context": tasks.attempt_of.enqueue("first"),
            "queue": tasks.add.using(queue_name="slow").enqueue(1, 1),
        }
        self.turn()
        for result in results.values():
            result.refresh()
            assert result.status == TaskResultStatus.SUCCESSFUL, result.errors
            assert result.attempts == 1
            assert result.finished_at is not None
        values = {name: result.return_value for name, result in results.items()}
        assert values == {"confirm": 1, "async": 5, "context": "first: attempt 1", "queue": 2}
        order.refresh_from_db()
        assert order.is_confirmed

    def test_a_task_that_raises_has_its_errors(self) -> None:
        result = tasks.refill.enqueue()
        self.turn()
        result.refresh()
        assert (result.status, result.attempts) == (TaskResultStatus.FAILED, 3)
        assert [error.exception_class for error in result.errors] == [tasks.OutOfTea] * 3
        assert "oolong: none left" in result.errors[0].traceback
        with pytest.raises(ValueError, match="Task failed"):
            _ = result.return_value

    def test_what_is_not_json_fails_the_task(self) -> None:
        result = tasks.not_json.enqueue()
        self.turn()
        result.refresh()
        assert [error.exception_class for error in result.errors] == [TypeError]

    def test_a_task_waits_for_its_time(self) -> None:
        now = dispatcher().dispatcher.clock.now()
        result = tasks.add.using(run_after=now + timedelta(hours=1)).enqueue(1, 2)
        flush()
        result.refresh()
        assert result.status == TaskResultStatus.READY
        self.turn()
        result.refresh()
        assert result.return_value == 3


class TestUnderAsgi(WithQStash, TransactionTestCase):
    def test_an_order_is_confirmed_under_asgi(self) -> None:
        from tea_shop.asgi import application

        server = uvicorn.Server(
            uvicorn.Config(application, port=0, log_config=None, loop="asyncio", lifespan="off")
        )
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        while not server.started:
            threading.Event().wait(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        url = f"http://127.0.0.1:{port}"
        with self.settings_with(url):
            placed = httpx.post(f"{url}/orders", json={"item": "tea"}).json()
            flush()
            self.qstash.run_until_idle()
            assert httpx.get(f"{url}/orders/{placed['orderId']}").json()["isConfirmed"]
            assert httpx.get(f"{url}/health").json() == {"status": "ok"}
        server.should_exit = True
        thread.join()


class TestTheProject(WithQStash, TestCase):
    def test_the_models_are_what_the_migrations_say(self) -> None:
        call_command("makemigrations", "jobs_core", check=True, dry_run=True, verbosity=0)

    def test_the_migrations_reach_the_newest_revision(self) -> None:
        steps = [
            step for (app, _), step in MigrationLoader(None).disk_migrations.items() if app == "jobs_core"
        ]
        revisions = [
            operation.revision
            for step in sorted(steps, key=lambda step: step.name)
            for operation in step.operations
            if hasattr(operation, "revision")
        ]
        assert revisions == migrations.revisions()

    def test_a_setting_that_is_not_known_is_named(self) -> None:
        for wrong, words in (
            ({"QSTASH_TOKN": "x"}, "JOBS_CORE has no 'QSTASH_TOKN'.*QSTASH_TOKEN"),
            ({"DATABASE_URL": "sqlite:///x"}, "the one of DATABASES that DATABASE names"),
            ({"DATABASE": "others"}, "'others', but DATABASES has: .*default"),
            ({"BASE_URL": "no url"}, "BASE_URL"),
        ):
            with override_settings(JOBS_CORE=wrong), pytest.raises(ImproperlyConfigured, match=words):
                project.load_settings()

    def test_a_priority_is_refused_for_qstash_knows_none(self) -> None:
        with pytest.raises(InvalidTask, match="priority"):
            tasks.add.using(priority=10)
        with pytest.raises(InvalidTask, match="aware"):
            tasks.add.using(run_after=timezone.make_naive(timezone.now()))
        with pytest.raises(InvalidTask, match="Queue 'none'"):
            tasks.add.using(queue_name="none")
        with pytest.raises(TypeError):
            tasks.add.enqueue(object(), 1)
