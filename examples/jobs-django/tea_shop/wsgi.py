"""For a WSGI server: ``gunicorn --threads 8 tea_shop.wsgi``."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tea_shop.settings")
application = get_wsgi_application()
