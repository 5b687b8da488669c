"""Expressions over parameters, such as `max-num-batched-tokens >= 2 * max-num-seqs`.

They are never run as Python: own tokens, in which a name may hold dashes and dots, Python's
grammar over a few kinds of nodes, and the types of all values checked before anything is computed.
Numbers are the decimals that the user wrote, and exact: 0.1 + 0.2 == 0.3.
"""

import ast
import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from experiments.dimensions import Value, canonical
from experiments.errors import BadInput
from experiments.lexer import Operand, Token, read_tokens

NUMBER, TEXT, TRUTH = "a number", "text", "true or false"
MOST_DEPTH = 50  # nodes inside each other
MOST_BITS = 4096  # of a numerator or denominator: what takes no time to compute with

Number = int | Fraction
Result = Number | str | bool
Values = Mapping[str, Result]
Kinds = Mapping[str, frozenset[str]]

ARITHMETIC: dict[type[ast.operator], Callable[[Number, Number], Number]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: lambda one, other: Fraction(one) / other,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
ORDER: dict[type[ast.cmpop], Callable[[Number, Number], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}


class WrongKind(ValueError):
    """A value of a mixed list is of a kind that the expression cannot use there."""


@dataclass(frozen=True)
class Term:
    """A part of an expression: what kinds its value may be of, and how it is computed."""

    kinds: frozenset[str]
    compute: Callable[[Values], Result]


def kind_of(value: object) -> str:
    if isinstance(value, bool):
        return TRUTH
    return TEXT if isinstance(value, str) else NUMBER


def kinds_of(values: Iterable[Value]) -> frozenset[str]:
    return frozenset(map(kind_of, values))


def as_result(value: Value) -> Result:
    """A parameter's value as expressions use it."""
    return exact(canonical(value)) if isinstance(value, float) else value


@lru_cache(maxsize=4096)
def exact(number: float) -> Number:
    return Fraction(repr(number)) if isinstance(number, float) else number


def parse(text: str, known: Kinds) -> tuple[Callable[[Values], Result], frozenset[str]]:
    """An expression that is true or false, and the names of the parameters in it.

    `known` are those that there are, and the kinds of their values. The function raises
    ArithmeticError (a division by zero, a number too large) and WrongKind. Raises BadInput.
    """
    tokens = read_tokens(text, known)
    tree = _tree(text, tokens)
    term = _Reader([token.operand for token in tokens], known).read(tree, 0)
    names = {token.operand.name for token in tokens if token.operand and token.operand.name}
    return _of_kind(term, TRUTH, "the whole").compute, frozenset(names)


def _tree(text: str, tokens: list[Token]) -> ast.expr:
    """Python's grammar for the tokens, of which each value is written as `_` and its position."""
    written = [f"_{i}" if token.operand else token.text for i, token in enumerate(tokens)]
    try:
        return ast.parse(" ".join(written), mode="eval").body
    except (RecursionError, MemoryError):
        raise BadInput("", "is nested too deeply") from None
    except SyntaxError as wrong:
        column = (wrong.offset or 0) - 1  # Python has none where the words end too early
    for token, word in zip(tokens, written, strict=True):
        if 0 <= column <= len(word):
            raise BadInput("", f"cannot be read from {text[token.start :][:40]!r} on")
        column -= len(word) + 1
    raise BadInput("", "ends too early")


class _Reader:
    """Makes a function of each node, once its kinds are right."""

    def __init__(self, operands: list[Operand | None], known: Kinds) -> None:
        self.operands = operands
        self.known = known

    def read(self, node: ast.expr, depth: int) -> Term:
        if depth > MOST_DEPTH:
            raise BadInput("", "is nested too deeply; write several constraints")
        inside = depth + 1
        match node:
            case ast.Name():
                return self._operand(int(node.id[1:]))
            case ast.Constant(value=bool(truth)):
                return Term(frozenset([TRUTH]), lambda _: truth)
            case ast.BoolOp():
                parts = [self.read(part, inside) for part in node.values]
                return _connected(isinstance(node.op, ast.And), parts)
            case ast.UnaryOp():
                return _changed(node.op, self.read(node.operand, inside))
            case ast.BinOp() if type(node.op) in ARITHMETIC:
                left, right = self.read(node.left, inside), self.read(node.right, inside)
                return _computed(ARITHMETIC[type(node.op)], left, right)
            case ast.Compare():
                return self._compared(node, inside)
            case ast.List():
                raise BadInput("", "a list [a, b] belongs after `in`")
        raise BadInput("", "is no expression over parameters; use + - * / // %, < <= > >= == !=, "
                       "and, or, not, in [a, b]")  # fmt: skip

    def _operand(self, position: int) -> Term:
        operand = self.operands[position]
        assert operand is not None
        name, value = operand.name, operand.value
        if name:
            return Term(self.known[name], lambda values: values[name])
        return Term(frozenset([kind_of(value)]), lambda _: value)

    def _compared(self, node: ast.Compare, depth: int) -> Term:
        """A chain: `1 < a <= b` is `1 < a and a <= b`."""
        links = []
        left = self.read(node.left, depth)
        for op, right in zip(node.ops, node.comparators, strict=True):
            if isinstance(op, ast.In | ast.NotIn):
                links.append(self._contained(left, right, isinstance(op, ast.In), depth))
                if right is not node.comparators[-1]:
                    raise BadInput("", "nothing can be compared with a list")
                continue
            following = self.read(right, depth)
            links.append(_ordered(op, left, following))
            left = following
        return _connected(True, links)

    def _contained(self, left: Term, right: ast.expr, wanted: bool, depth: int) -> Term:
        if not isinstance(right, ast.List):
            raise BadInput("", "after `in` comes a list, as in [1, 2]")
        if not right.elts:
            raise BadInput("", "the list after `in` is empty")
        equal = [_equal(left, self.read(item, depth)).compute for item in right.elts]
        return Term(frozenset([TRUTH]), lambda values: any(one(values) for one in equal) is wanted)


def _connected(by_and: bool, parts: list[Term]) -> Term:
    word = "and" if by_and else "or"
    parts = [_of_kind(part, TRUTH, f"`{word}`") for part in parts]
    check = all if by_and else any
    return Term(frozenset([TRUTH]), lambda values: check(part.compute(values) for part in parts))


def _changed(op: ast.unaryop, operand: Term) -> Term:
    if isinstance(op, ast.Not):
        compute = _of_kind(operand, TRUTH, "`not`").compute
        return Term(frozenset([TRUTH]), lambda values: not compute(values))
    compute = _of_kind(operand, NUMBER, "a sign").compute
    if isinstance(op, ast.USub):
        return Term(frozenset([NUMBER]), lambda values: -_number(compute(values)))
    return Term(frozenset([NUMBER]), compute)


def _computed(operation: Callable[[Number, Number], Number], left: Term, right: Term) -> Term:
    one = _of_kind(left, NUMBER, "arithmetic").compute
    other = _of_kind(right, NUMBER, "arithmetic").compute

    def compute(values: Values) -> Result:
        result = operation(_number(one(values)), _number(other(values)))
        if max(result.numerator.bit_length(), result.denominator.bit_length()) > MOST_BITS:
            raise OverflowError("a number is too large")
        return result

    return Term(frozenset([NUMBER]), compute)


def _ordered(op: ast.cmpop, left: Term, right: Term) -> Term:
    if isinstance(op, ast.Eq):
        return _equal(left, right)
    if isinstance(op, ast.NotEq):
        equal = _equal(left, right).compute
        return Term(frozenset([TRUTH]), lambda values: not equal(values))
    if type(op) not in ORDER:
        raise BadInput("", "`is` is unknown; write ==")
    if NUMBER in left.kinds | right.kinds:
        _check_common(left, right)
    compare = ORDER[type(op)]
    one = _of_kind(left, NUMBER, "an order (< <= > >=)").compute
    other = _of_kind(right, NUMBER, "an order (< <= > >=)").compute
    return Term(
        frozenset([TRUTH]), lambda values: compare(_number(one(values)), _number(other(values)))
    )


def _equal(left: Term, right: Term) -> Term:
    """Values of two kinds are different: `true` is not 1, and "1" is not 1."""
    _check_common(left, right)
    one, other = left.compute, right.compute

    def compute(values: Values) -> Result:
        first, second = one(values), other(values)
        return kind_of(first) == kind_of(second) and first == second

    return Term(frozenset([TRUTH]), compute)


def _check_common(left: Term, right: Term) -> None:
    if not left.kinds & right.kinds:
        kinds = [" or ".join(sorted(term.kinds)) for term in (left, right)]
        raise BadInput("", f"compares {kinds[0]} with {kinds[1]}")


def _of_kind(term: Term, kind: str, place: str) -> Term:
    """The term where a value of this kind is needed. Raises BadInput when it has none."""
    if kind not in term.kinds:
        got = " or ".join(sorted(term.kinds))
        raise BadInput("", f"{place} needs {kind}, not {got}")
    if len(term.kinds) == 1:
        return term

    def compute(values: Values) -> Result:
        value = term.compute(values)
        if kind_of(value) != kind:
            raise WrongKind(f"{place} needs {kind}, not {value!r}")
        return value

    return Term(frozenset([kind]), compute)


def _number(value: Result) -> Number:
    assert not isinstance(value, str)
    return value
