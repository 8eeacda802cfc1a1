"""Generalised linear mixed models by maximum likelihood: the group effects integrated out by approximation.

    g(E y_i) = eta_i = (X b + sum_f Z_f u_f + offset)_i,      u_fj = Lambda_f s_fj,      s_fj ~ N(0, I)

The likelihood of (b, theta) has no closed form, unlike a gaussian response's. Given both, the *conditional modes* of
the effects are found by penalised iteratively reweighted least squares (:mod:`workbench.glmm.pirls`), every step of
which is a gaussian model's (:mod:`workbench.likelihood`); what is left is a gaussian integral (Laplace's approximation,
:mod:`workbench.glmm.laplace`) or, level by level, a quadrature about the mode (:mod:`workbench.glmm.quadrature`).
theta and b are found together (:mod:`workbench.glmm.search`).
"""
