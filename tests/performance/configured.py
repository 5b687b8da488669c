"""Django, set up for a script: to be imported before anything that knows rows."""

import os

import django.apps

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "autotuner_site.settings")
django.setup()
READY = django.apps.apps.ready
