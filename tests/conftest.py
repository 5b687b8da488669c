"""What all tests share."""

import pytest
from hypothesis import configuration, settings

from tests.environment import FOLDER

configuration.set_hypothesis_home_dir(FOLDER / "hypothesis")
settings.register_profile("tests", deadline=None)  # How long one takes says nothing here
settings.load_profile("tests")


@pytest.fixture(scope="session")
def django_db_modify_db_settings() -> None:
    """SQLite in a file, as the site has it: in memory, two threads would lock each other out."""
    from django.conf import settings

    database = settings.DATABASES["default"]
    if database["ENGINE"] == "django.db.backends.sqlite3":
        database.setdefault("TEST", {})["NAME"] = str(FOLDER / "test.sqlite3")
