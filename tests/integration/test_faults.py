"""What must survive a fault, with the real fault."""

import os
import signal
from pathlib import Path

from tests.integration.faults import all_of, main_of, worker_of
from tests.integration.product import Product, job, running_product, until

SPEED = """echo '{"speed": '$AUTOTUNER_X'}'"""


def test_an_experiment_survives_its_worker(product: Product) -> None:
    marker = product.folder / "second-time"
    script = f"if test -e {marker}; then {SPEED}; else touch {marker}; sleep 300; fi"
    product.tune(job("survivor", script, [7]))
    until(marker.exists, 30)
    asleep = all_of(product, "sleep", "300")
    assert asleep
    os.kill(worker_of(asleep[-1]).pid, signal.SIGKILL)
    # Its engine dies with it, its node gives back its GPUs, and another attempt succeeds
    until(lambda: not any(p.is_running() and p.status() != "zombie" for p in asleep), 20)
    task = until(lambda: (t := product.json("show", "survivor"))["status"] == "COMPLETED" and t, 60)
    [experiment] = task["experiments"]
    assert experiment["attempt"] == 2 and experiment["status"] == "SUCCESS"
    moves = [move["to"] for move in experiment["moves"]]
    assert moves.count("PENDING") == 1 and moves[-1] == "SUCCESS"
    assert "its worker process died" in [move["reason"] for move in experiment["moves"]]
    assert not product.json("gpus")["leases"]


def test_a_dead_control_worker_is_started_again(product: Product) -> None:
    os.kill(main_of(product, "celery", "control").pid, signal.SIGKILL)
    task = product.finished(job("after-control", SPEED, [1, 2]))
    assert task["status"] == "COMPLETED"


def test_ctrl_c_leaves_no_process_and_a_restart_goes_on(tmp_path: Path) -> None:
    marker = tmp_path / "running"
    with running_product("simulated:2", GPUPOOL_LEASE_TTL="6") as product:
        script = f"if test -e {marker}; then {SPEED}; else touch {marker}; sleep 300; fi"
        product.tune(job("goes-on", script, [1, 2]))
        until(marker.exists, 30)
        product.stop()
        assert product.processes() == []
        product.start()  # The same folder: rows, Redis and login are kept
        assert "as before" in product.said()
        task = until(
            lambda: (t := product.json("show", "goes-on"))["status"] == "COMPLETED" and t, 60
        )
        assert [one["status"] for one in task["experiments"]] == ["SUCCESS", "SUCCESS"]


def test_nothing_survives_a_killed_up(tmp_path: Path) -> None:
    marker = tmp_path / "running"
    with running_product("simulated:1") as product:
        product.tune(job("orphan", f"touch {marker}; sleep 300", [1]))
        until(marker.exists, 30)
        assert product.up is not None
        product.up.kill()
        product.up.wait()
        until(lambda: not product.processes(), 40)


def test_a_taken_port_and_a_second_start_are_one_clear_line(product: Product) -> None:
    second = product.manage("up", "--no-demo", "--port", str(product.port), check=False)
    assert second.returncode == 2
    assert "already runs" in second.stderr and len(second.stderr.strip().splitlines()) == 1
