"""Jobs in Django's transactions, at their corners: what is committed is published, what is rolled back is not."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import IntegrityError, connection, connections, transaction
from django.test import TestCase, TransactionTestCase, override_settings
from tea_shop.jobs import confirm_order
from tea_shop.models import Order
from test_tea_shop import WithQStash

from jobs_core.django import dispatcher, enqueue, flush, project
from jobs_core.django.models import Job, OutboxMessage
from tests.django_project.pages import OutOfLuck


def order(item: str, using: str = "default") -> str:
    made = Order.objects.using(using).create(item=item)
    return enqueue(confirm_order, {"order_id": made.pk}, user_id=item)


def kept() -> set[str | None]:
    return {job.user_id for job in Job.objects.all()}


class Committing(WithQStash, TransactionTestCase):
    """Transactions that are really committed."""

    def assert_published(self, *items: str) -> None:
        flush()
        assert kept() == set(items)
        assert self.published() == len(items)
        assert not OutboxMessage.objects.exists()


class TestSavepoints(Committing):
    def test_what_an_inner_block_released_goes_with_the_outer_one_that_is_rolled_back(self) -> None:
        with transaction.atomic():
            order("first")
            with pytest.raises(OutOfLuck), transaction.atomic():
                order("undone")
                with transaction.atomic():
                    order("undone, though released")
                raise OutOfLuck
            with transaction.atomic():
                order("released")
                with pytest.raises(OutOfLuck), transaction.atomic():
                    order("undone at the bottom")
                    raise OutOfLuck
        self.assert_published("first", "released")

    def test_a_savepoint_by_hand_is_one(self) -> None:
        with transaction.atomic():
            begin = (
                getattr(transaction, "savepoint_create", None) or transaction.savepoint
            )  # before Django 6.1
            savepoint = begin()
            order("undone")
            transaction.savepoint_rollback(savepoint)
            savepoint = begin()
            order("kept")
            transaction.savepoint_commit(savepoint)
        self.assert_published("kept")

    def test_a_block_without_a_savepoint_fails_with_the_one_around_it(self) -> None:
        with pytest.raises(transaction.TransactionManagementError), transaction.atomic():
            order("undone")
            with pytest.raises(OutOfLuck), transaction.atomic(savepoint=False):
                order("undone, too")
                raise OutOfLuck
            Order.objects.count()
        self.assert_published()

    def test_a_database_error_beside_the_job_undoes_it(self) -> None:
        with transaction.atomic():
            order("kept")
            with pytest.raises(IntegrityError), transaction.atomic():
                order("undone")
                Order.objects.create(pk=Order.objects.get(item="undone").pk, item="taken")
        self.assert_published("kept")

    def test_a_transaction_that_is_marked_for_rollback_publishes_nothing(self) -> None:
        with transaction.atomic():
            order("undone")
            transaction.set_rollback(True)
        self.assert_published()

    def test_a_durable_block_publishes(self) -> None:
        with transaction.atomic(durable=True):
            order("kept")
        self.assert_published("kept")

    def test_a_transaction_by_hand_publishes_what_is_committed(self) -> None:
        transaction.set_autocommit(False)
        try:
            order("kept")
            transaction.commit()
            order("undone")
            transaction.rollback()
        finally:
            transaction.set_autocommit(True)
        self.assert_published("kept")


class TestOnCommit(Committing):
    def test_an_exception_that_django_tolerates_does_not_stop_the_publishing(self) -> None:
        def fail() -> None:
            raise OutOfLuck

        with self.assertLogs("django.db.backends.base", "ERROR"), transaction.atomic():
            transaction.on_commit(fail, robust=True)
            order("kept")
        self.assert_published("kept")

    def test_an_exception_after_ours_reaches_its_caller_and_loses_nothing(self) -> None:
        def fail() -> None:
            raise OutOfLuck

        with pytest.raises(OutOfLuck), transaction.atomic():
            order("kept")
            transaction.on_commit(fail)
        self.assert_published("kept")

    def test_a_callback_may_enqueue(self) -> None:
        with transaction.atomic():
            transaction.on_commit(lambda: order("from the callback") and None)
            order("kept")
        self.assert_published("from the callback", "kept")


class TestOtherWays(Committing):
    def test_an_async_view_publishes(self) -> None:
        with override_settings(ROOT_URLCONF="tests.django_project.pages"):
            answer = async_to_sync(self.async_client.get)("/place-later")
        assert answer.status_code == 200
        self.assert_published("tea")

    def test_threads_with_connections_of_their_own_publish(self) -> None:
        def work(item: str) -> None:
            try:
                with transaction.atomic():
                    order(item)
            finally:
                connections.close_all()

        items = [f"tea {number}" for number in range(8)]
        threads = [Thread(target=work, args=(item,)) for item in items]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        self.assert_published(*items)

    def test_djangos_connection_is_told_from_those_of_drivers(self) -> None:
        with pytest.raises(TypeError, match=r"for Django's own there is jobs_core\.django\.enqueue"):
            dispatcher().enqueue(confirm_order, {"order_id": 1}, connection=connection)
        self.assert_published()


class TestAtomicRequests(Committing):
    """Views in a transaction, by ``ATOMIC_REQUESTS``."""

    @contextmanager
    def atomic(self, alias: str) -> Iterator[None]:
        connections.settings[alias]["ATOMIC_REQUESTS"] = True
        try:
            with override_settings(ROOT_URLCONF="tests.django_project.pages"):
                yield
        finally:
            connections.settings[alias]["ATOMIC_REQUESTS"] = False

    def test_a_view_that_answers_publishes(self) -> None:
        with self.atomic("default"):
            assert self.client.get("/place").content == b"True"
        self.assert_published("tea")

    def test_a_view_that_fails_publishes_nothing(self) -> None:
        with self.atomic("default"), pytest.raises(OutOfLuck):
            self.client.get("/place-and-fail")
        self.assert_published()
        assert Order.objects.count() == 0

    def test_the_worker_answers(self) -> None:
        for alias in ("default", "archive"):
            with self.atomic(alias):
                assert self.client.get("/health").status_code == 200


class TestSeveralDatabases(Committing):
    """A job is written in the transaction of the database that JOBS_CORE names, and of no other."""

    databases = {"default", "archive"}

    def test_a_transaction_of_another_database_does_not_hold_the_job(self) -> None:
        with pytest.raises(OutOfLuck), transaction.atomic(using="archive"):
            order("kept", using="archive")
            raise OutOfLuck
        assert not Order.objects.using("archive").exists()
        self.assert_published("kept")

    def test_of_two_transactions_the_jobs_own_decides(self) -> None:
        with transaction.atomic(using="archive"), pytest.raises(OutOfLuck), transaction.atomic():
            order("undone", using="archive")
            raise OutOfLuck
        assert Order.objects.using("archive").count() == 1
        self.assert_published()

    def test_the_jobs_may_be_in_another_than_the_default_one(self) -> None:
        settings = {**self.qstash.environment, "BASE_URL": self.base_url, "DATABASE": "archive"}
        with override_settings(JOBS_CORE=settings):
            with transaction.atomic(using="archive"):
                with pytest.raises(OutOfLuck), transaction.atomic():
                    order("kept", using="archive")
                    raise OutOfLuck
                assert not Job.objects.using("default").exists()
            self.client.force_login(User.objects.create_superuser("ada"))
            shown = self.client.get("/admin/jobs_core/job/").content.decode()
            assert Job.objects.get().job_id in shown
            self.assert_published("kept")
            project.close()
        assert not Job.objects.exists()

    def test_a_router_that_refuses_the_app_keeps_the_tables_away(self) -> None:
        def tables() -> set[str]:
            return {
                name for name in connections["archive"].introspection.table_names() if name.startswith("job_")
            }

        call_command("migrate", "jobs_core", "zero", database="archive", verbosity=0)
        assert not tables()
        with override_settings(DATABASE_ROUTERS=["tests.django_project.pages.DefaultAlone"]):
            call_command("migrate", "jobs_core", database="archive", verbosity=0)
            assert not tables()
            call_command("migrate", "jobs_core", "zero", database="archive", verbosity=0)
        call_command("migrate", "jobs_core", database="archive", verbosity=0)
        assert tables() >= {"job_executions", "job_attempts", "job_outbox"}


class TestInsideATestCase(WithQStash, TestCase):
    @classmethod
    def setUpTestData(cls) -> None:
        with override_settings(JOBS_CORE={"BASE_URL": cls.base_url}):
            order("of the class")
            project.close()

    def test_the_jobs_of_the_class_are_there(self) -> None:
        order("of the test")
        assert kept() == {"of the class", "of the test"}

    def test_those_of_another_test_are_not(self) -> None:
        assert kept() == {"of the class"}

    def test_callbacks_that_are_captured_publish_nothing_for_nothing_is_committed(self) -> None:
        with self.captureOnCommitCallbacks(execute=True) as callbacks, transaction.atomic():
            with pytest.raises(OutOfLuck), transaction.atomic():
                order("undone")
                raise OutOfLuck
            order("kept")
        assert len(callbacks) == 1
        assert kept() == {"of the class", "kept"}
        assert connection.in_atomic_block
        assert self.published() == 0
