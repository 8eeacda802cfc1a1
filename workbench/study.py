"""A study: a folder ``models/<name>/`` with ``model.toml``, and running and checking one.

``model.toml`` holds (everything but `formula` and `data` may be left out):

================  ==============================================================
key               meaning
================  ==============================================================
schema            1
title, question   for the report
data              path of the table, from the folder
formula           lme4's notation
family, link      default gaussian and its first link
weights, offset   columns
se                column of known standard errors
seed, level       default 1 and 0.95
estimators        default: those that fit the design
priors            table: name -> prior (see :mod:`workbench.priors`)
options           table: estimator -> its options
truth             table: ``file`` (level, term, value) or ``column`` (the true group intercept);
                  ``meaning`` says what stands for the truth
foreign           table: name -> file of an answer from elsewhere, from the folder (:func:`workbench.adapt`)
simulation        table: what :func:`workbench.simulate.simulate_groups` was called with
================  ==============================================================

``reference.toml`` lists reference figures, ``notes.md`` holds the lesson. Nothing in a study's folder is ever
imported or evaluated.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from workbench.adapters.columns import which_of
from workbench.comparison import Comparison, Watch, compare_fits
from workbench.design import Design, build_design
from workbench.errors import StudyError, WorkbenchError, nearest
from workbench.estimators import Settings, default_estimators, lookup, make_options
from workbench.families import GROUPED_LINKS, family_of
from workbench.prior_defaults import resolve_priors
from workbench.priors import Prior

if TYPE_CHECKING:
    from workbench.report import Context

NOTHING: Mapping[str, Any] = MappingProxyType({})

TRUTH = ("file", "column", "meaning")
_KINDS: Mapping[str, type | tuple[type, ...]] = MappingProxyType(
    {
        "schema": int, "title": str, "question": str, "data": str, "formula": str, "family": str, "link": str,
        "weights": str, "offset": str, "se": str, "seed": int, "level": (int, float), "estimators": list,
        "priors": dict, "options": dict, "truth": dict, "simulation": dict,
        "foreign": dict,
    }
)  # fmt: skip


@dataclass(frozen=True)
class Study:
    """A study's model.toml, checked and with every default filled in; `folder` is where it lies."""

    name: str
    folder: Path
    data: Path
    formula: str
    title: str = ""
    question: str = ""
    family: str = "gaussian"
    link: str | None = None
    weights: str | None = None
    offset: str | None = None
    se: str | None = None
    seed: int = 1
    level: float = 0.95
    estimators: tuple[str, ...] = ()
    priors: Mapping[str, str] = field(default_factory=lambda: NOTHING)
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: NOTHING)
    truth: Mapping[str, str] = field(default_factory=lambda: NOTHING)
    simulation: Mapping[str, Any] = field(default_factory=lambda: NOTHING)
    foreign: Mapping[str, str] = field(default_factory=lambda: NOTHING)

    def design(self) -> Design:
        """Read the data and build the design."""
        return build_design(self.formula, self.data, self.family, self.link, self.weights, self.offset, self.se)

    def settings(self, progress: bool = False) -> Settings:
        """The settings that its estimators share."""
        return Settings(level=self.level, seed=self.seed, progress=progress, priors=self.priors)

    def resolved_priors(self, design: Design, options: Mapping[str, Any] = NOTHING) -> Mapping[str, Prior]:
        """Every parameter's prior, under the study's options or those that replace them; a wrong name is an error."""
        full = {**self.options, **options}.get("hierarchical", NOTHING)
        robust = full.get("robust", False) if isinstance(full, Mapping) else getattr(full, "robust", False)
        return resolve_priors(design, self.priors, bool(robust))

    def resolved(self, design: Design) -> dict[str, Any]:
        """Plain values of every field, for ``show`` and the manifest.

        The data are named by their path from the folder; where no estimators are named, those that fit `design` stand.
        """
        plain: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self)}
        plain["estimators"] = self.estimators or default_estimators(design)
        plain["folder"] = f"models/{self.name}" if self.folder.parent.name == "models" else self.name
        plain["data"] = self.data.name if self.data.parent == self.folder else str(self.data)
        return {
            key: dict(v) if isinstance(v, Mapping) else list(v) if isinstance(v, tuple) else v
            for key, v in plain.items()
        }

    def true_values(self, design: Design) -> Any:
        """The table of true coefficients (``level, term, value``), its path, or None."""
        if "file" in self.truth:
            return self.folder / self.truth["file"]
        if "column" not in self.truth:
            return None
        from workbench.data import Numeric, as_factor, read

        name, group = self.truth["column"], design.blocks[0].group
        if ":" in group:
            raise StudyError(
                f"[truth] column: {group} is an interaction. Give the truth as a file (level, term, value)."
            )
        table = read(self.data, [group, name])
        labels, values = as_factor(table[group]), table[name]
        if not isinstance(values, Numeric):
            raise WorkbenchError(f"The truth column {name} holds labels, but true values are numbers.")
        first = {code: float(value) for code, value in zip(labels.codes[::-1], values.numbers[::-1], strict=True)}
        levels = [labels.levels[code] for code in first]
        return {"level": levels, "term": ["(Intercept)"] * len(first), "value": list(first.values())}

    def file_hashes(self) -> dict[str, str]:
        """SHA-256 of the study's files, by path from its folder (of files elsewhere, by name)."""
        names = ["model.toml", "reference.toml", "notes.md", self.truth.get("file", "")]
        files = [self.folder / name for name in names if name]
        files += [Path(which_of(self.folder / name)[0]) for name in self.foreign.values()]
        hashes = {}
        for path in (*(file for file in files if file.is_file()), self.data):
            inside = path.is_relative_to(self.folder)
            called = path.relative_to(self.folder).as_posix() if inside else path.name
            hashes[called] = hashlib.sha256(path.read_bytes()).hexdigest()
        return hashes

    def notes(self) -> str:
        """The lesson, as Markdown; empty where there is none."""
        path = self.folder / "notes.md"
        return path.read_text(encoding="utf-8") if path.is_file() else ""


def studies_folder() -> Path:
    """Where the built-in studies lie: inside an installed package, or beside it in a checkout."""
    here = Path(__file__).resolve().parent
    inside = here / "_models"
    return inside if inside.is_dir() else here.parent / "models"


def study_names() -> list[str]:
    """The built-in studies, by name."""
    return sorted(path.parent.name for path in studies_folder().glob("*/model.toml"))


def load_study(which: str | Path) -> Study:
    """Load a study by folder, by its model.toml, or by built-in name.

    Raises
    ------
    StudyError
        Nothing there, unreadable TOML, an unknown key (with the nearest valid one), a value of the wrong kind.

    Examples
    --------
    >>> load_study("dyestuff").formula
    'Yield ~ 1 + (1 | Batch)'
    """
    folder = _find(which)
    values = _toml(folder / "model.toml")
    where = f"{folder.name}/model.toml"
    for key, value in values.items():
        if key not in _KINDS:
            raise StudyError(f"{where} has an unknown key {key!r}. {nearest(key, _KINDS)}")
        if key == "data" and isinstance(value, dict):
            raise StudyError(f'{where}: [data] with a query is not supported; name a file: data = "data.csv".')
        if not isinstance(value, _KINDS[key]) or isinstance(value, bool):
            raise StudyError(f"{where}: {key} is {value!r}, but must be {_kind_name(key)}.")
    for key in ("data", "formula"):
        if key not in values:
            raise StudyError(f'{where} has no {key}. Add {key} = "...".')
    if (schema := values.pop("schema", 1)) != 1:
        raise StudyError(f"{where}: schema is {schema!r}, which is not known here; this version reads schema = 1.")
    family = family_of(values.get("family", "gaussian"), values.get("link"), GROUPED_LINKS)
    values["family"], values["link"] = family.name, family.link_name
    values["estimators"] = tuple(values.get("estimators", ()))
    for name in (*values["estimators"], *values.get("options", {})):
        make_options(lookup(name), values.get("options", {}).get(name))
    _check_truth(values.get("truth", {}), where)
    _check_foreign(values.get("foreign", {}), where)
    for key in ("priors", "options", "truth", "simulation", "foreign"):
        values[key] = MappingProxyType(values.get(key, {}))
    data = folder / values.pop("data")
    return Study(name=folder.name, folder=folder, data=data, **values)


def run_study(
    study: Study,
    estimators: Sequence[str] | None = None,
    progress: bool = False,
    options: Mapping[str, Any] = NOTHING,
    watch: Watch | None = None,
) -> Comparison:
    """Fit a study's estimators (or those named) and align them.

    `options` maps an estimator to options that replace the study's own for it; `watch` is as of
    :func:`workbench.comparison.compare_fits`.
    """
    design = study.design()
    study.resolved_priors(design, options)  # a wrong name is refused before anything long runs
    made = compare_fits(
        design,
        tuple(estimators or study.estimators or default_estimators(design)),
        study.settings(progress),
        dict(study.options) | dict(options),
        study.true_values(design),
        study.title or study.name,
        {name: study.folder / file for name, file in study.foreign.items()},
        watch,
        study.truth.get("meaning", ""),
    )
    return replace(made, call=MappingProxyType(study.resolved(design)))


def study_context(study: Study, comparison: Comparison) -> Context:
    """What the report of a study says beside its comparison: question, notes, sources, reference figures."""
    from workbench.reference import check_study
    from workbench.report import Context

    return Context(
        name=study.name,
        question=study.question,
        notes=study.notes(),
        study=study.resolved(comparison.design),
        source_files=study.file_hashes(),
        figures=check_study(study, comparison.fits),
        built_in=study.folder.resolve() == (studies_folder() / study.name).resolve(),
    )


def _kind_name(key: str) -> str:
    kind = _KINDS[key]
    names = {int: "a whole number", str: "text", list: "a list", dict: "a table"}
    return "a number" if isinstance(kind, tuple) else names[kind]


# --- parts --------------------------------------------------------------------------------------------


def _find(which: str | Path) -> Path:
    path = Path(which)
    if path.name == "model.toml" and path.is_file():
        return path.parent.resolve()
    if (path / "model.toml").is_file():
        return path.resolve()
    built_in = studies_folder() / str(which)
    if str(which) in study_names():
        return built_in
    if path.is_dir():
        raise StudyError(f"The folder {path} has no model.toml, so it is no study. Add one, or name another folder.")
    if path.is_file():
        raise StudyError(f"{path} is a file and no study. Give a formula with it, or a folder with a model.toml.")
    raise StudyError(f"There is no study {str(which)!r}. {nearest(path.name, study_names())}")


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise StudyError(f"{path.parent.name}/{path.name} cannot be read: {error}.") from None


def _check_foreign(foreign: Mapping[str, Any], where: str) -> None:
    for name, file in foreign.items():
        if not isinstance(file, str):
            raise StudyError(f'{where}: [foreign] {name} is {file!r}, but must be the name of a file, "{name}.csv".')


def _check_truth(truth: Mapping[str, Any], where: str) -> None:
    for key in truth:
        if key not in TRUTH:
            raise StudyError(f"{where}: [truth] has an unknown key {key!r}. {nearest(key, TRUTH)}")
    if not isinstance(truth.get("meaning", ""), str):
        raise StudyError(f"{where}: [truth] meaning is {truth['meaning']!r}, but must be text.")
    if "file" in truth and "column" in truth:
        raise StudyError(f"{where}: [truth] names both a file and a column. Keep one.")
    if truth and not {"file", "column"} & set(truth):
        raise StudyError(
            f'{where}: [truth] names no values. Add file = "truth.csv", or column = "a column of the data".'
        )
