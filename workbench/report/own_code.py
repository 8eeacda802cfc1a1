"""How to make a comparison with this tool: the command, and the lines of Python."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from workbench.fit import Fit
from workbench.report.asked import asked
from workbench.report.equations import one_line

if TYPE_CHECKING:
    from workbench.comparison import Comparison
    from workbench.report.context import Context

USUAL_LEVEL = 0.95
"""The level where none is given."""


def command(comparison: Comparison, context: Context) -> str:
    """The command line that makes this report again, every word of it quoted for a shell."""
    asked_for = asked(comparison, context)
    if context.name:
        given = PurePath(str(context.study.get("folder", context.name)))
        lie = f"# the data: {(given / PurePath(asked_for.data).name).as_posix()}"
        return f"{lie}\n{shlex.join(['workbench', 'run', context.name if context.built_in else given.as_posix()])}"
    design = comparison.design
    words = ["workbench", "compare", asked_for.data, one_line(str(design.formula))]
    words += [] if design.family == "gaussian" else ["--family", design.family, "--link", design.link]
    for key, column in asked_for.columns.items():
        words += [f"--{key}", column]
    words += [] if asked_for.level == USUAL_LEVEL else ["--level", f"{asked_for.level!r}"]
    words += [] if asked_for.seed == 1 else ["--seed", str(asked_for.seed)]
    if names := [name for name, fit in comparison.fits.items() if fit.read_from is None]:
        words += ["--estimators", *names]
    for key, text in asked_for.priors.items():
        words += ["--prior", f"{key}={text}"]
    for name, fit in comparison.fits.items():
        for key, value in _own_options(fit).items():
            words += ["--option", f"{name}.{key}={_option_text(value)}"]
    for name, file in _foreign_files(comparison).items():
        words += ["--foreign", f"{name}={file or '...'}"]
    unsaid = ["# The truth that it was held to cannot be given on the command line."] if comparison.truth else []
    return "\n".join([*asked_for.comments, *unsaid, shlex.join([*words, "--out", "report"])])


def _option_text(value: Any) -> str:
    """An option's value as the command line reads it: text as it stands, unless that would be read as a number."""
    if isinstance(value, Fit):
        return "..."
    if not isinstance(value, str):
        return json.dumps(value, default=dict, ensure_ascii=False)
    try:
        json.loads(value)
    except json.JSONDecodeError:
        return value
    return json.dumps(value, ensure_ascii=False)


def _foreign_files(comparison: Comparison) -> dict[str, str | None]:
    """The file that each answer from elsewhere was read from; None of what was given as an object."""
    sources = {name: fit.read_from for name, fit in comparison.fits.items() if fit.read_from}
    return {name: source if PurePath(source).suffix else None for name, source in sources.items()}


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)


def python_code(comparison: Comparison, context: Context) -> str:
    """The lines of Python that make this comparison."""
    design, asked_for = comparison.design, asked(comparison, context)
    missing = asked_for.comments
    given = [
        _text(one_line(str(design.formula))),
        _text(asked_for.data),
        _list([name for name, fit in comparison.fits.items() if fit.read_from is None]),
        *(f"{key}={_text(column)}" for key, column in asked_for.columns.items()),
    ]
    if design.family != "gaussian":
        given.append(f"family={json.dumps(design.family)}, link={json.dumps(design.link)}")
    if asked_for.truth:
        given.append(f"truth={_text(asked_for.truth)}")
    elif comparison.truth:
        given.append("truth=truth")
        missing.append("truth = ...               # a table of the true values: level, term, value")
    if asked_for.level != USUAL_LEVEL:
        given.append(f"level={asked_for.level!r}")
    if asked_for.seed != 1:
        given.append(f"seed={asked_for.seed}")
    if asked_for.priors:
        given.append(f"priors={json.dumps(dict(asked_for.priors), ensure_ascii=False)}")
    if files := _foreign_files(comparison):
        named = ", ".join(f"{_text(name)}: {_text(file) if file else '...'}" for name, file in files.items())
        given.append(f"foreign={{{named}}}")
        missing += [
            f"# in place of ... stands what {name} was read from: {comparison.fits[name].read_from}"
            for name, file in files.items()
            if file is None
        ]
    options, unsaid = _options(comparison)
    given += [f"options={options}"] if options else []
    missing += unsaid
    return "\n".join(
        [
            "import workbench as wb",
            "",
            *missing,
            "comparison = wb.compare(",
            *(f"    {part}," for part in given),
            ")",
            "comparison.estimates      # every estimate with its error, interval and kind",
            "comparison.plot.shrinkage()",
        ]
    )


def _own_options(fit: Fit) -> dict[str, Any]:
    """A fit's options that are not its estimator's defaults."""
    if not is_dataclass(fit.options) or isinstance(fit.options, type):
        return {}
    default = type(fit.options)()
    values = {field.name: getattr(fit.options, field.name) for field in fields(fit.options)}
    return {key: value for key, value in values.items() if isinstance(value, Fit) or value != getattr(default, key)}


def _options(comparison: Comparison) -> tuple[str, list[str]]:
    """Options of the estimators that are not their defaults, as Python, and lines for what cannot be written down."""
    parts, unsaid = [], []
    for name, fit in comparison.fits.items():
        own = []
        for key, value in _own_options(fit).items():
            if isinstance(value, Fit):
                unsaid.append(f"other_fit = ...           # the fit of {one_line(str(value.design.formula))}")
            shown = (
                "other_fit" if isinstance(value, Fit) else repr(dict(value) if isinstance(value, Mapping) else value)
            )
            own.append(f"{json.dumps(key)}: {shown}")
        parts += [f"{json.dumps(name)}: {{{', '.join(own)}}}"] if own else []
    return (f"{{{', '.join(parts)}}}" if parts else ""), unsaid


def _list(names: Sequence[str]) -> str:
    return "[" + ", ".join(json.dumps(name) for name in names) + "]"
