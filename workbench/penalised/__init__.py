"""Penalised regression, of group coefficients or of fixed ones.

A regression on one column per level and varying term, with the fixed part unpenalised, minimises

    D(b, u) / 2  +  sum over terms t and levels j of  l1_t |u_tj| + l2_t u_tj^2 / 2                    (1)

with D the deviance at dispersion 1, sum w (y - mu)^2 for a gaussian response. In terms of lambda and the share `mix` of
the absolute values, l1 = lambda mix and l2 = lambda (1 - mix): ridge (mix 0), lasso (1; Tibshirani 1996,
doi:10.1111/j.2517-6161.1996.tb02080.x) and elastic net (between; Zou & Hastie 2005,
doi:10.1111/j.1467-9868.2005.00503.x). The lambda of a package that divides D by twice the sum of the weights is ours
divided by that sum.

With l1 = 0 and l2 = sigma^2/tau^2, (1) is the joint density of y and u ~ N(0, tau^2), whose mode is the BLUP (Robinson
1991, doi:10.1214/ss/1177011926): the group effects of a mixed model *are* ridge estimates, at the lambda that the
variances say. What REML adds is that lambda, estimated from the same data, one for each term.

======================  ================================================================================
``columns``             Design -> the columns of (1), and effects from their coefficients
``regression``          (1) solved by glum, for one penalty or along a path; what certifies the end point
``strength``            penalties: stated, from variances, and the grid that cross-validation searches
``folds``               which rows are left out together
``cross_validation``    the loss of rows left out, along the grid, and the choice
``paths``               how coefficients move with lambda
``marginal``            fixed coefficients penalised beside random effects, from cross-products alone
``simulated``           a wide design of known truth
======================  ================================================================================
"""
