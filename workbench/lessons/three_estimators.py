"""Lesson 2. Three estimators, one likelihood: run it by ``workbench lesson open 2``."""

import marimo

app = marimo.App(app_title="Three estimators, one likelihood")


@app.cell
def _():
    from os.path import commonprefix

    import numpy as np
    import pandas as pd

    import workbench as wb
    from workbench.lab.drawing import Dots, Drawing, Line, Panel, Rule, Segments, limits
    from workbench.lessons.asking import choose, guess, later, reveal
    from workbench.lessons.telling import numbers, opening, picture, say
    from workbench.plots.style import OWN, look
    from workbench.study import load_study
    from workbench.words import significant

    return (
        Dots, Drawing, Line, OWN, Panel, Rule, Segments, choose, commonprefix, guess, later, limits, load_study,
        look, np, numbers, opening, pd, picture, reveal, say, significant, wb,
    )  # fmt: skip


@app.cell
def _(opening):
    opening(2)


@app.cell
def _(load_study, np, wb):
    dyestuff = load_study("dyestuff")
    _options = {"exact": {"draws": 1000}}
    reml, fixed, bayes, raw = (
        wb.fit(dyestuff.formula, dyestuff.data, name, options=_options.get(name))
        for name in ("reml", "fixed_prior", "exact", "no_pooling")
    )
    batches = raw.coefficients["level"].tolist()
    own = raw.coefficients["estimate"].to_numpy()
    points = {fit.estimator: fit.coefficients["estimate"].to_numpy() for fit in (reml, fixed, bayes)}
    tau, sigma, mean = float(reml.variance["sdcor"][0]), reml.sigma, float(reml.fixed["estimate"][0])
    per_batch = int(raw.coefficients["n"][0])
    assert np.all(raw.coefficients["n"] == per_batch)
    return batches, bayes, dyestuff, fixed, mean, own, per_batch, points, raw, reml, sigma, tau


@app.cell
def _(batches, mean, per_batch, say, sigma, significant, tau):
    say(f"""
    ## One likelihood, used three times

    A dye works measured the yield of {per_batch} samples from each of {len(batches)} batches of one product, in grams.
    How good is each batch?

        y = mean + effect of the batch + noise
        effect ~ N(0, τ²),   noise ~ N(0, σ²)

    This model has one likelihood, and three people use it in three ways.

    * **Maximise.** REML (`lme4::lmer`) finds the τ and σ that make the data most likely, and estimates the batches at
      these. Here τ = {significant(tau)} and σ = {significant(sigma)}, and the common mean is
      {significant(mean, 5)}.
    * **Plug in.** A regression with one coefficient per batch is given the fixed prior N({significant(mean, 5)},
      {significant(tau)}²): REML's mean and SD, as if known beforehand. `arm::bayesglm` does this when it is told
      the two. It estimates σ itself.
    * **Integrate.** Full Bayes puts priors on mean, τ and σ and averages over all values that the data allow; here by
      quadrature (`exact`), without simulation noise.
    """)


@app.cell
def _(choose):
    apart_guess = choose(
        "apart",
        "Maximise or plug in: how far do the two put a batch apart, at the most?",
        ("more than 10 grams", "between 1 and 10 grams", "less than 1 gram"),
    )
    apart_guess
    return (apart_guess,)


@app.cell
def _(apart_guess, batches, commonprefix, mean, np, own, per_batch, points, reveal, sigma, significant, tau):
    precision = per_batch / sigma**2, 1 / tau**2
    mode = (own * precision[0] + mean * precision[1]) / sum(precision)
    off = float(np.abs(mode - points["reml"]).max())
    assert off < 1e-9 * mean
    share = tau**2 / (tau**2 + sigma**2 / per_batch)
    apart = float(np.abs(points["reml"] - points["fixed_prior"]).max())
    where = batches[int(np.abs(points["reml"] - points["fixed_prior"]).argmax())]
    _typed = [[f"{value:.9f}" for value in points[name]] for name in ("reml", "fixed_prior")]
    digits = min(len(commonprefix(pair).replace(".", "")) for pair in zip(*_typed, strict=True))
    reveal(
        apart_guess,
        "more than 10 grams" if apart > 10 else "less than 1 gram" if apart < 1 else "between 1 and 10 grams",
        f"""
        {significant(apart)} grams, in batch {where}: in every batch the first {digits} digits agree. It has to be so.
        Under the prior N(m, τ²) the mode of a batch is the mean of two numbers, weighted by their precisions:

            mode = (own mean × n / σ² + m / τ²) / (n / σ² + 1 / τ²)
                 = m + share × (own mean − m)
            share = τ² / (τ² + σ² / n) = {significant(share)}

        The second line is REML's estimate of the batch. Put REML's mean, τ and σ into the first line, and
        you get REML's batches: the largest difference is {significant(off, 2)} grams.
        """,
    )
    return (apart,)


@app.cell
def _(apart_guess, later, say):
    _where = say("""
    ## Where the last tenth of a gram comes from

    Formula, mean and τ are the same, so it must be σ². REML knows that it has estimated the mean from these very data.
    To the fixed prior, the mean is a constant that came from outside.
    """)
    later(apart_guess, _where)


@app.cell
def _(choose, sigma, significant):
    dispersion_guess = choose(
        "dispersion",
        f"REML's σ² is {significant(sigma**2, 6)}. Which σ² does the regression with the fixed prior estimate?",
        ("a smaller one", "the same", "a larger one"),
    )
    dispersion_guess
    return (dispersion_guess,)


@app.cell
def _(dispersion_guess, fixed, np, own, points, reml, reveal, sigma, significant):
    smaller = fixed.sigma**2
    assert np.all(np.abs(own - points["fixed_prior"]) < np.abs(own - points["reml"]))
    parts = {
        "fixed prior": (fixed.residuals, fixed.coefficients["std_error"]),
        "REML": (reml.residuals, reml.standard_errors["coefficient_se"]),
    }
    balance = {name: (float(np.mean(e**2)), float(np.mean(error**2))) for name, (e, error) in parts.items()}
    for _name, _sigma in (("fixed prior", fixed.sigma), ("REML", sigma)):
        assert np.isclose(sum(balance[_name]), _sigma**2, rtol=1e-9)
    _lines = "\n".join(
        f"            {name:<12} {significant(e, 6)} + {significant(error, 5)} = {significant(e + error, 6)}"
        for name, (e, error) in balance.items()
    )
    reveal(
        dispersion_guess,
        "a smaller one" if smaller < sigma**2 else "a larger one",
        f"""
        {significant(smaller, 6)}. Both obey the same equation: σ² is the mean squared residual, plus how far a batch's
        estimate may itself be off (the mean of its squared standard errors).

{_lines}

        The fixed prior counts a smaller error for each batch, because to it the mean has none. With its smaller σ² it
        shrinks the batches a little less.
        """,
    )
    return


@app.cell
def _(dyestuff, np, points, sigma, wb):
    held = wb.fit(dyestuff.formula, dyestuff.data, "fixed_prior", options={"dispersion": "reml"})
    left = float(np.abs(held.coefficients["estimate"] - points["reml"]).max())
    assert held.sigma == sigma and left < 1e-9
    return held, left


@app.cell
def _(load_study, np, wb):
    twelve = load_study("twelve_groups")
    twelve_reml, twelve_fixed, twelve_bayes = (
        wb.fit(twelve.formula, twelve.data, name) for name in ("reml", "fixed_prior", "exact")
    )
    twelve_apart = float(np.abs(twelve_reml.coefficients["estimate"] - twelve_fixed.coefficients["estimate"]).max())
    twelve_tau = float(twelve_reml.variance["sdcor"][0])
    rows = twelve_reml.design.n
    assert twelve_apart < 1e-3 * twelve_tau
    return rows, twelve_apart, twelve_bayes, twelve_reml, twelve_tau


@app.cell
def _(apart, dispersion_guess, later, left, rows, say, significant, twelve_apart, twelve_tau):
    _so = say(f"""
    Hold the fixed prior's σ² at REML's, and {significant(apart)} grams become {significant(left)}. So the gap was the
    convention for σ², and nothing else. The better the data pin σ² down, the less it matters: in the twelve groups of
    lesson 1, which have {rows} rows, it is {significant(twelve_apart, 2)}, where τ is {significant(twelve_tau, 3)}.

    **REML's estimates of groups are those of a Bayesian with a fixed prior.** That is why it is called empirical
    Bayes: the prior is estimated from the same data. The points do not tell the two apart. The errors do.
    """)
    later(dispersion_guess, _so)
    return


@app.cell
def _(reml, say, significant):
    mean_se = float(reml.fixed["std_error"][0])
    say(f"""
    ## Three standard errors

    An estimate of a batch can be off for three reasons: its own samples are few, the mean is estimated (its standard
    error is {significant(mean_se)}), and τ and σ are estimated. `fit.standard_errors` has three errors, which count
    different reasons:

    * **conditional SD**: the error of a batch, were the mean known. Counts few samples.
    * **effect prediction SE**: the error of the effect, batch less mean. Counts few samples and the estimated mean.
    * **coefficient SE**: the error of the batch itself, mean plus effect. Counts the same two.

    None of the three counts the third reason.
    """)
    return (mean_se,)


@app.cell
def _(held, np, per_batch, reml, sigma, tau):
    errors = reml.standard_errors.iloc[0]
    plugged_error = float(held.coefficients["std_error"][0])
    share_kept = tau**2 / (tau**2 + sigma**2 / per_batch)
    assert np.isclose(plugged_error, tau * np.sqrt(1 - share_kept), rtol=1e-9)
    return errors, plugged_error, share_kept


@app.cell
def _(choose):
    which_guess = choose(
        "which",
        "Hold the fixed prior's σ² at REML's, so that its points are REML's. Which of the three is its standard error "
        "of a batch?",
        ("the conditional SD", "the effect prediction SE", "the coefficient SE"),
    )
    which_guess
    return (which_guess,)


@app.cell
def _(errors, np, plugged_error, reveal, share_kept, significant, tau, which_guess):
    _names = {
        "conditional_sd": "the conditional SD",
        "effect_prediction_se": "the effect prediction SE",
        "coefficient_se": "the coefficient SE",
    }
    _same = [name for name in _names if np.isclose(errors[name], plugged_error, rtol=1e-9)]
    assert len(_same) == 1
    reveal(
        which_guess,
        _names[_same[0]],
        f"""
        It is {significant(plugged_error)}, and so is REML's conditional SD. To a fixed prior the mean is known: nothing
        else can be counted. With share = {significant(share_kept)} it is

            τ × √(1 − share) = {significant(tau)} × √{significant(1 - share_kept)} = {significant(plugged_error)}

        REML's coefficient SE of the same batch is {significant(errors["coefficient_se"])}. The points are equal, the
        intervals are not: whoever plugs in forgets that the prior's mean was estimated.
        """,
    )
    return


@app.cell
def _(choose, share_kept, significant):
    larger_guess = choose(
        "larger",
        f"A batch keeps a share of {significant(share_kept, 2)} of its own deviation. Which is larger in the dyestuff?",
        ("the effect prediction SE", "the coefficient SE", "they are equal"),
    )
    larger_guess
    return (larger_guess,)


@app.cell
def _(errors, larger_guess, mean_se, np, plugged_error, reveal, share_kept, significant):
    by_hand = {
        "effect": np.sqrt(plugged_error**2 + (share_kept * mean_se) ** 2),
        "coefficient": np.sqrt(plugged_error**2 + ((1 - share_kept) * mean_se) ** 2),
    }
    _few, _of_mean = significant(plugged_error), significant(mean_se)
    _share, _rest = significant(share_kept), significant(1 - share_kept)
    assert np.isclose(by_hand["effect"], errors["effect_prediction_se"], rtol=1e-9)
    assert np.isclose(by_hand["coefficient"], errors["coefficient_se"], rtol=1e-9)
    reveal(
        larger_guess,
        "the effect prediction SE" if by_hand["effect"] > by_hand["coefficient"] else "the coefficient SE",
        f"""
        If the mean is wrong by d, the batch's estimate, mean + share × (own mean − mean), is wrong by (1 − share) × d,
        and the effect's, share × (own mean − mean), by share × d. So

            effect prediction SE = √({_few}² + ({_share} × {_of_mean})²) = {significant(by_hand["effect"])}
            coefficient SE       = √({_few}² + ({_rest} × {_of_mean})²) = {significant(by_hand["coefficient"])}

        A batch that keeps most of its own deviation hardly leans on the mean. Its *distance* from the mean does.
        """,
    )  # fmt: skip
    return


@app.cell
def _(larger_guess, later, numbers, pd, twelve_reml):
    twelve_errors = pd.DataFrame(twelve_reml.standard_errors).drop_duplicates("n")
    by_group_size = pd.DataFrame(
        {
            "samples in the group": twelve_errors["n"].astype(int),
            "conditional SD": twelve_errors["conditional_sd"],
            "effect prediction SE": twelve_errors["effect_prediction_se"],
            "coefficient SE": twelve_errors["coefficient_se"],
        }
    )
    later(larger_guess, numbers(by_group_size, "The twelve groups: the same three errors, by REML"))
    return (by_group_size,)


@app.cell
def _(by_group_size, larger_guess, later, say):
    _first = by_group_size.set_index("samples in the group")
    _more = _first["coefficient SE"] > _first["effect prediction SE"]
    assert _more[_first.index.min()] and not _more[_first.index.max()]
    _other = say(f"""
    In the groups of {_first.index.min()}, which keep next to nothing of their own, it is the other way round: their
    estimate is nearly the common mean, with nearly all of its error. lme4's `condVar` is the square of the first
    error: an interval for a *group* made of it leaves the mean's error out.
    """)
    later(larger_guess, _other)


@app.cell
def _(say):
    say("""
    ## What integrating adds

    The third reason is left: τ and σ are estimated, from six batches. Full Bayes averages over all that the data allow,
    and its 95 % interval leaves 2½ % of the posterior out at each end.
    """)


@app.cell
def _(batches, guess, points):
    best = batches[int(points["reml"].argmax())]
    wider_guess = guess(
        "wider",
        f"By how many per cent is full Bayes's 95 % interval for batch {best}, the highest, wider than the fixed "
        "prior's?",
        0, 200, 1,
    )  # fmt: skip
    wider_guess
    return best, wider_guess


@app.cell
def _(batches, bayes, best, fixed, mean, np, own, reml, reveal, significant, wider_guess):
    widths = {
        fit.estimator: (fit.coefficients["conf_high"] - fit.coefficients["conf_low"]).to_numpy()
        for fit in (reml, fixed, bayes)
    }
    more = 100 * (widths["exact"] / widths["fixed_prior"] - 1)
    _at = batches.index(best)
    assert int(more.argmin()) == int(np.abs(own - mean).argmin())
    assert np.all(widths["exact"] > widths["reml"]) and np.all(widths["reml"] > widths["fixed_prior"])
    reveal(
        wider_guess,
        float(more[_at]),
        f"""
        {significant(widths["exact"][_at])} grams against {significant(widths["fixed_prior"][_at])}. Of the six batches
        batch {batches[int(more.argmin())]} gains least, {significant(float(more.min()), 2)} %: it lies nearest to the
        mean, so that it hardly matters how much it is shrunk. REML's interval from its coefficient SE,
        {significant(widths["reml"][_at])} grams wide, lies between the two: it counts the mean, not τ and σ.
        """,
        near=8,
    )
    return


@app.cell
def _(
    Dots,
    Drawing,
    OWN,
    Panel,
    Rule,
    Segments,
    batches,
    bayes,
    fixed,
    later,
    limits,
    look,
    mean,
    np,
    own,
    picture,
    reml,
    significant,
    wider_guess,
):
    _rows = np.arange(len(batches), 0, -1, dtype=float)
    _marks = [Rule(mean, "muted", dash="6 4", label="common mean (REML)")]
    _ends, _told = [own], []
    for _fit, _label, _up in ((fixed, "fixed prior", 0.22), (reml, "REML", 0.0), (bayes, "full Bayes", -0.22)):
        _look, _table = look(_fit.estimator), _fit.coefficients
        _low, _high = _table["conf_low"].to_numpy(), _table["conf_high"].to_numpy()
        _marks.append(Segments(_low, _rows + _up, _high, _rows + _up, _look.colour, width=2.0))
        _marks.append(
            Dots(
                _table["estimate"].to_numpy(), _rows + _up, _look.colour, _look.marker, _look.filled, 5.0, label=_label
            )
        )
        _ends += [_low, _high]
        _told.append(f"{_label} {significant(float(np.mean(_high - _low)))}")
    _marks.append(Dots(own, _rows, OWN, "x", size=4.5, label="own mean"))
    _drawing = picture(
        Drawing(
            "intervals",
            "Six batches, three estimators: estimates and 95 % intervals",
            f"Mean widths of the intervals in grams: {', '.join(_told)}.",
            (
                (
                    Panel(
                        tuple(_marks), limits(*_ends), (0.4, len(batches) + 0.6), x_label="yield, grams",
                        y_ticks=tuple((at, f"batch {name}") for at, name in zip(_rows.tolist(), batches, strict=True)),
                        height=380.0, left=78.0,
                    ),
                ),
            ),
        )
    )  # fmt: skip
    later(wider_guess, _drawing)


@app.cell
def _(batches, bayes, later, mean, np, numbers, own, pd, per_batch, reml, wider_guess):
    from workbench.priors import parse_prior

    drawn = bayes.sampled.drawn
    _tau2, _sigma2 = drawn.sd[0].ravel()[:, None] ** 2, drawn.sigma.ravel()[:, None] ** 2
    _prior_mean, _prior_sd = parse_prior(bayes.priors["(Intercept)"]).values
    _of_mean = _tau2 + _sigma2 / per_batch  # variance of a batch's own mean about the common one
    _mean_var = 1 / (len(own) / _of_mean + 1 / _prior_sd**2)
    _mean = _mean_var * (own.sum() / _of_mean + _prior_mean / _prior_sd**2)
    _share = _tau2 / _of_mean
    given = _mean + _share * (own - _mean), _tau2 * (1 - _share) + (1 - _share) ** 2 * _mean_var
    inside, between = np.mean(given[1]), np.var(given[0], axis=0)
    posterior = bayes.coefficients["std_error"].to_numpy() ** 2
    assert np.allclose(inside + between, posterior, rtol=0.05)
    assert np.array_equal(np.argsort(between), np.argsort(np.abs(own - mean)))
    by_part = pd.DataFrame(
        {
            "batch": batches,
            "mean variance, τ and σ given": np.full(len(own), inside),
            "variance of the estimate as τ and σ vary": between,
            "sum": inside + between,
            "posterior variance": posterior,
            "REML's coefficient SE²": reml.standard_errors["coefficient_se"].to_numpy() ** 2,
        }
    )
    _caption = f"Full Bayes's variance of a batch in two parts, from {len(_tau2):,} draws of τ and σ"
    later(wider_guess, numbers(by_part, _caption, digits=3))
    return (by_part,)


@app.cell
def _(by_part, later, say, wider_guess):
    _part = by_part["variance of the estimate as τ and σ vary"]
    _most = by_part.loc[_part.idxmax(), "batch"]
    _sum = say(f"""
    REML's standard error has the first part alone, at one τ and one σ. The second is what it leaves out: how far a
    batch's estimate wanders as τ and σ vary. It is largest in batch {_most}: the farther a batch's own mean lies from
    the common one, the more it matters how much it is shrunk.
    """)
    later(wider_guess, _sum)


@app.cell
def _(say):
    say("""
    ## Why the points of full Bayes differ

    Full Bayes's points are not REML's. Three causes can be taken away one after the other, everything computed anew:

    1. **Integrating.** Put τ and σ at their posterior means instead of averaging over them.
    2. **Mean against mode.** Put them at the peak of their posterior instead of its mean: posteriors of SDs are skewed.
    3. **Priors.** Drop them. The peak is now that of the restricted likelihood, which is REML.

    `comparison.explain_gap("exact", "reml")` does so. The priors here are the workbench's weakly informative defaults.
    """)


@app.cell
def _(bayes, np, reml, twelve_bayes, twelve_reml):
    from workbench.gap import explain_gap

    gaps = {
        "twelve groups": explain_gap(twelve_bayes, twelve_reml, twelve_reml),
        "dyestuff": explain_gap(bayes, reml, reml),
    }
    left_over, farthest = {}, {}
    for _name, _gap in gaps.items():
        assert _gap.explained
        assert [step.cause for _, step in _gap.steps] == [
            "integrated versus plugged-in variance", "mean versus mode", "priors",
        ]  # fmt: skip
        _apart = np.array([parts[0][:, 0] for parts in _gap.gaps])  # step, group: full Bayes less REML
        _at = int(np.abs(_apart[0]).argmax())
        farthest[_name] = _gap.design.blocks[0].levels[_at], float(_apart[0, _at])
        left_over[_name] = 100 * _apart[:, _at] / _apart[0, _at]
    return farthest, left_over


@app.cell
def _(farthest, guess, significant):
    priors_guess = guess(
        "priors",
        f"In the twelve groups the two lie farthest apart in group {farthest['twelve groups'][0]}, by "
        f"{significant(abs(farthest['twelve groups'][1]), 3)}. How many per cent of that, in either direction, are "
        "left for the last step, the priors?",
        0, 100, 1,
    )  # fmt: skip
    priors_guess
    return (priors_guess,)


@app.cell
def _(farthest, left_over, priors_guess, reml, reveal, significant):
    _twelve, _dye = (abs(float(left_over[name][2])) for name in ("twelve groups", "dyestuff"))
    reveal(
        priors_guess,
        _twelve,
        f"""
        {significant(_twelve, 2)} %. In the dyestuff, with six batches and {reml.design.n} rows, the two lie farthest
        apart in batch {farthest["dyestuff"][0]}, by {significant(abs(farthest["dyestuff"][1]), 3)} grams, and
        {significant(_dye, 2)} % of it is left for the priors. "Full Bayes differs from REML because of its priors" can
        be right or wrong: it has to be computed, for the data at hand.
        """,
        near=5,
    )
    return


@app.cell
def _(Dots, Drawing, Line, Panel, Rule, farthest, later, left_over, limits, np, picture, priors_guess, significant):
    _steps = ["as fitted", "not integrated", "mode, not mean", "no priors"]
    _marks, _told = [Rule(0.0, "muted", across=True, dash="2 4")], []
    for (_name, _part), _colour, _shape in zip(left_over.items(), ("#0072B2", "#D55E00"), ("o", "s"), strict=True):
        _x, _label = np.arange(len(_part), dtype=float), f"{_name}, {farthest[_name][0]}"
        _marks += [Line(_x, _part, _colour), Dots(_x, _part, _colour, _shape, label=_label)]
        _told.append(f"{_label}: {', '.join(significant(v, 3) for v in _part)}")
    _panel = Panel(
        tuple(_marks), (-0.4, 3.4), limits(*left_over.values()), y_label="% of the distance that is left",
        x_ticks=tuple((float(k), text) for k, text in enumerate(_steps)), height=310.0,
    )  # fmt: skip
    _drawing = picture(
        Drawing(
            "gap", "From full Bayes to REML, one cause after the other",
            f"Percentages left after each step. {'; '.join(_told)}.", ((_panel,),),
        )
    )  # fmt: skip
    later(priors_guess, _drawing)


@app.cell
def _(later, left_over, priors_guess, say, significant):
    _over = float(left_over["dyestuff"][1])
    assert _over < 0 < float(left_over["dyestuff"][2])
    _end = say(f"""
    At the end nothing is left: these causes are all there is. On the way a step may go too far: in the dyestuff the
    first leaves {significant(_over, 2)} %, on the other side of REML. So causes can hide one another, and
    these shares hold for this order.
    """)
    later(priors_guess, _end)


@app.cell
def _(load_study, say, significant, wb):
    schools = load_study("eight_schools")
    at_zero = {
        name: wb.fit(
            schools.formula, schools.data, name, se=schools.se, priors=schools.priors if name == "exact" else {}
        )
        for name in ("no_pooling", "reml", "fixed_prior", "exact")
    }
    school = {name: fit.coefficients.iloc[0] for name, fit in at_zero.items()}
    assert float(at_zero["reml"].variance["sdcor"][0]) == 0 and school["reml"]["level"] == "A"
    say(f"""
    ## Where plugging in breaks

    In eight schools coaching was tried; each has an estimate of what it did, with a standard error. School A's
    estimate is {significant(school["no_pooling"]["estimate"], 3)}, with an error of
    {significant(school["no_pooling"]["std_error"], 3)}. REML finds no more spread between the schools than noise
    explains, and puts τ at 0. All schools are estimated at {significant(school["reml"]["estimate"], 3)}, with a
    coefficient SE of {significant(school["reml"]["std_error"], 3)}: the error of the common mean.
    """)
    return (school,)


@app.cell
def _(guess):
    zero_guess = guess("zero", "Plug that mean and that τ in. Which standard error has school A then?", 0, 20, 0.1)
    zero_guess
    return (zero_guess,)


@app.cell
def _(reveal, school, significant, zero_guess):
    reveal(
        zero_guess,
        float(school["fixed_prior"]["std_error"]),
        f"""
        None at all. A prior with SD 0 allows one value only, whatever the data say. Full Bayes, which knows that τ may
        well be larger, puts school A at {significant(school["exact"]["estimate"], 3)} with a posterior SD of
        {significant(school["exact"]["std_error"], 3)}, and its 95 % interval runs from
        {significant(school["exact"]["conf_low"], 3)} to {significant(school["exact"]["conf_high"], 3)}. An estimate of
        zero is not knowledge of zero.
        """,
        near=0.05,
    )


@app.cell
def _(say):
    say("""
    ## To take along

    * REML's group estimates are the modes under a fixed prior with REML's mean and SD. What is left between them is
      the convention for σ², and it vanishes when σ² is held.
    * Points agree, errors do not. Plugging in leaves out that mean, τ and σ are estimated; the coefficient SE leaves
      out τ and σ; full Bayes counts all three.
    * Ask of every standard error what it is the error of, and what it holds fixed.
    * Why two answers differ can be computed, cause by cause.

    Go on with the lab's pages *Choose your own prior* and *The τ axis* (`workbench lab`), with the report of the twelve
    groups (`workbench run twelve_groups`), or with `comparison.explain_gap` and `fit.standard_errors` on your own data.
    Lesson 3 shows where τ comes from.
    """)


if __name__ == "__main__":
    app.run()
