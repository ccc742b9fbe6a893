"""Read expressions of digits and operators, such as 7*1/3, from Python's syntax tree: nothing is evaluated as Python.

The library hands such text to sympy's parser, and so to Python's evaluator. Here it is parsed, every node is
looked at, and the value is computed exactly, or the object is built that sympy would have built.
"""

import ast
from fractions import Fraction
from typing import Any

from ovrl.reward.mathvalue import Scalar
from ovrl.reward.polynomial import OutOfBoundsError, Polynomial
from ovrl.reward.refusal import RefusedError


def tree_of(text: str) -> ast.expr | None:
    """Return the syntax tree of plain arithmetic, and None for any other text."""
    try:
        body = ast.parse(text.replace("\n", " ").replace("^", "**").strip(), mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return None
    kinds = (ast.Constant, ast.BinOp, ast.UnaryOp, ast.Add, ast.Sub, ast.Mult, ast.Div, ast.Pow, ast.USub, ast.UAdd)
    nodes = list(ast.walk(body))
    if not all(isinstance(node, kinds) for node in nodes):
        return None
    if not all(type(node.value) in (int, float) for node in nodes if isinstance(node, ast.Constant)):
        return None
    return body


def exact(node: ast.expr) -> Scalar:
    """Return the exact value of a tree from `tree_of`."""
    match node:
        case ast.Constant(value=int() as number):
            return Scalar(Polynomial.number(number), "integer")
        case ast.Constant(value=float() as number):
            return Scalar(Polynomial.number(Fraction(repr(number))), "decimal", has_decimals=True)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            inner = exact(operand)
            return Scalar(-inner.value, inner.kind, inner.has_decimals)
        case ast.UnaryOp(operand=operand):
            return exact(operand)
        case ast.BinOp(left=left, op=op, right=right):
            a, b = exact(left), exact(right)
            return Scalar(_combined(a.value, op, b), "composite", a.has_decimals or b.has_decimals)
        case _:
            raise OutOfBoundsError


def _combined(left: Polynomial, op: ast.operator, right: Scalar) -> Polynomial:
    match op:
        case ast.Add():
            return left + right.value
        case ast.Sub():
            return left - right.value
        case ast.Mult():
            return left * right.value
        case ast.Div():
            if not right.value.terms:
                raise ZeroDivisionError
            return left / right.value
        case _:
            exponent = right.value.rational
            if exponent is None or exponent.denominator != 1:
                raise OutOfBoundsError
            if exponent < 0 and not left.terms:
                raise ZeroDivisionError
            return left ** int(exponent)


def unevaluated(node: ast.expr) -> Any:
    """Return the sympy object that `parse_expr` with `evaluate=False` would build: sums and products are flat."""
    from sympy import Float, Integer

    match node:
        case ast.Constant(value=int() as number):
            return Integer(number)
        case ast.Constant(value=number):
            return Float(repr(number))
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -unevaluated(operand)
        case ast.UnaryOp(operand=operand):
            return unevaluated(operand)
        case ast.BinOp(left=left, op=op, right=right):
            return _joint(unevaluated(left), op, unevaluated(right))
        case _:
            raise RefusedError


def _joint(left: Any, op: ast.operator, right: Any) -> Any:
    from sympy import Add, Integer, Mul, Pow

    match op:
        case ast.Add():
            return _flat(Add, left, right)
        case ast.Sub():
            return _flat(Add, left, _flat(Mul, Integer(-1), right))
        case ast.Mult():
            return _flat(Mul, left, right)
        case ast.Div():
            return _flat(Mul, left, Pow(right, -1, evaluate=False))
        case _:
            return Pow(left, right, evaluate=False)


def _flat(kind: Any, *parts: Any) -> Any:
    flat = [inner for part in parts for inner in (part.args if isinstance(part, kind) else (part,))]
    return kind(*flat, evaluate=False)
