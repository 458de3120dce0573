"""The shop's pages, the admin, and the worker."""

from django.contrib import admin
from django.urls import include, path

from tea_shop import views

urlpatterns = [
    path("orders", views.place_order),
    path("orders/<int:order_id>", views.show_order),
    path("admin/", admin.site.urls),
    path("", include("jobs_core.django.urls")),
]
