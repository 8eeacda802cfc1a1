"""The way from full Bayes to REML. Rungs: dense n x n matrices, closed form and quadrature for one varying intercept,
the posterior sampled. Draws that need not be a posterior's are made up around REML's values: each step is a function
of whatever draws there are."""

import numpy as np
import pytest
from corpus import design_of
from dense_equations import random_design, wide
from scipy.linalg import block_diag

import workbench.gap.integrated as integrated
from workbench.design import build_design
from workbench.errors import ComparisonError
from workbench.estimators import Settings, run_estimator
from workbench.estimators.hierarchical import summarise
from workbench.gap.given_variances import PopulationPrior, Variances, coefficients_at
from workbench.gap.integrated import towards_reml
from workbench.gap.posterior_mode import Density, correlation_factor, posterior_mode
from workbench.lkj import lkj_log_density
from workbench.moments import moments
from workbench.prior_defaults import resolve_priors
from workbench.priors import coefficient_name
from workbench.sampling.draws import Draws


class Dense:
    """The oracle: covariance matrices of all rows, and the priors as they are."""

    def __init__(self, design, priors):
        self.design, self.priors = design, priors
        self.Z = wide([(b.Z, b.codes) for b in design.blocks], [len(b.levels) for b in design.blocks])
        of_b = [priors[coefficient_name(term)] for term in design.fixed_terms]
        self.m = np.array([p.values[0] if p.kind == "Normal" else 0.0 for p in of_b])
        self.P = np.diag([p.values[1] ** -2 if p.kind == "Normal" else 0.0 for p in of_b])

    def parts(self, v):
        S = block_diag(
            *(
                np.kron(np.eye(len(block.levels)), np.outer(sd, sd) * R)
                for block, sd, R in zip(self.design.blocks, v.sd, v.correlation, strict=True)
            )
        )
        V = self.Z @ S @ self.Z.T + v.sigma**2 * np.diag(1 / self.design.weights)
        return S, V, self.design.y - self.design.offset

    def b(self, v):
        _, V, y = self.parts(v)
        X = self.design.X
        A = self.P + X.T @ np.linalg.solve(V, X)
        return np.linalg.solve(A, self.P @ self.m + X.T @ np.linalg.solve(V, y)), A

    def coefficients(self, v, b=None):
        S, V, y = self.parts(v)
        b = self.b(v)[0] if b is None else b
        u, start, found = S @ self.Z.T @ np.linalg.solve(V, y - self.design.X @ b), 0, []
        for block in self.design.blocks:
            J, q = len(block.levels), len(block.terms)
            own = u[start : start + J * q].reshape(J, q)
            found.append(own + np.array([0.0 if k is None else b[k] for k in block.fixed]))
            start += J * q
        return found

    def minus_twice_log_density(self, v):
        _, V, y = self.parts(v)
        b, A = self.b(v)
        e, off = y - self.design.X @ b, b - self.m
        log_prior = 0.0 if self.design.known_se else self.priors["sigma"].log_density(v.sigma)
        for block, sd, R in zip(self.design.blocks, v.sd, v.correlation, strict=True):
            log_prior += sum(
                self.priors[f"sd({block.group}, {term})"].log_density(s)
                for term, s in zip(block.terms, sd, strict=True)
            )
            if len(sd) > 1:
                log_prior += lkj_log_density(R, self.priors[f"cor({block.group})"].values[0])
        log_dets = np.linalg.slogdet(V)[1] + np.linalg.slogdet(A)[1]
        return log_dets + e @ np.linalg.solve(V, e) + off @ self.P @ off - 2 * log_prior


def sampled(design, priors, seed=0, draws=30, chains=2):
    """A hierarchical fit from made-up draws around REML's values; and the draws as (chain, draw) -> (b, Variances)."""
    rng = np.random.default_rng(seed)
    reml = run_estimator("reml", design, Settings())
    shape = (chains, draws)
    b = reml.population.estimate + reml.population.std_error * rng.normal(size=(*shape, len(design.fixed_terms)))
    sigma = np.ones(shape) if design.known_se else reml.sigma * np.exp(0.1 * rng.normal(size=shape))
    parts = ([], [], [])
    at = [[[], []] for _ in range(chains * draws)]
    for block, component in zip(design.blocks, reml.components, strict=True):
        q = len(block.terms)
        sd = np.maximum(component.sd, 0.3 * reml.sigma) * np.exp(0.4 * rng.normal(size=(*shape, q)))
        cor = np.empty((*shape, q, q))
        for index in np.ndindex(shape):
            L, _ = correlation_factor(rng.uniform(-0.7, 0.7, q * (q - 1) // 2))
            cor[index] = L @ L.T
        effect = rng.normal(size=(*shape, len(block.levels), q))
        for part, values in zip(parts, (sd, cor, effect), strict=True):
            part.append(values)
        for one, s, R in zip(at, sd.reshape(-1, q), cor.reshape(-1, q, q), strict=True):
            one[0].append(s)
            one[1].append(R)
    drawn = Draws(b, None if design.known_se else sigma, *map(tuple, parts), stats={"diverging": np.zeros(shape, bool)})
    full = summarise(design, Settings(priors=priors), priors, drawn, ())
    pairs = zip(at, sigma.ravel(), b.reshape(chains * draws, -1), strict=True)
    return full, reml, [(own, Variances(tuple(sd), tuple(R), float(s))) for (sd, R), s, own in pairs]


def near(found, wanted, share=1e-9):
    """Equal to rounding, which is measured by the spread of the coefficients."""
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=share * b.std(axis=0).max())


CASES = {
    "slope, weights, offset": ("(x | g)", {}, {}),
    "no correlation": ("(x || g)", {}, {"sd": "HalfNormal(2)", "sigma": "Exponential(0.5)"}),
    "crossed": ("(1 | g) + (1 | h)", {}, {"sd(h)": "HalfCauchy(1)", "sigma": "Gamma(3, 2)", "x": "Normal(0.5, 0.1)"}),
    "three factors": ("(x | g) + (1 | h) + (0 + z | k)", {}, {"sd(g, x)": "Gamma(2, 3)", "b": "Flat()"}),
    "three columns": ("(x + z | g)", {}, {"cor": "LKJ(1.5)", "sigma": "Uniform(0.5, 3)"}),
    "known se": ("(1 | g) + (1 | h)", {"known_se": True}, {"(Intercept)": "Normal(0, 0.5)", "sd": "Uniform(0, 10)"}),
    "no population value": ("(x | g)", {"fixed": "0 + z"}, {"cor": "LKJ(1)"}),
}


def case(name, seed=1):
    terms, how, given = CASES[name]
    design = random_design(terms, seed, **how)
    return design, resolve_priors(design, given)


@pytest.mark.parametrize("name", CASES)
def test_every_step_is_what_dense_matrices_say(name):
    design, priors = case(name)
    full, reml, draws = sampled(design, priors)
    dense, data = Dense(design, priors), moments(design)
    averaged, plugged, at_mode, last = towards_reml(full, reml)

    each = [dense.coefficients(v) for _, v in draws]
    near(averaged.coefficients, [np.mean(parts, axis=0) for parts in zip(*each, strict=True)])
    mean = Variances(
        *(tuple(np.mean(parts, axis=0) for parts in zip(*(getattr(v, key) for _, v in draws), strict=True))
          for key in ("sd", "correlation")),
        np.mean([v.sigma for _, v in draws]),
    )  # fmt: skip
    near(plugged.coefficients, dense.coefficients(mean))
    of_b = PopulationPrior.of(design, priors, full.population.estimate)
    mode, remarks = posterior_mode(Density(design, data, priors, of_b, mean), (mean,))
    assert remarks == ""
    near(at_mode.coefficients, dense.coefficients(mode), 1e-5)  # where towards_reml starts from elsewhere as well
    near(last.coefficients, [part.coefficient.estimate for part in reml.group_effects])


@pytest.mark.parametrize("name", CASES)
def test_density_and_slope_are_those_of_dense_matrices(name):
    design, priors = case(name)
    full, _, draws = sampled(design, priors)
    dense = Dense(design, priors)
    of_b = PopulationPrior.of(design, priors, full.population.estimate)
    density = Density(design, moments(design), priors, of_b, Variances.of(full))
    xs = [density.pack(v) for _, v in draws[:4]]
    for x, (_, v) in zip(xs, draws, strict=False):
        back = density.variances(x)
        np.testing.assert_allclose(np.hstack([R.ravel() for R in back.correlation]),
                                   np.hstack([R.ravel() for R in v.correlation]), atol=1e-9)  # fmt: skip
    ours = np.array([density(x)[0] for x in xs])
    theirs = np.array([dense.minus_twice_log_density(density.variances(x)) for x in xs])
    np.testing.assert_allclose(ours - ours[0], theirs - theirs[0], atol=1e-8)
    for x in xs:
        slope = density(x)[1]
        for k, h in enumerate(1e-5 * np.eye(len(x))):
            numerical = (density(x + h)[0] - density(x - h)[0]) / 2e-5
            assert slope[k] == pytest.approx(numerical, rel=1e-6, abs=1e-6)  # differences keep half the digits


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("name", CASES)
def test_the_mode_is_a_mode(name, seed):
    design, priors = case(name, seed)
    full, reml, draws = sampled(design, priors, seed)
    dense, mean = Dense(design, priors), Variances.of(full)
    of_b = PopulationPrior.of(design, priors, full.population.estimate)
    density = Density(design, moments(design), priors, of_b, mean)
    mode, remarks = posterior_mode(density, (mean, Variances.of(reml)))
    assert remarks == ""
    lowest = dense.minus_twice_log_density(mode)
    assert all(dense.minus_twice_log_density(v) > lowest for _, v in draws)
    x = density.pack(mode)
    for k, (low, high) in enumerate(density.limits()[0]):
        before, after = (
            dense.minus_twice_log_density(density.variances(np.where(np.arange(len(x)) == k, at, x))) - lowest
            for at in np.clip([x[k] - 1e-4, x[k] + 1e-4], low, high)
        )
        assert min(before, after) > -1e-10
        if low < x[k] < high and before + after > 1e-9:
            # the vertex of the parabola through three points, known to 1e-7 or so by the rounding of the density
            assert 1e-4 * abs(before - after) / (2 * (before + after)) < 2e-6


@pytest.mark.parametrize("name", CASES)
def test_without_priors_the_mode_is_reml(name):
    design, _ = case(name)
    flat = {"(Intercept)": "Flat()", "b": "Flat()", "sd": "Flat()", "sigma": "Flat()", "cor": "LKJ(1)"}
    has = {"sigma": not design.known_se, "cor": any(len(block.terms) > 1 for block in design.blocks)}
    has |= {"(Intercept)": "(Intercept)" in design.fixed_terms}
    priors = resolve_priors(design, {key: text for key, text in flat.items() if has.get(key, True)})
    full, reml, _ = sampled(design, priors)
    mean, of_b = Variances.of(full), PopulationPrior.of(design, priors, full.population.estimate)
    data = moments(design)
    mode, _ = posterior_mode(Density(design, data, priors, of_b, mean), (mean,))
    # a search by values and slopes ends within the root of rounding, or a little nearer
    near(coefficients_at(data, mode, of_b), [part.coefficient.estimate for part in reml.group_effects], 1e-6)


def test_without_population_coefficients():
    design = random_design("(x | g)", fixed="0")
    priors = resolve_priors(design, {})
    dense, data, of_b = Dense(design, priors), moments(design), PopulationPrior.of(design, priors, np.empty(0))
    R = np.array([[1, 0.4], [0.4, 1]])
    at, other = (Variances((np.array(sd),), (R,), s) for sd, s in (([1.2, 0.7], 1.1), ([0.8, 2.0], 1.4)))
    near(coefficients_at(data, at, of_b), dense.coefficients(at))
    density = Density(design, data, priors, of_b, at)
    ours = density(density.pack(other))[0] - density(density.pack(at))[0]
    assert ours == pytest.approx(dense.minus_twice_log_density(other) - dense.minus_twice_log_density(at), rel=1e-9)


# --- one varying intercept: closed form, quadrature ---------------------------------------------------


class OneWay:
    """Everything in closed form from the groups' sizes, means and the sum of squares within."""

    def __init__(self, design, priors):
        codes, y = design.blocks[0].codes, design.y
        self.n = np.bincount(codes).astype(float)
        self.means = np.bincount(codes, y) / self.n
        self.within = float(np.sum((y - self.means[codes]) ** 2))
        self.m0, self.s0 = priors["(Intercept)"].values
        self.priors = [priors["sd(group, (Intercept))"], priors["sigma"]]

    def at(self, tau, sigma):
        """Log posterior density of (tau, sigma), up to a constant, and the coefficients' conditional means (K, J)."""
        tau, sigma = np.atleast_1d(tau), np.atleast_1d(sigma)
        v = tau[:, None] ** 2 + sigma[:, None] ** 2 / self.n
        precision = 1 / self.s0**2 + (1 / v).sum(axis=1)
        mu = (self.m0 / self.s0**2 + (self.means / v).sum(axis=1)) / precision
        log_p = np.array([self.priors[0].log_density(t) for t in tau])
        log_p += np.array([self.priors[1].log_density(s) for s in sigma])
        log_p -= 0.5 * np.log(v).sum(axis=1) + 0.5 * np.log(precision)
        log_p -= (self.n.sum() - len(self.n)) * np.log(sigma) + 0.5 * self.within / sigma**2
        log_p -= 0.5 * ((self.means**2 / v).sum(axis=1) + self.m0**2 / self.s0**2 - mu**2 * precision)
        keep = tau[:, None] ** 2 / v
        return log_p, keep * self.means + (1 - keep) * mu[:, None]

    def grid(self):
        """Points that cover the posterior, their probabilities, and the coefficients there."""
        log_tau, log_sigma = np.linspace(-7, 3.5, 500), np.linspace(np.log(4.2), np.log(6.1), 100)
        tau, sigma = (np.exp(a).ravel() for a in np.meshgrid(log_tau, log_sigma, indexing="ij"))
        log_p, c = self.at(tau, sigma)
        p = np.exp(log_p - log_p.max()) * tau * sigma
        return tau, sigma, p / p.sum(), c


def independent_draws(design, priors, seed, draws=500, chains=4):
    """The fit that a sampler of independent draws would give: (tau, sigma) drawn from the grid."""
    full, reml, _ = sampled(design, priors, draws=draws, chains=chains)
    one = OneWay(design, priors)
    tau, sigma, p, c = one.grid()
    chosen = np.random.default_rng(seed).choice(len(p), size=(chains, draws), p=p)
    effect = c[chosen] - full.draws["posterior"]["b"].values
    drawn = Draws(
        full.draws["posterior"]["b"].values,
        sigma[chosen],
        (tau[chosen][:, :, None],),
        (np.ones((chains, draws, 1, 1)),),
        (effect[..., None],),
        stats={"diverging": np.zeros((chains, draws), bool)},
    )
    return summarise(design, Settings(), priors, drawn, ()), reml, one, p @ c


def test_twelve_groups_agree_with_closed_form_and_quadrature():
    design = design_of("twelve_groups--ri")
    priors = resolve_priors(design, {})
    full, reml, one, exact = independent_draws(design, priors, seed=4)
    averaged, plugged, at_mode, last = towards_reml(full, reml)
    error = full.draws["posterior"]["coefficient_group"].values[..., 0].std(axis=(0, 1)) / np.sqrt(2000)
    assert (np.abs(averaged.coefficients[0][:, 0] - exact) < 4 * error).all()
    # conditional means are what these coefficients were drawn as, so that nothing of them moves
    near(averaged.coefficients, [full.group_effects[0].coefficient.estimate], 1e-12)
    near(plugged.coefficients, [one.at(full.components[0].sd[0], full.sigma)[1].T])

    tau, sigma = np.linspace(0.7, 0.8, 401), np.linspace(5.0, 5.15, 401)
    for _ in range(3):  # ever finer grids around the largest density
        points = [a.ravel() for a in np.meshgrid(tau, sigma, indexing="ij")]
        best = int(one.at(*points)[0].argmax())
        (tau, sigma) = (
            np.linspace(a[best] - w, a[best] + w, 401)
            for a, w in zip(points, (tau[1] - tau[0], sigma[1] - sigma[0]), strict=True)
        )
    # the log density is flat at its top: what rounding leaves of a place is the root of it
    near(at_mode.coefficients, [one.at(points[0][best], points[1][best])[1].T], 1e-5)
    assert f"{points[0][best]:.4g}" in at_mode.change
    assert f"{points[1][best]:.4g}" in at_mode.change
    near(last.coefficients, [reml.group_effects[0].coefficient.estimate])


def test_thinning_is_bounded_even_and_said(monkeypatch):
    design, priors = case("slope, weights, offset")
    full, reml, draws = sampled(design, priors, draws=250)
    monkeypatch.setattr(integrated, "WORK", 1.0)
    averaged = towards_reml(full, reml)[0]
    assert "given 200 draws" in averaged.change
    assert "500 draws of the coefficients" in averaged.change
    kept = np.linspace(0, 249, 100).round().astype(int)
    dense = Dense(design, priors)
    wanted = np.mean([dense.coefficients(draws[k][1])[0] for k in (*kept, *(kept + 250))], axis=0)
    near(averaged.coefficients, [wanted])


# --- priors that are not normal, or have no mode ------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "pulls"), [("StudentT(4, 1, 0.5)", True), ("Cauchy(0, 2)", True), ("Uniform(0, 9)", False)]
)
def test_other_priors_of_b_leave_b_as_drawn_and_then_pull_as_much(text, pulls):
    design, _ = case("slope, weights, offset")
    priors = resolve_priors(design, {"x": text})
    full, reml, draws = sampled(design, priors)
    averaged, plugged, _, last = towards_reml(full, reml)
    dense = Dense(design, priors)
    each = [dense.coefficients(v, b) for b, v in draws]
    near(averaged.coefficients, [np.mean(parts, axis=0) for parts in zip(*each, strict=True)])
    assert "draws of b, standard deviations, correlations and sigma" in averaged.change
    at, h = full.population.estimate[1], 1e-5
    slope = (priors["x"].log_density(at + h) - priors["x"].log_density(at - h)) / (2 * h)
    dense.m[1] = priors["x"].values[-2] if pulls else 0.0
    dense.P[1, 1] = -slope / (at - dense.m[1])
    near(plugged.coefficients, dense.coefficients(Variances.of(full)), 1e-7)  # the slope is a difference
    assert f"{text} of x became" in plugged.change
    near(last.coefficients, [part.coefficient.estimate for part in reml.group_effects])


def test_priors_without_a_mode_leave_the_posterior_mean():
    design, _ = case("slope, weights, offset")
    priors = resolve_priors(design, {"sd(g, x)": "Gamma(0.5, 1)", "cor": "LKJ(0.5)"})
    full, reml, _ = sampled(design, priors)
    mean = Variances.of(full)
    of_b = PopulationPrior.of(design, priors, full.population.estimate)
    mode, remarks = posterior_mode(Density(design, moments(design), priors, of_b, mean), (Variances.of(reml), mean))
    assert mode.sd[0][1] == pytest.approx(mean.sd[0][1], rel=1e-12)
    assert mode.correlation[0][0, 1] == pytest.approx(mean.correlation[0][0, 1], rel=1e-9)
    assert abs(mode.sd[0][0] / mean.sd[0][0] - 1) > 0.01
    assert "sd(g, x) keeps its mean, because its prior Gamma(0.5, 1) has no mode" in remarks
    assert "cor(g) keeps its mean" in remarks
    near(towards_reml(full, reml)[-1].coefficients, [part.coefficient.estimate for part in reml.group_effects])


def test_a_spread_of_zero_ends_at_zero():
    design = design_of("Dyestuff2--ri")  # REML's SD is zero
    priors = resolve_priors(design, {})
    full, reml, _ = sampled(design, priors)
    assert reml.components[0].sd[0] == 0
    averaged, _, at_mode, last = towards_reml(full, reml)
    assert averaged.coefficients[0].std() > 0.01
    # HalfStudentT falls from zero on, as does the likelihood: the mode is at zero too, and no group leaves the mean
    assert at_mode.coefficients[0].std() == 0
    assert "sd(Batch, (Intercept)) " in at_mode.change
    assert " → 0, " in at_mode.change
    np.testing.assert_allclose(last.coefficients[0], reml.population.estimate[0], rtol=1e-12)


def test_a_correlation_on_its_boundary_and_a_slope_far_from_its_origin():
    rng = np.random.default_rng(3)
    g = np.repeat(np.arange(8), 6)
    x = np.tile(np.arange(6.0), 8)
    u = rng.normal(size=8)
    table = {"y": 1 + x + 2 * u[g] + 0.5 * u[g] * x + rng.normal(size=48), "x": x, "year": 2000 + x, "g": g}
    for column in ("x", "year"):
        design = build_design(f"y ~ {column} + ({column} | g)", table)
        reml = run_estimator("reml", design, Settings())
        flat = coefficients_at(moments(design), Variances.of(reml))
        near(flat, [reml.group_effects[0].coefficient.estimate])
    assert abs(reml.components[0].correlation[0, 1]) > 0.99


def test_a_fit_without_draws_is_refused():
    reml = run_estimator("reml", design_of("Dyestuff--ri"), Settings())
    with pytest.raises(ComparisonError, match="The reml fit has no draws"):
        towards_reml(reml, reml)


# --- slower -------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_sampled_twelve_groups():
    design = design_of("twelve_groups--ri")
    priors = resolve_priors(design, {})
    full, reml = run_estimator("hierarchical", design, Settings(seed=1)), run_estimator("reml", design, Settings())
    steps = towards_reml(full, reml)
    goal = reml.group_effects[0].coefficient.estimate
    drawn = full.group_effects[0].coefficient
    error = (drawn.std_error / np.sqrt(drawn.ess_bulk))[:, 0]
    moved = np.abs(steps[0].coefficients[0] - drawn.estimate)[:, 0]
    assert (moved < 4 * error).all()
    tau, _, p, c = OneWay(design, priors).grid()
    assert (np.abs(steps[0].coefficients[0][:, 0] - p @ c) < 4 * error).all()
    assert steps[0].change.count("8,000") == 2
    left = [float(np.abs(step.coefficients[0] - goal).max()) for step in steps]
    # the skewed posterior of tau makes nearly all of the gap: its mean is half as large again as its mode
    assert left[1] > 50 * left[2]
    assert p @ tau > 1.4 * 0.7466
    assert left[3] < 1e-9


@pytest.mark.slow
def test_sampled_sleepstudy():
    design = design_of("sleepstudy--slope")
    full, reml = run_estimator("hierarchical", design, Settings(seed=1)), run_estimator("reml", design, Settings())
    steps = towards_reml(full, reml)
    drawn = full.group_effects[0].coefficient
    moved = np.abs(steps[0].coefficients[0] - drawn.estimate)
    assert (moved < 4 * drawn.std_error / np.sqrt(drawn.ess_bulk)).all()
    near(steps[-1].coefficients, [reml.group_effects[0].coefficient.estimate])
    # averaging shrinks more than the posterior means of the SDs would, and these are larger than the mode: they cancel
    here = [drawn.estimate, *(step.coefficients[0] for step in steps)]
    averaging, skewness = here[2] - here[1], here[3] - here[2]
    cosine = (averaging * skewness).sum(axis=0) / np.sqrt((averaging**2).sum(axis=0) * (skewness**2).sum(axis=0))
    assert (cosine < -0.9).all()
