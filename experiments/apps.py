"""The one Django application."""

from typing import Any

from django.apps import AppConfig, apps
from django.db.backends.signals import connection_created
from django.db.models.signals import post_migrate, pre_migrate

# A client that vanished (a power cut, a cable) says nothing: PostgreSQL would keep its transaction,
# and what that has locked, for two hours. Set here, for poolers refuse them at the connection.
NOTICE_THE_DEAD = """
SET idle_in_transaction_session_timeout = '60s';
SET tcp_keepalives_idle = 10;
SET tcp_keepalives_interval = 5;
SET tcp_keepalives_count = 3;
SET tcp_user_timeout = '20s';
"""


class ExperimentsConfig(AppConfig):
    name = "experiments"
    verbose_name = "Tuning"

    def ready(self) -> None:
        from experiments.roles import make_roles, note_permissions  # Models are there only now

        # The words of the menu
        apps.get_app_config("auth").verbose_name = "People"
        apps.get_app_config("django_celery_results").verbose_name = "Tuning"

        connection_created.connect(notice_the_dead)
        pre_migrate.connect(note_permissions, sender=self)
        post_migrate.connect(make_roles, sender=self)


def notice_the_dead(connection: Any, **_: Any) -> None:
    """Let the server end the sessions of clients that are gone."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(NOTICE_THE_DEAD)
