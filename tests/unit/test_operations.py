"""What an operator does, on a real Redis: each action is done once, and written down once."""

import tempfile
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from experiments import audit, operations, steering
from experiments.errors import BadInput
from experiments.models import AuditEntry, TuningTask
from experiments.pool import gpu_pool
from gpupool import PoolUnreachable, open_inventory
from tests.integration.redis_server import running_redis

MakeTask = Callable[..., TuningTask]
pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("pool")]


def entries() -> list[tuple[str, str, str, str]]:
    """The audit, the oldest first."""
    fields = ("actor", "action", "target", "detail")
    return list(AuditEntry.objects.order_by("id").values_list(*fields))


def state(uuid: str) -> str:
    return operations.find_gpu(uuid).state


def gpus(*words: str) -> str:
    said = StringIO()
    call_command("gpus", *words, stdout=said)
    return said.getvalue()


# ── the actions ─────────────────────────────────────────────────────────────────────────────


def test_a_quarantined_gpu_is_granted_to_nobody_until_it_is_returned() -> None:
    for index in range(4):
        operations.quarantine("ann", f"alpha/{index}", "fan noise")
    assert gpu_pool().acquire("someone") is None
    operations.restore("ann", "alpha/2")
    [lease] = gpu_pool().leases()
    assert lease.gpus == ("sim-alpha-2",)
    assert entries()[0] == ("ann", "quarantine", "sim-alpha-0", "fan noise; until it is returned")
    assert entries()[-1] == ("ann", "return", "sim-alpha-2", "")


def test_a_quarantine_may_end_by_itself() -> None:
    operations.quarantine("ann", "alpha/0", "hot", 600.0)
    until = operations.find_gpu("alpha/0").until
    assert until is not None and 590 < until - gpu_pool().time() <= 600
    with pytest.raises(BadInput, match="0 s is not above 0"):
        operations.quarantine("ann", "alpha/0", "hot", 0.0)


def test_what_is_done_twice_in_the_same_words_is_one_action() -> None:
    for seconds in (None, 600.0):
        for _ in range(2):
            operations.quarantine("ann", "alpha/0", "hot", seconds)
    for _ in range(2):
        operations.drain("ann", "alpha", "hot")
    assert [entry[1] for entry in entries()] == ["quarantine", "quarantine", "drain"]


def test_a_gpu_of_a_drained_node_is_quarantined_for_the_same_reason() -> None:
    operations.drain("ann", "alpha", "hot")
    operations.quarantine("ann", "alpha/0", "hot")
    operations.undrain("ann", "alpha")
    assert state("alpha/0") == "quarantined"


def test_a_second_return_undrain_or_release_is_refused_and_not_written_down() -> None:
    lease = gpu_pool().acquire("someone")
    assert lease is not None
    operations.release("ann", lease.id)
    before = entries()
    for again, said in (
        (lambda: operations.release("bob", lease.id), "already taken away by ann"),
        (lambda: operations.restore("bob", "alpha/0"), "is not quarantined"),
        (lambda: operations.undrain("bob", "alpha"), "is not drained"),
        (lambda: operations.release("bob", "x"), "there is no lease 'x'"),
    ):
        with pytest.raises(BadInput, match=said):
            again()
    assert entries() == before


def test_a_drained_node_takes_nothing_and_keeps_what_it_has() -> None:
    assert gpu_pool().acquire("first") is not None
    operations.drain("ann", "alpha", "new driver")
    assert gpu_pool().acquire("second") is None
    assert [lease.holder for lease in gpu_pool().leases()] == ["first"]
    assert operations.find_node("alpha").why == "new driver (ann)"


def test_nothing_is_done_and_nothing_written_while_redis_is_away(
    settings: Any, make_task: MakeTask
) -> None:
    with tempfile.TemporaryDirectory(prefix="at-") as folder, running_redis(Path(folder)) as server:
        settings.REDIS_URL = server.url
        gpu_pool.cache_clear()
        gpu_pool().publish("alpha", open_inventory("simulated:1", "alpha").gpus())
        gpu = operations.find_gpu("alpha/0")
        server.kill()
        for act in (
            lambda: operations.quarantine("ann", gpu.uuid, "hot"),
            lambda: steering.act("parallel", "ann", make_task(), {"number": "3"}),
        ):
            with pytest.raises(PoolUnreachable):
                act()
    assert entries() == []
    assert TuningTask.objects.get().max_parallel_experiments == 2


def test_what_a_leased_gpu_is_next_is_known() -> None:
    gpu_pool().acquire("someone", gpus=3)
    operations.quarantine("ann", "alpha/0", "hot")
    pool = gpu_pool().snapshot()
    assert [operations.next_state(pool, gpu) for gpu in pool.gpus] == ["quarantined", "", "", ""]
    operations.drain("ann", "alpha", "hot too")
    pool = gpu_pool().snapshot()
    after = [operations.next_state(pool, gpu) for gpu in pool.gpus]
    assert after == ["quarantined", "draining", "draining", ""]


# ── what people write ───────────────────────────────────────────────────────────────────────


def test_a_gpu_is_named_by_its_place_its_uuid_or_a_unique_beginning() -> None:
    for text in ("alpha/3", "sim-alpha-3"):
        assert operations.find_gpu(text).index == 3
    with pytest.raises(BadInput, match="4 GPUs begin with 'sim-'"):
        operations.find_gpu("sim-")
    for text in ("", "alpha", "alpha/4"):
        with pytest.raises(BadInput, match="there is no GPU"):
            operations.find_gpu(text)


def test_a_lease_is_named_by_a_unique_beginning() -> None:
    leases = [gpu_pool().acquire(holder) for holder in "ab"]
    assert leases[0] is not None
    assert operations.find_lease(leases[0].id[:12]) == leases[0]
    with pytest.raises(BadInput, match="there is no lease ''"):
        operations.find_lease("")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("", None), ("90", 90), ("90s", 90), ("10m", 600), (" 2h ", 7200), ("1d", 86400)],
)
def test_a_time_is_written_with_its_unit(text: str, seconds: float | None) -> None:
    assert operations.duration(text) == seconds


@pytest.mark.parametrize("text", ["0", "0m", "-5", "ten", "1.5h", "10w", "999d", "²", "1e3", "٣m"])
def test_any_other_time_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="for: "):
        operations.duration(text)


@pytest.mark.parametrize("text", ["", "2.0", "two", "1_0", "9" * 20, "٣"])
def test_any_other_number_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="is not a whole number"):
        operations.whole_number("N", text)


@pytest.mark.parametrize("text", ["", "  \n ", "x" * 501])
def test_a_reason_is_a_few_words(text: str) -> None:
    with pytest.raises(BadInput, match="why: "):
        operations.quarantine("ann", "alpha/0", text)
    assert entries() == []


# ── the shell ───────────────────────────────────────────────────────────────────────────────


def test_the_shell_does_each_action_under_the_systems_user() -> None:
    lease = gpu_pool().acquire("someone")
    assert lease is not None
    for words in (
        ("quarantine", "alpha/3", "--why", "hot", "--for", "10m"),
        ("return", "alpha/3"),
        ("drain", "alpha", "--why", "new driver"),
        ("undrain", "alpha"),
        ("release", lease.id[:10]),
    ):
        assert len(gpus(*words).splitlines()) == 1
    assert [entry[1] for entry in entries()] == [
        *("quarantine", "return", "drain", "undrain", "release")
    ]
    assert {entry[0] for entry in entries()} == {audit.shell_actor()}
    assert audit.shell_actor().startswith("shell:")


@pytest.mark.parametrize(
    "words",
    [
        ["fly"],
        ["quarantine"],
        ["quarantine", "alpha/0"],
        ["quarantine", "alpha/0", "--why", " "],
        ["quarantine", "alpha/9", "--why", "hot"],
        ["quarantine", "alpha/0", "--why", "hot", "--for", "soon"],
        ["return", "alpha/0"],
        ["drain", "beta", "--why", "x"],
        ["undrain", "alpha"],
        ["release", "nothing"],
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(words: list[str]) -> None:
    with pytest.raises(CommandError) as refused:
        gpus(*words)
    assert refused.value.returncode == 2
    assert len(str(refused.value).splitlines()) == 1
    assert entries() == []


def test_the_list_says_who_holds_what_and_who_waits_for_what() -> None:
    lease = gpu_pool().acquire("holder-1", gpus=3, min_host_memory_mb=1000)
    gpu_pool().acquire("holder-2", gpus=4, min_memory_mb=5000)
    operations.quarantine("ann", "alpha/0", "hot", 600.0)
    assert lease is not None
    operations.release("ann", lease.id)
    said = gpus()
    for text in (
        *("1000 / 64000", "3 / 4", "leased, then quarantined", "holder-1; hot (ann), 9 min"),
        *(lease.id[:12], "alpha/0, alpha/1, alpha/2", "ann", "holder-2", "5000"),
    ):
        assert text in said, text


def test_a_pool_that_has_lost_its_data_says_when_it_opens() -> None:
    gpu_pool().redis.flushall()
    gpu_pool().publish("alpha", open_inventory("simulated:1", "alpha").gpus())
    assert "the pool opens in" in gpus()
    assert '"opens_in": 5' in gpus("--json") or '"opens_in": 60' in gpus("--json")
