"""Mark the functions that may be compiled.

A kernel function is plain Python over scalars and arrays. The mark changes nothing about it; the composition root
decides whether it runs as it is or compiled (`fauxchange.platform.compiler`), with the same results to the last bit.
"""

from collections.abc import Callable
from typing import Any, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])

_KERNELS: set[Callable[..., Any]] = set()


def kernel(function: Function) -> Function:
    """Mark `function` as one that may be compiled, together with the kernel functions it calls."""
    _KERNELS.add(function)
    return function


def is_kernel(value: object) -> bool:
    """Say whether `value` is a function marked with `kernel`."""
    try:
        return value in _KERNELS
    except TypeError:
        return False
