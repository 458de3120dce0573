"""The project's settings: SQLite, or PostgreSQL where DATABASE_HOST is set."""

import os
from pathlib import Path

import django

FOLDER = Path(os.environ.get("SHOP_FOLDER", Path(__file__).parent.parent))
SECRET_KEY = "only for this example"
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "tea_shop.urls"
WSGI_APPLICATION = "tea_shop.wsgi.application"
USE_TZ = True
STATIC_URL = "static/"

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    *([] if django.VERSION >= (6,) else ["django_tasks"]),
    "jobs_core.django",
    "tea_shop",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

if "DATABASE_HOST" in os.environ:
    DATABASES = {
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "HOST": os.environ["DATABASE_HOST"],
            "NAME": os.environ.get("DATABASE_NAME", "shop"),
            "USER": "postgres",
        }
    }
else:
    DATABASES = {
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": os.environ.get("DATABASE_NAME", FOLDER / "shop.sqlite3"),
            # A transaction that will write says so at once, and waits for its turn.
            "OPTIONS": {"transaction_mode": "IMMEDIATE", "timeout": 20},
            # A file: a database in memory is seen by Django's connections alone.
            "TEST": {"NAME": FOLDER / "test.sqlite3"},
        }
    }

JOBS_CORE = {"ENVIRONMENT": "development"}  # the rest comes from the environment
TASKS = {
    "default": {"BACKEND": "jobs_core.django.QStashBackend", "QUEUES": ["default", "slow"]},
    "patient": {"BACKEND": "jobs_core.django.QStashBackend", "OPTIONS": {"retries": 2}},
}
