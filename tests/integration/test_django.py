"""Django's models with ids of ours: migrations, forms, bulk inserts, and real server processes."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Final

import pytest

from devstack import Database
from devstack.workers import Fleet
from tests.integration.test_prefork_servers import GUNICORN, Served

pytest.importorskip("django", reason="run: .venv/bin/pip install -c constraints.txt -e '.[orm]'")
pytest.importorskip("rest_framework", reason="the extra `orm` brings it")

ROOT: Final = Path(__file__).parents[2]


class Project:
    """Runs commands and code of the project in processes of their own."""

    def __init__(self, folder: Path, database: str, **environment: str) -> None:
        (folder / "shop_migrations").mkdir()
        (folder / "shop_migrations/__init__.py").touch()
        self.environment = {
            "DJANGO_SETTINGS_MODULE": "tests.shop.settings",
            "PYTHONPATH": f"{ROOT}:{folder}",
            "SHOP_DATABASE": database,
            **environment,
        }

    def manage(self, *command: str) -> str:
        return self._run("-m", "django", *command)

    def run(self, code: str) -> str:
        return self._run("-c", "import django; django.setup()\n" + textwrap.dedent(code))

    def _run(self, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=ROOT,
            env=os.environ | self.environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = Project(tmp_path, f"sqlite://{tmp_path}/db")
    made.manage("makemigrations", "shop")
    made.manage("migrate", "--run-syncdb")
    return made


@pytest.mark.long
def test_migrations_name_the_tag_and_no_id(project: Project, tmp_path: Path) -> None:
    """What they say does not change from one run to the next, and makes the same field."""
    (migration,) = (tmp_path / "shop_migrations").glob("0001*.py")
    text = migration.read_text()
    assert "idalloc_client.django.IdField('order', primary_key=True, serialize=False)" in text
    assert "idalloc_client.django.IdField('invoice', leased=False, unique=True)" in text
    assert "default=idalloc_client.django.NextId('shown')" in text
    assert "No changes" in project.manage("makemigrations", "--check", "shop")


@pytest.mark.long
def test_a_row_has_its_id_from_its_making_on(project: Project, tmp_path: Path) -> None:
    """One for each, in bulk too; what was stored, or is given, keeps its own."""
    fixture = tmp_path / "orders.json"
    fixture.write_text(
        json.dumps([{"model": "shop.order", "pk": 7000, "fields": {"customer": "loaded"}}])
    )
    project.environment["FIXTURE"] = str(fixture)
    project.run("""
        import os
        from django.core.management import call_command
        from django.db import connection
        from django.test.utils import CaptureQueriesContext
        from tests.shop.models import Invoice, Order

        call_command("loaddata", os.environ["FIXTURE"])
        rows = [Order(customer="a") for _ in range(3)]
        assert [row.pk for row in rows] == [1, 2, 3], "loaddata drew none"
        Order.objects.bulk_create(rows)
        with CaptureQueriesContext(connection) as queries:
            order = Order(customer="b")
            order.save()
        assert [q["sql"].split()[0] for q in queries if "shop_order" in q["sql"]] == ["INSERT"]
        assert order.pk == 4
        assert Order.objects.get(pk=4).customer == "b"
        assert Order.objects.defer("customer").get(pk=2).pk == 2
        assert Order(id=9, customer="given").pk == 9
        assert Order(customer="c").pk == 5, "reading drew none"
        invoice = Invoice.objects.create(order=order)
        assert (invoice.number, invoice.shown, invoice.order_id) == (1, 1, 4)
    """)


@pytest.mark.long
def test_forms_admin_and_serializers_leave_it_out(project: Project) -> None:
    """What a user sends as the id is not taken."""
    project.run("""
        from django.contrib import admin
        from django.forms import modelform_factory
        from rest_framework.serializers import ModelSerializer
        from tests.shop.models import Order

        form = modelform_factory(Order, fields="__all__")
        assert list(form().fields) == ["customer"]
        assert admin.ModelAdmin(Order, admin.site).get_fields(None) == ["customer"]

        class Orders(ModelSerializer):
            class Meta:
                model = Order
                fields = "__all__"

        given = Orders(data={"id": 999, "customer": "a"})
        assert given.is_valid(), given.errors
        assert given.save().pk != 999
    """)


@pytest.mark.long
def test_a_number_of_a_period_is_no_default(project: Project) -> None:
    """Leased or not: without its period it would come twice, so the error names the call."""
    project.run("""
        from django.test.utils import override_settings
        from idalloc_client import PeriodError
        from idalloc_client.django import client
        from tests.shop.models import Invoice, Order

        fake = "idalloc_client.testing.FakeIdClient"
        options = {"any_tag": True, "periods": {"order": "2026-11", "invoice": "2026-11"}}
        with override_settings(IDALLOC={"CLIENT": fake, "OPTIONS": options}):
            for model in (Order, Invoice):
                try:
                    model()
                except PeriodError as error:
                    assert "next_number" in str(error), error
                else:
                    raise AssertionError("an error should have been raised")
            assert str(client().next_number("invoice").period) == "2026-11"
    """)


@pytest.mark.long
def test_settings_that_cannot_be_used_are_named(project: Project) -> None:
    """When an id is wanted: a project may have commands that want none."""
    project.run("""
        from django.core.exceptions import ImproperlyConfigured
        from django.test.utils import override_settings
        from idalloc_client.django import client
        from tests.shop.models import Order

        first = client()
        for wrong, words in [
            ({}, "the settings need IDALLOC"),
            ({"url": "amqp://localhost/"}, "not url"),
            ({"URL": "http://localhost/"}, "the AMQP URL must look like"),
            ({"URL": "amqp://localhost/", "OPTIONS": {"timout": 1}}, "timout"),
        ]:
            with override_settings(IDALLOC=wrong):
                try:
                    Order(customer="a")
                except ImproperlyConfigured as error:
                    assert words in str(error), error
                else:
                    raise AssertionError(wrong)
        assert client() is not first, "the settings are read anew where a test changes them"
    """)


@pytest.mark.long
def test_gunicorn_with_preload(fleet: Fleet, database: Database, tmp_path: Path) -> None:
    """Rows of four processes, in bulk and one by one, from a client that was used at import."""
    for tag in ("order", "invoice", "shown"):
        database.query("INSERT INTO segments (app_tag, max_id, step) VALUES (%s, 0, 1000)", tag)
    served = Served(fleet, tmp_path)
    log = tmp_path / "stored"
    project = Project(tmp_path, database.url, SHOP_BROKER=fleet.amqp_url, SHOP_LOG=str(log))
    project.manage("makemigrations", "shop")
    project.manage("migrate", "--run-syncdb")
    command = [*GUNICORN, "--workers=4", "--preload", "tests.shop.wsgi:application"]
    with served.running(*command, **project.environment):
        served.answering(4)
        while sum(len(ids) for _, ids in drawn(log)) < 11_000:
            served.ask()
    ids = [value for _, values in drawn(log) for value in values]
    assert len(ids) == len(set(ids)) >= 11_000
    assert len({pid for pid, _ in drawn(log)}) >= 4
    stored = {key for (key,) in database.query("SELECT id FROM shop_order")}
    assert stored >= set(ids), "the ids that were known before the INSERT"


def drawn(log: Path) -> list[tuple[int, list[int]]]:
    """Return which process stored rows with which ids."""
    return [(pid, ids) for pid, ids in map(json.loads, log.read_text().splitlines())]
