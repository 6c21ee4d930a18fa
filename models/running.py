"""The running condition: an expression on sensors → whether a machine runs, frame by frame.

    either     = both { "or" both }
    both       = one { "and" one }
    one        = "not" one | "(" either ")" | comparison
    comparison = operand ( "<" | "<=" | ">" | ">=" | "==" | "!=" ) operand
    operand    = number | sensor | "sensor" | 'sensor'

A comparison with a missing value is unknown, and so is what depends on it (Kleene 1938): with the
valve's state missing, `current > 0.2 and valve == 1` is false at a current of 0, else unknown.
"""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

LONGEST, DEEPEST = 1000, 50  # characters; parentheses and "not" within one another
MOST_NAMED = 20  # sensors in one message

Floats = NDArray[np.float64]
Truth = NDArray[np.int8]  # 1 = true, 0 = unknown, -1 = false
_Test = Callable[[Floats], Truth]
_Term = Callable[[Floats], Floats]

_TOKEN = re.compile(
    r"\s*(?:(?P<number>[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?(?![\w.]))"
    r"|(?P<sign><=|>=|==|!=|<|>)"
    r"|(?P<bracket>[()])"
    r"|(?P<quoted>\"[^\"]*\"|'[^']*')"
    r"|(?P<word>[^\W\d][\w.:/-]*)"
    r"|(?P<end>$))"
)
_COMPARE: dict[str, Callable[[Floats, Floats], NDArray[np.bool_]]] = {
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
    "==": np.equal,
    "!=": np.not_equal,
}
_WORDS = ("and", "or", "not")


class ConditionError(ValueError):
    """An expression that cannot be read: the place, what stands there and what was wanted."""


@dataclass(frozen=True, slots=True)
class Condition:
    """When a machine runs.

    Args:
        text: the expression.
        sensors: names of the columns it is asked about.

    Raises:
        ConditionError: if the text is no expression, or names another sensor.
    """

    text: str
    sensors: tuple[str, ...]
    _test: _Test = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_test", _Parser(self.text, self.sensors).whole())

    def truth(self, values: Floats) -> Truth:
        """Whether it holds in each of some frames, NaN = missing, shape (frames, sensors)."""
        return self._test(values)


def check_syntax(text: str) -> None:
    """Refuse what is no expression, whatever sensors there are.

    Raises:
        ConditionError: saying why.
    """
    _Parser(text, None).whole()


class _Token(NamedTuple):
    kind: str
    text: str
    at: int  # counted from 1

    def __str__(self) -> str:
        return repr(self.text) if self.text else "the end"


class _Parser:
    """Recursive descent, one token ahead; every rule returns the function of what it has read."""

    def __init__(self, text: str, sensors: Sequence[str] | None) -> None:
        self._tokens = _tokens(text)
        self._sensors = sensors
        self._depth = 0

    def whole(self) -> _Test:
        test = self._either()
        if self._next.kind != "end":
            raise self._wanted("and, or, or the end")
        return test

    @property
    def _next(self) -> _Token:
        return self._tokens[0]

    def _take(self, *texts: str) -> bool:
        """Step over the next token if it is one of these."""
        found = self._next.kind in ("word", "bracket") and self._next.text in texts
        if found:
            self._tokens.pop(0)
        return found

    def _either(self) -> _Test:
        return self._joined("or", self._both, np.maximum)

    def _both(self) -> _Test:
        return self._joined("and", self._one, np.minimum)

    def _joined(
        self, word: str, part: Callable[[], _Test], join: Callable[[Truth, Truth], Truth]
    ) -> _Test:
        tests = [part()]
        while self._take(word):
            tests.append(part())
        return lambda values: reduce(join, [test(values) for test in tests])

    def _one(self) -> _Test:
        if self._next.text not in ("not", "("):
            return self._comparison()
        self._depth += 1
        if self._depth > DEEPEST:
            raise self._wanted(f"at most {DEEPEST} parentheses and not within one another")
        test = self._negation() if self._take("not") else self._bracket()
        self._depth -= 1
        return test

    def _negation(self) -> _Test:
        test = self._one()
        return lambda values: -test(values)

    def _bracket(self) -> _Test:
        self._take("(")
        test = self._either()
        if not self._take(")"):
            raise self._wanted("and, or, or )")
        return test

    def _comparison(self) -> _Test:
        first, one = self._next, self._operand()
        sign = self._next
        if sign.kind != "sign":
            raise self._wanted(f"one of {' '.join(_COMPARE)}")
        self._tokens.pop(0)
        second, other = self._next, self._operand()
        if first.kind == second.kind == "number":
            raise _error(first, "a sensor on one side of the comparison")
        compare = _COMPARE[sign.text]

        def test(values: Floats) -> Truth:
            left, right = one(values), other(values)
            known = ~(np.isnan(left) | np.isnan(right))
            return np.where(known, np.where(compare(left, right), 1, -1), 0).astype(np.int8)

        return test

    def _operand(self) -> _Term:
        token = self._next
        if token.kind == "number":
            number = np.array(float(token.text))
            if not math.isfinite(number):
                raise self._wanted("a number that is finite")
            self._tokens.pop(0)
            return lambda values: number
        if token.kind not in ("word", "quoted") or token.text in _WORDS:
            raise self._wanted("a sensor or a number")
        self._tokens.pop(0)
        name = token.text[1:-1] if token.kind == "quoted" else token.text
        if self._sensors is None:
            return lambda values: values[:, 0]
        if name not in self._sensors:
            more = ", …" if len(self._sensors) > MOST_NAMED else ""
            known = ", ".join(self._sensors[:MOST_NAMED])
            raise _error(token, f"one of the sensors {known}{more}")
        column = self._sensors.index(name)
        return lambda values: values[:, column]

    def _wanted(self, what: str) -> ConditionError:
        return _error(self._next, what)


def _tokens(text: str) -> list[_Token]:
    if len(text) > LONGEST:
        raise ConditionError(f"has {len(text)} characters; wanted at most {LONGEST}")
    tokens: list[_Token] = []
    at = 0
    while not tokens or tokens[-1].kind != "end":
        found = _TOKEN.match(text, at)
        if found is None or found.lastgroup is None:
            odd = text[at:].split(maxsplit=1)[0]
            raise _error(
                _Token("odd", odd[:20], text.index(odd, at) + 1),
                "a sensor, a number, a comparison such as ==, and, or, not or a parenthesis "
                "(names with other characters stand in quotes)",
            )
        kind = found.lastgroup
        tokens.append(_Token(kind, found[kind], found.start(kind) + 1))
        at = found.end()
    return tokens


def _error(token: _Token, wanted: str) -> ConditionError:
    return ConditionError(f"character {token.at}: found {token}; wanted {wanted}")
