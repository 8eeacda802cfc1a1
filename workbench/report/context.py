"""What a study knows beside its comparison: where it comes from, and reference figures to hold ours to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class FigureCheck:
    """One reference figure against ours; it holds where they differ by no more than the tolerance.

    It is a published figure, one of other software, or an identity.
    """

    estimator: str
    quantity: str
    published: float
    ours: float
    tolerance: float
    source: str
    holds: bool


@dataclass(frozen=True)
class Context:
    """The study that a report is about.

    Attributes
    ----------
    name : str
        The study's name, as the command line takes it; empty for a comparison without a study.
    question : str
    notes : str
        Markdown.
    study : mapping
        The resolved study; goes into the manifest as it is, so it must be JSON.
    source_files : mapping of str to str
        File name to SHA-256.
    figures : sequence of FigureCheck
    built_in : bool
        Whether the command line knows the study by its name, wherever it is called.
    """

    name: str = ""
    question: str = ""
    notes: str = ""
    study: Mapping[str, Any] = field(default_factory=lambda: NOTHING)
    source_files: Mapping[str, str] = field(default_factory=lambda: NOTHING)
    figures: Sequence[FigureCheck] = ()
    built_in: bool = False
