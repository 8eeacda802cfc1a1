"""The study of lecture ratings: its table, and the figures of its notes. Rungs: invariance, published data."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import chi2

import workbench as wb
from tests.corpus import DATA
from workbench.study import load_study

STUDY = load_study("insteval")


@pytest.fixture(scope="module")
def ratings():
    table = pd.read_parquet(STUDY.data)
    return table.astype(dict.fromkeys(("s", "d", "service", "dept"), str))


@pytest.fixture(scope="module")
def fit():
    return wb.fit(STUDY.formula, STUDY.data)


def said(text):
    """Whether the notes say so, wherever their lines end."""
    return text in " ".join(STUDY.notes().split())


def test_the_table_is_lme4s_in_another_order(ratings):
    theirs = pd.read_csv(DATA / "datasets/InstEval.csv.gz", dtype=dict.fromkeys(("s", "d", "service", "dept"), str))
    ours = ratings[theirs.columns].astype(theirs.dtypes)
    columns = list(theirs.columns)
    both = (t.sort_values(columns).reset_index(drop=True) for t in (ours, theirs))
    pd.testing.assert_frame_equal(*both)
    assert STUDY.data.stat().st_size < 400_000


def test_notes_say_what_is_in_the_table(ratings):
    students, lecturers = (ratings[name].value_counts() for name in ("s", "d"))
    assert said(f"{len(students):,} students gave {len(ratings):,} ratings")
    assert said(f"{len(lecturers):,} lecturers")
    assert (students.median(), lecturers.median()) == (22, 31)
    assert said("(22 at the median)")
    assert said("by many students (31)")
    assert not ratings.duplicated(["s", "d"]).any()
    assert (ratings.groupby("d")["dept"].nunique() == 1).all()
    shares = ratings["y"].value_counts(normalize=True).sort_index()
    assert (100 * shares).round().tolist() == [14, 18, 24, 23, 21]
    by_dept = ratings.groupby("dept")["y"].mean()
    assert np.ptp(by_dept) == pytest.approx(0.36, abs=0.005)
    own = ratings.groupby("d")["y"].mean()
    assert (own.idxmin(), own.idxmax(), round(own.min(), 2), round(own.max(), 2)) == ("582", "1255", 1.43, 4.57)
    assert own.std() == pytest.approx(0.57, abs=0.005)


def test_notes_say_what_reml_finds(fit):
    variances = {part.group: float(part.covariance[0, 0]) for part in fit.components}
    total = sum(variances.values()) + fit.sigma**2
    shares = [100 * variances[g] / total for g in ("s", "d", "dept")] + [100 * fit.sigma**2 / total]
    assert np.round(shares, 1).tolist() == [6.0, 15.0, 0.4, 78.6]
    assert (variances["d"] + variances["dept"]) / total == pytest.approx(0.154, abs=5e-4)
    b, error = fit.population.estimate[1], fit.population.std_error[1]
    assert (round(b, 3), round(error, 3)) == (-0.093, 0.013)
    means = fit.coefficients.query("term == '(Intercept)'").set_index(["group", "level"])["estimate"]
    assert means["d"].nlargest(6).index.tolist()[::5] == ["1258", "1255"]  # the first, and the one behind five others
    found = [means["d", "582"], means["d", "1255"], means["d", "1258"], means["s", "2921"], means["s", "2466"]]
    assert np.round(found, 2).tolist() == [1.87, 4.29, 4.43, 3.39, 2.55]
    assert means["d"].std() == pytest.approx(0.47, abs=0.005)
    assert np.ptp(means["dept"]) == pytest.approx(0.24, abs=0.005)
    assert np.ptp(means["d"]) == pytest.approx(2.6, abs=0.05)
    residual = fit.residuals[np.argsort(fit.fitted)]
    fifths = [part.std(ddof=1) for part in np.array_split(residual, 5)]
    assert np.round([fifths[4], fifths[2]], 2).tolist() == [0.99, 1.22]
    assert np.round([fit.fitted.min(), fit.fitted.max()], 2).tolist() == [1.05, 4.95]


def test_notes_say_what_is_kept_of_how_many_ratings(fit, ratings):
    kept = {}
    for part, spread in zip(fit.group_effects, fit.components, strict=True):
        n = ratings[part.group].value_counts().loc[list(part.levels)].to_numpy()
        kept[part.group] = pd.Series(1 - part.effect.std_error[:, 0] ** 2 / spread.covariance[0, 0]).groupby(n).mean()
        alone = kept[part.group].index * spread.covariance[0, 0]
        if part.group != "dept":
            assert (kept[part.group] < alone / (alone + fit.sigma**2)).all()  # the others' effects are not known
    assert kept["d"][[10, 100, 792]].round(3).tolist() == [0.648, 0.94, 0.987]
    assert kept["s"][[1, 22]].round(2).tolist() == [0.07, 0.62]


def test_the_departments_variance_is_tested_at_its_boundary():
    one, other = (wb.fit(f, STUDY.data, "ml") for f in (STUDY.formula, STUDY.formula.replace(" + (1 | dept)", "")))
    fall = other.criterion.value - one.criterion.value
    assert fall == pytest.approx(8.8, abs=0.05)
    assert chi2.sf(fall, 1) / 2 == pytest.approx(0.0015, abs=5e-5)
