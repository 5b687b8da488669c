"""Every configuration of a finite space, in the user's order."""

from collections.abc import Sequence

from experiments.space import Configuration, Space
from experiments.strategies.base import Trial


class GridSearch:
    """The next point of the grid that was not tried; the last key changes fastest."""

    name = "grid_search"

    def ask(
        self, space: Space, trials: Sequence[Trial], *, maximize: bool, seed: int
    ) -> Configuration | None:
        """The first untried point. Raises BadInput when the space has no end."""
        tried = {space.key(trial.configuration) for trial in trials}
        return next((point for point in space.grid() if space.key(point) not in tried), None)
