"""What :func:`workbench.bayesglm.bayesglm` gives back."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from workbench.bayesglm.goodness import log_likelihood, null_deviance
from workbench.bayesglm.plain import CoefficientPriors, Mode
from workbench.bayesglm.prediction import predict_rows
from workbench.bayesglm.regression import Regression
from workbench.data import read_only
from workbench.estimates import Estimates, plain
from workbench.families import Family
from workbench.packing import Portable

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.float64]
SHOWN = 50
"""How many coefficients are printed."""


@dataclass(frozen=True, eq=False)
class BayesGlm(Portable):
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
        Probability of the intervals.
    held : float or None
        The dispersion that was held, if it was.
    seconds : float
        Wall time of the EM, without reading data.
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
    held: float | None = None
    seconds: float = 0.0
    warnings: tuple[str, ...] = ()

    @cached_property
    def cov(self) -> Array:
        """Covariance matrix of the coefficients, shape (p, p): curvature, prior SDs and dispersion held."""
        return read_only(self.mode.unscaled * self.error_dispersion)

    @property
    def fixed_cov(self) -> Array:
        """The same under the name that it has in every fit."""
        return self.cov

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
    def sigma(self) -> float:
        """Its square root."""
        return float(np.sqrt(self.mode.dispersion))

    @property
    def deviance(self) -> float:
        """Of the data alone, without the priors."""
        return self.mode.deviance

    @cached_property
    def null_deviance(self) -> float:
        """Of the intercept alone (of no column, where there is none), with the offset, by maximum likelihood."""
        return null_deviance(self.regression, self.family)

    @property
    def nobs(self) -> int:
        """Rows that have weight."""
        return int((self.regression.weights > 0).sum())

    @property
    def df_residual(self) -> int:
        """Rows less coefficients; the priors are not counted."""
        return self.nobs - len(self.terms)

    @property
    def df_null(self) -> int:
        """The same of the model that `null_deviance` is of."""
        return self.nobs - (self.regression.intercept is not None)

    @cached_property
    def log_likelihood(self) -> float | None:
        """Of the data alone, without the priors; None for a quasi family. See :mod:`workbench.bayesglm.goodness`."""
        rows = self.regression.y, self.regression.weights, self.regression.starting
        return log_likelihood(rows, self.family, self.mode.fitted, self.deviance, self.held)

    @property
    def df(self) -> int:
        """Number of parameters, for AIC and BIC: the coefficients, and a dispersion if one is estimated."""
        return len(self.terms) + (self.family.estimates_dispersion and self.held is None)

    @property
    def aic(self) -> float | None:
        """-2 log likelihood + 2 df, as R's; a prior that shrinks much makes this count too many parameters."""
        return None if self.log_likelihood is None else -2 * self.log_likelihood + 2 * self.df

    @property
    def bic(self) -> float | None:
        """-2 log likelihood + df log n."""
        return None if self.log_likelihood is None else float(-2 * self.log_likelihood + self.df * np.log(self.nobs))

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

    def predict(self, new_data: Any = None, type: str = "response", level: float | None = None) -> pd.DataFrame:
        """The mean of new rows (or of the fit's own), or their linear predictor, with its error.

        Parameters
        ----------
        new_data : dataframe, mapping or path, optional
            Needs the columns of the predictors and of offsets; not the response. By default the rows of the fit.
            Factors, contrasts, ``scale()``, ``center()`` and ``poly()`` are coded as in the fit.
        type : "response" or "link"
            The mean (a probability, of a binomial response), or the linear predictor.
        level : float, optional
            Probability of the intervals; by default the fit's.

        Returns
        -------
        DataFrame
            One row per row of `new_data` (with its index, if it is a pandas one): ``estimate, std_error, conf_low,
            conf_high`` and the labels ``point``, ``std_error_kind``, ``interval``. Rows with a missing value have NaN
            and a label that says so, as do rows whose mean leaves the family's domain; ``.attrs["rows"]`` counts them.

        Raises
        ------
        DataError, DesignError
            A label that the fit did not see, a missing column, labels in place of numbers, an array of offsets.
        OptionError
            An unknown type.

        Examples
        --------
        >>> from workbench.bayesglm import bayesglm
        >>> fit = bayesglm("y ~ x", {"x": range(1, 11), "y": [0] * 5 + [1] * 5}, "binomial")
        >>> fit.predict({"x": [5, 12]})[["estimate", "conf_low", "conf_high"]].round(3).values.tolist()
        [[0.361, 0.062, 0.83], [0.999, 0.48, 1.0]]
        """
        b, level = self.mode.coefficients, self.level if level is None else level
        return predict_rows(self.regression, self.family, b, self.cov, new_data, type, level)

    def to_dict(self) -> dict[str, Any]:
        """The fit as plain numbers, lists and text, for JSON; what is not finite becomes None.

        It has the keys of every fit's document (those of groups are empty), and its own.
        """
        columns = ("estimate", "std_error", "conf_low", "conf_high")
        values = [plain(getattr(self.population, name)) for name in columns]
        return {
            "schema": 1,
            "estimator": "bayesglm",
            "formula": str(self.regression.formula),
            "family": self.family.name,
            "link": self.family.link_name,
            "nobs": self.nobs,
            "dropped": self.regression.rows.dropped,
            "groups": {},
            "fixed": [
                {"term": term} | dict(zip(columns, row, strict=True))
                for term, *row in zip(self.terms, *values, strict=True)
            ],
            "fixed_cov": plain(self.cov),
            "sigma": plain(self.sigma),
            "dispersion": plain(self.dispersion),
            "deviance": plain(self.deviance),
            "null_deviance": plain(self.null_deviance),
            "df_residual": self.df_residual,
            "df_null": self.df_null,
            "log_likelihood": plain(self.log_likelihood),
            "aic": plain(self.aic),
            "bic": plain(self.bic),
            "criterion": None,
            "variance": [],
            "effects": [],
            "parameters": [],
            "iterations": self.iterations,
            "converged": self.converged,
            "singular": False,
            "warnings": list(self.warnings),
            "seconds": self.seconds,
        }

    def _repr_html_(self) -> str:
        """What a notebook shows: :mod:`workbench.report.notebook`."""
        from workbench.report.notebook import regression_html

        return regression_html(self)

    def __repr__(self) -> str:
        """Formula, coefficients with errors and intervals, how it fits, and what keeps it from being trusted."""
        found = self.population
        columns = ("estimate", "std_error", "conf_low", "conf_high")
        rows = zip(self.terms, *(getattr(found, name) for name in columns), strict=True)
        cells = [["", *columns], *([term, *(f"{v:.6g}" for v in row)] for term, *row in rows)]
        more = len(cells) - 1 - SHOWN
        cells = cells[: SHOWN + 1]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = [f"bayesglm {self.regression.formula}, {self.family.name} ({self.family.link_name})"]
        for name, *values in cells:
            right = "  ".join(text.rjust(width) for text, width in zip(values, widths[1:], strict=True))
            lines.append(f"  {name.ljust(widths[0])}  {right}")
        if more > 0:
            lines.append(f"  and {more:,} more, in .fixed")
        free = f"{self.nobs:,} rows, {len(self.terms):,} coefficients"
        lines.append(f"  {free}, deviance {self.deviance:.6g} (null {self.null_deviance:.6g})")
        ended = "" if self.converged else ", NOT CONVERGED"
        lines.append(f"  dispersion {self.dispersion:.6g}, {self.iterations} iterations{ended}")
        return "\n".join([*lines, *(f"  Note: {warning}" for warning in self.warnings)])
