"""The colours of covariances. Rungs: closed form (the kernel of a line), the drawing against the view."""

import numpy as np
import pytest

import workbench as wb
from workbench.errors import OptionError
from workbench.plots import covariance

APART = {"centred": (2.0, 0.1, 0.3), "far off": (600.0, 0.3, 0.0)}


def test_counts_have_no_one_covariance_to_draw():
    table = {"y": [0, 1, 1, 1, 0, 1, 0, 0], "g": list("aabbccdd")}
    comparison = wb.compare("y ~ 1 + (1 | g)", table, ["laplace"], family="binomial")
    with pytest.raises(OptionError, match="Responses of binomial models have variances that depend on their means"):
        comparison.plot.covariance()


def test_panels_that_differ_by_orders_have_scales_of_their_own_and_say_so():
    view = covariance.view_of([2000.0, 2010.0, 2020.0], APART)
    small, large = view.matrices
    assert view.scales == ((0.0, small.max()), (0.0, large.max()))
    assert "Every panel has a colour scale of its own" in view.caption
    assert f"to {large.max():.0f} under far off" in view.caption
    axes = covariance.draw(view)
    axes[0].figure.canvas.draw()
    assert [ax.images[0].get_clim() for ax in axes] == list(view.scales)
    bars = [ax for ax in axes[0].figure.axes if ax not in axes]
    assert len(bars) == 2
    assert "100,000" in [label.get_text() for label in bars[1].get_yticklabels()]


def test_panels_of_one_size_share_a_scale():
    view = covariance.view_of([0.0, 1.0, 2.0], {"a": (2.0, 1.0, 0.5), "b": (2.0, 1.0, 0.0)})
    first, second = view.matrices
    assert view.scales == ((0.0, np.max([first, second])),) * 2
    assert "scale of its own" not in view.caption
    axes = covariance.draw(view)
    assert len(axes[0].figure.axes) == 3
