"""A lease as JSON, and how a holder learns that its lease is lost."""

import dataclasses
import json
import threading

import pytest
from redis.exceptions import ConnectionError as NoRedis

from gpupool.leases import HELD, KeepAlive, Lease


class Silent:
    """A bell that only its own process rings."""

    def __init__(self):
        self._rung = threading.Event()

    def wait(self, timeout):
        return "" if self._rung.wait(timeout) else None

    def ring(self):
        self._rung.set()

    def close(self):
        self._rung.set()


def kept_alive(renew, ttl):
    return KeepAlive(renew, ttl, Silent())


LEASE = Lease("a1", 7, "experiment 1", "task 1", "n1", ("GPU-1", "GPU-2"), 1000.25, 1060.25)


def test_a_lease_survives_json():
    assert Lease.from_json(LEASE.to_json()) == LEASE


def test_a_lease_as_json_has_the_names_of_its_fields():
    assert json.loads(LEASE.to_json()) == {
        "id": "a1",
        "token": 7,
        "holder": "experiment 1",
        "group": "task 1",
        "node": "n1",
        "gpus": ["GPU-1", "GPU-2"],
        "granted_at": 1000.25,
        "ends_at": 1060.25,
        "since": 0.0,
        "min_memory_mb": 0,
        "min_host_memory_mb": 0,
        "group_limit": 0,
        "priority": 0,
        "expected": 0.0,
        "revoked": "",
    }


def test_the_end_of_a_lease_may_come_from_elsewhere():
    later = Lease.from_json(LEASE.to_json(), ends_at=1090.0)

    assert later == dataclasses.replace(LEASE, ends_at=1090.0)


@pytest.mark.parametrize("text", ['{"id": "a1"}', '{"gpus": [], "owner": "x"}'])
def test_json_that_is_no_lease_is_refused(text):
    with pytest.raises((KeyError, TypeError)):
        Lease.from_json(text)


def test_a_lease_that_is_renewed_is_not_lost():
    renewals = threading.Semaphore(0)

    def renew():
        renewals.release()
        return HELD

    with kept_alive(renew, ttl=1.5) as alive:
        # The fifth renewal comes after more than a time to live.
        for _ in range(5):
            assert renewals.acquire(timeout=10)
        assert not alive.lost


def test_a_lease_that_has_ended_is_lost_at_the_first_renewal():
    with kept_alive(lambda: "it ended", ttl=60) as alive:
        assert alive.lost
        assert alive.wait(60)


def test_a_lease_is_lost_when_nobody_answers_for_its_time_to_live():
    def renew():
        raise NoRedis("refused")

    with kept_alive(renew, ttl=0.3) as alive:
        assert alive.wait(30)


def test_a_lost_lease_stays_lost_and_is_renewed_no_more():
    answers = iter([HELD, "it ended", HELD])

    with kept_alive(lambda: next(answers), ttl=3) as alive:
        assert alive.wait(30)
    assert alive.lost
    assert list(answers) == [HELD]


def test_a_renewal_that_hangs_does_not_hide_the_loss():
    hang = threading.Event()
    answers = iter([HELD])

    def renew():
        return next(answers, None) or str(hang.wait(60))

    with kept_alive(renew, ttl=0.3) as alive:
        assert alive.wait(30)
        hang.set()
    # It answered in the end, but too late: the holder knew already.
    assert alive.lost


def test_waiting_for_a_loss_ends_in_time():
    with kept_alive(lambda: HELD, ttl=60) as alive:
        assert not alive.wait(0.05)
