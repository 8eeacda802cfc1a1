"""``workbench show``, ``estimators`` and ``studies``: what there is, without fitting anything."""

from __future__ import annotations

import argparse

SHOW = "the fully resolved study: data, formula, design, priors"
ESTIMATORS = "list the estimators"
STUDIES = "list the built-in studies"


def add_study(parser: argparse.ArgumentParser) -> None:
    """The study to show."""
    parser.add_argument("study", metavar="STUDY", help="a built-in name, or a folder with a model.toml")


def show(given: argparse.Namespace) -> int:
    """Print a resolved study."""
    from workbench.report.terminal import print_study
    from workbench.sampling.responses import SAMPLED
    from workbench.study import load_study
    from workbench.truth import read_truth

    study = load_study(given.study)
    design = study.design()
    study.settings()  # what would stop a run stops this, too
    read_truth(study.true_values(design), design)
    known = study.resolved_priors(design) if design.family in SAMPLED else study.priors
    print_study(study.resolved(design), design, known)
    return 0


def estimators(given: argparse.Namespace) -> int:
    """Print the registry."""
    from workbench.estimators import REGISTRY

    for entry in REGISTRY.values():
        needs = f" (builds on {', '.join(entry.needs)})" if entry.needs else ""
        print(f"{entry.name:18}{entry.title}: {entry.use}{needs}")
    return 0


def studies(given: argparse.Namespace) -> int:
    """Print the built-in studies' titles and formulas."""
    from workbench.study import load_study, study_names

    for name in study_names():
        study = load_study(name)
        print(f"{name:18}{study.title}\n{'':18}{study.formula}")
    return 0
