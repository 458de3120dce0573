"""A shop whose orders are confirmed by a job: Django in one file, under WSGI or ASGI.

    gunicorn --threads 8 'django_shop:create_wsgi()'
    uvicorn --factory django_shop:create_asgi

Django's ORM has connections of its own, which no SQLAlchemy session can share, so a job is enqueued when the
transaction has committed. A process that dies just then loses it; what must not be lost asks again later, with
the same idempotency key.
"""

import json
from datetime import timedelta
from functools import partial

import django
from django.conf import settings as django_settings
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections, connection, models, transaction
from django.http import HttpRequest, JsonResponse
from django.urls import path
from django.views.decorators.http import require_POST
from starlette.applications import Starlette

from jobs_core import Job, Payload, Registry, Settings, SyncJobDispatcher, create_app, job
from jobs_core.wsgi import JobsMiddleware

if not django_settings.configured:
    django_settings.configure(
        SECRET_KEY="only for this example",
        ALLOWED_HOSTS=["*"],
        ROOT_URLCONF=__name__,
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "shop.sqlite3"}},
    )
    django.setup()


class Order(models.Model):
    """What was ordered."""

    item = models.TextField()
    is_confirmed = models.BooleanField(default=False)

    class Meta:
        app_label = "shop"

    def __str__(self) -> str:
        return self.item


class ConfirmOrder(Payload):
    """Which order to confirm."""

    order_id: int


@job(
    "confirm-order",
    endpoint="/api/jobs/confirm-order",
    retries=3,
    timeout=timedelta(seconds=10),
    description="Confirm an order.",
)
def confirm_order(payload: ConfirmOrder, job: Job) -> None:
    """Confirm it; doing so twice would do no harm. The ORM blocks, so this runs in a thread."""
    Order.objects.filter(pk=payload.order_id).update(is_confirmed=True)
    close_old_connections()


@require_POST
def place_order(request: HttpRequest, jobs: SyncJobDispatcher) -> JsonResponse:
    with transaction.atomic():
        order = Order.objects.create(item=json.loads(request.body)["item"])
        transaction.on_commit(
            partial(
                jobs.enqueue,
                confirm_order,
                {"order_id": order.pk},
                idempotency_key=f"order-{order.pk}",
            )
        )
    return JsonResponse({"orderId": order.pk}, status=202)


def show_order(request: HttpRequest, order_id: int) -> JsonResponse:
    order = Order.objects.get(pk=order_id)
    return JsonResponse({"item": order.item, "isConfirmed": order.is_confirmed})


urlpatterns: list[object] = []


def create_wsgi(settings: Settings | None = None) -> JobsMiddleware:
    """Django with the worker in front of it."""
    application = JobsMiddleware(get_wsgi_application(), settings, registry=Registry([confirm_order]))
    _set_up(application.jobs)
    return application


def create_asgi(settings: Settings | None = None) -> Starlette:
    """The worker app, with Django behind it for everything that is not the job system's."""
    settings = settings or Settings.load()
    application = create_app(settings, registry=Registry([confirm_order]))
    application.mount("/", get_asgi_application())
    application.state.jobs = SyncJobDispatcher(settings, registry=Registry([confirm_order]))
    _set_up(application.state.jobs)
    return application


def _set_up(jobs: SyncJobDispatcher) -> None:
    urlpatterns[:] = [
        path("orders", place_order, {"jobs": jobs}),
        path("orders/<int:order_id>", show_order),
    ]
    with connection.schema_editor() as editor:
        if Order._meta.db_table not in connection.introspection.table_names():  # noqa: SLF001
            editor.create_model(Order)
