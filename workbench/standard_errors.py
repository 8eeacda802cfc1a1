"""What an estimate may miss by: the variances of group estimates, each under its own name.

Of y = X b + Z u + e, with u_j ~ N(0, Sigma) and e ~ N(0, sigma^2 W^-1), the variances held at their estimates, the
mixed-model equations (Henderson 1975, doi:10.2307/2529430) give the joint error of the estimates: the inverse of

    [ X'WX   X'WZ            ]
    [ Z'WX   Z'WZ + D^-1     ],     D = Sigma/sigma^2 in every level,

times sigma^2, is the covariance of (b_hat - b, u_hat - u). In the parts that :mod:`workbench.likelihood` computes, P
the covariance over sigma^2 of u given b, and pull_j how u_hat_j answers to b:

========================  ================================================  ==========================================
name                      variance of                                       is sigma^2 times
========================  ================================================  ==========================================
``conditional_sd``        u_j given y and b                                 P_j
``effect_prediction_se``  u_hat_j - u_j                                     P_j + pull_j B pull_j'
``coefficient_se``        A (b_hat - b) + u_hat_j - u_j                     P_j + (A - pull_j) B (A - pull_j)'
(prediction SE)           x'(b_hat - b) + z'(u_hat - u)                     z'P z + (x - pull'z)' B (x - pull'z)
========================  ================================================  ==========================================

with B = (R_X'R_X)^-1 and A picking the population value of each varying column (zero where there is none: then the
second and the third are the same). The conditional SD is lme4's ``condVar``: how far the group may lie from its
estimate were the population values known. The other two count that b is estimated as well, first for the deviation from
the population value, then for the group's own value. All three leave out that the variances are estimated.

Of counts and shares (``laplace``, ``agq``) sigma is 1, W is the information of every row at the estimates, and B is
Var(b) from the Hessian of the deviance, which counts that the variances are estimated; all is to second order, on the
scale of the linear predictor (Booth & Hobert 1998, doi:10.1080/01621459.1998.10474096).

Where the spread between groups is estimated as zero, the first two are zero (the effects are *held* at zero, which is
no evidence that they are), and the third is the standard error of the population value.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from workbench.errors import OptionError
from workbench.fit import Fit
from workbench.likelihood import conditional_covariances, in_data_units
from workbench.prediction.joint_error import AT_VARIANCES, OF_COUNTS, OF_GAUSSIAN, equations, is_at_variances
from workbench.words import join

if TYPE_CHECKING:
    import pandas as pd


def standard_errors(fit: Fit) -> pd.DataFrame:
    """The three standard errors of every group estimate of a fit by `AT_VARIANCES`, side by side.

    Returns
    -------
    DataFrame
        ``group, level, term, n, conditional_sd, effect_prediction_se, coefficient_se`` (see the module's table), on the
        scale of the linear predictor per unit of the varying column, in the order of ``fit.effects``.

    Raises
    ------
    OptionError
        Another estimator, whose effects have a standard error of one kind.

    Examples
    --------
    >>> from workbench.design import build_design
    >>> from workbench.estimators.reml import reml
    >>> fit = reml(build_design("y ~ 1 + (1 | g)", {"y": [1.0, 2.0, 4.0, 3.0, 7.0, 6.0], "g": list("aabbcc")}))
    >>> standard_errors(fit).round(3).iloc[0, 4:].to_dict()
    {'conditional_sd': 0.49, 'effect_prediction_se': 1.479, 'coefficient_se': 0.493}
    """
    import pandas as pd

    if not is_at_variances(fit):
        able = {"gaussian": OF_GAUSSIAN, "binomial": OF_COUNTS, "poisson": OF_COUNTS}.get(fit.design.family, ())
        advice = f" Fit {able[0]} to have them." if able else ""
        raise OptionError(
            f"These standard errors belong to {join(able or AT_VARIANCES)}; the effects of {fit.estimator} have one "
            f"kind each, in fit.effects and fit.coefficients (see std_error_kind).{advice}"
        )
    at = equations(fit)
    data = at.data
    covariances = conditional_covariances(data, at.factors, at.given)
    given = in_data_units(data, at.given)
    tables: list[pd.DataFrame | None] = [None] * len(fit.design.blocks)
    for f, pull, P in zip(data.factors, given.pull, covariances, strict=True):
        own = np.diagonal(f.to_data @ P @ f.to_data.T, axis1=1, axis2=2)
        pick = np.array([[float(k == column) for k in range(data.p)] for column in f.fixed]).reshape(-1, data.p)
        from_b = [np.einsum("jqp,pr,jqr->jq", a, given.b_cov, a) for a in (pull, pick @ data.shift.to_data - pull)]
        variances = {"conditional_sd": own, "effect_prediction_se": own + from_b[0], "coefficient_se": own + from_b[1]}
        for where, place in zip(f.blocks, f.places, strict=True):
            block = fit.design.blocks[place]
            J, q = len(block.levels), len(block.terms)
            head = {"group": block.group, "level": np.repeat(np.asarray(block.levels, dtype=object), q)}
            head |= {"term": list(block.terms) * J, "n": np.repeat(block.sizes, q)}
            errors = {
                name: fit.sigma * np.sqrt(np.maximum(value[:, where], 0.0)).ravel()  # rounding may leave one below zero
                for name, value in variances.items()
            }
            tables[place] = pd.DataFrame(head | errors)
    return pd.concat(tables, ignore_index=True)
