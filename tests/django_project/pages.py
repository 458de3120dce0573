"""Views that enqueue, for the tests of ATOMIC_REQUESTS, and a router."""

from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.urls import include, path
from tea_shop.jobs import confirm_order
from tea_shop.models import Order

from jobs_core.django import aenqueue, enqueue


class OutOfLuck(Exception):
    """Something in the transaction fails."""


class DefaultAlone:
    """Every app in one database."""

    def allow_migrate(self, db: str, app_label: str, **hints: object) -> bool:
        return db == "default"


def place(request: HttpRequest) -> HttpResponse:
    order = Order.objects.create(item="tea")
    enqueue(confirm_order, {"order_id": order.pk}, user_id=order.item)
    return HttpResponse(str(transaction.get_connection().in_atomic_block))


async def place_later(request: HttpRequest) -> HttpResponse:
    order = await Order.objects.acreate(item="tea")
    await aenqueue(confirm_order, {"order_id": order.pk}, user_id=order.item)
    return HttpResponse()


def place_and_fail(request: HttpRequest) -> HttpResponse:
    place(request)
    raise OutOfLuck


urlpatterns = [
    path("place", place),
    path("place-later", place_later),
    path("place-and-fail", place_and_fail),
    path("", include("jobs_core.django.urls")),
]
