"""The shop's pages."""

import json

from django.db import transaction
from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_POST

from jobs_core.django import enqueue
from tea_shop.jobs import confirm_order
from tea_shop.models import Order


@require_POST
def place_order(request: HttpRequest) -> JsonResponse:
    with transaction.atomic():
        order = Order.objects.create(item=json.loads(request.body)["item"])
        enqueue(confirm_order, {"order_id": order.pk})  # committed with the order, or not at all
    return JsonResponse({"orderId": order.pk}, status=202)


def show_order(request: HttpRequest, order_id: int) -> JsonResponse:
    order = Order.objects.get(pk=order_id)
    return JsonResponse({"item": order.item, "isConfirmed": order.is_confirmed})
