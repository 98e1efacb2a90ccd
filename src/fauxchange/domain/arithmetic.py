"""Exponential, logarithm and normal quantile, built so that plain Python and compiled code agree to the last bit.

Library functions differ in the last bit between C libraries, NumPy builds and compilers. Everything here uses only
+ - * / and square root, which IEEE 754 rounds in one way, and exact scaling by powers of two. The order of every
operation is therefore part of the result: do not rearrange a formula for looks.

Functions whose name ends in `_each` work on arrays; their twins without the ending work on one number and give the
same bits. A word is one of the raw 64-bit integers of a counter-based generator.
"""

import math
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from fauxchange.domain.kernels import kernel

FloatArray = NDArray[np.float64]
WordArray = NDArray[np.uint64]
Number = TypeVar("Number", float, FloatArray)

EXP_LIMIT = 700.0
"""Arguments of the exponential are cut to plus and minus this, so that results stay normal numbers."""

_TWO_52 = 4503599627370496.0
_TWO_M53 = 1.1102230246251565e-16
_SHIFT_11 = np.uint64(11)
_FRACTION_BITS = (1 << 52) - 1
_HALF_BITS = 1022 << 52
# Indexed by exponent + 1023. A table costs half of what `math.ldexp` does in compiled code.
_POWERS_OF_TWO = np.ldexp(1.0, np.arange(-1023, 1024, dtype=np.int32))

_INV_LN2 = 1.4426950408889634
_LN2_HIGH = 6.93147180369123816490e-01
_LN2_LOW = 1.90821492927058770002e-10
_SQRT_HALF = 0.7071067811865476


@kernel
def exp(x: float) -> float:
    """Return e to the power x, within 1 unit in the last place.

    Source: the argument reduction and rational form of fdlibm's e_exp.c (Sun Microsystems, 1993)
    """
    x = min(max(x, -EXP_LIMIT), EXP_LIMIT)
    doublings = int(x * _INV_LN2 + (0.5 if x >= 0.0 else -0.5))
    high = x - doublings * _LN2_HIGH
    low = doublings * _LN2_LOW
    return _exp_reduced(high, low) * float(_POWERS_OF_TWO[doublings + 1023])


@kernel
def exp_each(x: FloatArray) -> FloatArray:
    """Return e to the power of each x. Shapes: (n,) to (n,)."""
    cut: FloatArray = np.minimum(np.maximum(x, -EXP_LIMIT), EXP_LIMIT)
    doublings = (cut * _INV_LN2 + np.where(cut >= 0.0, 0.5, -0.5)).astype(np.int64)
    whole = doublings.astype(np.float64)
    powers: FloatArray = ((doublings + 1023) << 52).view(np.float64)
    return _exp_reduced(cut - whole * _LN2_HIGH, whole * _LN2_LOW) * powers


@kernel
def log(x: float) -> float:
    """Return the natural logarithm of a positive x, within 1 unit in the last place.

    Source: the argument reduction and polynomial of fdlibm's e_log.c (Sun Microsystems, 1993)
    """
    mantissa, exponent = math.frexp(x)
    low_half = mantissa < _SQRT_HALF
    return _log_reduced(mantissa * (1.0 + low_half), float(exponent - low_half))


@kernel
def log_each(x: FloatArray) -> FloatArray:
    """Return the natural logarithm of each x, which is positive and no subnormal. Shapes: (n,) to (n,)."""
    bits = x.view(np.int64)
    mantissa = ((bits & _FRACTION_BITS) | _HALF_BITS).view(np.float64)
    low_half = (mantissa < _SQRT_HALF).astype(np.float64)
    return _log_reduced(mantissa * (1.0 + low_half), ((bits >> 52) - 1022) - low_half)


@kernel
def units(words: WordArray) -> FloatArray:
    """Return a uniform number in [0, 1) from the top 53 bits of each word. Shapes: (n,) to (n,)."""
    return (words >> _SHIFT_11).astype(np.float64) * _TWO_M53


@kernel
def centred_units(words: WordArray) -> FloatArray:
    """Return a uniform number in (-1/2, 1/2) from the top 53 bits of each word: exact, symmetric, never 0.

    Shapes: (n,) to (n,)
    """
    return ((words >> _SHIFT_11).astype(np.float64) - _TWO_52 + 0.5) * _TWO_M53


@kernel
def normals(words: WordArray) -> FloatArray:
    """Return a standard normal number from each word, by inversion: one word, one number.

    Shapes: (n,) to (n,)
    Source: Wichura (1988), The percentage points of the normal distribution, Applied Statistics 37, algorithm AS 241
    """
    return normal_quantiles(centred_units(words))


@kernel
def normal_quantiles(centred: FloatArray) -> FloatArray:
    """Return the normal quantile of probability 1/2 + c for each c in (-1/2, 1/2). Shapes: (n,) to (n,)."""
    result = _central_quantile(centred)
    outside = np.nonzero(np.abs(centred) > 0.425)[0]
    if len(outside):
        tail = centred[outside]
        depth = np.sqrt(-log_each(0.5 - np.abs(tail)))
        size = _tail_quantile(depth - 1.6)
        far = np.nonzero(depth > 5.0)[0]
        if len(far):
            size[far] = _far_quantile(depth[far] - 5.0)
        result[outside] = np.where(tail < 0.0, -size, size)
    return result


# The reduced forms serve single numbers and arrays alike: they hold nothing but arithmetic.


@kernel
def _exp_reduced(high: Number, low: Number) -> Number:
    r = high - low
    t = r * r
    c = r - t * (
        1.66666666666666019037e-01
        + t
        * (
            -2.77777777770155933842e-03
            + t * (6.61375632143793436117e-05 + t * (-1.65339022054652515390e-06 + t * 4.13813679705723846039e-08))
        )
    )
    return 1.0 - ((low - (r * c) / (2.0 - c)) - high)


@kernel
def _log_reduced(mantissa: Number, exponent: Number) -> Number:
    f = mantissa - 1.0
    s = f / (2.0 + f)
    z = s * s
    w = z * z
    odd = w * (3.999999999940941908e-01 + w * (2.222219843214978396e-01 + w * 1.531383769920937332e-01))
    even = z * (
        6.666666666666735130e-01
        + w * (2.857142874366239149e-01 + w * (1.818357216161805012e-01 + w * 1.479819860511658591e-01))
    )
    half = 0.5 * f * f
    return exponent * _LN2_HIGH - ((half - (s * (half + (odd + even)) + exponent * _LN2_LOW)) - f)


@kernel
def _central_quantile(q: FloatArray) -> FloatArray:
    r = 0.180625 - q * q
    above = (
        (((((2.5090809287301226727e3 * r + 3.3430575583588128105e4) * r + 6.7265770927008700853e4) * r
           + 4.5921953931549871457e4) * r + 1.3731693765509461125e4) * r + 1.9715909503065514427e3) * r
        + 1.3314166789178437745e2
    ) * r + 3.3871328727963666080e0  # fmt: skip
    below = (
        (((((5.2264952788528545610e3 * r + 2.8729085735721942674e4) * r + 3.9307895800092710610e4) * r
           + 2.1213794301586595867e4) * r + 5.3941960214247511077e3) * r + 6.8718700749205790830e2) * r
        + 4.2313330701600911252e1
    ) * r + 1.0  # fmt: skip
    return q * above / below


@kernel
def _tail_quantile(r: FloatArray) -> FloatArray:
    above = (
        (((((7.74545014278341407640e-4 * r + 2.27238449892691845833e-2) * r + 2.41780725177450611770e-1) * r
           + 1.27045825245236838258e0) * r + 3.64784832476320460504e0) * r + 5.76949722146069140550e0) * r
        + 4.63033784615654529590e0
    ) * r + 1.42343711074968357734e0  # fmt: skip
    below = (
        (((((1.05075007164441684324e-9 * r + 5.47593808499534494600e-4) * r + 1.51986665636164571966e-2) * r
           + 1.48103976427480074590e-1) * r + 6.89767334985100004550e-1) * r + 1.67638483018380384940e0) * r
        + 2.05319162663775882187e0
    ) * r + 1.0  # fmt: skip
    return above / below


@kernel
def _far_quantile(r: FloatArray) -> FloatArray:
    above = (
        (((((2.01033439929228813265e-7 * r + 2.71155556874348757815e-5) * r + 1.24266094738807843860e-3) * r
           + 2.65321895265761230930e-2) * r + 2.96560571828504891230e-1) * r + 1.78482653991729133580e0) * r
        + 5.46378491116411436990e0
    ) * r + 6.65790464350110377720e0  # fmt: skip
    below = (
        (((((2.04426310338993978564e-15 * r + 1.42151175831644588870e-7) * r + 1.84631831751005468180e-5) * r
           + 7.86869131145613259100e-4) * r + 1.48753612908506148525e-2) * r + 1.36929880922735805310e-1) * r
        + 5.99832206555887937690e-1
    ) * r + 1.0  # fmt: skip
    return above / below
