"""The strategies we can search with. To add one: one file here, one line below."""

from experiments.strategies.base import Strategy
from experiments.strategies.bayesian import Bayesian
from experiments.strategies.gp import GaussianProcess
from experiments.strategies.grid_search import GridSearch
from experiments.strategies.nsga2 import Nsga2
from experiments.strategies.quick import Quick
from experiments.strategies.random_search import RandomSearch

_ALL: tuple[Strategy, ...] = (
    GridSearch(),
    RandomSearch(),
    Bayesian(),
    GaussianProcess(),
    Quick(),
    Nsga2(),
)
STRATEGIES: dict[str, Strategy] = {strategy.name: strategy for strategy in _ALL}
OF_ONE_SCORE = ("gp", "quick")  # Of a Pareto front they seek the best one only
