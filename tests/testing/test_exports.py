"""Every name in ``emulator.testing``'s ``__all__`` can be imported."""

import ast
from pathlib import Path

import emulator.testing


def test_every_promised_name_is_the_one_that_type_checkers_see() -> None:
    seen = {
        alias.name: node.module
        for node in ast.walk(ast.parse(Path(emulator.testing.__file__).read_text()))
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("emulator.testing.")
        for alias in node.names
    }
    promised = {name: getattr(emulator.testing, name).__module__ for name in emulator.testing.__all__}
    assert promised == seen
