"""The connection to Redis as its URL describes it, and the head of every script."""

import re

import pytest

from gpupool.scripts import KEYS, LUA, SHARED, connect, source


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://:p%40ss@cache:6380/2", {"host": "cache", "port": 6380, "db": 2}),
        ("rediss://:p%40ss@cache:6380", {"host": "cache", "port": 6380}),
        ("unix://:p%40ss@/tmp/redis.sock", {"path": "/tmp/redis.sock"}),
    ],
)
def test_every_kind_of_url_is_understood_and_no_command_waits_for_ever(url, expected):
    with connect(url) as client:
        options = client.connection_pool.connection_kwargs

    assert expected.items() <= options.items()
    assert options["password"] == "p@ss"
    assert options["socket_connect_timeout"] == 3
    assert options["socket_timeout"] == 10
    assert options["decode_responses"] is True


VERBS = sorted(path.stem for path in LUA.glob("*.lua") if path.stem not in SHARED)


@pytest.mark.parametrize("name", VERBS)
def test_a_script_says_what_it_takes_and_returns(name):
    text = (LUA / f"{name}.lua").read_text()
    head = text.split("\n\n")[0]

    assert head.startswith("-- ")
    assert bool(re.search(r"^return ", text, re.MULTILINE)) == ("\n-- Returns " in head)
    for number in set(re.findall(r"ARGV\[(\d)\]", text)):
        assert f"-- ARGV[{number}] " in head


def test_every_key_of_the_scripts_has_its_name_in_their_order():
    names = re.findall(
        r"^local ([A-Z, ]+) = ((?:KEYS\[\d+\][, ]*)+)$", source("tick"), re.MULTILINE
    )
    named = {}
    for left, right in names:
        for name, number in zip(left.split(", "), re.findall(r"\d+", right), strict=True):
            named[int(number)] = name.lower()

    assert [named[number] for number in sorted(named)] == list(KEYS)
    assert len(named) == len(KEYS)
