"""Lesson 1. Noise and shrinkage: run it by ``workbench lesson open 1``."""

import marimo

app = marimo.App(app_title="Noise and shrinkage")


@app.cell
def _():
    import numpy as np
    import pandas as pd

    import workbench as wb
    from workbench.lab.pages import noise
    from workbench.lessons.asking import choose, guess, later, reveal
    from workbench.lessons.telling import numbers, opening, picture, say
    from workbench.simulate import simulate_groups
    from workbench.words import significant

    return choose, guess, later, noise, np, numbers, opening, pd, picture, reveal, say, significant, simulate_groups, wb


@app.cell
def _(opening):
    opening(1)


@app.cell
def _(noise, say, simulate_groups):
    between, within, many, few = 1.0, 5.0, 100, 2
    drawn = simulate_groups((many,) * 6 + (few,) * 6, between, within, seed=1)
    shown = noise.show(
        {"between": between, "within": within, "sizes": drawn.sizes, "seed": 1}
    )  # the page of the lab on the same samples
    say(f"""
    ## Twelve groups

    Twelve groups have true means, drawn from a normal distribution with mean {drawn.mean:g} and SD {between:g}. Of six
    of them you see {many} samples, of six only {few}; samples lie about their group's true mean with an SD of
    {within:g}. These are the data of a question on Cross Validated that asks how a mixed model differs from a
    regression with priors.

    Before you look: a group's raw mean is its true mean plus the mean of its samples' noise.
    """)
    return between, drawn, few, many, shown, within


@app.cell
def _(between, few, guess, within):
    spread_guess = guess(
        "spread",
        f"The true means have a variance of {between**2:g}. What variance do you expect of the raw means of groups of "
        f"{few}, with samples of SD {within:g}?",
        0, 50, 0.1,
    )  # fmt: skip
    spread_guess
    return (spread_guess,)


@app.cell
def _(between, drawn, few, many, np, reveal, significant, spread_guess, within):
    raw = np.array([drawn.y[drawn.group == j + 1].mean() for j in range(len(drawn.sizes))])
    sizes = np.array(drawn.sizes)
    seen = {n: float(np.mean((raw[sizes == n] - drawn.mean) ** 2)) for n in (few, many)}
    expected = {n: between**2 + within**2 / n for n in (few, many)}
    reveal(
        spread_guess,
        expected[few],
        f"""
        Variances of independent parts add up: between² + within² / n = {between**2:g} + {within**2:g} / {few} =
        {significant(expected[few])}. In groups of {many} it is {significant(expected[many])}. In these samples the
        means of squares are {significant(seen[few])} and {significant(seen[many])}: six groups tell a variance no
        better than that.
        """,
        near=0.5,
    )
    return expected, raw, seen, sizes


@app.cell
def _(later, picture, shown, spread_guess):
    later(spread_guess, picture(shown.drawings[1]))


@app.cell
def _(say):
    say("""
    ## What a mixed model does

    REML estimates the two SDs from the samples alone. Then it pulls every raw mean towards the common mean, and keeps

        share kept = τ² / (τ² + σ² / n)

    of its deviation: all of it where the group's own mean is exact, nothing where groups do not differ.
    """)


@app.cell
def _(drawn, wb):
    fit = wb.fit("samples ~ 1 + (1 | group)", drawn.to_pandas(), estimator="reml")
    tau, sigma = (float(sd) for sd in fit.variance["sdcor"])
    return fit, sigma, tau


@app.cell
def _(few, guess, sigma, significant, tau):
    kept_guess = guess(
        "kept",
        f"REML puts τ at {significant(tau, 3)} and σ at {significant(sigma, 3)}. Which share of its own deviation does "
        f"a group of {few} keep (0 to 1)?",
        0, 1, 0.001,
    )  # fmt: skip
    kept_guess
    return (kept_guess,)


@app.cell
def _(few, kept_guess, many, reveal, sigma, significant, tau):
    kept = {n: tau**2 / (tau**2 + sigma**2 / n) for n in (few, many)}
    reveal(
        kept_guess,
        kept[few],
        f"""
        {significant(tau, 3)}² / ({significant(tau, 3)}² + {significant(sigma, 3)}² / {few}) =
        {significant(kept[few], 3)}: almost everything that such a group shows of its own is taken for noise. A group of
        {many} keeps {significant(kept[many], 3)}.
        """,
        near=0.02,
    )
    return (kept,)


@app.cell
def _(guess):
    nearer_guess = guess(
        "nearer", "In how many of the twelve groups is the shrunken mean nearer to the truth?", 0, 12, 1
    )
    nearer_guess
    return (nearer_guess,)


@app.cell
def _(drawn, fit, nearer_guess, np, raw, reveal, significant):
    shrunken = fit.coefficients["estimate"].to_numpy()
    order = fit.coefficients["level"].astype(int).to_numpy() - 1
    shrunken = shrunken[np.argsort(order)]
    off_raw, off_shrunken = np.abs(raw - drawn.truth), np.abs(shrunken - drawn.truth)
    nearer = int(np.sum(off_shrunken < off_raw))
    reveal(
        nearer_guess,
        nearer,
        f"""
        {nearer} of {len(raw)}. Shrinking is not promised to help every group: it lowers the squared error of all
        together, here from {significant(float(np.mean(off_raw**2)))} to {significant(float(np.mean(off_shrunken**2)))}
        on average.
        """,
        near=2,
    )
    return nearer, off_raw, off_shrunken, shrunken


@app.cell
def _(later, nearer_guess, picture, shown):
    later(nearer_guess, picture(shown.drawings[0]))


@app.cell
def _(drawn, few, later, many, nearer_guess, np, numbers, off_raw, off_shrunken, pd, sizes):
    by_size = pd.DataFrame(
        {
            "samples in the group": [few, many],
            "groups": [int(np.sum(sizes == n)) for n in (few, many)],
            "squared error of raw means": [float(np.mean(off_raw[sizes == n] ** 2)) for n in (few, many)],
            "squared error of shrunken means": [float(np.mean(off_shrunken[sizes == n] ** 2)) for n in (few, many)],
            "nearer to the truth": [int(np.sum((off_shrunken < off_raw)[sizes == n])) for n in (few, many)],
        }
    )
    later(nearer_guess, numbers(by_size, f"Errors of {len(drawn.sizes)} groups, by size"))
    return (by_size,)


@app.cell
def _(by_size, later, nearer_guess, say):
    worse = by_size.iloc[1]
    lost = worse["squared error of shrunken means"] > worse["squared error of raw means"]
    _gain = say(f"""
    The gain is in the small groups. The large ones hardly need help, and in these samples they
    {"even lose a little" if lost else "gain a little, too"}: REML's τ is an estimate as well, and the same share is
    taken from a deviation that was true as from one that was noise.
    """)
    later(nearer_guess, _gain)


@app.cell
def _(choose):
    spread_of_shrunken = choose(
        "spread_of_shrunken",
        "Do the twelve shrunken means spread as much as the true means?",
        ("more", "as much, within 10 %", "less"),
    )
    spread_of_shrunken
    return (spread_of_shrunken,)


@app.cell
def _(drawn, np, raw, reveal, shrunken, significant, spread_of_shrunken):
    spreads = [float(np.std(part)) for part in (drawn.truth, raw, shrunken)]
    ratio = spreads[2] / spreads[0]
    answer = "more" if ratio > 1.1 else "less" if ratio < 0.9 else "as much, within 10 %"
    reveal(
        spread_of_shrunken,
        answer,
        f"""
        The SD of the true means is {significant(spreads[0], 3)}, of the raw means {significant(spreads[1], 3)}, of the
        shrunken ones {significant(spreads[2], 3)}. The best guess for each group is not the best picture of how groups
        differ: what is not known of a group is left out of its guess, and with it goes a part of the spread.
        """,
    )


@app.cell
def _(later, say, spread_of_shrunken):
    _along = say("""
    ## To take along

    * Raw means of small groups spread by noise: between² + within² / n.
    * A mixed model keeps τ² / (τ² + σ² / n) of a group's own deviation.
    * It lowers the error of all groups together, not of every one; and shrunken means spread less than true ones.

    Try it with other spreads, sizes and seeds on the lab's page *Noise and shrinkage* (`workbench lab`).
    """)
    later(spread_of_shrunken, _along)


if __name__ == "__main__":
    app.run()
