"""What the editor suggests."""

import pytest

from experiments.engines import ENGINES
from experiments.engines.known_flags import KNOWN_FLAGS
from experiments.lines import parse_values
from experiments.space import parse_space


@pytest.mark.parametrize("engine", KNOWN_FLAGS)
def test_every_suggestion_can_be_searched_as_it_stands(engine: str) -> None:
    assert engine in ENGINES
    space = {name: parse_values(line) for name, line in KNOWN_FLAGS[engine].items()}
    assert len(parse_space(space).dimensions) == len(space)
