"""Lesson 3. Where tau comes from: run it by ``workbench lesson open 3``."""

import marimo

app = marimo.App(app_title="Where tau comes from")


@app.cell
def _():
    import inspect
    from textwrap import dedent

    import numpy as np
    import pandas as pd
    from scipy.optimize import minimize_scalar
    from scipy.special import chdtri

    import workbench as wb
    from workbench.lab.drawing import Dots, Drawing, Line, Panel, Rule, limits
    from workbench.lessons.asking import choose, guess, later, reveal
    from workbench.lessons.telling import numbers, opening, picture, say
    from workbench.plots.style import look
    from workbench.reference import check_study
    from workbench.study import load_study
    from workbench.textbook import dense, profiled_ml, profiled_reml
    from workbench.words import significant

    return (
        Dots, Drawing, Line, Panel, Rule, check_study, chdtri, choose, dedent, dense, guess, inspect, later, limits,
        load_study, look, minimize_scalar, np, numbers, opening, pd, picture, profiled_ml, profiled_reml, reveal, say,
        significant, wb,
    )  # fmt: skip


@app.cell
def _(opening):
    opening(3)


@app.cell
def _(load_study, np, pd, wb):
    study = load_study("dyestuff")
    table = pd.read_csv(study.data)
    reml, ml = (wb.fit(study.formula, study.data, name) for name in ("reml", "ml"))
    by_batch = table.groupby("Batch")["Yield"]
    J, n = len(by_batch), int(by_batch.size().iloc[0])  # batches, samples of each
    assert np.all(by_batch.size() == n)
    return J, by_batch, ml, n, reml, study, table


@app.cell
def _(J, n, say):
    say(f"""
    ## A table of {J} × {n}

    Every mixed model prints a τ, the SD between groups. In this lesson you compute it yourself, twice: once with school
    arithmetic, once with the likelihood, as the programs do.

    The data are the yields, in grams, of {n} samples from each of {J} batches of dyestuff. The model says

        y = mean + effect of the batch + noise
        effect ~ N(0, τ²),   noise ~ N(0, σ²)
    """)


@app.cell
def _(by_batch, numbers, pd):
    shown = pd.DataFrame(
        {
            "batch": list(by_batch.groups),
            "yields": [", ".join(f"{value:g}" for value in part) for _, part in by_batch],
            "mean": by_batch.mean().to_numpy(),
            "variance within": by_batch.var().to_numpy(),
        }
    )
    numbers(shown, "Dyestuff", digits=5)


@app.cell
def _(by_batch, n, say, significant):
    msw, msb = float(by_batch.var().mean()), n * float(by_batch.mean().var())
    say(f"""
    Two numbers hold all that this table says about spreads.

    * **MSW**, the mean square within: the mean of the batches' own variances, {significant(msw, 6)}. Only noise is in
      it, so on average it is σ².
    * **MSB**, the mean square between: n times the variance of the batches' means, {significant(msb, 6)}. Means
      vary by τ² + σ² / n, so on average it is n τ² + σ².
    """)
    return msb, msw


@app.cell
def _(guess, msb, msw, n, significant):
    tau2_guess = guess(
        "tau2",
        f"MSB = {significant(msb, 6)}, MSW = {significant(msw, 6)}, n = {n}. Which τ² makes both averages true?",
        0, 20000, 1,
    )  # fmt: skip
    tau2_guess
    return (tau2_guess,)


@app.cell
def _(msb, msw, n, np, reml, reveal, significant, tau2_guess):
    tau2 = (msb - msw) / n
    fitted = reml.variance["vcov"].to_numpy()
    assert np.allclose(fitted, [tau2, msw], rtol=1e-9)
    reveal(
        tau2_guess,
        tau2,
        f"""
        Take one from the other:

            τ² = (MSB − MSW) / n = ({significant(msb, 6)} − {significant(msw, 6)}) / {n} = {significant(tau2, 6)}

        so τ = {significant(tau2**0.5)} grams, and σ² = MSW, so σ = {significant(msw**0.5)}.
        `wb.fit("{reml.design.formula}", ...)` gives
        τ² = {significant(fitted[0], 6)} and σ² = {significant(fitted[1], 6)}: REML is this arithmetic, where all groups
        are of one size and MSB is the larger of the two.
        """,
        near=20,
    )
    return (tau2,)


@app.cell
def _(say):
    say("""
    ## The likelihood needs a matrix

    Groups of unequal sizes, slopes, crossed factors: there the arithmetic ends. What always works is to ask which τ and
    σ make the data most likely. For that you need to know how any two rows vary together. By the model, a row's
    variance is σ² + τ². Two rows of one batch share its effect, so that their covariance is τ². Rows of different
    batches share nothing.

    All these go into a matrix with a row and a column for each sample, σ² V, with

        V = I + θ² Z Z',     θ = τ / σ

    where Z has a column for each batch, which is 1 in the batch's rows and 0 in others.
    """)


@app.cell
def _(J, guess, n):
    entries_guess = guess(
        "entries",
        f"V has {J * n} × {J * n} = {(J * n) ** 2} entries. How many are not zero, if τ is not?",
        0, (J * n) ** 2, 1,
    )  # fmt: skip
    entries_guess
    return (entries_guess,)


@app.cell
def _(J, entries_guess, msw, n, np, reveal, significant, table, tau2):
    y = table["Yield"].to_numpy(dtype=float)
    X = np.ones((len(y), 1))
    Z = (table["Batch"].to_numpy()[:, None] == np.unique(table["Batch"])).astype(float)
    theta_hat = (tau2 / msw) ** 0.5
    V = np.eye(len(y)) + theta_hat**2 * Z @ Z.T
    assert np.count_nonzero(V) == J * n**2
    reveal(
        entries_guess,
        float(np.count_nonzero(V)),
        f"""
        {J} blocks of {n} × {n} = {J * n**2}. On the diagonal stands 1 + θ² = {significant(V[0, 0])}, elsewhere in the
        blocks θ² = {significant(V[0, 1])} (at the τ and σ of above).
        """,
    )
    return V, X, Z, theta_hat, y


@app.cell
def _(Dots, Drawing, J, Panel, V, entries_guess, later, look, n, np, picture, significant):
    def _panel(matrix, title):
        row, column = np.nonzero(matrix)
        on = row == column
        marks = [
            Dots(column[part].astype(float), row[part].astype(float), colour, "s", size=size)
            for part, colour, size in ((~on, look("reml").colour, 3.5), (on, "ink", 4.5))
            if part.any()
        ]
        ends = tuple((n * (j + 0.5) - 0.5, "ABCDEF"[j]) for j in range(J))
        across, down = (-1.0, float(len(matrix))), (float(len(matrix)), -1.0)
        return Panel(tuple(marks), across, down, title=title, x_ticks=ends, y_ticks=ends, height=350.0, left=40.0)

    _nothing = np.eye(len(V))
    _drawing = picture(
        Drawing(
            "matrix", "V: which rows vary together",
            f"At τ = 0 only the diagonal is not zero, {np.count_nonzero(_nothing)} entries; at REML's τ "
            f"{np.count_nonzero(V)}, in blocks by batch, {significant(V[0, 1], 3)} off the diagonal.",
            ((_panel(_nothing, "at τ = 0"), _panel(V, "at REML's τ")),),
        )
    )  # fmt: skip
    later(entries_guess, _drawing)


@app.cell
def _(np):
    def criterion(theta, y, X, Z, restricted=True):
        n, p = X.shape
        V = np.eye(n) + theta**2 * Z @ Z.T
        V_inverse = np.linalg.inv(V)
        A = X.T @ V_inverse @ X
        b = np.linalg.solve(A, X.T @ V_inverse @ y)
        r = y - X @ b
        m = n - p if restricted else n
        sigma2 = r @ V_inverse @ r / m  # the best σ² for this θ
        value = m * (1 + np.log(2 * np.pi * sigma2))
        value += np.linalg.slogdet(V)[1]  # log|V|
        if restricted:
            value += np.linalg.slogdet(A)[1]  # log|X'V⁻¹X|
        return value, b, sigma2

    return (criterion,)


@app.cell
def _(criterion, dedent, inspect, say):
    _code = "".join("        " + line + "\n" for line in dedent(inspect.getsource(criterion)).split("\n"))
    say(f"""
    ## The criterion in a dozen lines

    Given θ, everything else has a formula: the mean b by least squares that know V (generalised
    least squares), σ² from the residuals. What is left
    is minus twice the log likelihood as a function of θ alone, the number that lme4 prints as "REML criterion at
    convergence":

        log|V| + log|X'V⁻¹X| + (N − p) (1 + log 2πσ²)
        σ² = r'V⁻¹r / (N − p)

    with N rows, p = 1 column in X (the mean), and residuals r = y − Xb. In NumPy:

{_code}
    The smaller it is, the more likely are the data. The search for τ is the search for its lowest point.
    """)


@app.cell
def _(guess):
    theta_guess = guess(
        "theta",
        "Think of the τ² and σ² of school arithmetic. At which θ = τ / σ do you expect the lowest point?",
        0, 5, 0.001,
    )  # fmt: skip
    theta_guess
    return (theta_guess,)


@app.cell
def _(
    X, Z, check_study, criterion, minimize_scalar, ml, np, reml, reveal, significant, study, theta_guess, theta_hat, y
):
    def lowest(y, X, Z, restricted=True, most=5.0):
        """The best θ: the lowest of a grid, then a search between its neighbours."""
        grid = np.linspace(0.0, most, 101)
        at = int(np.argmin([criterion(theta, y, X, Z, restricted)[0] for theta in grid]))
        low, high = grid[max(at - 1, 0)], grid[min(at + 1, len(grid) - 1)]
        found = minimize_scalar(
            lambda theta: criterion(theta, y, X, Z, restricted)[0], bounds=(low, high), method="bounded",
            options={"xatol": 1e-10},
        )  # fmt: skip
        return 0.0 if criterion(0.0, y, X, Z, restricted)[0] <= found.fun else float(found.x)

    theta_reml = lowest(y, X, Z)
    least, _, _sigma2 = criterion(theta_reml, y, X, Z)
    _lme4 = next(c for c in check_study(study, {"reml": reml, "ml": ml}) if c.quantity == "criterion")
    assert _lme4.estimator == "reml" and abs(least - _lme4.published) < 1e-7 and abs(least - reml.criterion) < 1e-7
    assert np.isclose(theta_reml, theta_hat, rtol=1e-5) and _lme4.source.startswith("lme4")
    reveal(
        theta_guess,
        theta_reml,
        f"""
        The search ends at θ = {significant(theta_reml)}, with σ² = {significant(_sigma2, 6)} and so
        τ = θσ = {significant(theta_reml * _sigma2**0.5)}: the closed form's. The criterion there is

            this lesson   {significant(least, 10)}
            wb.fit        {significant(reml.criterion, 10)}
            lme4          {significant(_lme4.published, 10)}
        """,
        near=0.02,
    )
    return least, lowest, theta_reml


@app.cell
def _(X, Z, criterion, dense, np, profiled_ml, profiled_reml, reml, say, significant, y):
    _model = dense(reml.design)
    _at = (0.1, 0.5, 1.0, 3.0)
    _off = max(
        abs(criterion(theta, y, X, Z, restricted)[0] - public(_model, np.array([theta])))
        for theta in _at
        for public, restricted in ((profiled_reml, True), (profiled_ml, False))
    )
    assert _off < 1e-9
    say(f"""
    The same lines, for any number of terms and with weights, stand in `workbench/textbook.py`; at {len(_at)} values of
    θ they give what yours give, within {significant(_off, 1)}. The estimator `reml_textbook` searches with them.
    (`reml` comes to the same numbers from cross-products, without any N × N matrix.)
    """)


@app.cell
def _(X, Z, criterion, later, np, numbers, pd, theta_guess, theta_reml, y):
    def terms(theta):
        value, _, sigma2 = criterion(theta, y, X, Z)
        A = X.T @ np.linalg.solve(np.eye(len(y)) + theta**2 * Z @ Z.T, X)
        return {
            "θ": float(theta),
            "log|V|": float(np.linalg.slogdet(np.eye(len(y)) + theta**2 * Z @ Z.T)[1]),
            "residuals' term": float((len(y) - 1) * (1 + np.log(2 * np.pi * sigma2))),
            "log|X'V⁻¹X|": float(np.linalg.slogdet(A)[1]),
            "criterion": float(value),
        }

    parts = pd.DataFrame([terms(theta) for theta in (0.0, 0.5, theta_reml, 1.5, 3.0)])
    assert np.all(np.diff(parts["log|V|"]) > 0) and np.all(np.diff(parts["residuals' term"]) < 0)
    later(theta_guess, numbers(parts, "The criterion and its three terms", digits=5))
    return (parts,)


@app.cell
def _(J, n, np, parts, say):
    assert np.allclose(parts["log|X'V⁻¹X|"], np.log(J * n / (1 + n * parts["θ"] ** 2)))
    say(f"""
    ## What makes it restricted

    Two terms pull against each other: a larger θ explains the residuals better, and log|V| charges for it. The third is
    what sets REML apart from plain maximum likelihood. In these data X'V⁻¹X is

        N / (1 + n θ²) = {J * n} / (1 + {n} θ²)

    which says how much the data tell about the mean. ML leaves the third term out, and divides by N where REML divides
    by N − p: it takes the mean for known.
    """)


@app.cell
def _(choose):
    ml_guess = choose(
        "ml", "Leave that term out. Where does τ go?", ("to a smaller value", "nowhere", "to a larger value")
    )
    ml_guess
    return (ml_guess,)


@app.cell
def _(J, X, Z, criterion, lowest, ml, ml_guess, msb, msw, n, np, reml, reveal, significant, tau2, y):
    theta_ml = lowest(y, X, Z, restricted=False)
    least_ml, _, _sigma2 = criterion(theta_ml, y, X, Z, restricted=False)
    tau_ml = theta_ml * _sigma2**0.5
    tau2_ml = ((J - 1) / J * msb - msw) / n
    assert np.isclose(tau_ml**2, tau2_ml, rtol=1e-5) and abs(least_ml - ml.criterion) < 1e-7
    assert np.isclose(ml.variance["vcov"][0], tau2_ml, rtol=1e-9)
    reveal(
        ml_guess,
        "to a smaller value" if tau_ml < tau2**0.5 else "to a larger value",
        f"""
        From {significant(tau2**0.5)} to {significant(tau_ml)}. The term falls as θ grows, so with it the lowest point
        lies farther out. In a balanced table ML is

            τ² = ((J − 1) / J × MSB − MSW) / n = {significant(tau2_ml, 6)}

        with J = {J}: ML divides the batches' sum of squares by J, where REML divides by J − 1. It is the old question
        of the variance of a sample, J or J − 1, one floor up. `wb.fit(..., estimator="ml")` agrees; its criterion is
        {significant(ml.criterion, 7)} (of another likelihood: do not compare it with REML's
        {significant(reml.criterion, 7)}).
        """,
    )
    return (tau_ml,)


@app.cell
def _(Dots, Drawing, Line, Panel, X, Z, criterion, limits, look, lowest, np, significant):
    def curves(y, most, key, title):
        """Both criteria above their least values, along τ."""
        marks, told, ends = [], [], 8.0
        for name, restricted in (("reml", True), ("ml", False)):
            thetas = np.linspace(0.0, most, 121)
            found = [criterion(theta, y, X, Z, restricted) for theta in thetas]
            best = lowest(y, X, Z, restricted)
            value, _, sigma2 = criterion(best, y, X, Z, restricted)
            taus = thetas * np.sqrt([part[2] for part in found])
            above = np.array([part[0] for part in found]) - value
            style, tau = look(name), float(best * sigma2**0.5)
            marks.append(Line(taus, np.where(above < 1.2 * ends, above, np.nan), style.colour, 2.2, label=name.upper()))
            marks.append(Dots(np.array([tau]), np.zeros(1), style.colour, style.marker, style.filled, 7.0))
            at_zero = f", and {significant(above[0], 3)} higher at 0" if tau else ""
            told.append(f"{name.upper()}'s is lowest at τ = {significant(tau)}{at_zero}")
        panel = Panel(
            tuple(marks), limits([0.0], taus[above < ends], room=0.04), (-0.06 * ends, ends),
            x_label="τ", y_label="criterion above its least value", height=320.0,
        )  # fmt: skip
        return Drawing(key, title, f"{'; '.join(told)}.", ((panel,),))

    picture_of = curves
    return (picture_of,)


@app.cell
def _(later, ml_guess, picture, picture_of, y):
    later(ml_guess, picture(picture_of(y, 5.0, "curves", "Dyestuff: the two criteria along τ")))


@app.cell
def _(X, Z, criterion, least, np, reml, say, significant, theta_reml, y):
    _, _b, _sigma2 = criterion(theta_reml, y, X, Z)
    _S = _sigma2 * (np.eye(len(y)) + theta_reml**2 * Z @ Z.T)
    _means = _b[0] + float(reml.fixed["std_error"][0]) * np.linspace(-10, 10, 2001)
    _r = y[:, None] - _means
    _log = -(len(y) * np.log(2 * np.pi) + np.linalg.slogdet(_S)[1] + np.sum(_r * np.linalg.solve(_S, _r), axis=0)) / 2
    _integral = -2 * (_log.max() + np.log(np.trapezoid(np.exp(_log - _log.max()), _means)))
    assert abs(_integral - least) < 1e-6
    say(f"""
    Where does the term come from? ML puts the mean at its best value. REML averages over all means: it
    integrates the likelihood over the mean, with a flat prior. Do it by brute force, with the likelihood at
    {len(_means):,} means between {significant(_means[0], 5)} and {significant(_means[-1], 5)}, summed up: minus
    twice the log is {significant(_integral, 8)}, and the criterion was {significant(least, 8)}. So even REML is a bit
    of a Bayesian.
    """)


@app.cell
def _(J, n, say):
    say(f"""
    ## Once, or always?

    One table cannot tell whether ML and REML always differ so. Make many: take the dyestuff's τ and σ as the truth,
    draw thousands of tables of {J} batches of {n}, and estimate each by both closed forms (zero where they are
    negative, as the programs do).
    """)


@app.cell
def _(J, guess):
    bias_guess = guess(
        "bias",
        f"With {J} batches: ML's τ², on average over all tables, is how many per cent of the true τ²?",
        0, 200, 1,
    )  # fmt: skip
    bias_guess
    return (bias_guess,)


@app.cell
def _(J, bias_guess, msw, n, np, pd, reveal, significant, tau2):
    def simulated(many, tables, rng):
        """τ² by REML and by ML of so many tables of so many batches, before negative ones are put at zero."""
        means = rng.normal(0.0, np.sqrt(tau2 + msw / n), (tables, many))
        between = n * means.var(axis=1, ddof=1)
        within = msw * rng.chisquare(many * (n - 1), tables) / (many * (n - 1))
        return (between - within) / n, ((many - 1) / many * between - within) / n

    _rng, tables = np.random.default_rng(3), 20_000
    _rows = []
    for _many in (3, J, 12, 50):
        _reml, _ml = simulated(_many, tables, _rng)
        _rows.append(
            {
                "batches": _many,
                "REML, % of the true τ²": 100 * float(np.maximum(_reml, 0).mean()) / tau2,
                "ML, % of the true τ²": 100 * float(np.maximum(_ml, 0).mean()) / tau2,
                "REML at zero, % of tables": 100 * float(np.mean(_reml <= 0)),
                "ML at zero, % of tables": 100 * float(np.mean(_ml <= 0)),
            }
        )
    by_number = pd.DataFrame(_rows)
    _answer = float(by_number.set_index("batches").loc[J, "ML, % of the true τ²"])
    _theory = 100 * (1 - (tau2 + msw / n) / (J * tau2))
    reveal(
        bias_guess,
        _answer,
        f"""
        {significant(_answer, 3)} %, over {tables:,} tables. By theory ML's closed form falls short by
        (τ² + σ² / n) / J on average, which leaves {significant(_theory, 3)} %; tables that would come out
        negative and are put at zero make it a little more.
        """,
        near=5,
    )
    return by_number, tables


@app.cell
def _(bias_guess, by_number, later, numbers, tables):
    later(bias_guess, numbers(by_number, f"{tables:,} tables each, with dyestuff's τ and σ as the truth", digits=3))


@app.cell
def _(bias_guess, by_number, later, np, say, significant):
    _reml, _ml = by_number["REML, % of the true τ²"].to_numpy(), by_number["ML, % of the true τ²"].to_numpy()
    _first = by_number.iloc[0]
    assert np.all(np.abs(_reml - 100) < np.abs(_ml - 100)) and np.all(np.diff(_ml) > 0)
    assert np.all(by_number["ML at zero, % of tables"] >= by_number["REML at zero, % of tables"])
    _few = say(f"""
    ML's bias is a matter of few groups: with {by_number["batches"].iloc[-1]} it is nearly gone
    ({significant(_ml[-1], 3)} %). REML is right on average, but for the tables that it puts at zero. With few batches
    those are not rare: with {_first["batches"]:g} batches {significant(_first["REML at zero, % of tables"], 2)} % of
    tables say that batches do not differ, although they do.
    """)
    later(bias_guess, _few)


@app.cell
def _(X, Z, load_study, n, np, pd, say, significant, table, wb):
    second = load_study("dyestuff2")
    _table = pd.read_csv(second.data)
    assert _table["Batch"].tolist() == table["Batch"].tolist()  # so that X and Z are the same
    y2 = _table["Yield"].to_numpy(dtype=float)
    _by = _table.groupby("Batch")["Yield"]
    msw2, msb2 = float(_by.var().mean()), n * float(_by.mean().var())
    reml2, bayes2 = (wb.fit(second.formula, second.data, name) for name in ("reml", "exact"))
    assert np.array_equal(reml2.design.X, X) and Z.shape == (len(y2), _by.ngroups)
    say(f"""
    ## At the boundary

    There is a second table of this kind, `dyestuff2`, of the same size. Its mean squares are

        MSB = {significant(msb2)},     MSW = {significant(msw2)}

    The batches' means vary less than noise alone makes means of {n} vary on average.
    """)
    return bayes2, msb2, msw2, reml2, y2


@app.cell
def _(choose):
    zero_guess = choose(
        "zero",
        "What do REML programs report as τ² here?",
        ("a negative number, (MSB − MSW) / n", "zero", "a small positive number"),
    )
    zero_guess
    return (zero_guess,)


@app.cell
def _(X, Z, criterion, lowest, msb2, msw2, n, np, reml2, reveal, significant, y2, zero_guess):
    negative, reported = (msb2 - msw2) / n, float(reml2.variance["vcov"][0])
    assert negative < 0 and lowest(y2, X, Z) == 0 and reported == 0
    _least, _, _sigma2 = criterion(0.0, y2, X, Z)
    assert abs(_least - reml2.criterion) < 1e-7 and np.isclose(_sigma2, reml2.sigma**2, rtol=1e-9)
    reveal(
        zero_guess,
        "zero",
        f"""
        The arithmetic gives {significant(negative, 3)}, which is no variance. The likelihood knows τ ≥ 0 only, and
        among these values 0 is its best: the search of this lesson ends there, and so does `wb.fit`. All the spread
        then counts as noise: σ² = {significant(_sigma2)}, not MSW, and every batch is put at the common mean.
        """,
    )


@app.cell
def _(later, picture, picture_of, y2, zero_guess):
    later(zero_guess, picture(picture_of(y2, 2.0, "curves2", "Dyestuff2: the two criteria along τ")))


@app.cell
def _(X, Z, bayes2, chdtri, criterion, later, np, reml2, say, significant, y2, zero_guess):
    _drop = float(chdtri(1, 0.05))
    _thetas = np.linspace(0, 2, 401)
    _found = [criterion(theta, y2, X, Z) for theta in _thetas]
    _allowed = np.array([part[0] - reml2.criterion for part in _found]) < _drop
    _last = int(np.flatnonzero(_allowed)[-1])
    assert _allowed[: _last + 1].all() and _last < len(_thetas) - 1
    _tau = float(_thetas[_last] * _found[_last][2] ** 0.5)
    _posterior = bayes2.posterior.parameter("sd(Batch, (Intercept))")
    _median = float(_posterior.quantile([0.5])[0])
    _flat = say(f"""
    The curve is lowest at its left end, but look how slowly it rises. Up to τ = {significant(_tau, 3)} it is less than
    {significant(_drop, 3)} above its least value, which is what a 95 % profile interval allows; σ is
    {significant(reml2.sigma, 3)}. So "τ = 0" here means: somewhere between nothing and
    {significant(100 * _tau / reml2.sigma, 2)} % of σ. Full Bayes, which does not settle on one τ, has a posterior
    median of {significant(_median, 3)} under the default priors.
    """)
    later(zero_guess, _flat)


@app.cell
def _(say):
    say("""
    ## To take along

    * τ² is what is left of the spread between groups' means when noise is taken off: in a balanced table
      (MSB − MSW) / n.
    * In general τ is where a criterion is lowest, and that takes a dozen lines: V, least squares, two determinants.
    * log|X'V⁻¹X| makes it restricted: the mean is integrated out, not put at its best. Without it τ comes out too
      small, the more so the fewer the groups.
    * Zero is where the search ends when the lowest point would be negative. It is an estimate, and not a finding
      that groups do not differ.

    Go on with the lab's pages *The τ axis* and *At the boundary* (`workbench lab`), with the report of `dyestuff2`
    (`workbench run dyestuff2`), or with `wb.profile`, which gives τ an interval, on your own data.
    """)


if __name__ == "__main__":
    app.run()
