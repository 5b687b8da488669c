"""What the editor suggests."""

from pathlib import Path

import pytest

from experiments import presets
from experiments.engines import ENGINES
from experiments.engines.known_flags import KNOWN_FLAGS
from experiments.lines import parse_values
from experiments.space import parse_space

SHIPPED = sorted((Path(__file__).parents[3] / "experiments" / "shipped_presets").glob("*.yaml"))


@pytest.mark.parametrize("engine", KNOWN_FLAGS)
def test_every_suggestion_can_be_searched_as_it_stands(engine: str) -> None:
    assert engine in ENGINES
    space = {name: parse_values(line) for name, line in KNOWN_FLAGS[engine].items()}
    assert len(parse_space(space).dimensions) == len(space)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_preset_searches_what_is_suggested(path: Path) -> None:
    parts = presets.read(path.read_text()).parts
    assert set(parts["parameters"]) <= set(KNOWN_FLAGS[parts["base_runtime"]])
