"""The same work, and some more, as Django's own tasks."""

try:
    from django.tasks import TaskContext, task
except ImportError:  # before Django 6
    from django_tasks import TaskContext, task

from tea_shop.models import Order


class OutOfTea(Exception):
    """There is none left."""


@task
def confirm(order_id: int) -> int:
    return Order.objects.filter(pk=order_id).update(is_confirmed=True)


@task
async def add(first: int, second: int) -> int:
    return first + second


@task(takes_context=True)
def attempt_of(context: TaskContext, name: str) -> str:
    return f"{name}: attempt {context.attempt}"


@task(backend="patient")
def refill() -> None:
    raise OutOfTea("oolong: none left")


@task
def not_json() -> object:
    return object()
