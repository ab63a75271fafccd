"""One spelling through the book."""

from __future__ import annotations

from scalinglaws.commands import spelling


def test_prose_is_looked_at_and_code_is_not(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "The color of the `color` at the Center.\n````{solution-start} ex\n````\nWe minimize.\n```{code-cell} ipython3\n"
        "optimize()  # color\n```\n```{admonition} Box\noptimized\n```\n```console\nanalyze\n```\n[x](http://color.org)\n",
        encoding="utf-8",
    )
    found = [line.split(":", 2)[1:] for line in spelling.findings([page])]
    assert found == [["1", " color → colour"], ["4", " minimize → minimise"], ["9", " optimized → optimised"]]


def test_docstrings_and_comments_are_looked_at(tmp_path):
    module = tmp_path / "module.py"
    module.write_text('"""Behavior."""\n\ndef f(color):\n    """Its behavior."""\n    return color  # the center\n', encoding="utf-8")
    assert [line.split(":", 1)[1] for line in spelling.findings([module])] == [
        "5: center → centre",
        "4: behavior → behaviour",
    ]
