"""What has happened last: as long as it is the same, what is shown of experiments is the same."""

from experiments.experiment import Experiment, Move

SEEN = 20  # Of two transactions at a time, the one that began first may be committed last

Latest = tuple[list[int], list[int]]


def latest() -> Latest:
    """The newest moves and experiments: others after each. Two queries, of the end of an index."""
    moves, rows = (
        list(model.objects.order_by("-pk").values_list("pk", flat=True)[:SEEN])
        for model in (Move, Experiment)
    )
    return moves, rows
