"""Serves requests that store rows; the client is used at import, before a server forks."""

import json
import os

from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse
from django.urls import path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.shop.settings")
application = get_wsgi_application()

from tests.shop.models import Order  # noqa: E402  # Django wants its settings first

Order(customer="at import")


def store(_request: HttpRequest) -> HttpResponse:
    """Store rows in bulk and one by one, and answer the process and how many ids came too late."""
    rows = [Order(customer="bulk") for _ in range(500)]
    known = [row.pk for row in rows]
    Order.objects.bulk_create(rows)
    singles = [Order(customer="single") for _ in range(50)]
    known += [row.pk for row in singles]
    for row in singles:
        row.save()
    assert all(known)
    with open(os.environ["SHOP_LOG"], "a", encoding="utf-8") as log:  # noqa: PTH123  # one write
        log.write(json.dumps([os.getpid(), known]) + "\n")
    return HttpResponse(str(os.getpid()))


urlpatterns = [path("", store)]
