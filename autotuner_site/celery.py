"""The Celery application. Its jobs are in experiments/jobs.py."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "autotuner_site.settings")

app = Celery("autotuner")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["experiments"], related_name="jobs")
