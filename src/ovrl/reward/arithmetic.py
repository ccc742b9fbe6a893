"""Evaluate plain arithmetic with bounds. Text is parsed, walked and computed; it is never executed."""

import ast
import math
import operator
import re
from collections.abc import Callable

Value = int | float | complex

_CHARACTERS = re.compile(r"[0-9.eE+\-*/() <>=]*")
_MAX_CHARS = 2_000
_MAX_BITS = 2048
_MAX_FLOAT = 1e20
_MAX_EXPONENT = 128
_MAX_RESULT_BITS = 1 << 18

_BINARY: dict[type[ast.operator], Callable[[Value, Value], Value]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_ORDER: dict[type[ast.cmpop], Callable[[float, float], bool]] = {
    ast.Lt: operator.lt,
    ast.Gt: operator.gt,
    ast.LtE: operator.le,
    ast.GtE: operator.ge,
}


def evaluate(text: str) -> float | None:
    """Return the value of an expression of numbers, + - * / ** and brackets; None for anything else.

    An inequality is 1 where it holds and 0 where not, as Python has it and so the original.

    The bounds on constants and exponents are the original's; the bound on a power's size is ours, in
    place of a computation without end.
    """
    if len(text) > _MAX_CHARS or not _CHARACTERS.fullmatch(text):
        return None
    try:
        value = _value(ast.parse(text.strip(), mode="eval").body)
        real = float(value) if isinstance(value, int | float) else None
    except (SyntaxError, ValueError, ArithmeticError, RecursionError, MemoryError):
        return None
    return real if real is not None and math.isfinite(real) else None


def _value(node: ast.expr) -> Value:
    match node:
        case ast.Constant(value=bool()):
            raise ValueError("not a number")
        case ast.Constant(value=int() as number) if number.bit_length() <= _MAX_BITS:
            return number
        case ast.Constant(value=float() as number) if abs(number) <= _MAX_FLOAT:
            return number
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand)
        case ast.UnaryOp(op=ast.UAdd(), operand=operand):
            return _value(operand)
        case ast.BinOp(left=left, op=ast.Pow(), right=right):
            return _power(_value(left), _value(right))
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            return _BINARY[type(op)](_value(left), _value(right))
        case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in _ORDER:
            return int(_ORDER[type(op)](_real(left), _real(right)))
        case _:
            raise ValueError("not plain arithmetic")


def _real(node: ast.expr) -> float:
    value = _value(node)
    if isinstance(value, complex):
        raise ValueError("complex numbers have no order")
    return value


def _power(base: Value, exponent: Value) -> Value:
    if isinstance(exponent, int):
        if abs(exponent) > _MAX_EXPONENT:
            raise ValueError("exponent out of bounds")
        if isinstance(base, int) and base.bit_length() * abs(exponent) > _MAX_RESULT_BITS:
            raise ValueError("power out of bounds")
    return base**exponent
