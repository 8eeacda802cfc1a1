"""The same fits by several engines, timed on this machine: ``uv run --group bench python -m benchmarks``.

What is measured, and what is not:

* Every pair of engine and case runs in a process of its own, which loads the engine, fits a tiny table (so that no
  import is timed), builds the case's dataframe, fits it once untimed, then several times timed.
* The timed call goes from the dataframe to the full answer: population coefficients, variances, group effects.
* Engines run with their defaults, except that figures beyond that answer are switched off where an engine allows it
  (Satterthwaite's degrees of freedom, standard errors of group effects). Ours come with their standard errors.
* Wall seconds, CPU seconds of all threads, and the peak of the resident memory, whole and above what the process held
  with engine and dataframe loaded.
"""
