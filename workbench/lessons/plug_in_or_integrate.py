"""Lesson 4. Plug in or integrate: run it by ``workbench lesson open 4``."""

import marimo

app = marimo.App(app_title="Plug in or integrate")


@app.cell
def _():
    import numpy as np
    import pandas as pd

    import workbench as wb
    from workbench.inference.spread_path import spread_path
    from workbench.lab.drawing import Area, Dots, Drawing, Line, Panel, Segments, Words, limits
    from workbench.lessons.asking import choose, guess, later, reveal
    from workbench.lessons.telling import numbers, opening, picture, say
    from workbench.plots.style import OWN, look
    from workbench.study import load_study
    from workbench.words import minus, percent, significant

    return (
        OWN, Area, Dots, Drawing, Line, Panel, Segments, Words, choose, guess, later, limits, load_study, look,
        minus, np, numbers, opening, pd, percent, picture, reveal, say, significant, spread_path, wb,
    )  # fmt: skip


@app.cell
def _(opening):
    opening(4)


@app.cell
def _(load_study, np, wb):
    schools = load_study("eight_schools")
    design = schools.design()
    table = wb.fit(schools.formula, schools.data, estimator="no_pooling", se=schools.se).coefficients
    names, own, error = list(table["level"]), table["estimate"].to_numpy(), table["std_error"].to_numpy()
    spread, noise = float(np.var(own, ddof=1)), float(np.mean(error**2))
    return design, error, names, noise, own, schools, spread


@app.cell
def _(error, minus, names, own, say):
    say(f"""
    ## Eight schools

    Eight schools coached their students for a test, and eight studies estimated what it did, in points. School
    {names[int(own.argmax())]} shows {own.max():g} points, school {names[int(own.argmin())]}
    {minus(f"{own.min():g}")}. Each estimate has a known standard error, between {error.min():g} and {error.max():g}
    points.

    A mixed model says: true effects differ by an SD of τ, and what is seen differs more, by the standard errors. How
    far to trust a school's own estimate depends on τ. But who tells τ? Eight numbers do. In the picture each has one
    standard error to both sides.
    """)


@app.cell
def _(Dots, Drawing, OWN, Panel, Segments, error, limits, names, np, own, picture):
    _y = np.arange(len(own), 0, -1.0)
    _panel = Panel(
        (Segments(own - error, _y, own + error, _y, OWN), Dots(own, _y, OWN, "x", size=6.0, names=tuple(names))),
        x=limits(own - error, own + error), y=(0.3, len(own) + 0.7), x_label="effect of coaching, points",
        y_ticks=tuple((float(at), f"school {name}") for at, name in zip(_y, names, strict=True)),
        height=250.0, left=90.0,
    )  # fmt: skip
    _alt = "; ".join(f"{name} {effect:g} ± {off:g}" for name, effect, off in zip(names, own, error, strict=True))
    picture(Drawing("schools", "Eight estimates, with one standard error to both sides", f"{_alt}.", ((_panel,),)))


@app.cell
def _(choose):
    zero_guess = choose(
        "zero",
        "What will REML say of τ, the SD between the schools' true effects?",
        ("zero", "above zero, but less than half of the smallest standard error", "more than that"),
    )
    zero_guess
    return (zero_guess,)


@app.cell
def _(error, noise, np, own, reveal, schools, significant, spread, wb, zero_guess):
    reml = wb.fit(schools.formula, schools.data, se=schools.se)
    tau = float(reml.components[0].sd[0])
    _options = zero_guess.question.options
    _centre = float(np.sum(own / error**2) / np.sum(1 / error**2))
    _q = float(np.sum(((own - _centre) / error) ** 2))
    reveal(
        zero_guess,
        _options[0] if tau == 0 else _options[1] if tau < error.min() / 2 else _options[2],
        f"""
        REML's τ is {significant(tau)}. The eight estimates have a variance of {significant(spread)}; noise alone
        would give about the mean squared standard error, {significant(noise)}, which is
        {"more" if noise > spread else "less"}. Weighted by precision, squared distances from the common mean sum to
        {significant(_q)}, where noise alone would give {len(own) - 1} on average. A spread between schools has
        nothing left to explain. It does not follow that there is none.
        """,
    )
    return reml, tau


@app.cell
def _(guess, names, own):
    best_guess = guess(
        "best",
        f"At REML's τ, what is the estimate for school {names[0]}, which showed {own[0]:g} points itself? (The picture "
        "helps.)",
        -5, 30, 0.1,
    )  # fmt: skip
    best_guess
    return (best_guess,)


@app.cell
def _(best_guess, names, reml, reveal, significant):
    plugged = reml.coefficients["estimate"].to_numpy()
    conditional = float(reml.standard_errors["conditional_sd"].iloc[0])
    reveal(
        best_guess,
        float(plugged[0]),
        f"""
        A school keeps τ² / (τ² + its squared standard error) of its own deviation: at τ = 0 nothing. Every school is
        put at {significant(float(plugged[0]))} points, their common mean. And the conditional SD of school {names[0]}'s
        deviation from that mean is {significant(conditional)}. Taken at its word: it is certain that school
        {names[0]} is like all others.
        """,
        near=1,
    )
    return (plugged,)


@app.cell
def _(say):
    say("""
    ## The τ axis

    *Plugging in* takes one τ for known and reads everything off there. But other values of τ explain the data, too.
    So ask two things of every τ:

    * What would the schools' estimates be, were this the right one? You will see them as lines: on
      the left all schools are one, on the right each goes to its own value.
    * How likely is it? REML's profile likelihood compares how well values of τ explain the data. Full Bayes
      multiplies a likelihood by a prior: here a half-Cauchy with scale 5 for τ, and a flat one for the common mean.
    """)


@app.cell
def _(design, np, schools, spread_path, wb):
    priors = {"(Intercept)": "Flat()", "sd(school)": "HalfCauchy(5)"}
    bayes = wb.fit(schools.formula, schools.data, estimator="exact", se=schools.se, priors=priors)
    posterior = bayes.posterior.deviation(0)
    low, median, high = posterior.quantile(np.array([0.025, 0.5, 0.975])).tolist()
    path = spread_path(design, 0, 0, 2 * high)
    return bayes, high, low, median, path, posterior, priors


@app.cell
def _(guess):
    at_five = guess(
        "at_five",
        "REML's τ has 100 % of the largest profile likelihood, by definition. How much of it does τ = 5 have (in %)?",
        0, 100, 1,
    )  # fmt: skip
    at_five
    return (at_five,)


@app.cell
def _(at_five, np, path, percent, reveal, significant):
    share = float(np.interp(5, path.at, path.relative))
    half = float(path.at[np.flatnonzero(path.relative >= 0.5)[-1]])
    reveal(
        at_five,
        100 * share,
        f"""
        At τ = 5 no more than {percent(1 - share)} of it is lost. It is down to half only at about τ =
        {significant(half, 2)}, and the 95 % profile interval runs from {significant(path.likely[0], 3)} to
        {significant(path.likely[1], 3)}. The maximum lies at zero, but the data do not insist on it.
        """,
        near=10,
    )


@app.cell
def _(
    Area, Dots, Drawing, Line, OWN, Panel, Words, at_five, high, later, limits, look, low, median, names, np,
    own, path, picture, posterior, significant,
):  # fmt: skip
    _end, _exact, _reml = float(path.tau[path.tau <= 2 * high][-1]), look("exact").colour, look("reml").colour
    _seen = path.tau <= _end
    _grid = np.unique([*np.linspace(0, _end, 200), low, high])
    _density = posterior.density(_grid)
    _mid = (_grid >= low) & (_grid <= high)
    _right = path.coefficients[_seen][-1]
    _order = np.argsort(_right)
    _at = _right.copy()
    for _k in range(1, len(_order)):  # names far enough from each other
        _at[_order[_k]] = max(_at[_order[_k]], _at[_order[_k - 1]] + 1.7)
    _upper = Panel(
        (
            *(Line(path.tau[_seen], path.coefficients[_seen, j], OWN, label="schools, given τ" * (j == 0))
              for j in range(len(own))),
            Line(path.tau[_seen], path.population[_seen], "muted", dash="6 4", label="common mean"),
            *(Words(1.02 * _end, float(_at[j]) - 0.3, names[j]) for j in range(len(own))),
        ),
        x=(-0.02 * _end, 1.08 * _end), y=limits(path.coefficients[_seen]), y_label="effect of coaching, points",
        height=330.0,
    )  # fmt: skip
    _lower = Panel(
        (
            Area(_grid[_mid], np.zeros(int(_mid.sum())), _density[_mid] / _density.max(), _exact,
                 label="posterior, its middle 95 %"),
            Line(_grid, _density / _density.max(), _exact),
            Line(path.at, path.relative, _reml, label="REML profile likelihood"),
            Dots(np.zeros(1), np.ones(1), _reml, look("reml").marker, size=8.0, label="REML"),
        ),
        x=(-0.02 * _end, 1.08 * _end), y=(-0.03, 1.12), x_label="τ, points", y_label="as a share of the largest",
        height=230.0,
    )  # fmt: skip
    _alt = (
        f"The lines fan out from one value at τ = 0 to between {significant(float(_right.min()), 3)} and "
        f"{significant(float(_right.max()), 3)} at {significant(_end, 3)}. Posterior median of τ "
        f"{significant(median, 3)}, its middle 95 % from {significant(low, 2)} to {significant(high, 3)}."
    )
    _told = picture(Drawing("tau", "Every school along τ, and how likely each τ is", _alt, ((_upper,), (_lower,))))
    later(at_five, _told)


@app.cell
def _(at_five, high, later, low, median, say, significant):
    _told = say(f"""
    The posterior of τ has its median at {significant(median, 3)} and its middle 95 % from {significant(low, 2)} to
    {significant(high, 3)} points. *Integrating* means: average the upper lines, each place weighted by the posterior
    below it. Uncertainty then has two parts: what is not known at every τ, and which τ it is.
    """)
    later(at_five, _told)


@app.cell
def _(choose, names):
    between_guess = choose(
        "between",
        f"Which estimate for school {names[0]} comes of integrating?",
        ("the plugged-in one", "one between the plugged-in one and its own", "its own"),
    )
    between_guess
    return (between_guess,)


@app.cell
def _(bayes, between_guess, names, np, own, path, plugged, posterior, reveal, significant):
    integrated = bayes.coefficients["estimate"].to_numpy()
    _middles = np.linspace(0.0005, 0.9995, 1000)  # of a thousand slices of the posterior, equally likely
    _taus = np.minimum(posterior.quantile(_middles), path.tau[-1])
    averaged = float(np.interp(_taus, path.tau, path.coefficients[:, 0]).mean())
    _options = between_guess.question.options
    _kept = (integrated[0] - plugged[0]) / (own[0] - plugged[0])
    reveal(
        between_guess,
        _options[0] if _kept < 0.01 else _options[2] if _kept > 0.99 else _options[1],
        f"""
        Full Bayes puts school {names[0]} at {significant(float(integrated[0]), 3)} points. Averaging its line in the
        picture over a thousand equally likely slices of the posterior gives {significant(averaged, 3)}: the same
        thing, done by hand.
        """,
    )
    return averaged, integrated


@app.cell
def _(bayes, between_guess, integrated, later, names, numbers, own, pd, plugged, reml):
    both = pd.DataFrame(
        {
            "school": names,
            "own value": own,
            "plugged in (REML)": plugged,
            "its conditional SD": reml.standard_errors["conditional_sd"].to_numpy(),
            "its coefficient SE": reml.coefficients["std_error"].to_numpy(),
            "integrated (full Bayes)": integrated,
            "its posterior SD": bayes.coefficients["std_error"].to_numpy(),
        }
    )
    _told = numbers(both, "Eight schools: estimates and their errors, in points", digits=3)
    later(between_guess, _told)
    return (both,)


@app.cell
def _(between_guess, both, later, say):
    _ratio = both["its posterior SD"] / both["its coefficient SE"]
    _told = say(f"""
    The conditional SD takes τ *and* the common mean for known. The coefficient SE knows that the mean is estimated.
    Only the posterior SD knows that τ is, too: it is {_ratio.min():.2g} to {_ratio.max():.2g} times the coefficient
    SE here.
    """)
    later(between_guess, _told)


@app.cell
def _(say):
    say("""
    ## Another table: dyestuff2

    Six batches, five samples of each, made up by Box and Tiao. Here the noise is not known, but estimated from the
    samples. Before REML there was the analysis of variance: on average the mean square within batches is σ², and
    that between them σ² + 5 τ². Set both equal to what is seen, and solve for τ².
    """)


@app.cell
def _(load_study, np, pd):
    dyes = load_study("dyestuff2")
    samples = pd.read_csv(dyes.data)
    _by = samples.groupby("Batch")["Yield"]
    each = int(_by.size().iloc[0])
    ms_between = float(each * _by.mean().var(ddof=1))
    ms_within = float(_by.var(ddof=1).mean())
    solved = (ms_between - ms_within) / each
    assert np.all(_by.size() == each)
    return dyes, each, ms_between, ms_within, solved


@app.cell
def _(each, guess, ms_between, ms_within, significant):
    solved_guess = guess(
        "solved",
        f"The mean square between batches is {significant(ms_between)}, within {significant(ms_within)}, with {each} "
        "samples per batch. What is τ² by that equation?",
        -20, 20, 0.01,
    )  # fmt: skip
    solved_guess
    return (solved_guess,)


@app.cell
def _(dyes, each, ms_between, ms_within, np, reveal, significant, solved, solved_guess, wb):
    _fit = wb.fit(dyes.formula, dyes.data)
    _bayes = wb.fit(dyes.formula, dyes.data, estimator="exact")
    _low, _median, _high = _bayes.posterior.deviation(0).quantile(np.array([0.025, 0.5, 0.975])).tolist()
    reveal(
        solved_guess,
        solved,
        f"""
        ({significant(ms_between)} − {significant(ms_within)}) / {each} = {significant(solved)}. No variance is
        negative, so REML stops at the nearest value that one can have:
        {significant(float(_fit.components[0].sd[0]))}. A zero of REML says "the best value is not above zero", not "I
        measured zero". Full Bayes has its median of τ at {significant(_median, 3)}, the middle 95 % from
        {significant(_low, 2)} to {significant(_high, 3)} (prior: {_bayes.priors["sd(Batch, (Intercept))"]}).
        """,
        near=0.1,
    )


@app.cell
def _(say):
    say("""
    ## What plugging in costs

    With one set of data nobody knows who is right. So let us make the truth ourselves: the eight schools with their
    standard errors, a common mean of 8 points and τ = 5. Draw true effects and estimates, fit, and ask whether each
    school's 95 % interval holds its true effect. Then again, 100 times.
    """)


@app.cell
def _(design, priors, wb):
    repeated = wb.coverage(
        design, truth={"(Intercept)": 8.0, "sd(school)": 5.0}, simulations=100, seed=1, estimators=["reml", "exact"],
        priors=priors,
    )  # fmt: skip
    kinds = repeated.summary.query("quantity == 'coefficient'").set_index("std_error_kind")
    return kinds, repeated


@app.cell
def _(guess):
    held_guess = guess(
        "held",
        "REML plugged in, with the conditional SD, promises 95 %. How many % of these intervals hold the true effect?",
        0, 100, 1,
    )  # fmt: skip
    held_guess
    return (held_guess,)


@app.cell
def _(held_guess, kinds, percent, repeated, reveal):
    _one = kinds.loc["conditional SD"]
    reveal(
        held_guess,
        100 * float(_one["coverage"]),
        f"""
        {percent(_one["coverage"])}, with a Monte Carlo error of {100 * _one["coverage_error"]:.1f} points from
        {repeated.simulations} repetitions. In {percent(_one["zero_width"])} of cases the interval has no width at
        all, because REML's τ is zero: although in every repetition the true one is
        {repeated.truth["sd(school, (Intercept))"]:g}.
        """,
        near=10,
    )


@app.cell
def _(held_guess, kinds, later, numbers, pd):
    _shown = ("conditional SD", "coefficient SE", "posterior SD")
    _rows = kinds.loc[list(_shown)]
    _told = numbers(
        pd.DataFrame(
            {
                "interval": [
                    f"{'REML' if n == 'reml' else 'full Bayes'}, {kind}" for kind, n in _rows["estimator"].items()
                ],
                "holds the truth, %": [float(v) for v in 100 * _rows["coverage"]],
                "± Monte Carlo": [float(v) for v in 100 * _rows["coverage_error"]],
                "mean width": [float(v) for v in _rows["width"]],
                "squared error": [float(v) for v in _rows["squared_error"]],
                "± Monte Carlo ": [float(v) for v in _rows["squared_error_error"]],
            }
        ),
        "95 % intervals of a school's true effect, over all repetitions",
        digits=3,
    )
    later(held_guess, _told)


@app.cell
def _(held_guess, kinds, later, say):
    _se, _bayes = kinds.loc["coefficient SE"], kinds.loc["posterior SD"]
    _short = (95 - 100 * _se["coverage"]) / (100 * _se["coverage_error"])
    _off = (100 * _bayes["coverage"] - 95) / (100 * _bayes["coverage_error"])
    _told = say(f"""
    The coefficient SE does far better, since it has the error of the common mean in it; it falls short of 95 % by
    {_short:.1f} Monte Carlo errors. Full Bayes lies {abs(_off):.1f} Monte Carlo errors
    {"above" if _off > 0 else "below"} it. It is not promised to hit 95 % at this very truth: its promise is for
    truths drawn from its prior.
    """)
    later(held_guess, _told)


@app.cell
def _(say):
    say("""
    ## When the prior matters

    Full Bayes needs a prior of τ, and two people may choose two. Take a sceptic, half-Cauchy with scale 1, and somebody
    open to large differences, half-Cauchy with scale 25. With eight schools they will differ. What if there were more
    schools, all with the same eight standard errors, drawn with a true τ of 5? Ten times and a hundred times as many?
    """)


@app.cell
def _(error, np, wb):
    _rng = np.random.default_rng(1)
    medians, exact_medians = {}, {}
    for _times, _finer in ((1, 1), (10, 1), (100, 1), (10, 4)):
        _se = np.tile(error / _finer, _times)
        _y = _rng.normal(_rng.normal(8, 5, len(_se)), _se)
        _data = {"y": _y, "se": _se, "school": [f"{k:03d}" for k in range(len(_se))]}
        for _scale in (1, 25):
            _priors = {"(Intercept)": "Flat()", "sd(school)": f"HalfCauchy({_scale})"}
            _fit = wb.fit("y ~ 1 + (1 | school)", _data, estimator="exact", se="se", priors=_priors)
            _found = _fit.posterior.deviation(0).quantile(np.array([0.025, 0.5, 0.975]))
            if _finer == 1:
                medians[len(_se), _scale] = _found
            else:
                exact_medians[_scale] = float(_found[1])
    _reml = wb.fit("y ~ 1 + (1 | school)", _data, se="se")  # of the last: many schools, measured well
    _sd = _fit.coefficients["std_error"]
    apart = float(((_fit.coefficients["estimate"] - _reml.coefficients["estimate"]).abs() / _sd).max())
    wider = float((_sd / _reml.standard_errors["conditional_sd"]).max())
    counts = sorted({many for many, _ in medians})
    return apart, counts, exact_medians, medians, wider


@app.cell
def _(choose, counts):
    agree_guess = choose(
        "agree",
        "From how many schools on do the two posterior medians of τ agree within 10 %?",
        (*(f"{many}" for many in counts), "not even then"),
    )
    agree_guess
    return (agree_guess,)


@app.cell
def _(agree_guess, counts, error, exact_medians, medians, reveal, significant):
    _ratio = {many: float(medians[many, 25][1] / medians[many, 1][1]) for many in counts}
    _better = exact_medians[25] / exact_medians[1]
    _enough = [many for many in counts if all(_ratio[more] < 1.1 for more in counts if more >= many)]
    _told = "; ".join(f"{significant(_ratio[many], 3)} with {many} schools" for many in counts)
    reveal(
        agree_guess,
        f"{_enough[0]}" if _enough else "not even then",
        f"""
        The larger median divided by the smaller: {_told}. What counts is not the number of groups alone. A school's
        standard error is {error.min() / 5:.1f} to {error.max() / 5:.1f} times τ here, so that one school says very
        little about τ. With {counts[1]} schools that are measured four times as exactly, the ratio is
        {significant(_better, 4)}.
        """,
    )


@app.cell
def _(agree_guess, counts, later, medians, numbers, pd):
    _told = numbers(
        pd.DataFrame(
            {
                "schools": counts,
                **{
                    f"scale {scale}: {name}": [float(medians[many, scale][place]) for many in counts]
                    for scale in (1, 25)
                    for name, place in (("from", 0), ("median", 1), ("to", 2))
                },
            }
        ),
        "Posterior of τ under half-Cauchy priors of two scales, its middle 95 % and median (true τ = 5)",
        digits=3,
    )
    later(agree_guess, _told)


@app.cell
def _(agree_guess, apart, counts, later, say, wider):
    _told = say(f"""
    And plugging in? For those {counts[1]} schools that are measured four times as exactly, REML and full Bayes (under
    the open prior) put no school farther apart than {apart:.2g} of its posterior SD, and no posterior SD is more than
    {wider:.2f} times the conditional SD. What is left of τ's uncertainty hardly matters there.
    """)
    later(agree_guess, _told)


@app.cell
def _(say):
    say("""
    ## To take along

    * A zero of REML is the end of a range, not a measurement. Look at how likely other values of τ are.
    * Plugging in takes τ for known. With few groups, intervals are then too narrow, and at zero they may have no width.
    * Integrating averages over τ; the price is a prior, which matters with few or badly measured groups.
    * With many groups, measured well, plugging in and integrating agree, and so do different priors.

    Go on with the lab's pages *The τ axis*, *What plugging in costs* and *At the boundary* (`workbench lab`), the
    report of the study `eight_schools`, or `wb.coverage` with a design of your own.
    """)


if __name__ == "__main__":
    app.run()
