"""Everything on this machine, with one command."""

import contextlib
import fcntl
import secrets
import signal
import socket
import time
from collections.abc import Collection, Iterator
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.management.base import CommandError, CommandParser

from experiments import demo, embedded_redis
from experiments.errors import BadInput
from experiments.management.commands.worker import add_drain, seconds_to_drain
from experiments.pool import gpu_pool
from experiments.services import Service, ServiceFailed, celery_worker
from experiments.shell import ShellCommand
from gpupool import PoolUnreachable

READY_WITHIN = 60.0  # seconds
LOOK_EVERY = 0.1


class Stopped(BaseException):
    """Ctrl-C or SIGTERM."""


class Command(ShellCommand):
    help = (
        "Start everything on this machine: database, Redis (embedded when REDIS_URL is not "
        "set), worker, scheduler and web pages; then run the demo. Ctrl-C stops all of it: what "
        "runs is handed back, and runs again after the next start."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--host", default="127.0.0.1", help="address of the pages (127.0.0.1)")
        parser.add_argument("--port", type=int, default=8000, help="port of the pages (8000)")
        parser.add_argument("--no-demo", action="store_true", help="do not run the demo")
        add_drain(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, interrupt)
        host, port = options["host"], options["port"]
        self.drain = options["drain"]
        seconds_to_drain(self.drain)
        with only_one():
            check_port(host, port)
            self.serve(host, port, with_demo=not options["no_demo"])

    def serve(self, host: str, port: int, with_demo: bool) -> None:
        """Start everything, watch over it until Ctrl-C, and stop it in reverse order."""
        self.services: list[Service] = []
        try:
            self.start_everything(host, port)
            if with_demo:
                demo.run(self.stdout.write, self.look_after)
            while True:
                self.look_after()
                time.sleep(0.5)
        except Stopped:
            self.let_end()
            self.stdout.write("\nstopping …")
        except (ServiceFailed, OSError) as error:  # A full disk, for one
            raise CommandError(str(error)) from error
        finally:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)  # Once is enough: we are at it
            if self.drain is not None:
                self.signal_worker()  # The stop below is its second signal: no more patience
            for service in reversed(self.services):
                service.stop()
            self.stdout.write("stopped")

    def start_everything(self, host: str, port: int) -> None:
        call_command("migrate", verbosity=0, interactive=False)
        if settings.EMBEDDED_REDIS:
            is_new = embedded_redis.is_new(settings.REDIS_SOCKET)
            server = embedded_redis.command(settings.REDIS_SOCKET, settings.REDIS_PASSWORD)
            self.start("redis", server)
        self.until("Redis", redis_answers)
        if settings.EMBEDDED_REDIS and is_new:
            gpu_pool().initialise()
        manage = [settings.PYTHON, str(settings.BASE_DIR / "manage.py")]
        celery = [settings.PYTHON, "-m", "celery", "-A", "autotuner_site"]
        self.start("control", celery_worker("control", "control", 2))
        self.start("scheduler", [*celery, "beat", "--loglevel", "WARNING", "--pidfile="])
        # Pages are made by many threads, one at a time: with a heap for each, freed memory of one
        # is of no use to the next, and the server grows by a tenth and shrinks again.
        self.start("web", web_server(host, port), MALLOC_ARENA_MAX="1")
        drain = [] if self.drain is None else ["--drain", *filter(None, [self.drain])]
        self.start("worker", [*manage, "worker", *drain], grace=20.0)
        login = first_login()
        web = next(service for service in self.services if service.name == "web")
        self.until("The web server", lambda: web.listens_on(port))
        self.stdout.write(f"Autotuner       http://{host}:{port}/")
        self.stdout.write(f"login           {login}")

    def start(self, name: str, argv: list[str], grace: float = 10.0, **variables: str) -> None:
        service = Service(name, argv, grace, variables)
        self.services.append(service)
        service.start()

    def look_after(self, but: Collection[Service] = ()) -> None:
        """Start again what died."""
        for service in self.services:
            if service not in but:
                service.keep_running()

    def let_end(self) -> None:
        """With --drain: wait until the worker has let end what runs, or for a second signal."""
        if self.drain is None or not (workers := self.signal_worker()):
            return
        self.stdout.write("\ntakes nothing new; waits for what runs (again Ctrl-C: no longer)")
        with contextlib.suppress(Stopped):
            while any(worker.is_up() for worker in workers):
                self.look_after(but=workers)
                time.sleep(0.5)

    def signal_worker(self) -> list[Service]:
        """Ask the worker to end, by another signal than that with which services are stopped:
        two of one kind may arrive as one.
        """
        workers = [service for service in self.services if service.name == "worker"]
        for worker in workers:
            worker.signal(signal.SIGINT)
        return workers

    def until(self, what: str, ready: Any) -> None:
        """Wait for something that was just started."""
        give_up = time.monotonic() + READY_WITHIN
        while not ready():
            self.look_after()
            if time.monotonic() > give_up:
                raise CommandError(f"{what} did not answer within {READY_WITHIN:.0f} s")
            time.sleep(LOOK_EVERY)


def interrupt(*_: Any) -> None:
    raise Stopped


@contextlib.contextmanager
def only_one() -> Iterator[None]:
    """Hold the data folder's lock: two of us on one folder would be two Redis servers."""
    with (settings.DATA_DIR / "up.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise BadInput(
                "AUTOTUNER_DATA_DIR",
                f"Autotuner already runs on {settings.DATA_DIR}; stop it or choose another folder",
            ) from error
        yield


def check_port(host: str, port: int) -> None:
    """One clear line now instead of a web server's traceback later."""
    if not 0 < port < 65536:
        raise BadInput("--port", f"{port} is not a port number")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except socket.gaierror as error:
            raise BadInput("--host", f"{host!r} is no address of this machine") from error
        except OSError as error:
            raise BadInput(
                "--port",
                f"cannot listen on {host}:{port} ({error.strerror}); choose another, "
                "for example --port 8001",
            ) from error


def redis_answers() -> bool:
    try:
        return gpu_pool().time() > 0
    except PoolUnreachable:
        return False


def web_server(host: str, port: int) -> list[str]:
    return [
        *(settings.PYTHON, "-m", "uvicorn", "autotuner_site.asgi:application"),
        *("--host", host, "--port", str(port), "--log-level", "warning", "--no-access-log"),
        *("--timeout-graceful-shutdown", "3"),
        # Frames are small, and would be packed anew for each page that is sent them
        *("--ws-per-message-deflate", "false"),
    ]


def first_login() -> str:
    """Make the administrator at the first start; the password is shown only then."""
    users = get_user_model().objects
    if users.filter(is_superuser=True).exists():
        return "as before (forgotten? `manage.py changepassword admin`)"
    password = secrets.token_urlsafe(12)
    users.create_superuser("admin", password=password)
    return f"admin / {password}   (shown only now; `manage.py changepassword admin` changes it)"
