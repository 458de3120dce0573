"""Polls on Django, in one file: a poll is closed by a message that was delayed until its end."""

import os
from functools import wraps

from django.conf import settings
from django.core.cache import cache
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from qstash import QStash, Receiver
from qstash.errors import SignatureError

PUBLIC_URL = "https://polls.example.com"

if not settings.configured:
    settings.configure(SECRET_KEY="only-for-the-example", ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__)


@csrf_exempt
def open_poll(request: HttpRequest, name: str) -> HttpResponse:
    """Open a poll for a week."""
    cache.set(f"poll:{name}", "open")
    QStash(os.environ["QSTASH_TOKEN"]).message.publish(
        url=f"{PUBLIC_URL}/jobs/close/{name}", body="", delay="7d", deduplication_id=f"close-{name}"
    )
    return HttpResponse(status=201)


def state(request: HttpRequest, name: str) -> HttpResponse:
    """Whether a poll is open."""
    return JsonResponse({"state": cache.get(f"poll:{name}")})


def signed(view):
    """Answer 401 unless QStash signed the request."""

    @csrf_exempt
    @wraps(view)
    def checked(request: HttpRequest, **arguments: str) -> HttpResponse:
        receiver = Receiver(
            current_signing_key=os.environ["QSTASH_CURRENT_SIGNING_KEY"],
            next_signing_key=os.environ["QSTASH_NEXT_SIGNING_KEY"],
        )
        try:
            receiver.verify(
                signature=request.headers.get("Upstash-Signature", ""),
                body=request.body.decode(),
                url=f"{PUBLIC_URL}{request.path}",
            )
        except SignatureError as error:
            return HttpResponse(str(error), status=401)
        return view(request, **arguments)

    return checked


@signed
def close_poll(request: HttpRequest, name: str) -> HttpResponse:
    """The job."""
    cache.set(f"poll:{name}", "closed")
    return HttpResponse(status=204)


urlpatterns = [
    path("polls/<name>", open_poll),
    path("polls/<name>/state", state),
    path("jobs/close/<name>", close_poll),
]


def create_wsgi() -> WSGIHandler:
    """What a WSGI server runs."""
    import django

    django.setup()
    return WSGIHandler()
