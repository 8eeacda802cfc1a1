"""The collapsed model: its density is the explicit one's with b and u integrated out, its draws of these are exact.

Rungs: covariance matrices of all rows (nothing shared with the code but the design), finite differences, the explicit
model in PyMC less the conditional density of u, moments of many draws.
"""

import numpy as np
import pytest
from dense_equations import random_design, random_table, wide
from scipy.linalg import block_diag
from scipy.stats import multivariate_normal

import workbench as wb
import workbench.sampling.run as run
from workbench.design import build_design
from workbench.errors import OptionError
from workbench.estimators import Settings, run_estimator
from workbench.lkj import lkj_log_density
from workbench.prior_defaults import resolve_priors
from workbench.priors import coefficient_name
from workbench.sampling.collapsed import Collapsed, Variances
from workbench.sampling.conditional import conditional_normals, draw_effects, draw_population
from workbench.sampling.nuts import Plan, _whole, sample_density

CASES = {
    "intercepts": ("(1 | g)", {}, {}),
    "slope, weights, offset": ("(x | g)", {}, {}),
    "no correlation": ("(x || g)", {}, {"sd": "HalfNormal(2)", "sigma": "Exponential(0.5)"}),
    "crossed": ("(1 | g) + (1 | h)", {}, {"sd(h)": "HalfCauchy(1)", "sigma": "Gamma(3, 2)", "x": "Normal(0.5, 0.1)"}),
    "three factors": ("(x | g) + (1 | h) + (0 + z | k)", {}, {"sd(g, x)": "Gamma(2, 3)", "b": "Flat()"}),
    "three columns": ("(x + z | g)", {}, {"cor": "LKJ(1.5)", "sigma": "Uniform(0.5, 3)"}),
    "known se": ("(1 | g)", {"known_se": True}, {"(Intercept)": "Normal(0, 0.5)", "sd": "Uniform(0, 10)"}),
    "no population value": ("(x | g)", {"fixed": "0 + z"}, {"cor": "LKJ(1)", "sd": "Flat()"}),
    "b drawn": ("(x | g)", {}, {"b": "StudentT(3, 0, 2)", "(Intercept)": "Cauchy(2, 1)"}),
    "b bounded": ("(1 | g)", {}, {"b": "Uniform(-3, 3)"}),
    "b drawn, crossed": ("(x | g) + (z | h)", {}, {"b": "StudentT(3, 0, 2)"}),
}


def case(name, seed=1):
    terms, how, given = CASES[name]
    design = random_design(terms, seed, **how)
    return design, resolve_priors(design, given)


class Dense:
    """Everything of one draw of the variances by matrices of all rows."""

    def __init__(self, design, priors, at, i=0):
        self.design, self.priors = design, priors
        self.Z = wide([(b.Z, b.codes) for b in design.blocks], [len(b.levels) for b in design.blocks])
        roots = [sd[i][:, None] * L[i] for sd, L in zip(at.sd, at.factor, strict=True)]
        S = [np.kron(np.eye(len(b.levels)), R @ R.T) for b, R in zip(design.blocks, roots, strict=True)]
        self.S, self.sigma = block_diag(*S), at.sigma[i]
        self.noise = self.sigma**2 * np.diag(1 / design.weights)
        self.V = self.Z @ self.S @ self.Z.T + self.noise
        self.y = design.y - design.offset
        self.at, self.i = at, i

    def log_prior_of_variances(self):
        total = 0.0 if self.design.known_se else self.priors["sigma"].log_density(self.sigma, positive=True)
        for block, sd, L in zip(self.design.blocks, self.at.sd, self.at.factor, strict=True):
            names = [f"sd({block.group}, {term})" for term in block.terms]
            total += sum(self.priors[n].log_density(s, positive=True) for n, s in zip(names, sd[self.i], strict=True))
            if len(block.terms) > 1:
                R = L[self.i] @ L[self.i].T
                total += lkj_log_density(R, self.priors[f"cor({block.group})"].values[0])
        return total

    def log_density(self, b):
        """log p(y, variances), b integrated (None) or given, with its prior."""
        X, design = self.design.X, self.design
        of_b = [self.priors[coefficient_name(term)] for term in design.fixed_terms]
        if b is not None:
            priors = sum(p.log_density(x) for p, x in zip(of_b, b, strict=True))
            return multivariate_normal(X @ b, self.V).logpdf(self.y) + priors + self.log_prior_of_variances()
        flat = np.array([p.kind == "Flat" for p in of_b], dtype=bool)
        proper = [p.values for p, none in zip(of_b, flat, strict=True) if not none]
        m, s = np.reshape(proper, (-1, 2)).T
        V = self.V + X[:, ~flat] @ np.diag(s**2) @ X[:, ~flat].T
        e, F = self.y - X[:, ~flat] @ m, X[:, flat]
        A = F.T @ np.linalg.solve(V, F)
        b_flat = np.linalg.solve(A, F.T @ np.linalg.solve(V, e))
        left = e - F @ b_flat
        value = -0.5 * (len(e) * np.log(2 * np.pi) + np.linalg.slogdet(V)[1] + left @ np.linalg.solve(V, left))
        value += 0.5 * (flat.sum() * np.log(2 * np.pi) - np.linalg.slogdet(A)[1])  # of a flat density of one
        return value + self.log_prior_of_variances()


def log_volume(density, at, x):
    """Log of what a step in the coordinates is in (b, sd, correlations, sigma), the latter by their entries."""
    total, k = 0.0, 0
    if not density.integrated:
        k = density.data.p
        total += np.linalg.slogdet(density.scale_of_b[1])[1]
    for place, (block, sd) in enumerate(zip(density.design.blocks, at.sd, strict=True)):
        for term, s in zip(block.terms, sd[0], strict=True):
            total += _log_slope(density.priors[f"sd({block.group}, {term})"], s)
        q = len(block.terms)
        m = q * (q - 1) // 2
        k += q
        if m:
            steps = 1e-6 * np.eye(len(x))[k : k + m]
            ends = [[density.variances((x + way * e)[None]).correlation[place][0] for way in (1, -1)] for e in steps]
            J = np.array([(up - down)[np.tril_indices(q, -1)] / 2e-6 for up, down in ends])
            total += np.linalg.slogdet(J)[1]
        k += m
    return total if density.design.known_se else total + _log_slope(density.priors["sigma"], at.sigma[0])


def _log_slope(prior, value):
    if prior.kind != "Uniform":
        return np.log(value)
    low, high = prior.values
    return np.log((value - low) * (high - value) / (high - low))


@pytest.mark.parametrize("name", CASES)
def test_the_density_is_that_of_all_rows(name):
    design, priors = case(name)
    density = Collapsed.of(design, priors)
    rng = np.random.default_rng(3)
    for _ in range(3):
        x = density.start + 0.4 * rng.normal(size=density.dimension)
        at = density.variances(x[None])
        dense = Dense(design, priors, at).log_density(None if at.b is None else at.b[0])
        value, _ = density(x)
        # the LKJ part of the volume is by finite differences
        assert value + density.constant == pytest.approx(dense + log_volume(density, at, x), rel=1e-8)


@pytest.mark.parametrize("name", CASES)
def test_the_gradient_is_that_of_the_value(name):
    density = Collapsed.of(*case(name))
    x = density.start + 0.3 * np.random.default_rng(5).normal(size=density.dimension)
    _, slope = density(x)
    h = 1e-5
    steps = h * np.eye(len(x))
    numeric = np.array([(density(x + e)[0] - density(x - e)[0]) / (2 * h) for e in steps])
    np.testing.assert_allclose(slope, numeric, rtol=1e-6, atol=1e-6 * (1 + np.abs(slope).max()))


def test_the_compiled_loop_and_the_arrays_are_one_density():
    for name in ("slope, weights, offset", "three columns", "known se", "b drawn", "b bounded"):
        density = Collapsed.of(*case(name))
        x = density.start + 0.3 * np.random.default_rng(5).normal(size=density.dimension)
        value, slope = density(x)
        other, by_arrays = density._of_several(x)
        assert value == pytest.approx(other, rel=1e-11), name
        np.testing.assert_allclose(slope, by_arrays, rtol=1e-8, atol=1e-8 * np.abs(slope).max(), err_msg=name)


def test_levels_that_share_their_design_are_condensed_to_the_same_density():
    n = np.repeat([2, 5, 9], 40)
    g = np.repeat(np.arange(120), n)
    rng = np.random.default_rng(0)
    table = {"y": rng.normal(size=len(g)) + rng.normal(size=120)[g], "g": g}
    design = build_design("y ~ 1 + (1 | g)", table)
    density = Collapsed.of(design, resolve_priors(design, {}))
    assert density.few.factors[0].A.shape[-1] == 6
    whole = Collapsed(design, density.priors, density.data, density.data, True)
    x = density.start + 0.2
    assert density(x)[0] == pytest.approx(whole(x)[0], rel=1e-12)
    np.testing.assert_allclose(density(x)[1], whole(x)[1], rtol=1e-9)


# --- the two faces ------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", ["slope, weights, offset", "crossed", "b drawn"])
def test_explicit_less_the_conditional_of_the_effects_is_collapsed(name):
    """p(y, b, u, variances) = p(y, b, variances) p(u | y, b, variances), and likewise for b."""
    from workbench.sampling.explicit import build_model

    design, priors = case(name)
    density = Collapsed.of(design, priors)
    model = build_model(design, priors, "centered")
    logp = model.compile_logp(jacobian=False)
    rng = np.random.default_rng(8)
    differences = []
    for _ in range(3):
        x = density.start + 0.4 * rng.normal(size=density.dimension)
        at = density.variances(x[None])
        dense = Dense(design, priors, at)
        X, Z = design.X, dense.Z
        b = at.b[0] if at.b is not None else rng.normal(size=X.shape[1])
        u = np.concatenate([np.zeros(0)] + [rng.normal(size=len(k.levels) * len(k.terms)) for k in design.blocks])
        of_u = np.linalg.inv(np.linalg.inv(dense.S) + Z.T @ np.linalg.solve(dense.noise, Z))
        mean = of_u @ Z.T @ np.linalg.solve(dense.noise, dense.y - X @ b)
        given_b = multivariate_normal(mean, of_u).logpdf(u)
        of_b = 0.0
        if at.b is None:
            m, s = np.array([priors[coefficient_name(t)].values for t in design.fixed_terms]).T
            A = np.linalg.inv(np.diag(s**-2) + X.T @ np.linalg.solve(dense.V, X))
            centre = A @ (m / s**2 + X.T @ np.linalg.solve(dense.V, dense.y))
            of_b = multivariate_normal(centre, A).logpdf(b)
        found = logp(_point(model, design, at, b, u))
        ours = density(x)[0] + density.constant - log_volume(density, at, x)
        differences.append(found - given_b - of_b - ours - _partial_volume(design, at))
    np.testing.assert_allclose(differences, 0.0, atol=1e-6)


def _point(model, design, at, b, u):
    """The model's own variables at given values, on their own scale (the model is asked for no Jacobian)."""
    from workbench.sampling.explicit import group_means
    from workbench.sampling.names import block_names

    values, start = {}, 0
    for term, value in zip(design.fixed_terms, b, strict=True):
        values[f"b[{term}]"] = value
    if not design.known_se:
        values["sigma"] = at.sigma[0]
    centres = group_means(design, ["centered"] * len(design.blocks))
    for name, block, sd, L, centre in zip(block_names(design), design.blocks, at.sd, at.factor, centres, strict=True):
        J, q = len(block.levels), len(block.terms)
        own = u[start : start + J * q].reshape(J, q)
        start += J * q
        for k, term in enumerate(block.terms):
            values[f"sd_{name}[{term}]"] = sd[0][k]
            fixed = centre[k].column  # none of these blocks is nested
            values[f"c_{name}[{term}]"] = own[:, k] + (0.0 if fixed is None else b[fixed])  # centred about b
        if q > 1:
            values[f"partial_{name}"] = np.array([(1 + L[0][1, 0]) / 2])
    point = {}
    for rv in model.free_RVs:
        value, transform = model.rvs_to_values[rv], model.rvs_to_transforms[rv]
        x = np.asarray(values[rv.name], dtype=float)
        point[value.name] = x if transform is None else transform.forward(x, *rv.owner.inputs).eval()
    return point


def _partial_volume(design, at):
    """The model's Beta variables are (1 + correlation) / 2: each adds a factor of two."""
    return sum(np.log(2) for block in design.blocks if len(block.terms) == 2)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Numba will use object mode")  # which is what an operation in Python needs
@pytest.mark.parametrize("name", ["slope, weights, offset", "crossed", "b drawn, crossed", "known se"])
def test_the_collapsed_model_in_pymc_has_the_density_and_its_gradient(name):
    from workbench.sampling.collapsed_model import build_collapsed

    design, priors = case(name)
    density = Collapsed.of(design, priors)
    model = build_collapsed(density)
    logp, dlogp = model.compile_logp(), model.compile_dlogp()
    point = model.initial_point()
    names = sorted(point)
    sizes = [np.size(point[n]) for n in names]

    def at(x):
        parts = np.split(x, np.cumsum(sizes)[:-1])
        return {n: p.reshape(np.shape(point[n])) for n, p in zip(names, parts, strict=True)}

    x = np.concatenate([np.ravel(point[n]) for n in names]) + 0.1
    h = 1e-6
    numeric = np.array([(logp(at(x + h * e)) - logp(at(x - h * e))) / (2 * h) for e in np.eye(len(x))])
    order = np.concatenate([np.ravel(v) for v in [dlogp(at(x))]])
    np.testing.assert_allclose(np.sort(order), np.sort(numeric), rtol=1e-4, atol=1e-4)


# --- draws of b and of the effects --------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["intercepts", "slope, weights, offset", "no correlation", "crossed", "three factors", "known se"]
)
def test_draws_of_b_and_effects_have_the_exact_conditional_moments(name):
    design, priors = case(name)
    density = Collapsed.of(design, priors)
    N = 4000 if len(design.groups) == 1 else 600  # of several factors a draw solves for all of them
    one = density.variances((density.start + 0.2)[None])
    at = one.at(np.zeros(N, dtype=int))
    rng = np.random.default_rng(4)
    b = draw_population(density, at, rng)
    effects = draw_effects(density, at, b, rng)
    dense = Dense(design, priors, one)
    X, Z = design.X, dense.Z
    of_b = [priors[coefficient_name(term)] for term in design.fixed_terms]
    precision = np.diag([p.values[1] ** -2 if p.kind == "Normal" else 0.0 for p in of_b])
    m = np.array([p.values[0] if p.kind == "Normal" else 0.0 for p in of_b])
    whole = np.hstack([X, Z])
    weigh = np.linalg.solve(dense.noise, whole)
    C = np.linalg.inv(whole.T @ weigh + block_diag(precision, np.linalg.inv(dense.S)))
    mean = C @ (weigh.T @ dense.y + np.concatenate([precision @ m, np.zeros(Z.shape[1])]))
    drawn = np.hstack([b, *(part.reshape(N, -1) for part in effects)])
    sd = np.sqrt(np.diag(C))
    assert (np.abs(drawn.mean(axis=0) - mean) < 5 * sd / np.sqrt(N)).all()
    correlation = C / np.outer(sd, sd)
    # of N draws a sample correlation of the scaled deviations misses by about (1 + r^2)^0.5 / N^0.5
    scaled = (drawn - mean) / sd
    assert (np.abs(scaled.T @ scaled / N - correlation) < 6 * np.sqrt((1 + correlation**2) / N)).all()


def test_normals_given_the_variances_are_what_the_effects_are_drawn_from():
    design, priors = case("slope, weights, offset")
    density = Collapsed.of(design, priors)
    N = 4000
    at = density.variances((density.start + 0.1)[None]).at(np.zeros(N, dtype=int))
    rng = np.random.default_rng(1)
    b = np.repeat(draw_population(density, at.at(np.zeros(1, dtype=int)), rng), N, axis=0)
    (drawn,) = draw_effects(density, at, b, rng)
    mean, sd = (part[0] for part in conditional_normals(density, at.at(np.zeros(1, dtype=int)), b[:1]))
    assert (np.abs(drawn.mean(axis=0) - mean) < 5 * sd / np.sqrt(N)).all()
    np.testing.assert_allclose(drawn.std(axis=0), sd, rtol=6 / np.sqrt(2 * N))
    few = draw_effects(density, at, b, np.random.default_rng(2), np.array([4, 1]))[0]
    assert (np.abs(few.mean(axis=0) - mean[[4, 1]]) < 5 * sd[[4, 1]] / np.sqrt(N)).all()


# --- fits ---------------------------------------------------------------------------------------------


def exact_and(options, priors=None, monkeypatch=None):
    table = random_table(2, n=240)
    design = build_design("y ~ x + z + (1 | g:h)", table)
    settings = Settings(seed=5, priors=priors or {})
    return run_estimator("exact", design, settings), run_estimator("hierarchical", design, settings, options)


def agree(sampled, exact, times=4.5):
    for name, x, ess, mean, sd in zip(
        exact.parameters.names,
        sampled.parameters.estimates.estimate,
        sampled.parameters.estimates.ess_bulk,
        exact.parameters.estimates.estimate,
        exact.parameters.estimates.std_error,
        strict=True,
    ):
        assert abs(x - mean) < times * sd / np.sqrt(ess), name


def test_a_sampled_posterior_is_the_exact_one():
    exact, sampled = exact_and({"draws": 1500})
    assert sampled.converged
    assert sampled.diagnostics["model"] == "collapsed"
    agree(sampled, exact)
    for kind in ("effect", "coefficient"):
        a, e = (getattr(fit.group_effects[0], kind) for fit in (sampled, exact))
        assert (np.abs(a.estimate - e.estimate) < 4.5 * e.std_error / np.sqrt(6000 * 0.8)).all()
        np.testing.assert_allclose(a.conf_low, e.conf_low, atol=0.25 * e.std_error.max())


@pytest.mark.slow
def test_effects_of_very_many_levels_are_kept_of_some_draws(monkeypatch):
    exact, whole = exact_and({"draws": 1000})
    monkeypatch.setattr(run, "KEPT", 4000 * 10)
    _, some = exact_and({"draws": 1000})
    assert "group_effects" in some.draws
    assert "effect_g:h" not in some.draws["posterior"]
    np.testing.assert_array_equal(some.parameters.estimates.estimate, whole.parameters.estimates.estimate)
    c, e = some.group_effects[0].coefficient, exact.group_effects[0].coefficient
    assert (np.abs(c.estimate - e.estimate) < 0.15 * e.std_error).all()
    monkeypatch.setattr(run, "ENOUGH", 10**9)  # and now by mixtures of normals
    _, mixed = exact_and({"draws": 1000})
    c = mixed.group_effects[0].coefficient
    # 64 draws of b and the variances: their share of the spread is what these leave uncertain
    assert (np.abs(c.estimate - e.estimate) < 0.5 * e.std_error).all()
    np.testing.assert_allclose(c.std_error, e.std_error, rtol=0.15)
    assert (c.r_hat < 1.01).all()
    assert (c.ess_bulk > 1000).all()


@pytest.mark.slow
def test_pymc_samples_the_collapsed_model_too():
    exact, sampled = exact_and({"sampler": "pymc", "draws": 500, "tune": 500, "model": "collapsed"})
    agree(sampled, exact)


@pytest.mark.slow
def test_several_factors_can_be_collapsed_too():
    design, priors = case("crossed")
    settings = Settings(seed=3, priors={k: str(v) for k, v in priors.items()})
    options = {"draws": 600, "tune": 400}
    collapsed, explicit = (
        run_estimator("hierarchical", design, settings, options | {"model": model})
        for model in ("collapsed", "explicit")
    )
    a, b = (fit.parameters.estimates for fit in (collapsed, explicit))
    errors = a.std_error * np.sqrt(1 / a.ess_bulk + 1 / b.ess_bulk)
    assert (np.abs(a.estimate - b.estimate) < 4.5 * errors).all()


def test_uniform_priors_that_end_near_the_data_are_walls():
    table = {"y": [1.0, 2, 4, 3, 7, 6, 9, 8], "x": [0, 1] * 4, "g": list("aabbccdd")}
    design = build_design("y ~ x + (1 | g)", table)  # least squares: x 0 (SE 2.2)

    def walls(text):
        return Collapsed.of(design, resolve_priors(design, {"x": text})).close_walls

    assert [walls(text) for text in ("Uniform(-100, 100)", "Cauchy(0, 1)", "Normal(0, 1)")] == [[], [], []]
    assert [walls(text) for text in ("Uniform(-1, 100)", "Uniform(-100, 1)", "Uniform(20, 30)")] == [["x"]] * 3
    with pytest.raises(OptionError, match=r"The prior of x, Uniform\(20, 30\), ends where the data put it"):
        wb.fit(
            "y ~ x + (1 | g)", table, "hierarchical", priors={"x": "Uniform(20, 30)"}, options={"model": "collapsed"}
        )


@pytest.mark.slow
def test_a_uniform_prior_beside_the_data_is_sampled_by_the_explicit_model():
    table = {"y": [1.0, 2, 4, 3, 7, 6, 9, 8], "x": [0, 1] * 4, "g": list("aabbccdd")}
    fit = wb.fit("y ~ x + (1 | g)", table, "hierarchical", priors={"x": "Uniform(1, 2)"}, seed=1)
    assert fit.diagnostics["model"] == "explicit"
    x = fit.sampled.drawn.b[..., 1]
    assert 1 <= x.min() < x.max() <= 2
    assert x.mean() < 1.5  # the data put it at 0


def test_a_model_that_is_not_gaussian_is_not_collapsed():
    table = {"y": [0, 1, 1, 0, 1, 0], "g": list("aabbcc")}
    design = build_design("y ~ 1 + (1 | g)", table, family="binomial")
    with pytest.raises(OptionError, match="collapsed model"):
        Collapsed.of(design, {})


def test_chains_that_were_finished_before_an_interruption_are_kept():
    import xarray as xr

    plan = Plan(5, 1, 3, 0.9, "nutpie", 1, False)
    x = np.zeros((3, 5, 2))
    x[1, 3:] = np.nan
    data = xr.Dataset({"x": (("chain", "draw", "k"), x)})
    tree = {"posterior": data, "sample_stats": data}

    class Tree(dict):
        pass

    nodes = Tree({k: xr.DataTree(v) for k, v in tree.items()})
    kept = _whole(nodes, plan)
    assert kept["posterior"].sizes["chain"] == 2
    x[:, 4] = np.nan
    with pytest.raises(KeyboardInterrupt):
        _whole(nodes, plan)


def test_ctrl_c_keeps_the_chains_that_are_finished():
    import _thread
    import signal
    from time import sleep

    evaluated = 0

    def density(x):
        nonlocal evaluated
        evaluated += 1
        if evaluated == 1500:  # in the second or third chain: a chain takes 300 draws of one to seven evaluations
            _thread.interrupt_main()
        if evaluated >= 1500:
            sleep(0.01)  # so that the other chains are not done before the interruption is seen
        return -0.5 * float(x @ x), -x

    plan = Plan(250, 50, 50, 0.9, "nutpie", 1, False)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored by what runs in the background
    try:
        x, stats = sample_density(density, np.zeros(2), plan)
    finally:
        signal.signal(signal.SIGINT, before)
    assert 1 <= len(x) < 50
    assert np.isfinite(x).all()
    assert stats["diverging"].shape == x.shape[:2] == (len(x), 250)


def test_an_interruption_is_said_in_the_fit(monkeypatch):
    whole = run.sample_density
    monkeypatch.setattr(run, "sample_density", lambda *a: tuple(_first_two(part) for part in whole(*a)))
    fit = run_estimator("hierarchical", random_design("(1 | g)"), Settings(), {"draws": 100, "tune": 100})
    assert fit.sampled.drawn.chains == 2
    assert any(w.startswith("Interrupted: these are the 2 of 4 chains") for w in fit.warnings)


def _first_two(part):
    return {k: v[:2] for k, v in part.items()} if isinstance(part, dict) else part[:2]


def test_variances_by_number():
    at = Variances((np.arange(6.0).reshape(3, 2),), (np.ones((3, 2, 2)),), np.arange(3.0), None)
    some = at.at(np.array([2, 0]))
    assert some.sd[0].tolist() == [[4.0, 5.0], [0.0, 1.0]]
    assert some.sigma.tolist() == [2.0, 0.0]
