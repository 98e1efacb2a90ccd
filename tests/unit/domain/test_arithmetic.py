"""Exponential, logarithm and quantile: accurate, and the same in every form."""

import math
from fractions import Fraction
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fauxchange.domain.arithmetic import (
    centred_units,
    exp,
    exp_each,
    log,
    log_each,
    normal_quantiles,
    normals,
    units,
)
from fauxchange.platform.compiler import compile_kernel

WORDS = np.random.Philox(key=7).random_raw(50_000)
EXTREMES = np.array([0, 2**64 - 1, 1 << 63, (1 << 63) - 1, 1 << 11, 5], np.uint64)


@given(st.floats(-690.0, 690.0))
def test_exponential_is_within_one_unit_in_the_last_place(x: float) -> None:
    expected = math.exp(x)

    assert abs(exp(x) - expected) <= math.ulp(expected)


@given(st.floats(1e-300, 1e300))
def test_logarithm_is_within_one_unit_in_the_last_place(x: float) -> None:
    expected = math.log(x)

    assert abs(log(x) - expected) <= math.ulp(expected)


def test_exponential_is_cut_where_numbers_would_end() -> None:
    assert exp(1e9) == exp(700.0) < math.inf
    assert exp(-1e9) == exp(-700.0) > 0.0
    assert exp(0.0) == 1.0


def test_array_forms_give_the_bits_of_the_scalar_forms() -> None:
    x = np.linspace(-650.0, 650.0, 4_001)
    y = exp_each(x)

    assert y.tolist() == [exp(value) for value in x.tolist()]
    assert log_each(y).tolist() == [log(value) for value in y.tolist()]


def test_uniforms_use_the_top_53_bits_and_stay_inside() -> None:
    assert units(EXTREMES).tolist()[:3] == [0.0, 1.0 - 2.0**-53, 0.5]
    centred = centred_units(EXTREMES).tolist()
    assert centred[0] == -centred[1] == float(Fraction(1, 2**54) - Fraction(1, 2))
    assert centred[2] == -centred[3] == 2.0**-54


def test_normal_quantile_agrees_with_the_standard_library() -> None:
    reference = NormalDist()
    probabilities = [1e-12, 1e-9, 1e-5, 0.01, 0.0749, 0.0751, 0.25, 0.5]

    quantiles = normal_quantiles(np.array([p - 0.5 for p in probabilities]))

    for p, quantile in zip(probabilities, quantiles.tolist(), strict=True):
        # The tail is what is left of the centred number: compare at the probability that this stands for.
        assert quantile == pytest.approx(reference.inv_cdf(0.5 - (0.5 - p)), rel=2e-14, abs=1e-15)


def test_normals_are_symmetric_and_standard() -> None:
    drawn = normals(WORDS)

    assert normals(~WORDS).tolist() == (-drawn).tolist()
    assert abs(drawn.mean()) < 0.015
    assert abs(drawn.std() - 1.0) < 0.015
    assert np.mean(np.abs(drawn) > 1.959964) == pytest.approx(0.05, abs=0.004)
    assert math.isfinite(normals(EXTREMES)[0])


def test_compiled_forms_give_the_same_bits() -> None:
    words = np.concatenate((EXTREMES, WORDS))
    x = np.linspace(-720.0, 720.0, 3_001)

    assert compile_kernel(normals)(words).tobytes() == normals(words).tobytes()
    assert compile_kernel(exp_each)(x).tobytes() == exp_each(x).tobytes()
    assert compile_kernel(log_each)(exp_each(x)).tobytes() == log_each(exp_each(x)).tobytes()
    compiled_exp, compiled_log = compile_kernel(exp), compile_kernel(log)
    for value in x.tolist()[::50]:
        assert compiled_exp(value) == exp(value)
        assert compiled_log(exp(value)) == log(exp(value))
