"""Mixed models fitted by statsmodels: its arrays made of a Design, its results read as a Fit.

Nothing of the answer is ours but the labels: :mod:`workbench.statsmodels_fits.mixed_lm` is ``MixedLM``, for gaussian
responses, :mod:`workbench.statsmodels_fits.bayes_mixed_glm` ``BinomialBayesMixedGLM`` and ``PoissonBayesMixedGLM``.
"""
