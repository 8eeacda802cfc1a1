"""Where a density lies, and its integral. Rungs: closed form (bivariate normal), REML's own peak and curvature."""

import numpy as np
import pytest

import workbench as wb
from workbench.exact_posterior.quadrature import resolve, zoom

WIDE = ((-10.0, 10.0), (-7.0, 12.0))


def normal(across, along, centre, turn):
    """Log density of a bivariate normal, not normalised: SDs along and across an axis that is turned by an angle."""
    c, s = np.cos(turn), np.sin(turn)

    def log_density(x, y):
        u, v = x[:, None] - centre[0], y[None, :] - centre[1]
        return -(((c * u + s * v) / along) ** 2 + ((c * v - s * u) / across) ** 2) / 2

    return log_density


@pytest.mark.parametrize("turn", [0.0, 0.3, np.pi / 4, 2.0])
@pytest.mark.parametrize(("across", "along"), [(1.0, 1.0), (1e-2, 1.0), (1e-4, 2e-4), (1e-5, 5e-5), (1e-7, 1e-7)])
def test_a_ridge_between_the_points_of_a_grid_is_found(across, along, turn):
    centre = (0.3712345, 1.9876543)
    log_density = normal(across, along, centre, turn)
    box, peak = zoom(log_density, WIDE)
    sds = [np.hypot(np.cos(turn) * along, np.sin(turn) * across), np.hypot(np.sin(turn) * along, np.cos(turn) * across)]
    for (low, high), (least, most), middle, top, sd in zip(box, WIDE, centre, peak, sds, strict=True):
        assert low <= max(middle - 9 * sd, least)
        assert high >= min(middle + 9 * sd, most)
        assert abs(top - middle) < 5 * sd
        assert high - low < max(60 * sd, 1e-12)
    found = resolve(log_density, lambda x, y: np.zeros((len(x), len(y))), WIDE, 1e-10, 4_000_000)
    assert found.error < 1e-5  # of 100 to 1, slanted, there are too few nodes for more
    if across < 1:  # else the limits cut it
        assert found.log_total == pytest.approx(np.log(2 * np.pi * across * along), abs=1e-7)


def test_a_ridge_too_narrow_to_be_found_is_said_to_be_unresolved():
    log_density = normal(1e-6, 1e-2, (0.3712345, 1.9876543), np.pi / 4)
    found = resolve(log_density, lambda x, y: np.zeros((len(x), len(y))), WIDE, 1e-10, 100_000)
    assert found.error > 1e-2


def test_a_density_that_does_not_end_where_the_box_does_is_not_resolved(monkeypatch):
    from workbench.exact_posterior import quadrature

    log_density = normal(0.1, 0.1, (0.0, 0.0), 0.0)
    monkeypatch.setattr(quadrature, "zoom", lambda *_: (((-0.1, 2.0), (-2.0, 2.0)), (0.0, 0.0)))
    found = resolve(log_density, lambda x, y: np.zeros((len(x), len(y))), WIDE, 1e-10, 100_000)
    assert found.error == pytest.approx(np.exp(-0.5), rel=0.05)
    whole = resolve(log_density, lambda x, y: np.zeros((len(x), len(y))), ((-0.1, 2.0), (-2.0, 2.0)), 1e-10, 100_000)
    assert whole.error < 1e-9  # limits may cut it


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("groups", [3_000, 30_000])
def test_the_posterior_of_many_groups_lies_about_remls_estimate(groups, seed):
    rng = np.random.default_rng(seed)
    size = rng.integers(1, 6, groups) if seed % 2 else np.full(groups, 5)
    codes = np.repeat(np.arange(groups), size)
    y = 1 + rng.normal(0, 0.5, groups)[codes] + rng.normal(size=len(codes))
    exact, reml = (wb.fit("y ~ 1 + (1 | g)", {"y": y, "g": codes}, name) for name in ("exact", "reml"))
    assert exact.converged
    posterior = {row["name"]: row for row in exact.to_dict()["parameters"]}
    for name, wanted in zip(("sd(g, (Intercept))", "sigma"), reml.variance["sdcor"], strict=True):
        assert abs(posterior[name]["mean"] - wanted) < 0.1 * posterior[name]["std_error"]
