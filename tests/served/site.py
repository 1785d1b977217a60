"""Django's development server over the WSGI application, with a module that can be touched."""

import os
import sys
from importlib import import_module

from django.conf import settings
from django.core.management import execute_from_command_line
from django.http import HttpRequest, HttpResponse
from django.urls import path

from tests.served import draw


def answer(_request: HttpRequest) -> HttpResponse:
    """Answer with the process id."""
    import_module("touched")  # what the test changes, so that the server starts anew
    draw()
    return HttpResponse(str(os.getpid()))


urlpatterns = [path("", answer)]
settings.configure(DEBUG=True, ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], USE_TZ=True)

if __name__ == "__main__":
    execute_from_command_line(sys.argv)
