"""The registry of estimators, and how they are called.

An estimator is a plain function ``(design, settings, options, upstream) -> Fit``. It modifies nothing; `upstream` maps
the names in :attr:`Estimator.needs` to their fits of the same design.

To add one: write a file here, add an entry to :data:`REGISTRY`. The entry names the function by module, so that listing
the estimators imports none of them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from importlib import import_module
from operator import index
from types import MappingProxyType, ModuleType
from typing import TYPE_CHECKING, Any, SupportsIndex

from workbench.errors import OptionError, PriorError, nearest

if TYPE_CHECKING:
    import pandas as pd

    from workbench.design import Design
    from workbench.fit import Fit


NOTHING: Mapping[str, Any] = MappingProxyType({})
"""No upstream fits, no options."""


@dataclass(frozen=True)
class Settings:
    """What all estimators share: `level` of intervals, `seed`, `progress`, and `priors` by name."""

    level: float = 0.95
    seed: SupportsIndex = 1
    progress: bool = False
    priors: Mapping[str, Any] = field(default_factory=lambda: NOTHING)

    def __post_init__(self) -> None:
        if isinstance(self.level, bool) or not isinstance(self.level, int | float) or not 0 < self.level < 1:
            raise OptionError(f"level is {self.level!r}, but a probability between 0 and 1 is needed, such as 0.95.")
        whole = hasattr(self.seed, "__index__") and not isinstance(self.seed, bool)
        if not whole or index(self.seed) < 0:
            raise OptionError(f"seed is {self.seed!r}, but a whole number from 0 on is needed.")
        if not isinstance(self.priors or {}, Mapping):
            raise PriorError(
                f"priors is {self.priors!r}, but must be a mapping of parameters to priors, as "
                '{"sd(group)": "HalfNormal(1)"}.'
            )
        object.__setattr__(self, "seed", index(self.seed))
        object.__setattr__(self, "priors", MappingProxyType(dict(self.priors or {})))


@dataclass(frozen=True)
class Estimator:
    """One entry of the registry.

    Attributes
    ----------
    name : str
    title : str
        For tables and pictures.
    use : str
        How it uses the likelihood, in a few words.
    module : str
        Below ``workbench.estimators``; holds the function of the estimator's name and, where there are options,
        ``Options``.
    families : tuple of str
    needs : tuple of str
        Estimators whose fits it builds on, unless its options say otherwise (:meth:`needed`).
    options : bool
        Whether the module has ``Options``.
    bayesian : bool
        Whether it takes priors.
    several_factors : bool
        Whether it takes designs with more than one grouping factor.
    """

    name: str
    title: str
    use: str
    module: str
    families: tuple[str, ...] = ("gaussian",)
    needs: tuple[str, ...] = ()
    options: bool = False
    bayesian: bool = False
    several_factors: bool = True

    def option_type(self) -> type | None:
        """The options dataclass of the estimator, or None."""
        if not self.options:
            return None
        kind: type = import_module(f"workbench.estimators.{self.module}").Options
        return kind

    def needed(self, options: Any, design: Design) -> tuple[str, ...]:
        """Estimators whose fits of this design it builds on, given its options."""
        return options.needs(design) if hasattr(options, "needs") else self.needs

    def function(self) -> Callable[..., Fit]:
        """The estimator itself."""
        made: Callable[..., Fit] = getattr(import_module(f"workbench.estimators.{self.module}"), self.name)
        return made


REGISTRY: Mapping[str, Estimator] = MappingProxyType(
    {
        entry.name: entry
        for entry in (
            Estimator(
                "complete_pooling",
                "complete pooling",
                "one value for all groups",
                "complete_pooling",
                families=("gaussian", "binomial", "poisson", "gamma"),
            ),
            Estimator(
                "no_pooling",
                "no pooling",
                "each group by itself",
                "no_pooling",
                families=("gaussian", "binomial", "poisson", "gamma"),
                several_factors=False,
            ),
            Estimator(
                "james_stein",
                "James-Stein",
                "means shrunken so that their total error falls, whatever the true ones",
                "james_stein",
                options=True,
                several_factors=False,
            ),
            Estimator(
                "spread_matching",
                "spread matching",
                "means shrunken until they spread as the true ones do",
                "spread_matching",
                needs=("reml",),
                options=True,
                several_factors=False,
            ),
            Estimator("reml", "REML", "maximised, fixed effects integrated out", "reml"),
            Estimator("ml", "ML", "maximised", "reml"),
            Estimator(
                "boundary_avoiding",
                "boundary avoiding",
                "maximised with a density that keeps variances off zero",
                "boundary_avoiding",
                options=True,
            ),
            Estimator(
                "reml_textbook",
                "REML, textbook",
                "maximised, as REML or ML, by explicit n x n matrices",
                "reml_textbook",
                options=True,
            ),
            Estimator(
                "henderson",
                "given variances",
                "held at given variances: the mixed-model equations, solved or descended to",
                "henderson",
                needs=("reml",),
                options=True,
            ),
            Estimator(
                "mackay",
                "MacKay",
                "not maximised: variances updated from the predicted effects",
                "mackay",
                options=True,
                several_factors=False,
            ),
            Estimator(
                "em",
                "REML, EM",
                "maximised, as REML, by the EM algorithm: one grouping factor",
                "em",
                options=True,
                several_factors=False,
            ),
            Estimator(
                "laplace",
                "Laplace",
                "maximised, by Laplace's approximation",
                "laplace",
                families=("binomial", "poisson"),
                options=True,
            ),
            Estimator(
                "agq",
                "adaptive quadrature",
                "maximised, by quadrature: one grouping factor, one varying term",
                "agq",
                families=("binomial", "poisson"),
                options=True,
                several_factors=False,
            ),
            Estimator(
                "fixed_prior",
                "fixed prior",
                "plugged in: mean and SD of REML (of laplace, for counts and shares) as a fixed prior",
                "fixed_prior",
                families=("gaussian", "binomial", "poisson", "gamma"),
                needs=("reml", "laplace"),
                options=True,
            ),
            Estimator(
                "statsmodels",
                "statsmodels",
                "maximised, as REML or ML; for counts and shares integrated, by variational Bayes",
                "statsmodels",
                families=("gaussian", "binomial", "poisson"),
                needs=("reml", "ml"),
                options=True,
            ),
            Estimator(
                "penalized",
                "penalised",
                "penalised regression on group columns: ridge, lasso, elastic net",
                "penalized",
                families=("gaussian", "binomial", "poisson", "gamma"),
                needs=("reml",),
                options=True,
            ),
            Estimator(
                "penalized_fixed",
                "penalised fixed part",
                "maximised, its fixed coefficients penalised: ridge, lasso, elastic net",
                "penalized_fixed",
                needs=("reml",),
                options=True,
            ),
            Estimator(
                "hierarchical",
                "full Bayes",
                "integrated, by sampling in PyMC",
                "hierarchical",
                families=("gaussian", "binomial", "poisson"),
                options=True,
                bayesian=True,
            ),
            Estimator(
                "exact",
                "exact full Bayes",
                "integrated, by quadrature: one grouping factor, one varying term",
                "exact",
                families=("gaussian", "binomial", "poisson"),
                options=True,
                bayesian=True,
                several_factors=False,
            ),
        )
    }
)

DEFAULTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "gaussian": ("complete_pooling", "no_pooling", "reml", "fixed_prior", "hierarchical"),
        "binomial": ("complete_pooling", "no_pooling", "laplace", "fixed_prior", "hierarchical"),
        "poisson": ("complete_pooling", "no_pooling", "laplace", "fixed_prior", "hierarchical"),
    }
)
"""What a comparison fits when nothing is named, by family."""


def table() -> pd.DataFrame:
    """The registry as a table: ``name, title, use, families, needs``; ``wb.estimators()`` is this."""
    import pandas as pd

    rows = [(e.name, e.title, e.use, ", ".join(e.families), ", ".join(e.needs)) for e in REGISTRY.values()]
    return pd.DataFrame(rows, columns=["name", "title", "use", "families", "needs"])


class _Registry(ModuleType):
    """This package, which can be called: ``wb.estimators()`` lists what is registered."""

    def __call__(self) -> pd.DataFrame:
        return table()


sys.modules[__name__].__class__ = _Registry


def default_estimators(design: Design) -> tuple[str, ...]:
    """What a comparison of this design fits when nothing is named.

    Raises
    ------
    OptionError
        No defaults for the family.
    """
    if design.family not in DEFAULTS:
        raise OptionError(
            f"There are no default estimators of {design.family} responses. {_instead(design.family, 'Name some of')}"
        )
    several = len(design.groups) > 1
    return tuple(name for name in DEFAULTS[design.family] if REGISTRY[name].several_factors or not several)


def _instead(family: str, use: str) -> str:
    """Which estimators fit a family, after the words `use`."""
    able = [e.name for e in REGISTRY.values() if family in e.families]
    return f"{use} {', '.join(able)}." if able else f"Nothing here fits {family} models of groups yet."


def lookup(name: str) -> Estimator:
    """Find an estimator by name; an unknown one is an OptionError with the nearest name."""
    if not isinstance(name, str) or name not in REGISTRY:
        raise OptionError(f"There is no estimator {name!r}. {nearest(str(name), REGISTRY)}")
    return REGISTRY[name]


def make_options(estimator: Estimator, given: Any) -> Any:
    """Turn a dict (or the options object itself) into the estimator's options, checking every key."""
    kind = estimator.option_type()
    if kind is None:
        if given:
            raise OptionError(f"{estimator.name} takes no options, but {given!r} was given. Leave options out.")
        return None
    if given is None:
        return kind()
    if isinstance(given, kind):
        return given
    if not isinstance(given, Mapping):
        raise OptionError(
            f"options for {estimator.name} must be a dict or {kind.__module__}.Options, not {type(given).__name__}."
        )
    assert is_dataclass(kind)
    known = [f.name for f in fields(kind)]
    for key in given:
        if key not in known:
            raise OptionError(f"{estimator.name} has no option {key!r}. {nearest(str(key), known)}")
    try:
        return kind(**given)
    except (TypeError, ValueError) as error:
        raise OptionError(f"The options {dict(given)!r} do not suit {estimator.name}: {error}.") from None


def run_estimator(
    name: str,
    design: Design,
    settings: Settings,
    options: Any = None,
    upstream: Mapping[str, Fit] | None = None,
) -> Fit:
    """Fit one estimator, fitting what it needs first where `upstream` does not hold it, and time it.

    Raises
    ------
    OptionError
        Unknown estimator, option, or a family that it does not fit.
    """
    from time import perf_counter

    estimator = lookup(name)
    if design.family not in estimator.families:
        raise OptionError(
            f"{name} fits {', '.join(estimator.families)} responses, not {design.family}. "
            f"{_instead(design.family, f'For {design.family} use')}"
        )
    chosen = make_options(estimator, options)
    ready = dict(upstream or {})
    for needed in estimator.needed(chosen, design):
        if needed not in ready:
            ready[needed] = run_estimator(needed, design, settings)
    fitted = estimator.function()  # its imports are not its time
    begun = perf_counter()
    fit = fitted(design, settings, chosen, ready)
    return fit.finished(perf_counter() - begun, chosen)
