"""Rung invariance: what a fit may not care about, and what it must care about by a known amount, by hypothesis.

Small random designs: one factor or two, crossed or nested; slopes; weights, known standard errors, offsets. Numbers lie
on a grid of 2^-20, origins are whole numbers and scales powers of two, so that a table written in other units is the
same table to the last bit, and what differs afterwards was made by the fit. Last, the criterion of the block core and
its gradient against the textbook's, anywhere.

Tolerances: a criterion (some tens) is exact to 1e-11, and compared to 1e-8. Where its curvature is clear, theta follows
to 1e-9, and with it all else, which is compared to 1e-6 of its size.
"""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.design import build_design
from workbench.estimators.reml import ml, reml
from workbench.likelihood import conditional, criterion, criterion_gradient
from workbench.moments import moments
from workbench.textbook import dense, profiled_ml, profiled_reml, term_covariances

few = settings(max_examples=25, deadline=None, derandomize=True)

BLOCKS = ("(1 | g)", "(x | g)", "(x || g)", "(1 | g) + (1 | h)", "(x | g) + (1 | h)", "(1 | g/h)")
MORE = (*BLOCKS, "(x + z | g)", "(0 + z | g) + (x | h)", "(1 | h) + (x || g) + (0 + z | g:h)")
G, H = "abcdefgh", "pqrs"
CLEAR = 1e-3
"""Curvature of the criterion per unit of theta (squared) below which two fits share no more than the criterion."""


# --- designs ------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Case:
    """A formula, its table, and what stands beside them: ``weights``, ``se`` or nothing."""

    formula: str
    table: dict
    beside: dict
    estimator: object

    @property
    def restricted(self):
        return self.estimator is reml

    def of(self, **columns):
        """The same with other columns."""
        return replace(self, table=self.table | columns)

    def rows(self, places):
        return replace(self, table={name: np.asarray(column)[places] for name, column in self.table.items()})

    def design(self):
        return build_design(self.formula, self.table, **self.beside)

    def fit(self):
        fit = self.estimator(self.design())
        assert fit.converged
        return fit


@st.composite
def cases(draw, blocks=BLOCKS, beside=("", "weights", "se"), fixed=("1", "x")):
    J, H_levels = draw(st.integers(3, 8)), draw(st.integers(3, 4))
    n = draw(st.integers(5 * J, 60))
    rng = np.random.default_rng(draw(st.integers(0, 2**20)))
    g = rng.permutation(np.concatenate([np.arange(J), rng.integers(0, J, n - J)]))
    h = rng.permutation(np.concatenate([np.arange(H_levels), rng.integers(0, H_levels, n - H_levels)]))
    x, z, o = rng.normal(draw(st.sampled_from([0.0, 3.0])), 1, n), rng.normal(size=n), rng.normal(size=n)
    spreads = rng.choice([0.0, 0.3, 1.0, 3.0], 3)
    u = rng.normal(size=(J, 2)) * spreads[:2]
    y = 2 + x + o + u[g, 0] + u[g, 1] * x + spreads[2] * rng.normal(size=4)[h] + rng.normal(size=n)
    table = {"y": y, "x": x, "z": z, "o": o, "w": rng.uniform(0.5, 2, n)}
    table = {name: np.round(column * 2**20) / 2**20 for name, column in table.items()}
    terms = [draw(st.sampled_from(fixed)), draw(st.sampled_from(blocks)), *draw(st.sampled_from([[], ["offset(o)"]]))]
    known = draw(st.sampled_from(beside))
    return Case(
        f"y ~ {' + '.join(terms)}",
        table | {"g": np.array(list(G))[g], "h": np.array(list(H))[h]},
        {known: "w"} if known else {},
        draw(st.sampled_from([reml, ml])),
    )


# --- what a fit says ----------------------------------------------------------------------------------


def said(fit, label=lambda group, level: level):
    """All that a fit says, by name; the levels of a block in the order of what `label` calls them."""
    found = {
        "criterion": fit.criterion.value, "sigma": fit.sigma, "b": fit.population.estimate, "b cov": fit.fixed_cov,
        "fitted": fit.fitted,
    }  # fmt: skip
    for k, (component, part) in enumerate(zip(fit.components, fit.group_effects, strict=True)):
        labels = [label(part.group, level) for level in part.levels]
        order = np.argsort(labels)
        found[f"labels {k}"] = np.array(labels)[order]
        found[f"covariance {k}"] = component.covariance
        for name, values in (("effect", part.effect), ("coefficient", part.coefficient)):
            found[f"{name} {k}"] = values.estimate[order]
            found[f"{name} SE {k}"] = values.std_error[order]
    return found


def assert_same(one, other, *fits):
    """Two accounts agree: the criterion always, all else where every fit's optimum is clear."""
    assert other["criterion"] == pytest.approx(one["criterion"], abs=1e-8)
    assert one.keys() == other.keys()
    if min(fit.diagnostics["curvature"] for fit in fits) < CLEAR:
        return
    for name, expected in one.items():
        if name.startswith("labels"):
            assert other[name].tolist() == expected.tolist()
        else:
            size = max(np.abs(expected).max(initial=0.0), 1e-3)
            np.testing.assert_allclose(other[name], expected, rtol=0, atol=1e-6 * size, err_msg=name)


def test_most_designs_here_have_a_clear_optimum():
    # or else the properties below would compare little more than criteria
    clear = []

    @few
    @given(case=cases())
    def look(case):
        clear.append(case.fit().diagnostics["curvature"] > CLEAR)

    look()
    assert np.mean(clear) > 0.9


# --- names and rows -----------------------------------------------------------------------------------


@few
@given(case=cases(), order=st.permutations(G), others=st.permutations(H))
def test_relabelled_groups_permute_the_effects_and_change_nothing_else(case, order, others):
    new = {"g": dict(zip(G, order, strict=True)), "h": dict(zip(H, others, strict=True))}

    def label(group, level):
        return ":".join(new[name][part] for name, part in zip(group.split(":"), level.split(":"), strict=True))

    renamed = case.of(**{name: np.array([new[name][level] for level in case.table[name]]) for name in new})
    one, other = case.fit(), renamed.fit()
    assert_same(said(one, label), said(other), one, other)


SPELLINGS = {
    "twice": lambda codes: np.array([2 * G[code] for code in codes]),
    "whole numbers": lambda codes: 3 * codes + 2,  # as text, 11 stands before 2
    "text of these": lambda codes: np.array([str(3 * code + 2) for code in codes]),
    "fractions": lambda codes: codes / 4 - 1,
    "categories": lambda codes: pd.Categorical.from_codes(codes, list(G)),
    "categories the other way round": lambda codes: pd.Categorical.from_codes(7 - codes, list(G[::-1])),
    "numbered categories": lambda codes: pd.Categorical.from_codes(codes, [10 * k for k in range(8)]),
}


@few
@given(case=cases(), spelling=st.sampled_from(sorted(SPELLINGS)))
def test_how_a_factor_is_spelt_changes_nothing(case, spelling):
    codes = np.array([G.index(level) for level in case.table["g"]])
    column = SPELLINGS[spelling](codes)
    back = {str(new).removesuffix(".0"): G[code] for new, code in zip(column, codes, strict=True)}

    def label(group, level):
        names, parts = group.split(":"), level.split(":")
        return ":".join(back[part] if name == "g" else part for name, part in zip(names, parts, strict=True))

    respelt = replace(case, table=pd.DataFrame(case.table | {"g": column}))
    one, other = case.fit(), respelt.fit()
    assert_same(said(one), said(other, label), one, other)


@few
@given(case=cases(), seed=st.integers(0, 1000))
def test_the_order_of_the_rows_does_not_matter(case, seed):
    order = np.random.default_rng(seed).permutation(len(case.table["y"]))
    one, other = case.fit(), case.rows(order).fit()
    back = said(other)
    back["fitted"] = other.fitted[np.argsort(order)]
    assert_same(said(one), back, one, other)


# --- units --------------------------------------------------------------------------------------------

origins = st.integers(-(2**20), 2**20)
scales = st.builds(lambda power, sign: sign * 2.0**power, st.integers(-20, 20), st.sampled_from([-1.0, 1.0]))


@few
@given(case=cases(), a=origins, c=scales)
def test_other_units_of_the_response_stretch_the_fit(case, a, c):
    t = case.table
    stretched = case.of(y=c * (t["y"] + a), o=c * t["o"], w=abs(c) * t["w"] if "se" in case.beside else t["w"])
    one, other = case.fit(), stretched.fit()
    p = len(one.design.fixed_terms)
    back = {name: value if "labels" in name else value / (c**2 if "cov" in name else c) for name, value in
            said(other).items()}  # fmt: skip
    back |= {name: np.abs(value) for name, value in back.items() if "SE" in name}
    back["sigma"] = other.sigma if "se" in case.beside else other.sigma / abs(c)
    degrees = one.design.n - p if case.restricted else one.design.n
    back["criterion"] = other.criterion.value - degrees * np.log(c**2)
    back["b"] = back["b"] - a * (np.arange(p) == 0)
    back["fitted"] = back["fitted"] - a
    for k, block in enumerate(one.design.blocks):
        back[f"coefficient {k}"] = back[f"coefficient {k}"] - a * np.array([t == "(Intercept)" for t in block.terms])
    assert_same(said(one), back, one, other)


@few
@given(case=cases(), a=st.integers(-1000, 1000), c=scales)
def test_other_units_of_a_predictor_only_rewrite_its_coefficients(case, a, c):
    # y = b0 + b1 x with x = x'/c - a: b1 = c b1' and b0 = b0' + a c b1'. Terms that are told to be independent, or to
    # have no intercept, are so at one origin only.
    a = 0 if "||" in case.formula else a
    one, other = case.fit(), case.of(x=c * (case.table["x"] + a)).fit()
    before, back = said(one), said(other)

    def to_old(terms):
        T = np.diag([c if term == "x" else 1.0 for term in terms])
        if {"(Intercept)", "x"} <= set(terms):
            T[terms.index("(Intercept)"), terms.index("x")] = a * c
        return T

    T = to_old(one.design.fixed_terms)
    back["b"], back["b cov"] = T @ back["b"], T @ back["b cov"] @ T.T
    if case.restricted:
        back["criterion"] -= np.log(np.linalg.det(T) ** 2)  # X' = X T, and so for log|X'V^-1 X|
    for k, block in enumerate(one.design.blocks):
        T = to_old(block.terms)
        back[f"covariance {k}"] = T @ back[f"covariance {k}"] @ T.T
        back[f"effect {k}"] = back[f"effect {k}"] @ T.T
        slope = np.array([term == "x" for term in block.terms])  # an intercept at another place is another quantity
        for name in (f"effect SE {k}", f"coefficient {k}", f"coefficient SE {k}"):
            before[name] = before[name][:, slope]
            back[name] = back[name][:, slope] * (abs(c) if "SE" in name else c)
    assert_same(before, back, one, other)


# --- weights ------------------------------------------------------------------------------------------


@few
@given(case=cases(beside=("weights",)), c=st.integers(-6, 6).map(lambda power: 4.0**power))
def test_weights_count_relative_to_the_residual_variance(case, c):
    # Var(e) = sigma^2/w: weights c times as large are a sigma^2 c times as large, and the same likelihood
    one, other = case.fit(), case.of(w=c * case.table["w"]).fit()
    back = said(other)
    back["sigma"] /= np.sqrt(c)
    assert_same(said(one), back, one, other)


@few
@given(case=cases(beside=("se",)), seed=st.integers(0, 1000))
def test_a_row_measured_in_parts_says_the_same(case, seed):
    # k rows of the same y and x, each of standard error s sqrt(k), are one of s, but for a constant: of
    # k log(2 pi k s^2) + (y - mu)^2/s^2 one row has log(2 pi s^2) + (y - mu)^2/s^2.
    s = case.table["w"]
    parts = np.random.default_rng(seed).integers(1, 4, len(s))
    places = np.repeat(np.arange(len(s)), parts)
    one, other = case.fit(), case.rows(places).of(w=(s * np.sqrt(parts))[places]).fit()
    back = said(other)
    back["fitted"] = other.fitted[np.cumsum(parts) - 1]
    back["criterion"] -= (parts * np.log(2 * np.pi * parts * s**2) - np.log(2 * np.pi * s**2)).sum()
    assert_same(said(one), back, one, other)


@few
@given(case=cases(beside=("weights",)), seed=st.integers(0, 1000))
def test_weights_in_parts_change_nothing_that_lambda_gives(case, seed):
    # with sigma estimated only the number of rows, and with it sigma and the optimum, depends on the parts
    rng = np.random.default_rng(seed)
    w = case.table["w"]
    share = rng.choice([1.0, 0.25, 0.5], len(w))
    places = np.concatenate([np.arange(len(w)), np.flatnonzero(share < 1)])
    weights = np.concatenate([share * w, ((1 - share) * w)[share < 1]])
    whole, split = moments(case.design()), moments(case.rows(places).of(w=weights).design())
    factors = tuple(rng.normal(size=(len(f.fixed), len(f.fixed))) for f in whole.factors)
    one, other = conditional(whole, factors), conditional(split, factors)
    for name in ("b", "b_cov", "P", "r2", "log_det_L", "log_det_RX"):
        np.testing.assert_allclose(getattr(other, name), getattr(one, name), rtol=1e-9, atol=1e-9, err_msg=name)
    for mine, theirs in zip(one.u, other.u, strict=True):
        np.testing.assert_allclose(theirs, mine, rtol=1e-9, atol=1e-9)


@few
@given(case=cases(beside=("weights",)))
def test_a_row_of_weight_zero_is_no_row(case):
    table = {name: np.concatenate([column, column[:3]]) for name, column in case.table.items()}
    table["y"][-3:] += 100
    table["w"][-3:] = 0
    one, other = case.fit(), replace(case, table=table).fit()
    assert_same(said(one), said(other), one, other)


# --- the block core against the textbook --------------------------------------------------------------


def random_theta(rng, model, edge):
    """The textbook's theta: spreads and partial correlations; with `edge` some of them at zero, -1 or 1."""
    theta = []
    for _, q in model.shapes:
        sds, rho = np.exp(rng.uniform(-2, 2, q)), rng.uniform(-0.9, 0.9, q * (q - 1) // 2)
        if edge:
            sds, rho = sds * rng.choice([0, 1, 1], q), rng.choice([-1, 1, 0.3], len(rho))
        theta += [*sds, *rho]
    return np.array(theta)


def core_factors(design, data, covariances, root):
    """Lambda of every factor, of the moments' own columns, from the relative covariance of every block."""
    found = []
    for f in data.factors:
        D = np.zeros((len(f.fixed), len(f.fixed)))
        for where, place in zip(f.blocks, f.places, strict=True):
            D[where, where] = covariances[place]
        to_core = np.linalg.inv(f.to_data)
        found.append(root(to_core @ D @ to_core.T))
    return tuple(found)


def any_root(D):
    values, vectors = np.linalg.eigh(D)
    return vectors * np.sqrt(np.clip(values, 0, None))


def textbook(case):
    return profiled_reml if case.restricted else profiled_ml


@few
@given(case=cases(MORE), edge=st.booleans(), seed=st.integers(0, 1000))
def test_the_core_gives_the_textbooks_criterion_anywhere(case, edge, seed):
    design = case.design()
    model, data = dense(design), moments(design)
    theta = random_theta(np.random.default_rng(seed), model, edge)
    factors = core_factors(design, data, term_covariances(model, theta), any_root)
    value = criterion(data, conditional(data, factors), case.restricted)
    assert value == pytest.approx(textbook(case)(model, theta), abs=1e-8)


@few
@given(case=cases(MORE), seed=st.integers(0, 1000))
def test_the_cores_gradient_is_the_textbooks_slope(case, seed):
    design, rng = case.design(), np.random.default_rng(seed)
    model, data = dense(design), moments(design)
    theta = random_theta(rng, model, edge=False)
    ahead = 1e-5 * rng.normal(size=len(theta)) * np.abs(theta)

    def at(theta):
        return core_factors(design, data, term_covariances(model, theta), np.linalg.cholesky)

    gradient = criterion_gradient(data, at(theta), conditional(data, at(theta)), case.restricted).by_factor
    along = zip(gradient, at(theta + ahead), at(theta - ahead), strict=True)
    value = textbook(case)
    difference = value(model, theta + ahead) - value(model, theta - ahead)
    assert sum((slope * (up - down)).sum() for slope, up, down in along) == pytest.approx(difference, abs=1e-9)


@few
@given(case=cases(), seed=st.integers(0, 1000))
def test_no_theta_of_the_textbooks_is_better_than_the_fit(case, seed):
    fit, rng = case.fit(), np.random.default_rng(seed)
    model, value = dense(fit.design), textbook(case)
    best = np.concatenate([
        [*part.sd / fit.sigma, *np.clip(np.nan_to_num(part.correlation[np.tril_indices(len(part.sd), -1)]), -1, 1)]
        for part in fit.components
    ])  # fmt: skip
    assert value(model, best) == pytest.approx(fit.criterion, abs=1e-8)
    for _ in range(20):
        near = np.clip(best + rng.choice([1e-3, 0.1]) * rng.normal(size=len(best)), -1, None)
        rho = np.concatenate([np.arange(q + q * (q - 1) // 2) >= q for _, q in model.shapes])
        for other in (np.where(rho, np.clip(near, -1, 1), np.abs(near)), random_theta(rng, model, edge=True)):
            assert value(model, other) > fit.criterion - 1e-8
