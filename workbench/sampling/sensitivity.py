"""How far the posterior depends on its priors, by power scaling, without sampling again.

    p_ac(theta | y) ~ p(theta)^a p(y | theta)^c

with a (the *prior's* sensitivity) or c (the *likelihood's*) moved away from 1 by a hundredth, through importance
weights of the draws. What is reported is how fast each parameter's posterior changes, as the gradient of a distance
between distribution functions (the cumulative Jensen-Shannon distance) by log2 of the power.

Scaled as prior are the stated priors of b, sigma, every sd and cor (and nu), together. The distribution of the group
effects given sd and cor is part of the model and never scaled by itself: as if it were a prior, it would say that every
hierarchical model depends on its prior. So the likelihood is that of the groups, with their effects integrated out
(:mod:`workbench.sampling.marginal`), where it can be had: one grouping factor, gaussian or one varying term. Elsewhere
it is that of the rows given the effects, which moves little but sigma: it says nothing of how much the data tell of the
population coefficients and of the spread between groups, and there no diagnosis rests on it.

Source: Kallioinen, Paananen, Buerkner & Vehtari (2024, doi:10.1007/s11222-023-10366-5), computed by ArviZ.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from workbench.design import Design
from workbench.errors import DesignError
from workbench.sampling.draws import Draws, named_parameters
from workbench.sampling.loo import MOST_DENSITIES, of_groups
from workbench.sampling.plain_density import log_priors_of, log_rows
from workbench.sampling.tree import AT, Sampled, sampled_of

if TYPE_CHECKING:
    import pandas as pd

    from workbench.fit import Fit

Array = NDArray[np.float64]

THRESHOLD = 0.05
"""Above this a posterior depends noticeably on what was scaled (the source's section 4.3)."""
CHUNK = 2_000_000
"""Rows times draws that are in hand at a time."""
WORDS = {
    (False, True): "the prior hardly matters",
    (False, False): "the prior hardly matters, and the data say little of it by themselves",
    (True, True): "potential prior-data conflict: prior and data both move it; see whether the prior is what you meant",
    (True, False): "potential strong prior or weak likelihood: the prior decides, the data say little of it",
}
"""The diagnosis, by whether the prior's and the likelihood's sensitivity are above the threshold."""
GIVEN_EFFECTS = {False: "the prior hardly matters", True: "the prior matters; see whether it is what you meant"}
"""The diagnosis where the likelihood is that of rows given the group effects."""


def sensitivity(fit: Fit | Sampled) -> pd.DataFrame:
    """How far each parameter's posterior depends on the priors and on the data.

    Parameters
    ----------
    fit : Fit or Sampled
        With draws.

    Returns
    -------
    DataFrame
        ``parameter, prior, likelihood, likelihood_of, diagnosis``: the two sensitivities (zero where nothing changes;
        above 0.05 noticeable), whose likelihood it is (``groups`` or ``rows given effects``), and what they say in
        words.

    Raises
    ------
    OptionError
        The fit has no draws.

    Examples
    --------
    >>> import workbench as wb
    >>> table = {"y": [1.0, 2.0, 4.0, 3.0, 7.0, 6.0, 2.5, 3.5], "g": list("aabbccdd")}
    >>> priors = {"(Intercept)": "Normal(40, 1)", "sigma": "HalfNormal(1)"}
    >>> fit = wb.fit("y ~ 1 + (1 | g)", table, "exact", options={"draws": 1000}, priors=priors, seed=1)
    >>> print(sensitivity(fit)["diagnosis"][0])
    potential strong prior or weak likelihood: the prior decides, the data say little of it
    """
    import arviz as az
    import pandas as pd
    import xarray as xr

    sampled = sampled_of(fit)
    design = sampled.design
    try:
        drawn, of_units = of_groups(sampled)
        log_likelihood, whose = of_units.sum(axis=-1), "groups"
    except DesignError:
        kept = sampled.drawn.at_effects()
        drawn = kept.at_effects(max(1, -(-kept.chains * kept.draws * design.n // MOST_DENSITIES)))
        log_likelihood, whose = _of_rows(design, drawn), "rows given effects"
    names, values = named_parameters(design, drawn)
    log_prior = sum(
        part.reshape(*part.shape[:2], -1).sum(axis=-1) for part in log_priors_of(design, sampled.priors, drawn).values()
    )
    tree = xr.DataTree.from_dict(
        {
            "posterior": xr.Dataset({"theta": ((*AT, "name"), values)}),
            "log_prior": xr.Dataset({"all": (AT, log_prior)}),
            "log_likelihood": xr.Dataset({"y": (AT, log_likelihood)}),
        }
    )
    found: dict[str, Any] = {"parameter": list(names)}
    for group in ("prior", "likelihood"):
        scaled = tree[f"log_{group}"].to_dataset()
        if np.ptp(next(iter(scaled.data_vars.values())).values) == 0:  # flat: scaling it changes nothing
            found[group] = np.zeros(len(names))
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # weights so close to one need no smoothing
            found[group] = np.asarray(az.psense(tree, group=group)["theta"].values, dtype=float)
    said = []
    for prior, likelihood in zip(found["prior"] > THRESHOLD, found["likelihood"] > THRESHOLD, strict=True):
        said.append(WORDS[bool(prior), bool(likelihood)] if whose == "groups" else GIVEN_EFFECTS[bool(prior)])
    return pd.DataFrame(found | {"likelihood_of": whose, "diagnosis": said})


def _of_rows(design: Design, drawn: Draws) -> Array:
    """Log density of all rows given the group effects, shape (C, N)."""
    made = np.empty((drawn.chains, drawn.draws))
    nu = drawn.others.get("nu")
    size = max(1, CHUNK // (design.n * drawn.chains))
    for start in range(0, drawn.draws, size):
        at = slice(start, start + size)
        made[:, at] = log_rows(
            design,
            drawn.b[:, at],
            None if drawn.sigma is None else drawn.sigma[:, at],
            tuple(part[:, at] for part in drawn.effects),
            None if nu is None else nu[:, at],
        ).sum(axis=-1)
    return made
