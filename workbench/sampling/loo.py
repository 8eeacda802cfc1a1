"""Leave-one-out predictive accuracy, by observation and by group, without fitting again.

    elpd = sum_i log p(y_i | y without i),     p(y_i | y without i) = 1 / E[1 / p(y_i | draw)] over posterior draws

with the weights 1 / p(y_i | draw) smoothed (PSIS: Vehtari, Gelman & Gabry 2017, doi:10.1007/s11222-016-9696-4; Vehtari,
Simpson, Gelman, Yao & Gabry 2024, JMLR 25(72)). *By observation* the density is that of a row given its group's
effects: it tells how well new rows of known groups are foreseen. *By group* it is that of all rows of a group with its
effects integrated out (:mod:`workbench.sampling.marginal`): how well new groups are foreseen, which is what leaving out
a group means. Given the effects, leaving out a group's rows would change the posterior far too much for any weights.

The weights are ArviZ's (:func:`arviz.loo`, :func:`arviz.compare`).
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from workbench.data import read_only
from workbench.design import Design
from workbench.errors import ComparisonError, DesignError, OptionError, nearest
from workbench.sampling.draws import Draws
from workbench.sampling.marginal import check_marginal, densities_per_row, group_log_likelihood
from workbench.sampling.predictive import LEAST, LIMIT, log_likelihood, step_for
from workbench.sampling.tree import AT, Sampled, sampled_of
from workbench.words import join

if TYPE_CHECKING:
    import pandas as pd

    from workbench.fit import Fit

Array = NDArray[np.float64]

OBSERVATION = "observation"
MOST_DENSITIES = 200_000_000
"""Densities of rows that are evaluated for the likelihood of groups at the most."""
NAMED = 5
"""Of the units that are not to be trusted, so many are named."""


@dataclass(frozen=True, eq=False, repr=False)
class Loo:
    """Leave-one-out predictive accuracy of one fit.

    Attributes
    ----------
    by : str
        ``observation``, or the grouping factor whose levels were left out.
    elpd, se : float
        Expected log predictive density, summed over the units, and its standard error.
    p : float
        Effective number of parameters: how much less this is than the log density of the data themselves.
    good_k : float
        Up to this Pareto k a unit's part can be trusted: min(1 - 1/log10(draws), 0.7).
    units : sequence of str
        Levels; of observations their rows, from 0.
    sizes : array of int, shape (units,)
        Rows of each.
    elpd_unit, pareto_k : array, shape (units,)
    draws : int
        Of all chains, that were used.
    warnings : tuple of str
    arviz : arviz.ELPDDataLOO
        The same for ArviZ's functions (`plot_khat`, `compare`, ...).
    design : Design
    """

    by: str
    elpd: float
    se: float
    p: float
    good_k: float
    units: Sequence[str]
    sizes: NDArray[np.intp]
    elpd_unit: Array
    pareto_k: Array
    draws: int
    warnings: tuple[str, ...]
    arviz: Any
    design: Design

    def __post_init__(self) -> None:
        for name in ("sizes", "elpd_unit", "pareto_k"):
            object.__setattr__(self, name, read_only(getattr(self, name)))

    @property
    def table(self) -> pd.DataFrame:
        """One row per unit: ``unit, n, elpd, pareto_k, trusted``."""
        import pandas as pd

        columns = {"unit": list(self.units), "n": self.sizes, "elpd": self.elpd_unit, "pareto_k": self.pareto_k}
        return pd.DataFrame(columns | {"trusted": self.pareto_k <= self.good_k})

    def __repr__(self) -> str:
        """The figures, and every warning on a line of its own."""
        head = f"<LOO by {self.by}: elpd {self.elpd:.2f} (SE {self.se:.2f}), p {self.p:.2f}, {len(self.units):,} units>"
        return "\n".join([head, *self.warnings])


def loo(fit: Fit | Sampled, by: str = OBSERVATION) -> Loo:
    """Leave-one-out predictive accuracy of a fit with draws.

    Parameters
    ----------
    fit : Fit or Sampled
        With draws: of `hierarchical`, of `exact` where draws were asked for, or loaded ones.
    by : str
        ``"observation"``, or the grouping factor whose levels are left out one at a time. The latter for one grouping
        factor: gaussian responses with any varying terms, others with one.

    Returns
    -------
    Loo

    Raises
    ------
    OptionError
        The fit has no draws, or no such grouping factor.
    DesignError
        Several grouping factors, of which one cannot be left out by its own likelihood; too many rows.

    Examples
    --------
    >>> import workbench as wb
    >>> table = {"y": [1.0, 2.0, 4.0, 3.0, 7.0, 6.0, 2.5, 3.5], "g": list("aabbccdd")}
    >>> fit = wb.fit("y ~ 1 + (1 | g)", table, "exact", options={"draws": 500}, seed=1)
    >>> found = loo(fit, by="g")
    >>> found.table["unit"].tolist(), bool(-18 < found.elpd < -14)
    (['a', 'b', 'c', 'd'], True)
    """
    sampled = sampled_of(fit)
    design = sampled.design
    if by == OBSERVATION and by not in design.groups:
        drawn, values = _of_rows(sampled)
        units: Sequence[str] = [str(k) for k in range(design.n)]
        sizes = np.ones(design.n, dtype=np.intp)
    elif by in design.groups:
        drawn, values = of_groups(sampled)
        units, sizes = design.blocks[0].levels, design.blocks[0].sizes
    else:
        raise OptionError(f"by is {by!r}. {nearest(str(by), [OBSERVATION, *design.groups])}")
    found = _psis(design, drawn, values)
    k = np.asarray(found.pareto_k.values)
    draws, of = drawn.chains * drawn.draws, sampled.drawn.chains * sampled.drawn.draws
    thinned = [f"{draws:,} of {of:,} draws were used, as there are {design.n:,} rows in {values.shape[2]:,} units."]
    return Loo(
        by=by,
        elpd=float(found.elpd),
        se=float(found.se),
        p=float(found.p),
        good_k=float(found.good_k),
        units=units,
        sizes=sizes,
        elpd_unit=np.asarray(found.elpd_i.values),
        pareto_k=k,
        draws=draws,
        warnings=(*_distrust(by, k, float(found.good_k), units), *(thinned if draws < of else ())),
        arviz=found,
        design=design,
    )


def loo_compare(fits: Mapping[str, Fit | Sampled | Loo], by: str = OBSERVATION) -> pd.DataFrame:
    """Compare variants of a model by how well they foresee what was left out: :func:`arviz.compare`.

    Parameters
    ----------
    fits : mapping of str to Fit, Sampled or Loo
        Of the same rows and the same response, under any names: other terms, other groups (by observation), other
        priors, another estimator.
    by : str
        As of :func:`loo`; of all of them.

    Returns
    -------
    DataFrame
        Best first, one row per name: ``name, rank, elpd, se, p, elpd_diff, dse`` (the standard error of the
        difference), ``p_worse, weight`` (stacking), and ArviZ's ``diag_diff`` and ``diag_elpd``, which say in words
        what a row is not to be trusted for.

    Raises
    ------
    ComparisonError
        Other rows or another response; densities beside probabilities; other groups that were left out.

    Examples
    --------
    >>> import workbench as wb
    >>> table = {"y": [1.0, 2.0, 4.0, 3.0, 7.0, 6.0, 2.5, 3.5], "g": list("aabbccdd")}
    >>> narrow, wide = (
    ...     wb.fit("y ~ 1 + (1 | g)", table, "exact", options={"draws": 500}, priors={"sd": f"HalfNormal({scale})"})
    ...     for scale in (0.1, 3)
    ... )
    >>> loo_compare({"narrow": narrow, "wide": wide}, by="observation")["name"].tolist()
    ['wide', 'narrow']
    """
    import arviz as az

    if len(fits) < 2:
        raise ComparisonError("There is nothing to compare: give two fits or more, by name.")
    made = {name: fit if isinstance(fit, Loo) else loo(fit, by) for name, fit in fits.items()}
    first, *others = made.items()
    for other in others:
        _refuse_other(first, other)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what it warns of stands in its last columns
        table = az.compare({name: part.arviz for name, part in made.items()}, round_to="none")
    table = table.rename_axis("name").reset_index()
    last = [name for name in ("diag_diff", "diag_elpd") if name in table]
    columns = ["name", "rank", "elpd", "se", "p", "elpd_diff", "dse", "p_worse", "weight"]
    ordered: pd.DataFrame = table[[*columns, *last]]
    return ordered


def of_groups(sampled: Sampled) -> tuple[Draws, Array]:
    """Log likelihoods of the groups, effects integrated out, at as many draws as can be looked at; and these draws.

    Their group effects are those of the whole, of other draws. DesignError where too few draws could be looked at.
    """
    design, drawn = sampled.design, sampled.drawn
    check_marginal(design, "nu" in drawn.others)
    S, J = drawn.chains * drawn.draws, len(design.blocks[0].levels)
    work = design.n * densities_per_row(design, "nu" in drawn.others)
    step = max(1, -(-S * J // LIMIT), -(-S * work // MOST_DENSITIES))
    if step > 1 and drawn.chains * -(-drawn.draws // step) < LEAST:
        most = LIMIT if LEAST * J > LIMIT else MOST_DENSITIES
        raise DesignError(_too_many(f"{J:,} groups of {design.n:,} rows", "", most))
    used = replace(
        drawn,
        b=drawn.b[:, ::step],
        sigma=None if drawn.sigma is None else drawn.sigma[:, ::step],
        sd=tuple(part[:, ::step] for part in drawn.sd),
        correlation=tuple(part[:, ::step] for part in drawn.correlation),
        others={name: part[:, ::step] for name, part in drawn.others.items()},
        stats={},
    )
    return used, group_log_likelihood(design, used)


# --- parts --------------------------------------------------------------------------------------------


def _of_rows(sampled: Sampled) -> tuple[Draws, Array]:
    """The draws that are used, and the log density of every row at them."""
    design, step = sampled.design, step_for(sampled.drawn, sampled.design.n)
    if step is None:
        raise DesignError(_too_many(f"{design.n:,} rows", " Leave out groups instead.", LIMIT))
    drawn = sampled.drawn.at_effects(step)
    return drawn, log_likelihood(design, drawn)


def _too_many(what: str, way_out: str, limit: int) -> str:
    return f"Of {what} the densities at {LEAST} draws would be more than {limit:,} numbers.{way_out}"


def _psis(design: Design, drawn: Draws, values: Array) -> Any:
    """ArviZ's leave-one-out of log densities (C, N, units); parameters tell how far the draws are independent."""
    import arviz as az
    import xarray as xr

    arrays: dict[str, Any] = {"b": ((*AT, "term"), drawn.b)} if design.fixed_terms else {}
    arrays |= {} if drawn.sigma is None else {"sigma": (AT, drawn.sigma)}
    arrays |= {f"sd_{k}": ((*AT, f"term_{k}"), part) for k, part in enumerate(drawn.sd)}
    tree = xr.DataTree.from_dict(
        {"posterior": xr.Dataset(arrays), "log_likelihood": xr.Dataset({"y": ((*AT, "unit"), values)})}
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what it warns of is said in our own words
        return az.loo(tree, pointwise=True)


def _distrust(by: str, k: Array, good_k: float, units: Sequence[str]) -> list[str]:
    """What importance sampling cannot tell, and what to do."""
    bad = np.flatnonzero(~(k <= good_k))
    if not len(bad):
        return []
    worst = bad[np.argsort(-np.nan_to_num(k[bad], nan=np.inf), kind="stable")][:NAMED]
    named = join([units[j] for j in worst]) + (" and others" if len(bad) > len(worst) else "")
    whole = "row" if by == OBSERVATION else by
    return [
        f"Pareto k is above {good_k:.2g} for {len(bad):,} of {len(k):,} ({whole} {named}): without one of these the "
        "posterior would be so different that these draws cannot tell it, and elpd is likely too high. Fit again "
        "without each of them for their parts"
        + (", or leave out whole groups." if by == OBSERVATION else ", or look whether the model suits them.")
    ]


def _refuse_other(first: tuple[str, Loo], other: tuple[str, Loo]) -> None:
    """Only densities of the same units of the same response may stand side by side."""
    (name, one), (name2, two) = first, other
    a, b = one.design, two.design
    if one.by != two.by:
        raise ComparisonError(f"{name} left out by {one.by}, {name2} by {two.by}. Leave out the same in both.")
    if a.n != b.n or not np.array_equal(a.y, b.y):
        raise ComparisonError(
            f"{name} and {name2} are not of the same rows of the same response ({a.response}, {a.n:,} rows; "
            f"{b.response}, {b.n:,} rows). Fit both to the same."
        )
    if _discrete(a) != _discrete(b) or (_discrete(a) and not np.array_equal(a.trials, b.trials)):
        raise ComparisonError(
            f"{name} is {a.family} and {name2} {b.family}: probabilities of counts do not compare with densities, nor "
            "those of other numbers of trials. Compare fits of one kind of response."
        )
    if one.by != OBSERVATION:
        same = tuple(one.units) == tuple(two.units) and np.array_equal(a.blocks[0].codes, b.blocks[0].codes)
        if not same:
            raise ComparisonError(f"{name} and {name2} have different rows in the groups of {one.by}. Group alike.")


def _discrete(design: Design) -> bool:
    return design.family in ("binomial", "poisson")
