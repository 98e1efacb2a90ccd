"""Mark the functions that may be compiled.

A kernel function is plain Python over scalars and arrays. The mark changes nothing about it; the composition root
decides whether it runs as it is or compiled (`fauxchange.platform.compiler`), with the same results to the last bit.
"""

from collections.abc import Callable
from typing import Any, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])

_KERNELS: set[Callable[..., Any]] = set()
_LEAN: set[Callable[..., Any]] = set()


def kernel(function: Function) -> Function:
    """Mark `function` as one that may be compiled, together with the kernel functions it calls."""
    _KERNELS.add(function)
    return function


def lean_kernel(function: Function) -> Function:
    """Mark a kernel that makes no arrays and keeps none, so that its compiled form need not count references.

    All kernels it calls are lean too. Where functions are small and many, the counting costs more than they do.
    """
    _LEAN.add(function)
    return kernel(function)


def prefetch(array: object, at: int) -> None:
    """Say that the element at `at` is needed soon: compiled code has the processor fetch it, plain Python does nothing.

    Nothing is read, and nobody waits: `at` may lie outside of the array.
    """


def is_lean(function: Callable[..., Any]) -> bool:
    """Say whether a kernel was marked with `lean_kernel`."""
    return function in _LEAN


def is_kernel(value: object) -> bool:
    """Say whether `value` is a function marked with `kernel`."""
    try:
        return value in _KERNELS
    except TypeError:
        return False
