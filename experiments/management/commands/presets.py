"""Lists, exports and imports presets."""

import sys
from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser
from rich.table import Table

from experiments import audit, presets
from experiments.errors import BadInput
from experiments.models import Preset
from experiments.shell import ShellCommand
from experiments.states import Action


class Command(ShellCommand):
    help = (
        "Presets, the parts of a task file that new tasks begin with: without a verb, what there "
        "is; export NAME prints one as YAML, import FILE saves one (- for standard input)."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("verb", nargs="?", choices=["list", "export", "import"], default="list")
        parser.add_argument("what", nargs="?", default="", metavar="NAME|FILE")
        parser.add_argument(
            "--replace", action="store_true", help="with import: also one of the same name"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        verb, what = options["verb"], options["what"]
        if verb == "list":
            return self.list()
        if not what:
            raise BadInput("NAME" if verb == "export" else "FILE", f"say which one to {verb}")
        if verb == "export":
            return self.stdout.write(presets.write(find(what)), ending="")
        return self.take_in(what, replace=options["replace"])

    def list(self) -> None:
        table = Table("name", "fields", "description", box=None)
        for preset in Preset.objects.all():
            table.add_row(preset.name, ", ".join(preset.parts), preset.description)
        self.print_table(table)

    def take_in(self, where: str, *, replace: bool) -> None:
        document = presets.read(text_of(where), where)
        is_there = Preset.objects.filter(name=document.name).exists()
        preset = presets.keep(document, replace=replace)
        action = Action.EDIT if is_there else Action.ADD
        audit.record(audit.shell_actor(), action, f"preset {preset}", "imported")
        self.stdout.write(f"preset {preset} is saved")


def text_of(where: str) -> str:
    try:
        return sys.stdin.read() if where == "-" else Path(where).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput("FILE", f"{where} cannot be read: {error}") from error


def find(name: str) -> Preset:
    preset = Preset.objects.filter(name=name).first()
    if preset is None:
        raise BadInput("NAME", f"there is no preset {name!r}; `manage.py presets` lists them")
    return preset
