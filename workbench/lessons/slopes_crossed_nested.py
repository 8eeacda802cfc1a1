"""Lesson 5. Slopes, crossed and nested: run it by ``workbench lesson open 5``."""

import marimo

app = marimo.App(app_title="Slopes, crossed and nested")


@app.cell
def _():
    import numpy as np
    import pandas as pd

    import workbench as wb
    from workbench.lab.drawing import Dots, Drawing, Panel, Segments, limits
    from workbench.lab.origins import at, table
    from workbench.lab.pages import slopes
    from workbench.lessons.asking import choose, guess, later, reveal
    from workbench.lessons.telling import numbers, opening, picture, say
    from workbench.plots.style import OWN
    from workbench.study import load_study
    from workbench.words import significant

    return (
        Dots, Drawing, OWN, Panel, Segments, at, choose, guess, later, limits, load_study, np, numbers, opening, pd,
        picture, reveal, say, significant, slopes, table, wb,
    )  # fmt: skip


@app.cell
def _(opening):
    opening(5)


@app.cell
def _(np, say, significant, table):
    sleep = table("sleepstudy")
    low, high = float(sleep.own[:, 1].min()), float(sleep.own[:, 1].max())
    own_correlation = float(np.corrcoef(sleep.own.T)[0, 1])
    say(f"""
    ## Every person a line

    {len(sleep.levels)} people are kept short of sleep; their reaction time is measured on {len(np.unique(sleep.x))}
    days, counted from 0. Nearly everybody slows down, each at a rate of their own. A line fitted to one person alone
    has an intercept, the reaction time on day 0 in ms, and a slope, in ms per day: between {significant(low, 2)} and
    {significant(high, 3)} among these people.

    `Reaction ~ Days + (Days | Subject)` says: there is a line of the population, and every subject departs from it in
    intercept *and* slope. Their departures have two SDs and one correlation. REML finds these three numbers, then
    pulls every line towards the population's.
    """)
    return own_correlation, sleep


@app.cell
def _(choose, own_correlation, significant):
    correlation_guess = choose(
        "correlation",
        "Intercepts and slopes of the lines fitted to each person alone have a correlation of "
        f"{significant(own_correlation, 2)}. What will REML say of the true ones?",
        ("a smaller (more negative) correlation", "about the same", "a larger one"),
    )
    correlation_guess
    return (correlation_guess,)


@app.cell
def _(at, sleep):
    reml = at(sleep, True, 0.0)
    return (reml,)


@app.cell
def _(correlation_guess, np, own_correlation, reml, reveal, significant, sleep):
    _days = np.unique(sleep.x)
    _noise = -float(_days.mean() / np.sqrt(np.mean(_days**2)))
    _gap = reml.correlation - own_correlation
    reveal(
        correlation_guess,
        correlation_guess.question.options[1 if abs(_gap) < 0.05 else 2 if _gap > 0 else 0],
        f"""
        {significant(reml.correlation, 2)}. The intercept and the slope of one fitted line err together: who measures
        the slope too steep puts day 0 too low. For these days the two errors have a correlation of
        {significant(_noise, 2)}. Own lines show the true correlation mixed with this; REML takes it out, as it takes
        noise out of the SDs.
        """,
    )


@app.cell
def _(choose, reml, significant, sleep):
    who = int(sleep.own[:, 1].argmax())
    assert sleep.own[who, 0] < reml.population[0]
    intercept_guess = choose(
        "intercept",
        f"Subject {sleep.levels[who]}'s own line starts at {significant(float(sleep.own[who, 0]))} ms, below the "
        f"population's {significant(float(reml.population[0]))}, and is the steepest of all, with "
        f"{significant(float(sleep.own[who, 1]), 3)} ms per day. Where does REML start it?",
        ("below its own start", "between its own start and the population's", "above the population's"),
    )
    intercept_guess
    return intercept_guess, who


@app.cell
def _(intercept_guess, reml, reveal, significant, sleep, who):

    _own, _now, _mean = float(sleep.own[who, 0]), float(reml.estimate[who, 0]), float(reml.population[0])
    _steep = float(reml.estimate[who, 1])
    _middle = float(sleep.x.mean())
    _heights = [line[0] + line[1] * _middle for line in (sleep.own[who], reml.estimate[who])]
    reveal(
        intercept_guess,
        intercept_guess.question.options[0 if _now < _own else 1 if _now <= _mean else 2],
        f"""
        At {significant(_now)} ms. The slope is pulled down to {significant(_steep, 3)}, and the line must still pass
        near the middle of its points: on day {_middle:g} it moves only from {significant(float(_heights[0]))} to
        {significant(float(_heights[1]))}. So its start goes up. Shrinking two numbers together is not shrinking each.
        """,
    )


@app.cell
def _(intercept_guess, later, picture, sleep, slopes, who):
    _shown = slopes.show(
        {
            "data": "sleepstudy", "origin_sleepstudy": 0.0, "correlated": True, "arrows": True,
            "group_sleepstudy": sleep.levels[who],
        }
    )  # fmt: skip
    later(intercept_guess, picture(_shown.drawings[0]))


@app.cell
def _(intercept_guess, later, say):
    _told = say("""
    Every point is a line: its intercept across, its slope upward. Arrows go from own lines to REML's, and they do not
    all point at the centre.
    """)
    later(intercept_guess, _told)


@app.cell
def _(say):
    say("""
    ## Where is zero?

    An intercept is a value at x = 0, and where 0 lies is up to you. Counted from day c, a line a + b x has the
    intercept a + b c; its slope stays. So the SD of intercepts and their correlation with slopes belong to an origin.
    With SDs τ₀ of intercepts and τ₁ of slopes and their correlation ρ at day 0:

        variance of intercepts at c   =  τ₀² + 2 c ρ τ₀ τ₁ + c² τ₁²
        covariance with slopes at c   =  ρ τ₀ τ₁ + c τ₁²
    """)


@app.cell
def _(guess, reml, significant):
    origin_guess = guess(
        "origin",
        f"REML has τ₀ = {significant(float(reml.sd[0]), 3)}, τ₁ = {significant(float(reml.sd[1]), 3)} and ρ = "
        f"{significant(reml.correlation, 2)} at day 0. What is the correlation of slopes with the "
        "reaction times on day 9?",
        -1, 1, 0.01,
    )  # fmt: skip
    origin_guess
    return (origin_guess,)


@app.cell
def _(at, load_study, np, origin_guess, pd, reml, reveal, significant, sleep, wb):
    _covariance = reml.correlation * reml.sd[0] * reml.sd[1] + 9 * reml.sd[1] ** 2
    _variance = reml.sd[0] ** 2 + 18 * reml.correlation * reml.sd[0] * reml.sd[1] + 81 * reml.sd[1] ** 2
    _by_hand = float(_covariance / np.sqrt(_variance) / reml.sd[1])
    _rows = pd.read_csv(load_study("sleepstudy").data).assign(since=lambda d: d["Days"] - 9)
    _moved = wb.fit("Reaction ~ since + (since | Subject)", _rows)
    _slopes = _moved.coefficients.query("term == 'since'").assign(level=lambda d: d["level"].astype(str))
    _slopes = _slopes.set_index("level").loc[list(sleep.levels), "estimate"].to_numpy()
    _plain = [at(sleep, False, c).criterion for c in (0.0, 9.0)]
    _far = float(np.max(np.abs(_slopes - reml.estimate[:, 1])))
    reveal(
        origin_guess,
        _by_hand,
        f"""
        {significant(_by_hand, 3)}, and fitted anew with days counted from 9:
        {significant(float(_moved.components[0].correlation[0, 1]), 3)}. It is the same model in other words: the REML
        criterion changes by {significant(abs(_moved.criterion.value - reml.criterion), 1)}, no slope by more than
        {significant(_far, 1)}. Not so for `(Days || Subject)`, which sets the correlation to zero at *this* origin:
        its criterion is {significant(_plain[0], 6)} with the origin at day 0, {significant(_plain[1], 6)} with day 9.
        Leave a correlation out only where zero means something.
        """,
        near=0.05,
    )


@app.cell
def _(load_study, np, pd, say, wb):
    paste = load_study("pastes")
    assays = pd.read_csv(paste.data)
    nested = wb.fit(paste.formula, assays)
    _variance = nested.variance.set_index("group")["vcov"]
    var_cask, var_batch, var_assay = (float(_variance[k]) for k in ("cask:batch", "batch", "Residual"))
    _per = assays.groupby(["batch", "cask"]).size()
    assert np.all(_per == _per.iloc[0])
    say(f"""
    ## Nested: casks in batches

    A paste comes in {assays["batch"].nunique()} batches of casks. From each batch three casks are taken, called a, b
    and c, and each cask is assayed {_per.iloc[0]} times: {len(assays)} assays of strength. Cask a of batch A has
    nothing in common with cask a of batch B but its name. The formula says so:

        (1 | batch/cask)   is   (1 | batch) + (1 | cask:batch)

    A batch has its deviation, and each cask *of a batch* has one of its own.
    """)
    return assays, nested, paste, var_assay, var_batch, var_cask


@app.cell
def _(Dots, Drawing, OWN, Panel, Segments, assays, limits, np, picture):
    _batches = sorted(assays["batch"].unique())
    _x = np.array(
        [_batches.index(b) + 0.25 * ("abc".index(c) - 1) for b, c in zip(assays["batch"], assays["cask"], strict=True)]
    )
    _y = assays["strength"].to_numpy()
    _ends = assays.assign(x=_x).groupby("x")["strength"].agg(["min", "max"]).reset_index()
    _at = _ends["x"].to_numpy()
    _panel = Panel(
        (
            Segments(_at, _ends["min"].to_numpy(), _at, _ends["max"].to_numpy(), "muted", label="one cask"),
            Dots(_x, _y, OWN, "o", size=3.0, label="an assay"),
        ),
        x=(-0.6, len(_batches) - 0.4), y=limits(_y), x_label="batch, with its three casks", y_label="strength",
        x_ticks=tuple((float(k), name) for k, name in enumerate(_batches)), height=280.0,
    )  # fmt: skip
    _spread = float((_ends["max"] - _ends["min"]).mean())
    _alt = f"Two assays of a cask lie {_spread:.2f} apart on average; all lie between {_y.min():g} and {_y.max():g}."
    picture(Drawing("pastes", "Sixty assays", _alt, ((_panel,),)))


@app.cell
def _(guess):
    same_guess = guess(
        "same",
        "Look at the picture. By the model, what is the correlation of two assays of one cask (0: as different as any "
        "two assays, 1: equal)?",
        0, 1, 0.01,
    )  # fmt: skip
    same_guess
    return (same_guess,)


@app.cell
def _(reveal, same_guess, significant, var_assay, var_batch, var_cask):
    _total = var_batch + var_cask + var_assay
    reveal(
        same_guess,
        (var_batch + var_cask) / _total,
        f"""
        Variances: {significant(var_batch, 3)} between batches, {significant(var_cask, 3)} between casks of a batch,
        {significant(var_assay, 3)} between assays of a cask. Two assays of one cask share batch and cask: (τ_batch² +
        τ_cask²) / total = {significant((var_batch + var_cask) / _total, 3)}. Of two casks of one batch they share the
        batch only: {significant(var_batch / _total, 2)}. That is how to read variances: as what two rows have in
        common.
        """,
        near=0.1,
    )


@app.cell
def _(guess):
    levels_guess = guess(
        "levels",
        "Somebody writes (1 | batch) + (1 | cask), with casks called a, b and c in every batch. How many cask effects "
        "does that model have?",
        0, 100, 1,
    )  # fmt: skip
    levels_guess
    return (levels_guess,)


@app.cell
def _(assays, levels_guess, nested, paste, reveal, significant, wb):
    _crossed = wb.fit("strength ~ 1 + (1 | batch) + (1 | cask)", assays)
    _variance = _crossed.variance.set_index("group")["vcov"]
    _named = assays.assign(id=assays["batch"] + assays["cask"])
    _right = wb.fit("strength ~ 1 + (1 | batch) + (1 | id)", _named)
    _same = abs(_right.criterion.value - nested.criterion.value)
    reveal(
        levels_guess,
        len(_crossed.coefficients.query("group == 'cask'")),
        f"""
        One for each name: all casks called a are taken for one cask, in all batches. Nothing real is like that, so
        its variance comes out at {significant(float(_variance["cask"]), 2)}, and what casks do goes to the residual,
        now {significant(float(_variance["Residual"]), 3)}. Give every cask a name of its own
        ({_named["id"].nunique()} names), and (1 | batch) + (1 | id) is `{paste.formula}` again: the criteria differ
        by {significant(_same, 1)}. Nesting is in the data, not in the formula; names decide whether the formula
        knows.
        """,
    )


@app.cell
def _(assays, later, levels_guess, nested, say, significant, wb):
    _fits = {
        "nested": nested,
        "batch": wb.fit("strength ~ 1 + (1 | batch)", assays),
        "cask": wb.fit("strength ~ 1 + (1 | batch:cask)", assays),
        "none": wb.fit("strength ~ 1 + (1 | batch)", assays, estimator="complete_pooling"),
    }
    _se = {name: significant(float(fit.population.std_error[0]), 3) for name, fit in _fits.items()}
    _told = say(f"""
    What if one level is left out? The standard error of the mean strength is {_se["nested"]} in the nested model.
    Without casks it is {_se["batch"]}: every batch has as many casks and assays as any other, so that the batches'
    variance takes in what casks add to their means. Without batches it is {_se["cask"]}, as if all casks were drawn
    one by one, and without both {_se["none"]}, as if all assays were.
    """)
    later(levels_guess, _told)


@app.cell
def _(load_study, pd, say, wb):
    study = load_study("penicillin")
    zones = pd.read_csv(study.data)
    both = wb.fit(study.formula, zones)
    _variance = both.variance.set_index("group")["vcov"]
    var_plate, var_sample, var_rest = (float(_variance[k]) for k in ("plate", "sample", "Residual"))
    plates, samples = zones["plate"].nunique(), zones["sample"].nunique()
    say(f"""
    ## Crossed: samples on plates

    {samples} samples of penicillin are each measured once on each of {plates} plates; the zone that they clear of
    bacteria has a diameter in mm. Here sample A *is* the same on all plates. Nothing lies within anything: `(1 |
    plate) + (1 | sample)` says that a zone is the sum of a plate's deviation, a sample's and a rest. REML's variances
    are {var_plate:.2f} between plates, {var_sample:.2f} between samples and {var_rest:.2f} for the rest.
    """)
    return both, plates, samples, study, var_plate, var_rest, var_sample, zones


@app.cell
def _(choose):
    left_guess = choose(
        "left",
        "Leave one factor out. When does the standard error of the mean diameter fall most?",
        ("without the plates", "without the samples", "it rises, whichever is left out"),
    )
    left_guess
    return (left_guess,)


@app.cell
def _(both, left_guess, np, plates, reveal, samples, significant, var_plate, var_rest, var_sample, wb, zones):
    without = {
        "both factors": both,
        "samples only": wb.fit("diameter ~ 1 + (1 | sample)", zones),
        "plates only": wb.fit("diameter ~ 1 + (1 | plate)", zones),
        "neither": wb.fit("diameter ~ 1 + (1 | plate)", zones, estimator="complete_pooling"),
    }
    _se = {name: float(fit.population.std_error[0]) for name, fit in without.items()}
    _by_hand = float(np.sqrt(var_sample / samples + var_plate / plates + var_rest / len(zones)))
    _falls = (_se["both factors"] - _se["samples only"], _se["both factors"] - _se["plates only"])
    reveal(
        left_guess,
        left_guess.question.options[2 if max(_falls) < 0 else int(np.argmax(_falls))],
        f"""
        The mean's variance is τ_sample² / {samples} + τ_plate² / {plates} + σ² / {len(zones)}; its root is
        {significant(_by_hand, 3)}, and REML says {significant(_se["both factors"], 3)}. Nearly all of it is samples,
        since they differ most and are few. Without them the model takes {len(zones)} readings of {samples} samples
        for as many samples, and says {significant(_se["plates only"], 3)}. Without plates it says
        {significant(_se["samples only"], 3)}.
        """,
    )
    return (without,)


@app.cell
def _(later, left_guess, np, numbers, pd, without):
    def _row(name, fit):
        found = fit.variance.set_index("group")["vcov"] if fit.components else {}
        plate, sample = (float(found[k]) if k in found else np.nan for k in ("plate", "sample"))
        return [name, float(fit.population.std_error[0]), plate, sample, float(fit.sigma**2)]

    _heads = ["model", "SE of the mean", "variance of plates", "of samples", "of the rest"]
    _table = numbers(
        pd.DataFrame([_row(*pair) for pair in without.items()], columns=_heads),
        "Penicillin, with and without its factors", digits=3,
    )  # fmt: skip
    later(left_guess, _table)


@app.cell
def _(later, left_guess, load_study, say, significant, wb, without):
    _sleep = load_study("sleepstudy")
    _fits = [wb.fit(f"Reaction ~ Days + ({part} | Subject)", _sleep.data) for part in ("Days", "1")]
    _full, _bare = (float(fit.population.std_error[1]) for fit in _fits)
    _both, _only = (without[name].variance.set_index("group")["vcov"] for name in ("both factors", "plates only"))
    _plates = float(_both["plate"]), float(_only["plate"])
    _told = say(f"""
    What is left out does not vanish. Without the samples, their variance goes to the rest, where it counts as new
    noise in every row; beside so much noise the plates seem to differ
    {"less" if _plates[1] < _plates[0] else "more"}, too: {significant(_plates[1], 2)} in place of
    {significant(_plates[0], 2)}. The same holds for slopes. In the sleep study the population's slope has a standard
    error of {significant(_full, 3)} ms per day when slopes vary by subject, and {significant(_bare, 3)} when only
    intercepts do. The slope itself is the same. If people differ in their slopes, the smaller number is too small.
    """)
    later(left_guess, _told)


@app.cell
def _(say):
    say("""
    ## To take along

    * Intercepts and slopes are shrunken together; a correlation between them belongs to an origin.
    * (1 | a/b) gives every b within its a an effect; (1 | a) + (1 | b) gives every name of b one effect, whichever
      its a.
    * Read variances as what rows have in common.
    * A factor that is left out makes standard errors wrong, often much too small for what varies between its levels.

    Go on with the lab's page *Slopes and origins* (`workbench lab`), the reports of the studies `pastes` and
    `penicillin`, or `wb.likelihood_ratio` for two models of which one leaves something out.
    """)


if __name__ == "__main__":
    app.run()
