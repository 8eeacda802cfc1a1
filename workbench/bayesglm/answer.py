"""What :func:`workbench.bayesglm.bayesglm` gives back."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from workbench.bayesglm.plain import CoefficientPriors, Mode
from workbench.bayesglm.regression import Regression
from workbench.data import read_only
from workbench.estimates import Estimates, plain
from workbench.families import Family

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class BayesGlm:
    """A regression with priors; tables are made when asked for.

    Attributes
    ----------
    regression : Regression
        The arrays that were fitted.
    family : Family
    terms, aliased : tuple of str
        The p coefficients, and the columns that were dropped.
    priors : CoefficientPriors
        On the coefficients' own scale, as used after the first iteration.
    mode : Mode
        Where the EM ended.
    error_dispersion : float
        The dispersion that standard errors take.
    level : float
    warnings : tuple of str
        Everything that keeps a number from being trusted, in words.
    """

    regression: Regression
    family: Family
    terms: tuple[str, ...]
    aliased: tuple[str, ...]
    priors: CoefficientPriors
    mode: Mode
    error_dispersion: float
    level: float
    warnings: tuple[str, ...] = ()

    @cached_property
    def cov(self) -> Array:
        """Covariance matrix of the coefficients, shape (p, p): curvature, prior SDs and dispersion held."""
        return read_only(self.mode.unscaled * self.error_dispersion)

    @cached_property
    def population(self) -> Estimates:
        """Coefficients with errors and intervals, arrays of shape (p,)."""
        kind = "curvature SD, prior and dispersion held"
        return Estimates.wald(self.mode.coefficients, np.sqrt(np.diag(self.cov)), self.level, "posterior mode", kind)

    @property
    def fixed(self) -> pd.DataFrame:
        """Coefficients: ``term, estimate, std_error, conf_low, conf_high`` and the labels."""
        import pandas as pd

        table = pd.DataFrame({"term": list(self.terms)} | self.population.tidy())
        return table.drop(columns=["r_hat", "ess_bulk", "ess_tail"])

    coefficients = fixed

    @property
    def prior(self) -> pd.DataFrame:
        """Priors: ``term, mean, scale, df`` and ``sd``, that of the normal prior of the last iteration.

        `scale` is what R returns as ``prior.scale``; a joint block has scale and df of its normal margins.
        """
        import pandas as pd

        scale, df = self.priors.scale.copy(), self.priors.df.copy()
        for places, covariance in self.priors.joint:
            scale[places], df[places] = np.sqrt(np.diag(covariance)), np.inf
        columns = {"mean": self.priors.mean, "scale": scale, "df": df, "sd": self.mode.prior_sd}
        return pd.DataFrame({"term": list(self.terms)} | columns)

    @property
    def dispersion(self) -> float:
        """The EM's dispersion, or the one held; 1 for counts and proportions."""
        return self.mode.dispersion

    @property
    def deviance(self) -> float:
        """Of the data alone, without the priors."""
        return self.mode.deviance

    @property
    def iterations(self) -> int:
        """Iterations of the EM."""
        return self.mode.iterations

    @property
    def converged(self) -> bool:
        """Whether deviance and dispersion stood still."""
        return self.mode.converged

    @property
    def linear_predictor(self) -> Array:
        """With the offset, shape (n,)."""
        return read_only(self.mode.predictor)

    @property
    def fitted(self) -> Array:
        """Means, shape (n,)."""
        return read_only(self.mode.fitted)

    @property
    def residuals(self) -> Array:
        """Response (a proportion, of binomial counts) less mean, shape (n,)."""
        return np.asarray(self.regression.y - self.mode.fitted)

    def to_dict(self) -> dict[str, Any]:
        """The fit as plain numbers, lists and text, for JSON; what is not finite becomes None."""
        columns = ("estimate", "std_error", "conf_low", "conf_high")
        values = [plain(getattr(self.population, name)) for name in columns]
        return {
            "schema": 1,
            "estimator": "bayesglm",
            "formula": str(self.regression.formula),
            "family": self.family.name,
            "link": self.family.link_name,
            "nobs": int((self.regression.weights > 0).sum()),
            "dropped": self.regression.rows.dropped,
            "fixed": [
                {"term": term} | dict(zip(columns, row, strict=True))
                for term, *row in zip(self.terms, *values, strict=True)
            ],
            "fixed_cov": plain(self.cov),
            "dispersion": plain(self.dispersion),
            "deviance": plain(self.deviance),
            "iterations": self.iterations,
            "converged": self.converged,
            "warnings": list(self.warnings),
        }

    def __repr__(self) -> str:
        """Formula, coefficients with errors, dispersion."""
        rows = (
            f"  {term} {estimate:.6g} ({error:.6g})"
            for term, estimate, error in zip(
                self.terms, self.population.estimate, self.population.std_error, strict=True
            )
        )
        head = f"bayesglm {self.regression.formula}, {self.family.name} ({self.family.link_name})"
        return "\n".join([head, *rows, f"  dispersion {self.dispersion:.6g}, {self.iterations} iterations"])
