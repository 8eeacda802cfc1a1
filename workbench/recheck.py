"""A report held to what it says it was made from: its files, the stored optimum, the draws, the reference figures.

Nothing is fitted. At the variances that the report's table holds, the criterion is evaluated anew on the study's data,
and must be the one in the manifest, and no smaller nearby; the group coefficients are predicted anew and must be those
in the table. Posterior summaries are made anew from the saved draws, where these lie beside the report.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from workbench.design import Design
from workbench.errors import DataError, ReportError, StudyError
from workbench.fingerprint import design_hash
from workbench.report.manifest import NAME, is_manifest
from workbench.study import Study, load_study
from workbench.words import count, significant

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.float64]

CRITERIA = {"reml": True, "reml_textbook": True, "ml": False}
"""Estimators whose criterion is the profiled one of gaussian models, and whether it is the restricted one."""
COUNTED = ("laplace", "agq")
SAME = 1e-8
"""Criteria agree to this share of their size: tables hold all digits."""
CLOSE = 1e-6
"""Estimates agree to this share of a standard error."""
ASIDE = 1e-3
"""So far from the optimum, as a share of every spread, the criterion must not be smaller."""


@dataclass(frozen=True)
class Recheck:
    """One thing that was held: what it is, what is stored, what was found, and whether it holds; None: not checked."""

    what: str
    stored: str
    found: str
    holds: bool | None


def recheck(folder: str | Path) -> tuple[Recheck, ...]:
    """Hold a report to its own figures.

    Parameters
    ----------
    folder : path
        Of a report of a study, which ``workbench run`` wrote.

    Returns
    -------
    tuple of Recheck
        Files first, then data, criteria, coefficients, draws and reference figures.

    Raises
    ------
    ReportError
        The folder is no report, or the study and data that it was made from cannot be found.
    """
    place = Path(folder)
    if not is_manifest(place / NAME):
        raise ReportError(f"{place} is no report: it has no {NAME} of ours. Name the folder of a report.")
    made = json.loads((place / NAME).read_text(encoding="utf-8"))
    study = _study(made, place)
    design = study.design()
    same = design_hash(design) == made["design_sha256"]
    found = [*_files(made, place)]
    found.append(Recheck("data and model", made["design_sha256"][:12], design_hash(design)[:12], same))
    if not same:
        return tuple(found)
    tables = _Tables(place)
    for name, fit in made["fits"].items():
        found += _optimum(name, fit, design, tables, study)
        found += _draws(name, fit, design, tables, place, study)
    return (*found, *_figures(made))


def _study(made: Mapping[str, Any], place: Path) -> Study:
    """The study that a report names, where its files are those that the report was made from."""
    named = made["study"]
    if not named.get("name"):
        raise ReportError(
            f"{place} names no study, so its data cannot be found: it was made of a table, by workbench compare or in "
            "Python. Make it a study (a folder with a model.toml) and run that."
        )
    wanted, seen = made["source_files_sha256"], []
    above = [parent / named.get("folder", "") for parent in (Path(), *place.resolve().parents[:3])]
    for which in (*above, named["name"]):
        try:
            study = load_study(which)
            hashes = study.file_hashes()
        except (StudyError, DataError, OSError):
            continue
        if hashes == wanted:
            return study
        seen.append(next(iter(sorted(name for name in {*hashes, *wanted} if hashes.get(name) != wanted.get(name)))))
    if seen:
        raise ReportError(
            f"{place} was made from another version of the study {named['name']}: {seen[0]} differs. Run it again, or "
            "bring back the files that it was made from."
        )
    raise ReportError(
        f"The study {named['name']} that {place} was made from is not to be found. Go to the folder that holds "
        f"{named.get('folder', named['name'])}, and check from there."
    )


# --- files --------------------------------------------------------------------------------------------


def _files(made: Mapping[str, Any], place: Path) -> Iterator[Recheck]:
    """One row for all files that are as they were, and one for each that is not."""
    draws = {fit["draws"] for fit in made["fits"].values()}
    good = 0
    for name, digest in made["files"].items():
        path = place / name
        if not path.is_file():
            if name not in draws:  # which are too large to be passed on with a report, and are looked for below
                yield Recheck(f"file {name}", "there", "missing", False)
        elif digest is None or hashlib.sha256(path.read_bytes()).hexdigest() == digest:
            good += 1
        else:
            yield Recheck(f"file {name}", digest[:12], hashlib.sha256(path.read_bytes()).hexdigest()[:12], False)
    yield Recheck("files as they were written", count(len(made["files"]), "file"), f"{good:,}", good > 0)


class _Tables:
    """The report's tables, read when they are asked for."""

    def __init__(self, place: Path) -> None:
        self.place, self.read = place, dict[str, "pd.DataFrame"]()

    def __getitem__(self, name: str) -> pd.DataFrame:
        import pandas as pd

        if name not in self.read:
            text = {"group": str, "level": str, "term": str, "term1": str, "term2": str, "name": str}
            path = self.place / f"tables/{name}.csv"
            if path.is_file():
                self.read[name] = pd.read_csv(path, dtype=text, keep_default_na=False, na_values=[""])  # a level "NA"
            else:
                import polars as pl

                rows = pl.read_parquet(path.with_suffix(".parquet"))
                self.read[name] = pd.DataFrame({column: rows[column].to_list() for column in rows.columns})
        return self.read[name]

    def population(self, estimator: str, design: Design) -> Array:
        """Population coefficients, shape (p,)."""
        rows = self["estimates"]
        rows = rows[(rows["estimator"] == estimator) & (rows["effect"] == "fixed")].set_index("term")
        return np.asarray(rows["estimate"].reindex(list(design.fixed_terms)), dtype=float)

    def coefficients(self, estimator: str, design: Design, column: str = "estimate") -> list[Array]:
        """Group coefficients by block, shape (J, q) each."""
        rows = self["estimates"]
        rows = rows[(rows["estimator"] == estimator) & (rows["effect"] == "ran_coefs")]
        values, start, found = np.asarray(rows[column], dtype=float), 0, []
        for block in design.blocks:
            size = len(block.levels) * len(block.terms)
            part = values[start : start + size]
            found.append(np.resize(part, (len(block.levels), len(block.terms))) if len(part) == size else np.empty(0))
            start += size
        return found

    def covariances(self, estimator: str, design: Design) -> tuple[list[Array], float]:
        """Covariance of every block, shape (q, q), and sigma (1 where there is none)."""
        rows = self["variance"]
        rows = rows[rows["estimator"] == estimator]
        values = [float(value) for value in rows["vcov"]]
        found = []
        for block in design.blocks:
            q = len(block.terms)
            covariance, own = np.zeros((q, q)), values[: q * (q + 1) // 2]
            values = values[q * (q + 1) // 2 :]
            pairs = [(k, k) for k in range(q)] + [(a, b) for a in range(q) for b in range(a + 1, q)]
            for (a, b), value in zip(pairs, own, strict=True):
                covariance[a, b] = covariance[b, a] = value
            found.append(covariance)
        return found, float(np.sqrt(values[0])) if values else 1.0


# --- the optimum --------------------------------------------------------------------------------------


def _optimum(name: str, fit: Mapping[str, Any], design: Design, tables: _Tables, study: Study) -> Iterator[Recheck]:
    """The criterion and the group coefficients at the stored variances."""
    stored = fit["criterion"]
    if stored is None:
        return
    if name not in (*CRITERIA, *COUNTED):
        yield Recheck(f"criterion of {name}", significant(stored["value"], 10), "not evaluated again", None)
        return
    covariances, sigma = tables.covariances(name, design)
    b = tables.population(name, design)
    value, coefficients = _at(name, fit, design, covariances, sigma, b)
    near = SAME * max(1.0, abs(stored["value"]))
    yield Recheck(
        f"criterion of {name} at its variances",
        significant(stored["value"], 12),
        significant(value, 12),
        abs(value - stored["value"]) <= near,
    )
    aside = [
        _at(name, fit, design, [covariance * share for covariance in covariances], sigma, b)[0]
        for share in ((1 - ASIDE) ** 2, (1 + ASIDE) ** 2)
    ]
    yield Recheck(
        f"no smaller criterion of {name} nearby", significant(value, 12), significant(min(aside), 12),
        min(aside) >= value - near,
    )  # fmt: skip
    own = tables.coefficients(name, design)
    yield _compared(f"group coefficients of {name}", own, coefficients, tables.coefficients(name, design, "std_error"))


def _at(
    name: str, fit: Mapping[str, Any], design: Design, covariances: list[Array], sigma: float, b: Array
) -> tuple[float, list[Array]]:
    """The criterion at given variances (of counts and shares, and at b too), and the group coefficients there."""
    if name in COUNTED:
        return _counted(fit, design, covariances, b)
    from workbench.covariances import relative_factors, square_root
    from workbench.likelihood import conditional, criterion, in_data_units
    from workbench.moments import moments

    data = moments(design)
    given = conditional(data, relative_factors(data, [square_root(c) for c in covariances], sigma))
    effects = in_data_units(data, given).u
    by_block: dict[int, Array] = {}
    for f, u in zip(data.factors, effects, strict=True):
        for here, place in zip(f.blocks, f.places, strict=True):
            by_block[place] = u[:, here]
    return criterion(data, given, CRITERIA[name]), _with_population(design, by_block, b)


def _counted(fit: Mapping[str, Any], design: Design, covariances: list[Array], b: Array) -> tuple[float, list[Array]]:
    from workbench.covariances import square_root
    from workbench.glmm.pirls import conditional_mode
    from workbench.glmm.rows import Rows
    from workbench.glmm.search import Deviance
    from workbench.glmm.working import Working

    rows, told = Rows.of(design), fit["diagnostics"]
    factors = []
    for f in rows.factors:
        Lambda = np.zeros((f.q, f.q))
        for place, here, R in zip(f.places, f.blocks, f.maps, strict=True):
            root = np.linalg.pinv(R) @ square_root(covariances[place])
            Lambda[here, here] = np.linalg.qr(root.T)[1].T[:, : here.stop - here.start]
        factors.append(Lambda)
    deviance = Deviance(Working(rows), "observed" not in str(told.get("information", "")), int(told.get("nodes", 1)))
    mode = conditional_mode(deviance.working, tuple(factors), np.linalg.solve(rows.to_data, b), None)
    from workbench.glmm.laplace import determinant

    value = deviance.value(mode, determinant(deviance.working, mode, deviance.expected))
    by_block = {
        place: (R @ u[here]).T
        for f, u in zip(rows.factors, mode.u, strict=True)
        for place, here, R in zip(f.places, f.blocks, f.maps, strict=True)
    }
    return float(value), _with_population(design, by_block, b)


def _with_population(design: Design, effects: Mapping[int, Array], b: Array) -> list[Array]:
    """Effects plus population values, by block."""
    found = []
    for place, block in enumerate(design.blocks):
        values = [0.0 if k is None else float(b[k]) for k in block.fixed]
        found.append(effects[place] + np.array(values))
    return found


def _compared(what: str, stored: list[Array], found: list[Array], errors: list[Array]) -> Recheck:
    """Whether numbers are those of a table, in units of their standard errors."""
    if [a.shape for a in stored] != [a.shape for a in found]:
        return Recheck(what, "another number of rows", "", False)
    a, b, error = (np.concatenate([part.ravel() for part in parts]) for parts in (stored, found, errors))
    known = np.isfinite(b)
    if not np.array_equal(known, np.isfinite(a)):
        return Recheck(what, "others are missing", "", False)
    unit = np.where(np.isfinite(error) & (error > 0), error, np.maximum(np.abs(b), 1e-12))
    gap = (np.abs(a - b) / unit)[known]
    worst = float(gap.max(initial=0.0))
    said = f"at most {significant(worst, 2)} of a standard error off"
    return Recheck(what, count(int(known.sum()), "number"), said, worst <= CLOSE)


# --- draws and figures --------------------------------------------------------------------------------


def _draws(
    name: str, fit: Mapping[str, Any], design: Design, tables: _Tables, place: Path, study: Study
) -> Iterator[Recheck]:
    """Posterior summaries made anew from saved draws."""
    if fit["draws"] is None:
        return
    what = f"posterior summaries of {name}"
    if not (place / fit["draws"]).is_file():
        yield Recheck(what, fit["draws"], "not here: not checked", None)
        return
    from workbench.sampling.saved import load_draws
    from workbench.sampling.summaries import level_estimates, parameters_of

    try:
        drawn = load_draws(place / fit["draws"], design, fit["priors"]).drawn
    except DataError as error:
        yield Recheck(what, fit["draws"], str(error), False)
        return
    rows = tables["parameters"]
    rows = rows[rows["estimator"] == name]
    made = parameters_of(design, drawn, study.level).estimates
    for column in ("estimate", "std_error", "conf_low", "conf_high"):
        yield _compared(
            f"{what}: {column} of parameters",
            [np.asarray(rows[column], dtype=float)],
            [np.asarray(getattr(made, column))],
            [np.asarray(made.std_error)],
        )
    coefficients = [pair[1].estimate for pair in level_estimates(design, drawn, study.level)]
    own, errors = (tables.coefficients(name, design, column) for column in ("estimate", "std_error"))
    yield _compared(f"{what}: group coefficients", own, coefficients, errors)


def _figures(made: Mapping[str, Any]) -> Iterator[Recheck]:
    """Reference figures, as the report holds them."""
    figures = made["published_figures"]
    if not figures:
        return
    kept = 0
    for figure in figures:
        holds = figure["ours"] is not None and abs(figure["ours"] - figure["published"]) <= figure["tolerance"]
        kept += holds
        if not holds or holds != figure["holds"]:
            what = f"reference figure {figure['quantity']} ({figure['estimator']})"
            yield Recheck(what, significant(figure["published"], 8), significant(figure["ours"], 8), False)
    yield Recheck("reference figures", f"{len(figures):,}", f"{kept:,} reached", kept == len(figures))
