"""Lesson 6. Beyond the normal: run it by ``workbench lesson open 6``."""

import marimo

app = marimo.App(app_title="Beyond the normal")


@app.cell
def _():
    import numpy as np
    import pandas as pd
    from scipy.optimize import minimize_scalar

    import workbench as wb
    from workbench.lab.drawing import Dots, Drawing, Panel, Rule, Segments, limits
    from workbench.lessons.asking import choose, guess, later, reveal
    from workbench.lessons.telling import numbers, opening, picture, say
    from workbench.plots.style import OWN, TRUTH, look
    from workbench.study import load_study
    from workbench.words import percent, significant

    return (
        Dots, Drawing, OWN, Panel, Rule, Segments, TRUTH, choose, guess, later, limits, load_study, look,
        minimize_scalar, np, numbers, opening, pd, percent, picture, reveal, say, significant, wb,
    )  # fmt: skip


@app.cell
def _(opening):
    opening(6)


@app.cell
def _(load_study, np, pd):
    rows = pd.read_csv(load_study("cbpp").data, dtype={"herd": str, "period": str})
    herds = rows.groupby("herd", sort=False)[["incidence", "size"]].sum().reset_index()
    share = herds["incidence"] / herds["size"]
    herds["own"] = np.log(share / (1 - share))
    herds["information"] = herds["size"] * share * (1 - share)
    return herds, rows, share


@app.cell
def _(herds, say):
    say(f"""
    ## Shares: fifteen herds

    In {len(herds)} herds, between {herds["size"].min()} and {herds["size"].max()} animals were counted, and how many
    had caught a disease of the lungs (all quarters of a year are put together here). What is shrunken now is not a
    mean but a *log-odds*: log(p / (1 − p)), with p the share of cases. At p = 1/2 it is 0; smaller shares have a
    negative one.

    The model: a herd's true log-odds is drawn from a normal distribution with mean μ and SD τ, and its cases are
    binomial. Nothing else is new. But there is no σ any more: how exactly a herd is measured follows from its counts.
    """)


@app.cell
def _(guess, herds):
    first = herds.iloc[int(herds["size"].argmin())]
    odds_guess = guess(
        "odds",
        f"Herd {first['herd']} had {first['incidence']} cases among {first['size']} animals. What is its own log-odds "
        "(natural logarithm)?",
        -5, 5, 0.01,
    )  # fmt: skip
    odds_guess
    return first, odds_guess


@app.cell
def _(first, odds_guess, percent, reveal, significant):
    _k, _n = first["incidence"], first["size"]
    reveal(
        odds_guess,
        float(first["own"]),
        f"""
        log({_k} / {_n - _k}) = {significant(float(first["own"]), 3)}: cases divided by those without. Its share is
        {percent(_k / _n)}.
        """,
        near=0.1,
    )


@app.cell
def _(herds, np, wb):
    formula = "cbind(incidence, size - incidence) ~ 1 + (1 | herd)"
    laplace = wb.fit(formula, herds, estimator="laplace", family="binomial")
    mu, tau = float(laplace.population.estimate[0]), float(laplace.components[0].sd[0])
    plugged = wb.fit(formula, herds, estimator="fixed_prior", family="binomial", options={"mean": mu, "sd": tau})
    bayes = wb.fit(formula, herds, estimator="exact", family="binomial")
    shrunken = {
        name: fit.coefficients.set_index("level").loc[herds["herd"], "estimate"].to_numpy()
        for name, fit in (("laplace", laplace), ("plugged", plugged), ("bayes", bayes))
    }
    kept = (shrunken["laplace"] - mu) / (herds["own"].to_numpy() - mu)
    rough = tau**2 / (tau**2 + 1 / herds["information"].to_numpy())
    far = np.abs(herds["own"].to_numpy() - mu) > tau / 4  # nearer ones have hardly a deviation to keep
    return formula, kept, mu, rough, shrunken, tau, far


@app.cell
def _(choose, herds, kept, np):
    _gap = np.abs(np.subtract.outer(herds["size"].to_numpy(), herds["size"].to_numpy()))
    _pairs = [(i, j) for i in range(len(herds)) for j in range(len(herds)) if i != j and _gap[i, j] <= 2]
    many, few = max(_pairs, key=lambda pair: herds["incidence"][pair[0]] - herds["incidence"][pair[1]])
    _words = [f"herd {herds['herd'][j]}, with {herds['incidence'][j]} cases" for j in (many, few)]
    kept_guess = choose(
        "kept",
        f"Herds {herds['herd'][many]} and {herds['herd'][few]} have {herds['size'][many]} and {herds['size'][few]} "
        "animals. Which keeps more of its own deviation, as a share, when a mixed model shrinks them?",
        (*_words, "both the same share, within 5 points of 100"),
    )
    kept_options = kept_guess.question.options
    kept_guess
    return few, kept_guess, kept_options, many


@app.cell
def _(far, few, herds, kept, kept_guess, kept_options, many, np, percent, reveal, rough, significant):
    _apart = kept[many] - kept[few]
    _most = float(np.max(np.abs(kept - rough)[far]))
    reveal(
        kept_guess,
        kept_options[2] if abs(_apart) <= 0.05 else kept_options[0] if _apart > 0 else kept_options[1],
        f"""
        They keep {percent(kept[many])} and {percent(kept[few])}. On the scale of log-odds a herd's information is
        n p (1 − p), not n: {significant(float(herds["information"][many]), 3)} and
        {significant(float(herds["information"][few]), 3)}. So the share kept is about

            τ² / (τ² + 1 / (n p (1 − p)))

        with σ² / n replaced by 1 / (n p (1 − p)). For herds that lie farther than τ / 4 from the mean it is at most
        {100 * _most:.0f} points of 100 off: a log-likelihood of counts is no parabola.
        """,
    )


@app.cell
def _(
    Dots, Drawing, OWN, Panel, Rule, Segments, herds, kept_guess, later, limits, look, mu, np, picture, shrunken,
    significant,
):  # fmt: skip
    _order = np.argsort(herds["information"].to_numpy())[::-1]
    _y = np.arange(len(herds), 0, -1.0)
    _own, _now = herds["own"].to_numpy()[_order], shrunken["laplace"][_order]
    _ticks = tuple(
        (float(at), f"{herds['herd'][j]}: {herds['incidence'][j]} of {herds['size'][j]}")
        for at, j in zip(_y, _order, strict=True)
    )
    _style = look("laplace")
    _panel = Panel(
        (
            Rule(mu, "muted", dash="6 4", label="μ"),
            Segments(_own, _y, _now, _y, _style.colour, width=1.2, arrows=True),
            Dots(_own, _y, OWN, "x", label="own log-odds"),
            Dots(_now, _y, _style.colour, _style.marker, label="mixed model (Laplace)"),
        ),
        x=limits(_own, _now), y=(0.3, len(herds) + 0.7), x_label="log-odds of a case", y_ticks=_ticks, height=400.0,
        left=110.0,
    )  # fmt: skip
    _alt = f"Arrows from own values to the mixed model's, towards {significant(mu, 3)}; shortest for the most informed."
    _title = "Own log-odds and shrunken ones, herds with most information on top"
    later(kept_guess, picture(Drawing("herds", _title, _alt, ((_panel,),))))


@app.cell
def _(rows, say):
    spring = rows[rows["period"] == "1"]
    none = spring[spring["incidence"] == 0].iloc[0]
    say(f"""
    ## No case at all

    Now take the first quarter alone. Herd {none["herd"]} had no case then among {none["size"]} animals. By itself, its
    best log-odds is the one under which what happened is most probable: (1 − p)ⁿ is to be as large as possible.
    """)
    return none, spring


@app.cell
def _(choose, none):
    none_guess = choose(
        "none",
        f"What is the own log-odds of herd {none['herd']}?",
        ("0", "log(1 / n)", "there is none: no number is the best"),
    )
    none_guess
    return (none_guess,)


@app.cell
def _(formula, none, none_guess, np, reveal, significant, spring, wb):
    _fit = wb.fit(formula, spring, estimator="no_pooling", family="binomial").coefficients.set_index("level")
    _missing = bool(np.isnan(_fit.loc[none["herd"], "estimate"]))
    _odds = np.array([-3.0, -6.0, -9.0])
    _likely = (1 + np.exp(_odds)) ** -float(none["size"])
    _told = ", ".join(
        f"{significant(v)} at {significant(o, 1)}" for o, v in zip(_odds.tolist(), _likely.tolist(), strict=True)
    )
    reveal(
        none_guess,
        none_guess.question.options[2] if _missing and np.all(np.diff(_likely) > 0) else none_guess.question.options[1],
        f"""
        The smaller the log-odds, the more probable is no case: {_told}, and so on, up to 1 which is never reached.
        Maximum likelihood has no finite answer (`no_pooling` leaves the herd out, and says so). It is the clearest
        case for pooling: a prior makes very small log-odds improbable, and so there is a best value.
        """,
    )


@app.cell
def _(guess, none, spring):
    percent_guess = guess(
        "percent",
        f"In that quarter {spring['incidence'].sum()} of {spring['size'].sum()} animals were cases. At which share "
        f"(in %) will the mixed model put herd {none['herd']}, which had none among {none['size']}?",
        0, 100, 0.1,
    )  # fmt: skip
    percent_guess
    return (percent_guess,)


@app.cell
def _(formula, none, np, percent, percent_guess, reveal, significant, spring, wb):
    _fit = wb.fit(formula, spring, estimator="laplace", family="binomial")
    _row = _fit.coefficients.set_index("level").loc[none["herd"]]
    _share = float(1 / (1 + np.exp(-_row["estimate"])))
    reveal(
        percent_guess,
        100 * _share,
        f"""
        {percent(_share)}: a log-odds of {significant(float(_row["estimate"]), 3)}, with a standard error of
        {significant(float(_row["std_error"]), 2)}. {none["size"]} animals without a case say that the share is small;
        the other herds say what small shares are like.
        """,
        near=3,
    )


@app.cell
def _(say):
    say("""
    ## The same thing under another name: a penalty

    Back to the whole year. Take for each herd the log-odds β at which

        log likelihood of its counts − (β − μ)² / (2 τ²)

    is largest. Statisticians call the second part a prior that is plugged in; others call it a penalty. It is one
    number either way. What remains is where μ and τ come from: here from the mixed model's fit, by Laplace's
    approximation.
    """)


@app.cell
def _(herds, kept_guess, later, minimize_scalar, mu, np, numbers, shrunken, tau):
    def _penalised(cases, animals):
        def loss(beta):
            return animals * np.logaddexp(0.0, beta) - cases * beta + (beta - mu) ** 2 / (2 * tau**2)

        return minimize_scalar(loss, bounds=(-20, 20), method="bounded", options={"xatol": 1e-10}).x

    by_hand = np.array([_penalised(k, n) for k, n in zip(herds["incidence"], herds["size"], strict=True)])
    apart = float(np.max(np.abs(by_hand - shrunken["laplace"])))
    apart_plugged = float(np.max(np.abs(shrunken["plugged"] - shrunken["laplace"])))
    _table = herds[["herd", "incidence", "size", "own"]].rename(
        columns={"incidence": "cases", "size": "animals", "own": "own log-odds"}
    )
    _table["penalised, by hand"] = by_hand
    _table["mixed model (Laplace)"] = shrunken["laplace"]
    _table["full Bayes"] = shrunken["bayes"]
    later(kept_guess, numbers(_table, "Log-odds of fifteen herds", digits=3))
    return apart, apart_plugged


@app.cell
def _(apart, apart_plugged, kept_guess, later, say, significant):
    _told = say(f"""
    Penalised by hand and mixed model differ by {significant(apart, 1)} at most, and the regression with a plugged-in
    prior (`fixed_prior`, after R's bayesglm) from the mixed model by {significant(apart_plugged, 1)}.
    Full Bayes averages over μ and τ as well, and differs a little.
    """)
    later(kept_guess, _told)


@app.cell
def _(load_study, say, wb):
    dyes = load_study("dyestuff")
    reml = wb.fit(dyes.formula, dyes.data)
    sd_between, sd_within = (float(sd) for sd in reml.variance["sdcor"])
    say("""
    ## Ridge regression is a mixed model

    With normal data the penalty is that of ridge regression: squared residuals + λ times the squared effects is to be
    small. Divide by 2 σ² and compare with the above: a deviation u of a group has the penalty u² / (2 τ²) there, and
    λ u² / (2 σ²) here. The yields of six batches of dyestuff (grams of colour) are a good case.
    """)
    return dyes, reml, sd_between, sd_within


@app.cell
def _(guess, sd_between, sd_within, significant):
    lambda_guess = guess(
        "lambda",
        f"REML puts τ at {significant(sd_between, 3)} and σ at {significant(sd_within, 3)}. At which λ does ridge "
        "regression give the mixed model's estimates?",
        0, 100, 0.01,
    )  # fmt: skip
    lambda_guess
    return (lambda_guess,)


@app.cell
def _(dyes, lambda_guess, reml, reveal, sd_between, sd_within, significant, wb):
    strength = sd_within**2 / sd_between**2
    _ridge = wb.fit(dyes.formula, dyes.data, estimator="penalized", options={"kind": "ridge", "penalty": strength})
    _off = float((_ridge.coefficients["estimate"] - reml.coefficients["estimate"]).abs().max())
    reveal(
        lambda_guess,
        strength,
        f"""
        λ = σ² / τ² = {significant(strength)}. At this λ ridge regression on six indicator columns and the mixed
        model's best linear unbiased predictions differ by {significant(_off, 1)} grams at most: they are the same to
        rounding.
        """,
        near=0.1,
    )
    return (strength,)


@app.cell
def _(choose):
    cv_guess = choose(
        "cv",
        "Many would choose λ by cross-validation instead: fit without some samples, predict these, and take the λ that "
        "predicts best. Will it be the same?",
        ("the same, to rounding", "another one, but of the same size (within a factor of 2)", "quite another one"),
    )
    cv_guess
    return (cv_guess,)


@app.cell
def _(cv_guess, dyes, np, percent, reveal, significant, strength, wb):
    _cv = {"kind": "ridge", "penalty": "cv"}
    _fit = wb.fit(dyes.formula, dyes.data, estimator="penalized", options=_cv)
    _found = float(_fit.diagnostics["lambda"][0])
    _at, _loss = np.array(_fit.diagnostics["cv_lambda"])[::-1], np.array(_fit.diagnostics["cv_loss"])[::-1]
    _worse = float(np.interp(np.log(strength), np.log(_at), _loss)) - float(_loss.min())
    _groups = wb.fit(dyes.formula, dyes.data, estimator="penalized", options=_cv | {"folds": "groups", "fold_count": 6})
    _new = float(_groups.diagnostics["lambda"][0])
    _ratio = max(_found / strength, strength / _found)
    reveal(
        cv_guess,
        cv_guess.question.options[0 if _ratio < 1 + 1e-6 else 1 if _ratio < 2 else 2],
        f"""
        Leaving out samples, cross-validation takes λ = {significant(_found, 3)}. Its loss is
        {percent(_worse / _loss.min())} larger at REML's λ: between the two it hardly decides. It asks another
        question, too: how well are further samples of these batches predicted? Leave out whole batches, and the
        strongest λ of the grid wins, {significant(_new, 2)}: of a batch that was never seen, the others' effects say
        nothing. REML asks how much the batches differ.
        """,
    )


@app.cell
def _(load_study, np, pd, say, wb):
    study = load_study("baseball")
    players = pd.read_csv(study.data)
    truth, own = players["remainder_average"].to_numpy(), players["average"].to_numpy()
    _stein = wb.fit(study.formula, study.data, estimator="james_stein", se=study.se).coefficients.set_index("level")
    stein = _stein.loc[players["player"], "estimate"].to_numpy()
    v = float(players["se"].iloc[0] ** 2)
    squares = float(np.sum((own - own.mean()) ** 2))
    share_kept = 1 - (len(own) - 3) * v / squares
    assert np.allclose(stein, own.mean() + share_kept * (own - own.mean()))
    say(f"""
    ## No distribution at all: Stein

    So far every model had true values drawn from a distribution. {len(players)} baseball players after
    {players["at_bats"].iloc[0]} times at bat: their averages so far run from {own.min():.2f} to {own.max():.2f}. What
    will they hit in the rest of the season? James and Stein pull all averages to the common one and keep of their
    deviations

        1 − (J − 3) v / S

    with J players, v the variance of an average's noise, and S the sum of the squared deviations; here
    {share_kept:.2f}. They proved that this has a smaller expected total squared error than the averages themselves,
    *whatever the true values are*. Nothing need be drawn from anything.
    """)
    return own, players, share_kept, stein, study, truth, v


@app.cell
def _(guess):
    times_guess = guess(
        "times",
        "Compared with the rest of the season: how many times larger is the total squared error of the own averages "
        "than that of James and Stein's?",
        0, 20, 0.1,
    )  # fmt: skip
    times_guess
    return (times_guess,)


@app.cell
def _(np, own, reveal, significant, stein, times_guess, truth):
    _errors = [float(np.sum((part - truth) ** 2)) for part in (own, stein)]
    reveal(
        times_guess,
        _errors[0] / _errors[1],
        f"""
        {significant(_errors[0], 3)} against {significant(_errors[1], 3)}. The rest of the season is not quite the
        truth, as it has noise of its own; but both are compared with the same.
        """,
        near=1,
    )


@app.cell
def _(guess, players):
    loses_guess = guess(
        "loses", f"For how many of the {len(players)} players is the own average nearer?", 0, len(players), 1
    )
    loses_guess
    return (loses_guess,)


@app.cell
def _(loses_guess, np, own, players, reveal, stein, truth):
    _loses = np.abs(own - truth) < np.abs(stein - truth)
    _names = ", ".join(players["player"][_loses]) or "nobody"
    reveal(
        loses_guess,
        int(_loses.sum()),
        f"""
        Own averages are nearer for {int(_loses.sum())} ({_names}). The promise is for the total, not for everyone.
        """,
        near=1,
    )


@app.cell
def _(Dots, Drawing, OWN, Panel, Segments, TRUTH, later, limits, loses_guess, np, own, picture, players, stein, truth):
    _y = np.arange(len(own), 0, -1.0)
    _panel = Panel(
        (
            Segments(own, _y, stein, _y, "muted", width=1.2, arrows=True),
            Dots(own, _y, OWN, "x", label="average so far"),
            Dots(stein, _y, "ink", "o", size=4.5, label="James and Stein"),
            Dots(truth, _y, TRUTH, "D", filled=False, label="rest of the season"),
        ),
        x=limits(own, stein, truth), y=(0.3, len(own) + 0.7), x_label="batting average",
        y_ticks=tuple((float(at), name) for at, name in zip(_y, players["player"], strict=True)), height=430.0,
        left=110.0,
    )  # fmt: skip
    _alt = (
        f"Arrows from averages between {own.min():.2f} and {own.max():.2f} to James and Stein's near {own.mean():.2f}."
    )
    later(loses_guess, picture(Drawing("players", "Averages so far, shrunken, and after", _alt, ((_panel,),))))


@app.cell
def _(later, loses_guess, np, own, players, say, significant, truth, v):
    _rng = np.random.default_rng(1)
    _noise = np.sqrt(v) * _rng.standard_normal((10_000, len(truth)))
    _better = np.where(own == own.max(), own, truth)  # the best so far, were he really that good
    _risks = []
    for _true in (truth, _better):
        _seen = _true + _noise
        _mean = _seen.mean(axis=1, keepdims=True)
        _keep = 1 - (len(own) - 3) * v / np.sum((_seen - _mean) ** 2, axis=1, keepdims=True)
        _risks.append(((_mean + np.maximum(_keep, 0) * (_seen - _mean) - _true) ** 2 / v).mean(axis=0))
    _worst = [int(risk.argmax()) for risk in _risks]
    _players = [players["player"][k] for k in _worst]
    _most = [significant(float(risk.max()), 2) for risk in _risks]
    _total = [significant(float(risk.mean()), 2) for risk in _risks]
    _losing = [int(np.sum(risk > 1)) for risk in _risks]
    _told = say(f"""
    Was that luck? Take the rest of the season for the truth, and play the first part {len(_noise):,} times again.
    James and Stein's expected total error is {_total[0]} times that of the own averages. Worst off is {_players[0]},
    with {_most[0]} times the error of his own average; {_losing[0]} of {len(own)} lose in the long run. Now suppose
    that the best player really is as good as his {own.max():.2f} so far. The total is {_total[1]} times as large,
    still a gain. But {_players[1]}'s error is {_most[1]} times as large: {_losing[1]} of {len(own)}
    {"loses" if _losing[1] == 1 else "lose"} then. Who really is unlike them is taken for lucky.
    """)
    later(loses_guess, _told)


@app.cell
def _(np, numbers, own, pd, players, study, truth, wb):
    _values = {"own averages": own}
    for _rule, _name in (
        ("linear", "best guess of each (τ² / (τ² + v) kept)"),
        ("square_root", "its square root kept"),
        ("constrained", "spread matched on purpose"),
    ):
        _fit = wb.fit(study.formula, study.data, estimator="spread_matching", se=study.se, options={"rule": _rule})
        _values[_name] = _fit.coefficients.set_index("level").loc[players["player"], "estimate"].to_numpy()
    _values["rest of the season"] = truth
    spreads = pd.DataFrame(
        {
            "estimates": list(_values),
            "their SD": [float(np.std(part, ddof=1)) for part in _values.values()],
            "total squared error": [float(np.sum((part - truth) ** 2)) for part in _values.values()],
        }
    )
    numbers(spreads, "One list cannot do everything", digits=3)
    return (spreads,)


@app.cell
def _(say, spreads):
    _sd, _error = spreads["their SD"], spreads["total squared error"]
    _alike = bool(abs(_error[2] - _error[3]) < 1e-6 * _error[2])
    say(f"""
    Best guesses spread far less than true values do: {_sd[1]:.3f} against {_sd[4]:.3f} in the rest of the season.
    Rules that keep more on purpose give them more spread ({_sd[2]:.3f}), at the price of a
    {"larger" if _error[2] > _error[1] else "smaller"} total error here ({_error[2]:.4f} against {_error[1]:.4f}).
    {"With equal noise for all, both rules of that kind agree. " * _alike}Which list is right depends on what is
    asked: one player's value, or a picture of how players differ.
    """)


@app.cell
def _(say):
    say("""
    ## To take along

    * Shares shrink on the scale of log-odds, by information n p (1 − p); without a case there is no own value at all.
    * A plugged-in normal prior and a squared penalty are one thing. λ = σ² / τ² makes ridge regression a mixed model.
    * Cross-validation chooses λ for another purpose, and finds another one.
    * Shrinking pays in total whatever the true values are, if there are more than three of them. One of them may pay
      for it.

    Go on with the lab's page *Noise and shrinkage* (`workbench lab`), the reports of the studies `cbpp` and `baseball`,
    or `wb.fit(..., estimator="penalized")` with data of your own.
    """)


if __name__ == "__main__":
    app.run()
