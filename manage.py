#!/usr/bin/env python
"""The door of the shell: `python manage.py help` lists the commands."""

import os
import sys


def main() -> None:
    """Run one command. A setting that cannot be used is one line, not a traceback."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "autotuner_site.settings")
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line

    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        print(f"autotuner: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
