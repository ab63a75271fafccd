"""What `make book` reruns, on a small book of its own; and the plain notebooks."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys

import nbformat
import pytest

from scalinglaws.build import chapters, publish
from scalinglaws.commands import lock
from scalinglaws.paths import root

CHAPTER = """\
---
kernelspec: {name: python3, display_name: Python 3, language: python}
jupytext: {text_representation: {extension: .md, format_name: myst}}
---
# Small

A sentence with {glue:text}`two-x` in it, see {eq}`eq-x` and {cite:t}`kaplan2020`.

```{code-cell} ipython3
:tags: [parameters]
x = 1  # a parameter
```

```{code-cell} ipython3
%load_ext scalinglaws.notebook
from scalinglaws import claims, datasets, provenance
from scalinglaws.notebook import glue
table = datasets.paper_table("numbers")
glue(two_x=f"{2 * x + table['v'].sum():.1f}")
claims.check("p.x", 2.0)
```

```{code-cell} ipython3
%%needs absent
glue(never="1")
claims.check("p.data", 1.0)
```

```{admonition} The paper says
:class: paper
Text of {numref}`fig-a`.
```

```{code-cell} ipython3
provenance.stamp()
```
"""
CLAIM = """\
paper: P (2000)
title: T
cite: p
link: l
claims:
  - &c {id: p.x, locator: T1, statement: s, published: 2.0, estimand: x, evidence: [analytic], tolerance: {abs: .1, why: w}, expected: reproduced, chapter: small}
  - {<<: *c, id: p.data}
"""
REGISTRY = """\
[absent]
title = "t"
base_url = "http://127.0.0.1:9/"
files = [{ name = "a.csv", sha256 = "%s", bytes = 3 }]
""" % ("0" * 64)


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    """A checkout with one small chapter, executed once."""
    base = tmp_path_factory.mktemp("book")
    (base / "notebooks" / "profiles").mkdir(parents=True)
    for folder in ("data/claims", "data/papers", "book"):
        (base / folder).mkdir(parents=True)
    shutil.copytree(root() / "src", base / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    (base / "notebooks" / "small.md").write_text(CHAPTER)
    for profile in chapters.PROFILES:
        (base / "notebooks" / "profiles" / f"{profile}.yaml").write_text(
            "small: {x: %d}\n" % (3 if profile == "gpu" else 2)
        )
    (base / "data" / "claims" / "p.yaml").write_text(CLAIM)
    (base / "data" / "papers" / "numbers.csv").write_text("# here\nv\n0.5\n")
    (base / "data" / "registry.toml").write_text(REGISTRY)
    (base / "requirements.lock").write_text("")
    return base


def run(book, code, **environment):
    """Run code in a fresh process that uses the small checkout; its last line of output."""
    import os

    clean = {k: v for k, v in os.environ.items() if not k.startswith("SCALINGLAWS")}
    clean |= {
        "SCALINGLAWS_ROOT": str(book),
        "PYTHONPATH": str(book / "src"),
        "SCALINGLAWS_CACHE": str(book / "cache"),
    } | environment
    found = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], env=clean, capture_output=True, text=True, cwd=book
    )
    assert found.returncode == 0, found.stdout + found.stderr
    return found.stdout.strip().splitlines()[-1] if found.stdout.strip() else ""


EXECUTE = "from scalinglaws.build import chapters; print(chapters.run_all('cpu', say=lambda *a: None))"
STALE = "from scalinglaws.build import chapters; print(chapters.stale('small', 'cpu'))"


@pytest.fixture(scope="module")
def executed(book):
    assert run(book, EXECUTE) == "['small']"
    return book


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_nothing_changed_nothing_runs(executed):
    assert run(executed, STALE) == "None"
    assert run(executed, EXECUTE) == "[]"


def test_prose_is_no_reason_to_run_and_reaches_the_page(executed):
    source = executed / "notebooks" / "small.md"
    edit(source, "A sentence with", "Another sentence with")
    assert run(executed, STALE) == "None"
    run(executed, "from scalinglaws.build import chapters; chapters.place('small', 'cpu')")
    page = nbformat.read(executed / "book" / "chapters" / "small.ipynb", 4)
    assert "Another sentence" in page.cells[0].source
    assert page.cells[1].source == "x = 2  # a parameter"
    assert any("record/text/plain" in str(o) for o in page.cells[2].outputs)
    assert "papermill" not in json.dumps(page.metadata)
    first = (executed / "book" / "chapters" / "small.ipynb").read_bytes()
    run(executed, "from scalinglaws.build import chapters; chapters.place('small', 'cpu')")
    assert (executed / "book" / "chapters" / "small.ipynb").read_bytes() == first
    edit(source, "Another sentence with", "A sentence with")


@pytest.mark.parametrize(
    ("path", "old", "new", "reason"),
    [
        ("notebooks/small.md", "2 * x", "4 * x", "its code changed"),
        ("notebooks/profiles/cpu.yaml", "x: 2", "x: 5", "the cpu profile changed"),
        ("data/papers/numbers.csv", "0.5", "0.75", "data/papers/numbers.csv changed"),
        ("data/claims/p.yaml", "statement: s", "statement: t", "data/claims/p.yaml changed"),
        ("src/scalinglaws/claims.py", '"""The ledger', '"""A ledger', "src/scalinglaws/claims.py changed"),
        ("requirements.lock", "", "a==1\n", "requirements.lock changed"),
        (
            "src/scalinglaws/paths.py",
            '"""Where the project',
            '"""Where this project',
            "src/scalinglaws/paths.py changed",
        ),
    ],
)
def test_what_a_chapter_depends_on_is_a_reason(executed, path, old, new, reason):
    file = executed / path
    before = file.read_text()
    file.write_text(before.replace(old, new) if old else new)
    assert run(executed, STALE) == reason
    file.write_text(before)
    assert run(executed, STALE) == "None"


def test_a_page_that_was_edited_by_hand_is_placed_anew(executed):
    place = "from scalinglaws.build import chapters; print(chapters.place_all('cpu'))"
    run(executed, place)
    assert run(executed, place) == "False"
    page = executed / "book" / "chapters" / "small.ipynb"
    page.write_text(page.read_text().replace("# Small", "# Faked"))
    assert run(executed, place) == "True"
    assert "# Faked" not in page.read_text()
    (executed / "book" / "chapters" / "gone.ipynb").write_text("{}")
    assert run(executed, place) == "True"
    assert not (executed / "book" / "chapters" / "gone.ipynb").exists()


def test_what_it_does_not_use_is_no_reason(executed):
    for path in ("src/scalinglaws/plots/chinchilla.py", "src/scalinglaws/commands/lint.py"):
        edit(executed / path, '"""', '"""  ')
    (executed / "data" / "papers" / "other.csv").write_text("v\n1\n")
    assert run(executed, STALE) == "None"


def test_data_that_becomes_available_is_a_reason(executed):
    folder = executed / "cache" / "absent"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "a.csv").write_text("abc")
    assert run(executed, STALE) == "dataset absent became available"
    shutil.rmtree(executed / "cache")


def test_missing_data_read_not_run(executed):
    kept = executed / "_build" / "executed" / "cpu" / "small"
    claims = {r["id"]: r["verdict"] for r in chapters.read_records(kept, "claims")}
    assert claims == {"p.x": "reproduced", "p.data": "not run"}
    assert {"never": "not run"} in chapters.read_records(kept, "glue")
    notes = run(executed, "from scalinglaws import claims; from scalinglaws.build import chapters as c;"
                "print(claims.compare({'small': c.read_records(c.executed_folder('small', 'cpu'), 'claims')}))")  # fmt: skip
    assert notes.startswith("([], ['p.data: not run (data missing: absent)'])")


def test_a_failing_cell_keeps_the_last_good_run(executed):
    source = executed / "notebooks" / "small.md"
    before = source.read_text()
    source.write_text(before.replace("provenance.stamp()", "1 / 0"))
    message = run(
        executed,
        "from scalinglaws.build import chapters\ntry:\n    chapters.run_all('cpu', say=lambda *a: None)\nexcept chapters.BuildError as e:\n    print(str(e).splitlines()[0])",
    )
    assert message.startswith("chapter small, cell")
    assert "ZeroDivisionError" in message
    source.write_text(before)
    assert run(executed, STALE) == "None"
    assert not list((executed / "_build" / "executed" / "cpu").glob(".small-*"))


def test_an_unknown_parameter_is_refused(executed):
    (executed / "notebooks" / "profiles" / "smoke.yaml").write_text("small: {y: 1}\n")
    message = run(
        executed,
        "from scalinglaws.build import chapters\ntry:\n    chapters.execute('small', 'smoke')\nexcept chapters.BuildError as e:\n    print(e)",
    )
    assert message == "notebooks/profiles/smoke.yaml: small has no parameter 'y' (it has x)"
    with pytest.raises(chapters.BuildError, match="choose one of smoke, cpu, gpu"):
        chapters.parameters("small", "huge")


def test_plain_notebooks_run_anywhere(executed):
    run(executed, "from scalinglaws.build import publish; publish.write('plain', 'cpu')")
    bare, full = (
        nbformat.read(executed / "plain" / name, 4) for name in ("small.ipynb", "executed/small.ipynb")
    )
    for notebook in (bare, full):
        nbformat.validate(notebook)
        text = "\n".join(c.source for c in notebook.cells if c.cell_type == "markdown")
        assert "{glue" not in text
        assert "A sentence with 4.5 in it, see (eq-x) and [kaplan2020]." in text
        assert "> **The paper says**\n>\n> Text of *fig-a*." in text
        assert "import scalinglaws" in notebook.cells[0].source
    assert not any(c.get("outputs") for c in bare.cells)
    assert any(c.get("outputs") for c in full.cells)


def test_plain_markdown_handles_nesting_and_math():
    text = publish.plain_markdown("````{note} T\n```{math}\nx\n```\n````\n(a-b)=\n## H {ref}`sec <x>`", {})
    assert text == "> **T**\n>\n> $$\n> x\n> $$\n## H sec"


def test_lock_is_portable():
    text = lock.portable(
        "torch==2.13.0+cpu\nnumpy==2.0\n-e git+x#egg=scalinglaws\nnvidia-cublas==1\nb @ file:///x\ntriton==3\n"
    )
    assert text == lock.HEADER + "numpy==2.0\ntorch==2.13.0\n"


def test_the_book_s_chapters_have_profiles_and_short_cells():
    import yaml

    for profile in chapters.PROFILES:
        known = yaml.safe_load((root() / "notebooks" / "profiles" / f"{profile}.yaml").read_text())
        assert set(known) == set(chapters.names())
    for name in chapters.names():
        cells = chapters.source(name).cells
        assert sum("parameters" in c.metadata.get("tags", []) for c in cells) == 1
        for cell in cells:
            if cell.cell_type == "code":
                assert cell.source.count("\n") < 30, cell.source[:60]
        text = (root() / "notebooks" / f"{name}.md").read_text()
        assert "profile ==" not in text
        assert "SCALINGLAWS_PROFILE" not in text


def test_every_glued_number_is_used_and_every_number_used_is_glued():
    import ast

    for name in chapters.names():
        glued, used = set(), set()
        for cell in chapters.source(name).cells:
            if cell.cell_type != "code":
                used |= {u.replace("-", "_") for u in re.findall(r"\{glue:text\}`([^`]+)`", cell.source)}
                continue
            code = "\n".join(line for line in cell.source.splitlines() if not line.startswith("%"))
            for node in ast.walk(ast.parse(code)):
                if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "glue":
                    glued |= {k.arg for k in node.keywords}
        assert used
        assert glued == used
