"""Saved draws. Rungs: what is read is what was written; everything that is not as it was is refused, in words."""

from dataclasses import replace

import h5py
import numpy as np
import pytest
from corpus import design_of
from test_draws_tree import PRIORS, made_up, slopes

import workbench as wb
from workbench.design import build_design
from workbench.errors import DataError, OptionError
from workbench.estimators import Settings, run_estimator
from workbench.prior_defaults import resolve_priors
from workbench.priors import Prior
from workbench.sampling import saved
from workbench.sampling.plain_density import log_joint
from workbench.sampling.tree import Sampled

pytestmark = pytest.mark.usefixtures("one_picture")


class Holder:
    """As much of a fit as saving looks at."""

    estimator = "hierarchical"

    def __init__(self, sampled):
        self.sampled = sampled


@pytest.fixture
def sampled():
    design = slopes()
    drawn = made_up(design, every=3)
    priors = resolve_priors(design, PRIORS)
    stats = {"energy": np.random.default_rng(0).normal(size=(2, 30)), "diverging": np.arange(60).reshape(2, 30) == 7}
    drawn = replace(drawn, stats=stats)
    return Sampled(design, drawn, priors, seed=9)


def test_draws_come_back_bit_by_bit(sampled, tmp_path):
    path = wb.save_draws(Holder(sampled), tmp_path / "draws.nc")
    back = wb.load_draws(path, slopes(), PRIORS)
    for name in ("b", "sigma"):
        np.testing.assert_array_equal(getattr(back.drawn, name), getattr(sampled.drawn, name))
    for name in ("sd", "correlation", "effects"):
        for one, other in zip(getattr(back.drawn, name), getattr(sampled.drawn, name), strict=True):
            np.testing.assert_array_equal(one, other)
    for name, values in sampled.drawn.stats.items():
        np.testing.assert_array_equal(back.drawn.stats[name], values)
    assert (back.drawn.every, back.seed) == (3, 9)
    # what is not in the file is computed of it, to the same numbers
    for group in ("log_likelihood", "posterior_predictive", "log_prior"):
        assert back.tree[group].to_dataset().identical(sampled.tree[group].to_dataset()), group
    assert wb.load_draws(path, slopes()).priors == dict(resolve_priors(slopes(), PRIORS))
    assert [p.name for p in tmp_path.iterdir()] == ["draws.nc"]


def test_draws_of_student_t_residuals_come_back_too(tmp_path):
    design = slopes()
    drawn = made_up(design)
    nu = np.random.default_rng(4).gamma(2.0, 10.0, drawn.b.shape[:2])
    priors = resolve_priors(design, PRIORS, robust=True)
    path = wb.save_draws(Holder(Sampled(design, replace(drawn, others={"nu": nu}), priors)), tmp_path / "draws.nc")
    for given in (None, PRIORS):
        back = wb.load_draws(path, design, given)
        np.testing.assert_array_equal(back.drawn.others["nu"], nu)
        assert str(back.priors["nu"]) == "Gamma(2, 0.1)"


def test_the_file_holds_the_joint_density_at_the_ends_of_every_chain(sampled, tmp_path):
    with h5py.File(wb.save_draws(Holder(sampled), tmp_path / "draws.nc")) as file:
        found = file.attrs["log_density"]
        assert "coefficient_g" not in file["group_effects"]
    d = sampled.drawn
    for k, (c, at) in enumerate([(0, 0), (0, 27), (1, 0), (1, 27)]):
        effects = tuple(part[c, at // 3] for part in d.effects)
        parts = (tuple(p[c, at] for p in d.sd), tuple(p[c, at] for p in d.correlation), effects)
        assert found[k] == pytest.approx(
            float(log_joint(sampled.design, sampled.priors, d.b[c, at], d.sigma[c, at], *parts)), rel=1e-13
        )


def change(path, place, index, by):
    with h5py.File(path, "r+") as file:
        values = file[place][...]
        values[index] += by
        file[place][...] = values


def test_what_is_not_as_it_was_is_refused(sampled, tmp_path, monkeypatch):
    path = wb.save_draws(Holder(sampled), tmp_path / "draws.nc")
    rng = np.random.default_rng(1)
    table = {"y": rng.normal(size=30), "g": np.arange(30) % 5}
    with pytest.raises(DataError, match=r"other data or another model .* 40 rows, given are y ~ 1 .* 30 rows"):
        wb.load_draws(path, build_design("y ~ 1 + (1 | g)", table))
    with pytest.raises(DataError, match=r"another prior of sigma: Gamma\(2, 0.05\) there, HalfCauchy\(5\) here"):
        wb.load_draws(path, slopes(), PRIORS | {"sigma": "HalfCauchy(5)"})
    with monkeypatch.context() as patch:  # a later version in which the same words mean another density
        patch.setattr(Prior, "log_density", lambda *_: 0.0)
        with pytest.raises(DataError, match=r"log posterior density was -?[\d.]+ when .* first draw of chain 1"):
            wb.load_draws(path, slopes(), PRIORS)
    change(path, "posterior/sigma", (1, 27), 1e-5)
    with pytest.raises(DataError, match=r"the last draw of chain 2: the file was changed"):
        wb.load_draws(path, slopes(), PRIORS)


def test_other_files_are_refused(tmp_path):
    design = slopes()
    with pytest.raises(DataError, match="There is no file"):
        wb.load_draws(tmp_path / "none.nc", design)
    (tmp_path / "text.nc").write_text("y,g")
    with pytest.raises(DataError, match="cannot be read as a NetCDF file"):
        wb.load_draws(tmp_path / "text.nc", design)
    with h5py.File(tmp_path / "foreign.nc", "w") as file:
        file["x"] = np.zeros(3)
    with pytest.raises(DataError, match="holds no draws of ours"):
        wb.load_draws(tmp_path / "foreign.nc", design)


def test_saving_is_whole_or_not_at_all(sampled, tmp_path, monkeypatch):
    path = wb.save_draws(Holder(sampled), tmp_path / "draws.nc")
    before = path.read_bytes()
    assert wb.save_draws(Holder(sampled), path).read_bytes() == before
    with pytest.raises(DataError, match="Name another place"):
        wb.save_draws(Holder(sampled), tmp_path / "no" / "folder.nc")

    def broken(sampled, estimator, path):
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(saved, "_write", broken)
    with pytest.raises(KeyboardInterrupt):
        wb.save_draws(Holder(sampled), path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["draws.nc"]


def test_of_very_many_effects_some_draws_are_saved(sampled, tmp_path, monkeypatch):
    monkeypatch.setattr(saved, "MOST_EFFECTS", 100)  # of 2 chains x 10 draws x (5 x 2 + 3) = 260
    back = wb.load_draws(wb.save_draws(Holder(sampled), tmp_path / "draws.nc"), slopes(), PRIORS)
    assert back.drawn.every == 9
    np.testing.assert_array_equal(back.drawn.effects[0], sampled.drawn.effects[0][:, ::3])
    np.testing.assert_array_equal(back.drawn.b, sampled.drawn.b)


def test_a_fit_without_draws_has_none_to_save(tmp_path):
    with pytest.raises(OptionError, match="The reml fit has no draws"):
        wb.save_draws(wb.fit("y ~ 1 + (1 | g)", {"y": [1.0, 2, 4, 3], "g": list("aabb")}), tmp_path / "a.nc")


def test_a_report_holds_the_draws_and_names_them(tmp_path):
    import json

    design = design_of("twelve_groups--ri")
    fit = run_estimator("exact", design, Settings(seed=2), {"draws": 250})
    comparison = wb.Comparison({"exact": fit, "reml": run_estimator("reml", design, Settings())})
    folder = comparison.report(tmp_path / "report")
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["fits"]["exact"]["draws"] == "draws/exact.nc"
    assert manifest["fits"]["reml"]["draws"] is None
    assert "draws/exact.nc" in manifest["files"]
    assert "Draws: draws/exact.nc, for ArviZ." in (folder / "README.md").read_text()
    back = wb.load_draws(folder / "draws" / "exact.nc", design)
    np.testing.assert_array_equal(back.drawn.b, fit.sampled.drawn.b)
    assert (folder / "draws" / "exact.nc").stat().st_size < 300_000
    first = (folder / "draws" / "exact.nc").read_bytes()
    assert (comparison.report(folder) / "draws" / "exact.nc").read_bytes() == first
