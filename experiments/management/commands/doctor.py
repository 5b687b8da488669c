"""Is everything reachable and configured?"""

from dataclasses import asdict
from typing import Any

from django.core.management.base import CommandError, CommandParser

from experiments import diagnosis
from experiments.shell import ShellCommand


class Command(ShellCommand):
    help = (
        "Check database, Redis, data folder, GPUs and engines. "
        "Exit code 1 when something that is needed does not work."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="print one JSON document")

    def handle(self, *args: Any, **options: Any) -> None:
        findings = diagnosis.examine()
        healthy = all(finding.ok or not finding.needed for finding in findings)
        if options["json"]:
            checks = [asdict(finding) for finding in findings]
            self.print_json({"healthy": healthy, "checks": checks})
        else:
            for finding in findings:
                mark = "ok  " if finding.ok else ("FAIL" if finding.needed else "-   ")
                self.stdout.write(f"{mark} {finding.name:<10} {finding.says}")
        if not healthy:
            raise CommandError("something that is needed does not work", returncode=1)
