"""``workbench completion``: a script that lets a shell complete commands, options, estimators and studies."""

from __future__ import annotations

import argparse

SUMMARY = "print a script that completes commands, options and names in a shell"
EXAMPLES = """examples:
  workbench completion bash > ~/.local/share/bash-completion/completions/workbench
  workbench completion zsh > "${fpath[1]}/_workbench"
"""

FILES = {"bash": "_shtab_compgen_files", "zsh": "_files", "tcsh": "f"}
FOLDERS = {"bash": "_shtab_compgen_dirs", "zsh": "_files -/", "tcsh": "d"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The shell."""
    parser.add_argument("shell", choices=("bash", "zsh", "tcsh"))


def run(given: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    """Print the script of a shell."""
    import shtab

    from workbench.estimators import REGISTRY
    from workbench.study import study_names

    names = {"E": list(REGISTRY), "STUDY": study_names()}
    _mark(parser, names)
    functions = "\n".join(
        f"_workbench_{key}() {{ compgen -W '{' '.join(words)}' -- \"$1\"; }}" for key, words in names.items()
    )
    # a study may be a folder, too
    functions += '\n_workbench_STUDY_or_folder() { _workbench_STUDY "$1"; compgen -d -- "$1"; }'
    print(shtab.complete(parser, given.shell, preamble=functions if given.shell == "bash" else ""))
    return 0


def _mark(parser: argparse.ArgumentParser, names: dict[str, list[str]]) -> None:
    """Tell of every argument, by what its help calls it, what may stand there."""
    kinds = {
        "DATA": FILES, "STUDY|DATA": FILES, "DIR": FOLDERS,
        "E": {"bash": "_workbench_E", "zsh": f"({' '.join(names['E'])})"},
        "STUDY|DESIGN": {"bash": "_workbench_STUDY_or_folder", "zsh": "_files"},
        "STUDY": {"bash": "_workbench_STUDY_or_folder", "zsh": f"({' '.join(names['STUDY'])})"},
    }  # fmt: skip
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                _mark(inner, names)
        elif isinstance(action.metavar, str) and action.metavar in kinds:
            action.complete = kinds[action.metavar]  # type: ignore[attr-defined]
