"""Columns of a model matrix. Rungs: R's figures, closed form (orthonormality)."""

import numpy as np
import pandas as pd
import pytest

from workbench.coding import orthogonal_polynomials, recurrence
from workbench.data import read
from workbench.errors import DesignError
from workbench.formula import parse
from workbench.model_matrix import learn, model_columns

TABLE = pd.DataFrame(
    {
        "y": [1, 2, 4, 3, 6, 5, 8, 7, 9, 12],
        "x": [1, 2, 3.5, 4, 5, 7, 8, 9, 11, 12],
        "a": list("pq" * 5),
        "b": list("uvwuvwuvwu"),
        "o": pd.Categorical((["lo", "mid", "hi", "top"] * 3)[:10], ["lo", "mid", "hi", "top"], ordered=True),
    }
)

# m <- model.matrix(FORMULA, d); colnames(m); m[3, ]     (R 4.2.2, with the table above)
R = [
    ("x*a", "(Intercept), x, aq, x:aq", [1, 3.5, 0, 0]),
    ("0 + a + b", "ap, aq, bv, bw", [1, 0, 0, 1]),
    ("a:b", "(Intercept), ap:bu, aq:bu, ap:bv, aq:bv, ap:bw, aq:bw", [1, 0, 0, 0, 0, 1, 0]),
    ("a*b", "(Intercept), aq, bv, bw, aq:bv, aq:bw", [1, 0, 0, 1, 0, 0]),
    ("0 + a:x", "ap:x, aq:x", [3.5, 0]),
    ("x:a + x", "(Intercept), x, x:aq", [1, 3.5, 0]),
    ("o", "(Intercept), o.L, o.Q, o.C", [1, 0.2236067977, -0.5, -0.6708203932]),
    ("0 + o + a", "olo, omid, ohi, otop, aq", [0, 0, 1, 0, 0]),
    ("poly(x, 2)", "(Intercept), poly(x, 2)1, poly(x, 2)2", [1, -0.2443841101, -0.1044310471]),
    ("I(x^2) + log(x)", "(Intercept), I(x^2), log(x)", [1, 12.25, 1.252762968]),
    ("a:x", "(Intercept), ap:x, aq:x", [1, 3.5, 0]),
    ("b:a + a", "(Intercept), aq, bv:ap, bw:ap, bv:aq, bw:aq", [1, 0, 0, 1, 0, 0]),
    ("a/x", "(Intercept), aq, ap:x, aq:x", [1, 0, 3.5, 0]),
    ("0 + x + a", "x, ap, aq", [3.5, 1, 0]),
    (
        "(a+b+x)^2",
        "(Intercept), aq, bv, bw, x, aq:bv, aq:bw, aq:x, bv:x, bw:x",
        [1, 0, 0, 1, 3.5, 0, 0, 0, 0, 3.5],
    ),
    ("scale(x)", "(Intercept), scale(x)", [1, -0.733152330409847]),
    # what is left of x:b without b stands in x:a; without an intercept, the first labels are whole wherever they stand
    ("x:a + x:b", "(Intercept), x:ap, x:aq, x:bv, x:bw", [1, 3.5, 0, 0, 3.5]),
    ("0 + x + x:a + x:b", "x, x:ap, x:aq, x:bv, x:bw", [3.5, 3.5, 0, 0, 3.5]),
    (
        "x*a*b - x",
        "(Intercept), aq, bv, bw, x:ap, x:aq, x:bv, x:bw, aq:bv, aq:bw, x:aq:bv, x:aq:bw",
        [1, 0, 0, 1, 3.5, 0, 0, 3.5, 0, 0, 0, 0],
    ),
]


# m <- bayesglm(y ~ FORMULA, gaussian, d, x = TRUE, drop.baseline = DROP)$x; colnames(m); m[3, ]     (arm 1.13-1)
AS_WRITTEN = [
    ("x*a + b", True, "(Intercept), x, aq, x:aq, bv, bw", [1, 3.5, 0, 0, 0, 1]),
    ("x:a + x", True, "(Intercept), x:ap, x:aq, x", [1, 3.5, 0, 3.5]),
    ("0 + a:x + a", True, "ap:x, aq:x, aq", [3.5, 0, 0]),
    (
        "(x+a+b)^2", True,
        "(Intercept), x, x:aq, x:bv, x:bw, aq, aq:bv, aq:bw, bv, bw",
        [1, 3.5, 0, 0, 3.5, 0, 0, 0, 0, 1],
    ),
    (
        "o + x", False, "(Intercept), o^0, o.L, o.Q, o.C, x",
        [1, 0.5, 0.2236067977, -0.5, -0.6708203932, 3.5],
    ),
    ("0 + o + a", False, "olo, omid, ohi, otop, ap, aq", [0, 0, 1, 0, 1, 0]),
    ("o:x + a", False, "(Intercept), olo:x, omid:x, ohi:x, otop:x, ap, aq", [1, 0, 0, 3.5, 0, 1, 0]),
    (
        "x*o", False,
        "(Intercept), x, o^0, o.L, o.Q, o.C, x:o^0, x:o.L, x:o.Q, x:o.C",
        [1, 3.5, 0.5, 0.2236067977, -0.5, -0.6708203932, 1.75, 0.7826237921, -1.75, -2.3478713764],
    ),
]  # fmt: skip


def frames():
    import polars as pl
    import pyarrow as pa

    # polars and pyarrow have no ordered categorical that R's contrasts would see; they get the others
    return {
        "pandas": TABLE,
        "polars": pl.DataFrame(TABLE.drop(columns="o").to_dict("list")),
        "arrow": pa.table(TABLE.drop(columns="o").to_dict("list")),
    }


@pytest.mark.parametrize("backend", ["pandas", "polars", "arrow"])
@pytest.mark.parametrize(("formula", "names", "third_row"), R, ids=[r[0] for r in R])
def test_columns_are_rs(formula, names, third_row, backend):
    if "o" in parse("y ~ " + formula).variables and backend != "pandas":
        frame = TABLE
    else:
        frame = frames()[backend]
    parsed = parse("y ~ " + formula)
    columns = model_columns(parsed.terms, parsed.intercept, read(frame, parsed.variables))
    assert ", ".join(columns.names) == names
    np.testing.assert_allclose(columns.values[2], third_row, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("formula", "drop_baseline", "names", "third_row"), AS_WRITTEN, ids=[r[0] for r in AS_WRITTEN])
def test_terms_in_the_order_of_the_text_and_baselines_kept(formula, drop_baseline, names, third_row):
    parsed = parse("y ~ " + formula)
    data = read(TABLE, parsed.variables)
    columns = model_columns(parsed.as_written, parsed.intercept, data, drop_baseline=drop_baseline)
    assert ", ".join(columns.names) == names
    np.testing.assert_allclose(columns.values[2], third_row, rtol=1e-9, atol=1e-12)


def test_polynomials_are_orthonormal_and_orthogonal_to_the_constant():
    q = orthogonal_polynomials(np.array([1.0, 5, 2, 8, 9, 1e3]), 4)
    np.testing.assert_allclose(q.T @ q, np.eye(4), atol=1e-12)
    np.testing.assert_allclose(q.sum(axis=0), 0, atol=1e-12)


@pytest.mark.parametrize("degree", [1, 3, 8])
def test_polynomials_by_their_recurrence_are_those_of_the_points(degree):
    x = 2000 + np.linspace(0, 9, 40) ** 1.5
    basis = recurrence(x, degree, "poly")
    np.testing.assert_allclose(basis.at(x), orthogonal_polynomials(x, degree), atol=1e-11)


# x <- d$x; new <- c(0.5, 6, 20); predict(poly(x, 3), new)[, 3]
# s <- scale(x); (new - attr(s, "scaled:center")) / attr(s, "scaled:scale")
def test_new_rows_are_coded_by_what_was_learnt():
    parsed = parse("y ~ poly(x, 3) + scale(x) + center(log(x)) + o")
    learnt = learn(parsed.predictors, read(TABLE, parsed.variables))
    new = read({"x": [0.5, 6, 20], "o": ["top", "lo", "lo"]}, ["x", "o"])
    columns = model_columns(parsed.terms, parsed.intercept, new, learnt)
    found = dict(zip(columns.names, columns.values.T, strict=True))
    np.testing.assert_allclose(found["poly(x, 3)3"], [-0.8271869485624, 0.0775629097551, 20.9198548029838], rtol=1e-9)
    np.testing.assert_allclose(found["scale(x)"], [-1.5329548726751, -0.0666502118554, 3.6657616520492], rtol=1e-9)
    np.testing.assert_allclose(found["center(log(x))"], np.log([0.5, 6, 20]) - np.log(TABLE["x"]).mean(), rtol=1e-12)
    np.testing.assert_allclose(found["o.L"], [0.6708203932, -0.6708203932, -0.6708203932], rtol=1e-9)


@pytest.mark.parametrize(
    ("formula", "said"),
    [
        ("y ~ log(z)", "log(z) is -inf in 1 of 3 rows, first in data row 2 (z = 0)"),
        ("y ~ sqrt(n)", "first in data row 1 (n = -1)"),
        ("y ~ scale(c)", "the column is constant (4)"),
        ("y ~ poly(x, 3)", "degree 3 needs at least 4 distinct values, but there are 3"),
        ("y ~ I(g + 1)", "g holds labels ('a', ...), but a number is needed here"),
        ("y ~ one", "one has a single level ('k')"),
    ],
)
def test_what_cannot_be_computed_says_where_and_why(formula, said):
    table = {
        "y": [1, 2, 3],
        "x": [1, 2, 3],
        "z": [1, 0, 2],
        "n": [-1, 1, 1],
        "c": [4, 4, 4],
        "g": list("abc"),
        "one": ["k"] * 3,
    }
    parsed = parse(formula)
    with pytest.raises(DesignError) as caught:
        model_columns(parsed.terms, parsed.intercept, read(table, parsed.variables))
    assert said in str(caught.value)
