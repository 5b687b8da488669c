"""What a mark says, and what an environment for a program of ours has in it."""

import pytest
from django.conf import LazySettings

from experiments.marks import MARK, Mark, ProcessId, clean_environment
from experiments.pool import site


def test_a_process_and_a_mark_are_read_as_they_were_written() -> None:
    process = ProcessId(12, 3456, "0a1b2c3d")
    assert str(process) == "12:3456@0a1b2c3d" and ProcessId.parse(str(process)) == process
    mark = Mark("a-site", process, "experiment:7:2")
    assert Mark.parse(str(mark)) == mark


@pytest.mark.parametrize("text", ["", "12", "12:x@m", "12:3", ":@", "experiment:7:2", "s 1:2 h"])
def test_anything_else_is_nobodys(text: str) -> None:
    assert ProcessId.parse(text) is None and Mark.parse(text) is None


def test_own_process_lives_and_fits_into_its_column() -> None:
    own = ProcessId.own()
    assert not own.is_dead() and len(str(own)) <= 64


def test_the_mark_and_no_secret_is_in_a_clean_environment() -> None:
    base = {"SECRET_KEY": "s", "DATABASE_URL": "d", "REDIS_URL": "r", "PATH": "/bin"}
    mark = Mark("a-site", ProcessId(1, 2, "m"), "h")
    assert clean_environment(base) == {"PATH": "/bin"}
    assert clean_environment(base, mark) == {"PATH": "/bin", MARK: str(mark), "SPT_NOENV": "1"}


def test_each_service_and_each_node_is_a_site_and_a_password_is_not(settings: LazySettings) -> None:
    def site_of(url: str, node: str) -> str:
        settings.REDIS_URL, settings.NODE = url, node
        site.cache_clear()
        return site()

    found = [
        site_of("redis://:one@host:6379/0", "n1"),
        site_of("redis://:one@host:6379/0", "n2"),
        site_of("redis://:one@host:6379/1", "n1"),
        site_of("redis://:one@host:6380/0", "n1"),
        site_of("unix://:one@/a/redis.sock", "n1"),
        site_of("unix://:one@/b/redis.sock", "n1"),
        site_of("unix://:one@/b/redis.sock?db=2", "n1"),
    ]
    assert len(set(found)) == len(found)
    assert site_of("redis://:two@host:6379/0", "n1") == found[0]
    site.cache_clear()
