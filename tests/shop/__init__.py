"""A Django project whose rows get their ids from idalloc; `tests/integration/test_django.py`."""
