"""Estimates that are iterated, step by step on record: descents to the BLUPs, and updates of the variances.

:mod:`~workbench.iterations.spreads` holds the variances that are given or updated; :mod:`~workbench.iterations.solved`
solves the mixed-model equations at them; :mod:`~workbench.iterations.descent` goes to the same solution by gradients;
:mod:`~workbench.iterations.updates` alternates solutions and updates of the variances, and
:mod:`~workbench.iterations.decomposition` says what each update counts and leaves out.
"""
