"""A pool with its real scripts, on a real Redis whose clock a test sets; an audit of its books."""

import json
from collections import Counter, defaultdict
from collections.abc import Mapping
from functools import cache, lru_cache
from typing import Any

import redis

from gpupool import GpuPool
from gpupool.scripts import KEYS, LUA, SHARED, command, source

READS_THE_CLOCK = "call('TIME')"
READS_THE_TEST = "call('HMGET', CHANNEL .. 'test-time', 's', 'us')"
SORTED = ("queue", "due")
EVERYTHING = """
local all, read = {}, {hash = 'HGETALL', set = 'SMEMBERS'}
for i, key in ipairs(KEYS) do
  local kind = redis.call('TYPE', key).ok
  all[i] = {kind, kind == 'zset' and redis.call('ZRANGE', key, 0, -1, 'WITHSCORES') or
    read[kind] and redis.call(read[kind], key) or {}}
end
return cjson.encode(all)
"""


class VirtualPool(GpuPool):
    """A GpuPool whose scripts differ in one expression: where they look for the time."""

    def __init__(self, client: redis.Redis, ttl: float, prefix: str, **settings: Any) -> None:
        super().__init__(client, ttl=ttl, prefix=prefix, **settings)
        for name, text in virtual_scripts().items():
            client.script_load(text)
            self._commands[name] = (*command(text, self._keys), *self._first)
        self._everything = client.register_script(EVERYTHING)

    def set_time(self, ms: int) -> None:
        """From now on Redis's clock shows this time."""
        self.redis.hset(f"{self.prefix}:test-time", mapping=parts(ms))

    def call(self, name: str, *arguments: Any, client: Any = None) -> Any:
        """One script by its name, perhaps in a pipeline."""
        return (client or self.redis).evalsha(*self._commands[name], *arguments)

    def books(self) -> dict[str, Any]:
        """All keys: hashes as dicts, sorted sets as dicts of scores, sets as sets."""
        found = zip(KEYS, json.loads(self._everything(self._keys)), strict=True)
        return {
            name: set(flat) if kind == "set" else _pairs(flat or [])  # Lua's {} is both
            for name, (kind, flat) in found
        }

    def go_back_to(self, books: Mapping[str, Any], run: str) -> None:
        """What a Redis does that restarts without its last writes."""
        with self.redis.pipeline(transaction=False) as pipe:
            pipe.delete(*self._keys)
            for name, content in books.items():
                key = f"{self.prefix}:{name}"
                if content and isinstance(content, set):
                    pipe.sadd(key, *content)
                elif content and name in SORTED:
                    pipe.zadd(key, content)
                elif content:
                    pipe.hset(key, mapping=content)
            pipe.hset(f"{self.prefix}:book", "run", run)
            pipe.execute()


@cache
def virtual_scripts() -> dict[str, str]:
    """The scripts by name, each with that one expression replaced."""
    texts = {path.stem: source(path.stem) for path in LUA.glob("*.lua") if path.stem not in SHARED}
    for text in texts.values():
        assert text.count("'TIME'") == text.count(READS_THE_CLOCK) == 1
    return {name: text.replace(READS_THE_CLOCK, READS_THE_TEST) for name, text in texts.items()}


def parts(ms: int) -> dict[str, int]:
    """What TIME would return."""
    return {"s": ms // 1000, "us": ms % 1000 * 1000}


def _pairs(flat: list[str]) -> dict[str, str]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


def in_book(books: Mapping[str, Any], kind: str) -> dict[str, str]:
    """What the book has of this kind, by name."""
    start = len(kind) + 1
    return {
        name[start:]: text for name, text in books["book"].items() if name.startswith(f"{kind} ")
    }


@lru_cache(maxsize=4096)
def decoded(text: str) -> Any:
    return json.loads(text)


def audit(books: Mapping[str, Any]) -> None:
    """Raise AssertionError where what the pool has written down does not agree with itself."""
    leases = {name: decoded(text) for name, text in in_book(books, "lease").items()}
    waiting = {name: decoded(text) for name, text in in_book(books, "request").items()}
    offers = {name: decoded(text) for name, text in in_book(books, "offer").items()}
    _audit_leases(books, leases)
    _audit_queue(books, leases, waiting)
    _audit_nodes(books, offers)
    due = {
        *(f"lease {name}" for name in leases),
        *(f"request {name}" for name in waiting),
        *(
            f"quarantine {u}"
            for u, text in in_book(books, "quarantine").items()
            if _until(text) >= 0
        ),
        *(f"listed {name}" for name in in_book(books, "node")),
    }
    assert {name for name in books["due"] if not name.startswith("node ")} == due


def _audit_leases(books: Mapping[str, Any], leases: Mapping[str, Any]) -> None:
    held, host = {}, Counter[str]()
    for name, lease in leases.items():
        assert not held.keys() & set(lease["gpus"]), "a GPU has two leases"
        held |= dict.fromkeys(lease["gpus"], (name, lease["node"]))
        host[lease["node"]] += lease["min_host_memory_mb"]
    entries = {uuid: entry.split(" ", 2) for uuid, entry in books["held"].items()}
    assert {uuid: (entry[0], entry[2]) for uuid, entry in entries.items()} == held
    assert in_book(books, "holder") == {lease["holder"]: name for name, lease in leases.items()}
    assert {name: int(mb) for name, mb in in_book(books, "host").items()} == +host


def _audit_queue(
    books: Mapping[str, Any], leases: Mapping[str, Any], waiting: Mapping[str, Any]
) -> None:
    has = Counter(lease["group"] for lease in leases.values() if lease["group"])
    members = defaultdict(list)
    for one in sorted(waiting.values(), key=lambda one: one["order"]):
        members[one["group"]].append(one)
    turn = members.pop("", [])
    groups, written = {}, in_book(books, "group")
    for name in {*has, *members}:
        limit = int(written[name].split(",")[2])
        most = max(0, limit - has[name]) if limit else len(members[name])
        eligible = members[name][:most]
        groups[name] = f"{has[name]},{len(eligible)},{limit}"
        turn = turn + eligible
    assert written == groups
    assert books["queue"].keys() == {
        *(f"{one['shape']}\0{one['order']}\0{one['holder']}" for one in turn),
        *(
            f"group {name}\0{one['order']}\0{one['holder']}"
            for name, some in members.items()
            for one in some
        ),
    }
    shapes = Counter(one["shape"] for one in turn)
    assert {name: int(count) for name, count in books["shapes"].items()} == shapes
    assert in_book(books, "reserved").keys() <= {one["holder"] for one in turn}


def _audit_nodes(books: Mapping[str, Any], offers: Mapping[str, Any]) -> None:
    assert not offers.keys() & in_book(books, "draining").keys()
    assert {f"node {name}" for name in offers} <= books["due"].keys()
    assert books["sizes"].keys() == offers.keys()
    quarantine = in_book(books, "quarantine")
    free = _free(books)
    assert free <= {gpu[0] for offer in offers.values() for gpu in offer["gpus"]}
    for offer in offers.values():
        for uuid, *_, ends in (gpu if len(gpu) == 7 else [*gpu, None] for gpu in offer["gpus"]):
            ill = quarantine.get(uuid)
            assert ends == (_until(ill) if ill else None)
            assert (uuid in free) == (not ill and uuid not in books["held"])


def _free(books: Mapping[str, Any]) -> set[str]:
    """The GPUs that would be granted."""
    rows, free = in_book(books, "rows"), set()
    for name, text in books["free"].items():
        count, _, _, mask = text.split()
        uuids = rows[name].split("\n")[1::2]
        assert len(mask) == len(uuids) and mask.count("1") == int(count) > 0
        free |= {uuid for uuid, is_free in zip(uuids, mask, strict=True) if is_free == "1"}
    return free


def _until(text: str) -> int:
    return int(decoded(text)["until"])
