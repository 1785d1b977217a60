"""Settings of the project: a database file or MySQL, real workers or a fake, by the environment."""

import os
from urllib.parse import unquote, urlsplit

SECRET_KEY = "of a test"  # nobody logs in
INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django.contrib.admin",
    "django.contrib.messages",
    "rest_framework",
    "tests.shop",
]
SILENCED_SYSTEM_CHECKS = ["admin.E403", "admin.E408", "admin.E409", "admin.E410"]  # shown to nobody
ROOT_URLCONF = "tests.shop.wsgi"
USE_TZ = True
MIGRATION_MODULES = {"shop": os.environ.get("SHOP_MIGRATIONS", "shop_migrations")}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

if url := os.environ.get("SHOP_BROKER"):
    IDALLOC = {"URL": url, "OPTIONS": {"timeout": 60.0}}
else:
    IDALLOC = {"CLIENT": "idalloc_client.testing.FakeIdClient", "OPTIONS": {"any_tag": True}}

_database = urlsplit(os.environ["SHOP_DATABASE"])
if _database.scheme == "mysql":
    import pymysql

    pymysql.version_info = (2, 2, 8, "final", 0)  # of mysqlclient, in whose place it stands
    pymysql.install_as_MySQLdb()
    DATABASES = {
        "default": {
            "ENGINE": "django.db.backends.mysql",
            "HOST": _database.hostname,
            "PORT": _database.port,
            "USER": unquote(_database.username or ""),
            "PASSWORD": unquote(_database.password or ""),
            "NAME": _database.path[1:],
        }
    }
else:
    DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": _database.path}}
