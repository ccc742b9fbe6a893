"""Stands in for Triton where there is no GPU: kernels can be declared, and none can be run.

SGLang imports Triton wherever it runs, and the real one takes most of a gigabyte. Here each name exists: a capitalised
one is a class, any other a module that is also a decorator.
"""

import importlib.abc
import importlib.machinery
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

__version__ = "3.0.0"


class _Declared(Exception):  # noqa: N818 - an exception, so that it can stand in an except clause too
    """What any capitalised name is."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments)


class _Anything(ModuleType):
    """A module in which each name exists."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__path__: list[str] = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name[0].isupper():
            made: Any = type(name, (_Declared,), {"__module__": self.__name__})
        else:
            full = f"{self.__name__}.{name}"
            made = sys.modules.setdefault(full, _Anything(full))
        setattr(self, name, made)
        return made

    def __contains__(self, item: object) -> bool:
        return False

    def __iter__(self) -> Iterator[object]:
        return iter(())

    def __len__(self) -> int:
        return 0

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """Decorate: return the function given, or a decorator that does."""
        if len(arguments) == 1 and callable(arguments[0]) and not options:
            return arguments[0]
        return lambda function: function


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports `triton.a.b` for any a and b."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> Any:
        if fullname.startswith("triton."):
            return importlib.machinery.ModuleSpec(fullname, self, is_package=True)
        return None

    def create_module(self, spec: Any) -> ModuleType:
        return _Anything(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        pass


sys.meta_path.insert(0, _Finder())


def cdiv(a: int, b: int) -> int:
    return -(-a // b)


def next_power_of_2(n: int) -> int:
    return 1 << max(0, n - 1).bit_length()


_root = _Anything("triton")


def __getattr__(name: str) -> Any:
    return getattr(_root, name)
