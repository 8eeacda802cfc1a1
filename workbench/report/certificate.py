"""The certificate of a maximised fit: what shows that its search ended at a minimum of the criterion."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workbench.plots.style import title_of
from workbench.report.cells import Column, Table, number, text
from workbench.words import count

if TYPE_CHECKING:
    from workbench.comparison import Comparison

NOTE = (
    "Of the criterion by theta, for varying columns made orthonormal, each entry in its own unit. At a minimum the "
    "gradient is zero and no eigenvalue of the Hessian is negative. The projected gradient leaves out what a boundary "
    "holds back."
)


def certificate(comparison: Comparison) -> Table | None:
    """Where every maximised fit ended; None where nothing was maximised."""
    rows = []
    for name, fit in comparison.fits.items():
        d = fit.diagnostics
        if "projected_gradient" not in d:
            continue
        rows.append(
            (
                text(title_of(name)),
                text("minimum" if fit.converged else "NOT A MINIMUM"),
                number(d["gradient"]),
                number(d["projected_gradient"]),
                number(d["curvature"]),
                text(", ".join(d["boundary"]) or "none"),
                text(count(d["evaluations"], "evaluation")),
            )
        )
    if not rows:
        return None
    columns = (
        Column("estimator", numeric=False),
        Column("end point", numeric=False),
        Column("largest gradient"),
        Column("projected gradient"),
        Column("smallest eigenvalue of the Hessian"),
        Column("on the boundary", numeric=False),
        Column("work", numeric=False),
    )
    return Table("certificate", "Certificate of the optimum", columns, tuple(rows), (), (NOTE,), "manifest.json")
