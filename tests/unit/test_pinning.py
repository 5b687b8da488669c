"""Which cores an engine and its load generator run on."""

import itertools

from experiments.pinning import Cores, cores_for
from gpupool import Gpu


def gpu(index: int, near: range = range(0), own: tuple[int, ...] = ()) -> Gpu:
    return Gpu(
        uuid=f"GPU-{index}",
        node="n",
        index=index,
        name="H100",
        memory_total_mb=80_000,
        memory_free_mb=80_000,
        utilization=0.0,
        cores=own,
        numa_cores=tuple(near),
    )


def test_a_slots_engine_has_the_slots_cores_and_its_generator_all_others() -> None:
    slots = [gpu(0, own=(0, 1)), gpu(1, own=(2, 3))]
    assert cores_for(slots, {"GPU-1"}, range(6)) == Cores({2, 3}, {0, 1, 4, 5}, is_slot=True)


def test_no_two_engines_or_generators_of_a_node_share_a_core() -> None:
    node = [gpu(i, range(0, 32)) for i in range(4)] + [gpu(i, range(32, 64)) for i in range(4, 8)]
    found = [cores_for(node, {one.uuid}, range(64)) for one in node]
    every = [cores for each in found for cores in (each.engine, each.generator)]
    assert all(every) and all(not a & b for a, b in itertools.combinations(every, 2))


def test_an_engine_is_on_cores_near_its_gpu() -> None:
    node = [gpu(0, range(0, 16)), gpu(1, range(16, 32))]
    found = cores_for(node, {"GPU-1"}, range(32))
    assert found.engine | found.generator == set(range(16, 32)) and len(found.generator) == 2


def test_several_gpus_have_the_cores_of_all() -> None:
    node = [gpu(i, range(0, 32)) for i in range(4)]
    found = cores_for(node, {"GPU-0", "GPU-3"}, range(32))
    assert found.engine | found.generator == {*range(0, 8), *range(24, 32)}


def test_cores_that_this_process_may_not_use_are_not_given_away() -> None:
    found = cores_for([gpu(0, range(0, 16))], {"GPU-0"}, range(8))
    assert found.engine | found.generator == set(range(8))


def test_where_cores_are_few_or_unknown_nothing_is_pinned() -> None:
    node = [gpu(i, range(0, 8)) for i in range(4)]
    assert cores_for(node, {"GPU-0"}, range(8)) == Cores()
    assert cores_for([gpu(0)], {"GPU-0"}, range(8)) == Cores()
