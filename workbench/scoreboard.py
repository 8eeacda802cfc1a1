"""Every estimator in one line: how far from the truth, how often covered, how wide, how long.

====================  ================================================================================================
column                is
====================  ================================================================================================
``rmse``              root of the mean squared error of the group coefficients
``relative_rmse``     over that of no pooling, where that is there
``coverage``          share of the truths in their intervals
``interval_width``    mean width of the intervals
``rank_correlation``  Spearman's, of estimates and truths
``log_score``         mean log density of the truths under normal distributions of the estimates and their standard
                      errors (Good 1952, doi:10.1111/j.2517-6161.1952.tb00104.x): larger is better; it punishes
                      a standard error that is too small, as one that is too large
``seconds``           of the fit itself
====================  ================================================================================================

There is a row for all groups of a term and, where groups differ in size, one for each class of sizes: a third of the
groups each, as near as ties allow. Without a truth, what needs it is missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from workbench.fit import Fit

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.float64]

COLUMNS = (
    "estimator", "group", "term", "sizes", "levels", "rmse", "relative_rmse", "coverage", "interval_width",
    "rank_correlation", "log_score", "seconds",
)  # fmt: skip
CLASSES = 3


def scoreboard(table: pd.DataFrame, fits: Mapping[str, Fit]) -> pd.DataFrame:
    """One row per grouping factor, term, class of sizes and estimator, of the table of :mod:`workbench.group_table`."""
    import pandas as pd

    rows: list[dict[str, Any]] = []
    for (group, term), part in table.groupby(["group", "term"], sort=False):
        for words, some in _classes(_in_common(part)):
            scores = {name: _scores(own) for name, own in some.groupby("estimator", sort=False)}
            alone = scores.get("no_pooling", {}).get("rmse", np.nan)
            for name, score in scores.items():
                head = {"estimator": name, "group": group, "term": term, "sizes": words}
                tail = {"relative_rmse": score["rmse"] / alone, "seconds": fits[str(name)].seconds}
                rows.append(head | score | tail)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _in_common(part: pd.DataFrame) -> pd.DataFrame:
    """The rows of levels that all estimators have an estimate of, those without any estimate aside.

    Scores over different groups would compare the groups.
    """
    known = part[part["estimate"].notna()]
    counts = known.groupby("level", sort=False)["estimator"].nunique()
    common = counts.index[counts == known["estimator"].nunique()]
    return part[part["level"].isin(common)] if len(common) else part


def _classes(part: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """All groups, and classes of their sizes in words."""
    found = [("all", part)]
    sizes = np.unique(part.drop_duplicates("level")["n"].to_numpy())
    if len(sizes) == 1:
        return found
    n = part.drop_duplicates("level")["n"].to_numpy()
    cuts = np.unique(np.quantile(n, np.arange(1, CLASSES) / CLASSES, method="lower"))
    edges = [*[int(c) for c in cuts if c < sizes[-1]], int(sizes[-1])]
    low = int(sizes[0])
    for high in edges:
        inside = part[(part["n"] >= low) & (part["n"] <= high)]
        if len(inside):
            seen = inside["n"]
            first, last = int(seen.min()), int(seen.max())
            found.append((f"n = {first}" if first == last else f"n = {first} to {last}", inside))
        low = high + 1
    return found if len(found) > 2 else found[:1]


def _scores(own: pd.DataFrame) -> dict[str, Any]:
    known = own["estimate"].notna()
    width = (own["conf_high"] - own["conf_low"])[known]
    score: dict[str, Any] = {"levels": int(known.sum()), "interval_width": width.mean()}
    if "truth" not in own:
        return score | dict.fromkeys(("rmse", "coverage", "rank_correlation", "log_score"), np.nan)
    some = own[known & own["truth"].notna()]
    return score | {
        "rmse": float(np.sqrt(some["squared_error"].mean())) if len(some) else np.nan,
        "coverage": some["covered"].astype(float).mean(),
        "rank_correlation": _spearman(some["estimate"].to_numpy(), some["truth"].to_numpy()),
        "log_score": _log_score(some),
    }


def _spearman(one: Array, other: Array) -> float:
    """Pearson's correlation of ranks; missing where either does not vary."""
    from scipy.stats import rankdata

    if len(one) < 2 or np.ptp(one) == 0 or np.ptp(other) == 0:
        return float("nan")
    return float(np.corrcoef(rankdata(one), rankdata(other))[0, 1])


def _log_score(some: pd.DataFrame) -> float:
    error, sd = some["error"].to_numpy(), some["std_error"].to_numpy()
    if not len(error) or not (sd > 0).all():
        return float("nan")
    return float(np.mean(-0.5 * (error / sd) ** 2 - np.log(sd) - 0.5 * np.log(2 * np.pi)))
