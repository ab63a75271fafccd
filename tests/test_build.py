"""What `make book` reruns, on a small book of its own; and the plain notebooks."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys

import nbformat
import pytest

from scalinglaws import stored
from scalinglaws.build import chapters, pages, plain
from scalinglaws.paths import root

CHAPTER = """\
---
kernelspec: {name: python3, display_name: Python 3, language: python}
jupytext: {text_representation: {extension: .md, format_name: myst}}
---
# Small

A sentence with {glue:text}`two-x` in it (and {glue:text}`never`), see {eq}`eq-x` and {cite:t}`kaplan2020`.

```{code-cell} ipython3
:tags: [parameters]
x = 1  # a parameter
```

```{code-cell} ipython3
%load_ext scalinglaws.notebook
from scalinglaws import claims, datasets, provenance
from scalinglaws.notebook import Table, glue
table = datasets.paper_table("numbers")
glue(two_x=f"{2 * x + table['v'].sum():.1f}")
claims.check("p.x", 2.0)
```

```{code-cell} ipython3
%%needs absent
glue(never="1")
display(Table(table, "Numbers"))
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
  - &c {id: p.x, locator: T1, statement: s, published: 2.0, estimand: x, evidence: [analytic], tolerance: {abs: .1, why: w}, expected: reproduced}
  - {<<: *c, id: p.data}
"""
REGISTRY = """\
[absent]
title = "t"
base_url = "http://127.0.0.1:9/"
files = [{ name = "a.csv", sha256 = "%s", bytes = 3 }]
""" % hashlib.sha256(b"abc").hexdigest()


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    """A checkout with one small chapter, executed once."""
    base = tmp_path_factory.mktemp("book")
    (base / "notebooks" / "profiles").mkdir(parents=True)
    for folder in ("data/claims", "data/papers", "book"):
        (base / folder).mkdir(parents=True)
    shutil.copytree(root() / "src", base / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    (base / "notebooks" / "small").mkdir()
    (base / "notebooks" / "small" / "lecture.md").write_text(CHAPTER)
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
STALE = "from scalinglaws.build import chapters; print(chapters.stale('small/lecture', 'cpu'))"


@pytest.fixture(scope="module")
def executed(book):
    assert run(book, EXECUTE) == "['small/lecture']"
    return book


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_nothing_changed_nothing_runs(executed):
    assert run(executed, STALE) == "None"
    assert run(executed, EXECUTE) == "[]"


def test_prose_is_no_reason_to_run_and_reaches_the_page(executed):
    source = executed / "notebooks" / "small" / "lecture.md"
    edit(source, "A sentence with", "Another sentence with")
    assert run(executed, STALE) == "None"
    run(executed, "from scalinglaws.build import pages; pages.place('small/lecture', 'cpu')")
    page = nbformat.read(executed / "book" / "chapters" / "small" / "lecture.ipynb", 4)
    assert page.cells[0].source == "# Small"
    assert re.search(r"1 minutes? · \d+ words", page.cells[1].source)
    assert "make data DATASET=absent" in page.cells[2].source  # what is missing is said once, below the title
    assert "Another sentence" in page.cells[3].source
    assert page.cells[4].source == "x = 2  # a parameter"
    assert any("record/text/plain" in str(o) for o in page.cells[5].outputs)
    assert "papermill" not in json.dumps(page.metadata)
    first = (executed / "book" / "chapters" / "small" / "lecture.ipynb").read_bytes()
    run(executed, "from scalinglaws.build import pages; pages.place('small/lecture', 'cpu')")
    assert (executed / "book" / "chapters" / "small" / "lecture.ipynb").read_bytes() == first
    edit(source, "Another sentence with", "A sentence with")


@pytest.mark.parametrize(
    ("path", "old", "new", "reason"),
    [
        ("notebooks/small/lecture.md", "2 * x", "4 * x", "its code changed"),
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
    place = "from scalinglaws.build import pages; print(pages.place_all('cpu'))"
    run(executed, place)
    assert run(executed, place) == "False"
    page = executed / "book" / "chapters" / "small" / "lecture.ipynb"
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
    kept = executed / "_build" / "executed" / "cpu" / "small" / "lecture"
    claims = {r["id"]: r["verdict"] for r in chapters.read_records(kept, "claims")}
    assert claims == {"p.x": "reproduced", "p.data": "not run"}
    assert {"never": "not run"} in chapters.read_records(kept, "glue")
    notes = run(executed, "from scalinglaws import scorecard; from scalinglaws.build import chapters as c;"
                "print(scorecard.compare({'small/lecture': c.read_records(c.executed_folder('small/lecture', 'cpu'), 'claims')}))")  # fmt: skip
    assert notes.startswith("([], ['p.data: not run (data missing: absent)'])")


@pytest.fixture
def copied(executed, tmp_path):
    """A copy of the small checkout to change, with stored results that its data gave."""
    base = tmp_path / "book"
    shutil.copytree(executed, base, ignore=shutil.ignore_patterns("__pycache__", "cache", "plain"))
    folder = base / "cache" / "absent"
    folder.mkdir(parents=True)
    (folder / "a.csv").write_bytes(b"abc")
    freeze = (
        "from scalinglaws import stored; from scalinglaws.build import chapters as c;"
        "c.run_all('cpu', say=lambda *a: None); stored.write('small/lecture', *c.results('small/lecture', 'cpu'))"
    )
    run(base, freeze)
    shutil.rmtree(base / "cache")
    return base


def verdicts(base):
    """Verdicts and origins of the claims after a build without data."""
    run(base, EXECUTE)
    kept = base / "_build" / "executed" / "cpu" / "small" / "lecture"
    return {r["id"]: (r["verdict"], "stored" in r) for r in chapters.read_records(kept, "claims")}


def test_stored_results_stand_where_the_data_are_missing(copied):
    assert verdicts(copied) == {"p.x": ("reproduced", False), "p.data": ("discrepant", True)}
    kept = copied / "_build" / "executed" / "cpu" / "small" / "lecture"
    assert {"never": "1"} in chapters.read_records(kept, "glue")
    run(copied, "from scalinglaws.build import pages; pages.place('small/lecture', 'cpu')")
    page = nbformat.read(copied / "book" / "chapters" / "small" / "lecture.ipynb", 4)
    text = "\n".join(c.source for c in page.cells if c.cell_type == "markdown")
    assert "make data DATASET=absent" in text
    assert "[{glue:text}`never`]{.stored}" in text
    assert "[{glue:text}`two-x`]" not in text
    shown = json.dumps(page.cells[6].outputs)
    assert hashlib.sha256(b"abc").hexdigest()[:12] in shown
    assert str(copied) not in json.dumps(page)


@pytest.mark.parametrize(
    ("path", "old", "new"),
    [
        ("notebooks/small/lecture.md", 'never="1"', 'never="2"'),
        ("notebooks/small/lecture.md", "2 * x", "4 * x"),
        ("notebooks/profiles/cpu.yaml", "x: 2", "x: 5"),
        ("data/papers/numbers.csv", "0.5", "0.75"),
        ("data/claims/p.yaml", "id: p.data", "id: p.data, unit: m"),
        ("data/registry.toml", hashlib.sha256(b"abc").hexdigest(), "0" * 64),
        ("src/scalinglaws/figures.py", '"""Figures with', '"""Figures  with'),
    ],
)
def test_stored_results_of_anything_else_are_not_shown(copied, path, old, new):
    edit(copied / path, old, new)
    assert verdicts(copied)["p.data"] == ("not run", False)


def test_stored_results_survive_what_they_do_not_follow_from(copied):
    edit(copied / "data/claims/p.yaml", "statement: s", "statement: t")
    edit(copied / "data/claims/p.yaml", "{<<: *c, id: p.data}", "{<<: *c, id: p.data, statement: s}")
    edit(copied / "notebooks/small/lecture.md", "provenance.stamp()", "provenance.stamp()  # the end")
    assert verdicts(copied)["p.data"] == ("discrepant", True)


def test_a_second_run_with_the_data_shows_the_same(copied):
    folder = copied / "cache" / "absent"
    folder.mkdir(parents=True)
    (folder / "a.csv").write_bytes(b"abc")
    shutil.rmtree(copied / "_build")  # another process: what an address in memory gives away differs
    compare = (
        "from scalinglaws import stored; from scalinglaws.build import chapters as c;"
        "print(stored.differences('small/lecture', c.results('small/lecture', 'cpu')[0]))"
    )
    run(copied, EXECUTE)
    assert run(copied, compare) == "[]"
    edit(copied / "notebooks" / "small" / "lecture.md", "2 * x", "4 * x")
    run(copied, EXECUTE)
    assert "out of date (code" in run(copied, compare)


def test_changed_stored_results_are_refused_by_name(copied):
    path = copied / "data" / "stored" / "small" / "lecture.json"
    edit(path, '"never": "1"', '"never": "2"')
    message = run(
        copied,
        "from scalinglaws import store, stored\ntry:\n    stored.pages()\nexcept store.StoreError as e:\n    print(e)",
    )
    assert message.startswith("data/stored/small/lecture.json is damaged")


def test_an_input_that_changes_while_a_chapter_runs_makes_it_run_again(copied):
    source = copied / "notebooks" / "small" / "lecture.md"
    edit(
        source,
        "provenance.stamp()",
        'from scalinglaws.paths import root\nfile = root() / "data/papers/numbers.csv"\n'
        'if "0.5" in file.read_text():\n    file.write_text(file.read_text().replace("0.5", "0.75"))\nprovenance.stamp()',
    )
    assert run(copied, EXECUTE) == "['small/lecture']"
    assert run(copied, STALE) == "None"
    kept = copied / "_build" / "executed" / "cpu" / "small" / "lecture"
    assert {"two_x": "4.8"} in chapters.read_records(kept, "glue")


def test_a_dead_kernel_and_an_endless_cell_end_with_one_line(copied):
    source = copied / "notebooks" / "small" / "lecture.md"
    before = source.read_text()
    for code, limit, said in (
        ("import os; os.kill(os.getpid(), 9)", 60, "the kernel died"),
        ("import time; time.sleep(60)", 1, "a cell took more than 1 s"),
    ):
        source.write_text(before.replace("provenance.stamp()", code))
        message = run(
            copied,
            f"from scalinglaws.build import chapters\ntry:\n    chapters.execute('small/lecture', 'cpu', {limit})\n"
            "except chapters.BuildError as e:\n    print(e)",
        )
        assert message.startswith(f"page small/lecture: {said}")
    assert not list((copied / "_build" / "executed" / "cpu" / "small").glob(".lecture-*"))


def test_bookkeeping_is_not_on_the_site_and_what_shows_something_is():
    import nbformat.v4 as v4

    named = v4.new_output("display_data", {"a": "b"}, metadata={"scrapbook": {"name": "x"}})
    shown = v4.new_output("display_data", {"text/html": "<p>shown</p>"})
    cells = [
        v4.new_code_cell(outputs=o, metadata={"tags": ["hide-input"]}) for o in ([named], [named, shown], [])
    ]
    cells.append(v4.new_code_cell(outputs=[named]))
    notebook = v4.new_notebook(cells=[v4.new_markdown_cell("# T"), *cells])
    pages._leave_out_bookkeeping(notebook)
    assert [c.metadata.get("tags", []) for c in cells] == [
        ["remove-cell"],
        ["hide-input"],
        ["remove-cell"],
        [],
    ]


def test_a_page_leads_to_the_reference_of_what_it_imports(tmp_path, monkeypatch):
    import nbformat.v4 as v4

    code = "from scalinglaws import laws, fit, provenance\nfrom scalinglaws.pretraining import kaplan"
    notebook = v4.new_notebook(cells=[v4.new_code_cell(code)])
    assert pages._rooms(notebook) == ["laws", "fit", "pretraining"]
    monkeypatch.setenv("SCALINGLAWS_ROOT", str(tmp_path))
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "registry.toml").touch()
    assert pages._rooms(notebook) == []  # a book without a reference


WORKSHOP = """\
# A workshop

The lecture found {glue:text}`small/lecture#two-x`.

```{code-cell} ipython3
:tags: [parameters]
y = 1
```

```{code-cell} ipython3
from scalinglaws import claims, provenance
display(*(claims.check(f"p.{name}", y) for name in "abcde"))
provenance.stamp()
```
"""


def test_a_page_shows_three_boxes_in_a_row_and_all_verdicts_at_its_head_and_numbers_of_other_pages(copied):
    front = CHAPTER[: CHAPTER.index("# Small")]
    (copied / "notebooks" / "small" / "workshop.md").write_text(front + WORKSHOP)
    claims = "".join(f"  - {{<<: *c, id: p.{name}}}\n" for name in "abcde")
    (copied / "data" / "claims" / "p.yaml").write_text(CLAIM + claims)
    (copied / "notebooks" / "profiles" / "cpu.yaml").write_text(
        "small: {x: 2, y: 2.0}\n"
    )  # x is the lecture's
    assert run(copied, EXECUTE) == "['small/lecture', 'small/workshop']"
    place = "from scalinglaws.build import pages; pages.place('small/workshop', 'cpu')"
    run(copied, place)
    page = nbformat.read(copied / "book" / "chapters" / "small" / "workshop.ipynb", 4)
    head = page.cells[1].source
    assert "5\u00a0reproduced" in head
    boxes = re.findall(
        r'id="claim-(p\.\w)"', json.dumps(page.cells[-1].outputs).replace('\\\\"', '"').replace('\\"', '"')
    )
    assert boxes == ["p.a", "p.b", "p.c"]
    assert re.findall(r'id="claim-(p\.\w)"', head) == ["p.d", "p.e"]
    assert re.findall(r'href="#claim-(p\.\w)"', head) == ["p.a", "p.b", "p.c"]
    assert "2 more in the" in json.dumps(page.cells[-1].outputs)
    assert "[**4.5**](/book/chapters/small/lecture.ipynb){.elsewhere}" in page.cells[2].source
    edit(copied / "notebooks/small/workshop.md", "#two-x", "#three-x")
    message = run(
        copied,
        f"from scalinglaws.build.chapters import BuildError\ntry:\n    {place}\nexcept BuildError as e:\n    print(e)",
    )
    assert message == "notebooks/small/workshop.md: the page 'small/lecture' glues no 'three-x'"


def test_rounding_is_no_difference_and_more_is():
    same = stored.same_text
    assert same("a = 0.512 (0.4990001)", "a = 0.513 (0.4990002)")
    assert same('{"x": 1.2345678e-05}', '{"x": 1.2345999e-05}')
    assert not same("a = 0.512", "a = 0.515")
    assert not same("a = 0.512", "b = 0.512")
    assert not same("1 2", "1")


def test_a_failing_cell_keeps_the_last_good_run(executed):
    source = executed / "notebooks" / "small" / "lecture.md"
    before = source.read_text()
    source.write_text(before.replace("provenance.stamp()", "1 / 0"))
    message = run(
        executed,
        "from scalinglaws.build import chapters\ntry:\n    chapters.run_all('cpu', say=lambda *a: None)\nexcept chapters.BuildError as e:\n    print(str(e).splitlines()[0])",
    )
    assert message.startswith("page small/lecture, cell")
    assert "ZeroDivisionError" in message
    source.write_text(before)
    assert run(executed, STALE) == "None"
    assert not list((executed / "_build" / "executed" / "cpu" / "small").glob(".lecture-*"))


def test_an_unknown_parameter_is_refused(executed):
    (executed / "notebooks" / "profiles" / "smoke.yaml").write_text("small: {y: 1}\n")
    message = run(
        executed,
        "from scalinglaws.build import chapters\ntry:\n    chapters.execute('small/lecture', 'smoke')\nexcept chapters.BuildError as e:\n    print(e)",
    )
    assert message == "notebooks/profiles/smoke.yaml: small has no parameter 'y' (it has x)"
    with pytest.raises(chapters.BuildError, match="choose one of smoke, cpu, gpu"):
        chapters.parameters("small/lecture", "huge")


def test_plain_notebooks_run_anywhere(executed):
    run(executed, "from scalinglaws.build import publish; publish.write('plain', 'cpu')")
    bare, full = (
        nbformat.read(executed / "plain" / name, 4)
        for name in ("small/lecture.ipynb", "executed/small/lecture.ipynb")
    )
    for notebook in (bare, full):
        nbformat.validate(notebook)
        text = "\n".join(c.source for c in notebook.cells if c.cell_type == "markdown")
        assert "{glue" not in text
        assert "A sentence with 4.5 in it (and not run), see (eq-x) and [kaplan2020]." in text
        assert "> **The paper says**\n>\n> Text of *fig-a*." in text
        assert "import scalinglaws" in notebook.cells[0].source
    assert not any(c.get("outputs") for c in bare.cells)
    assert any(c.get("outputs") for c in full.cells)


def test_plain_markdown_handles_nesting_and_math():
    text = plain.plain_markdown("````{note} T\n```{math}\nx\n```\n````\n(a-b)=\n## H {ref}`sec <x>`", {})
    assert text == "> **T**\n>\n> $$\n> x\n> $$\n## H sec"


def test_the_book_s_chapters_have_profiles_and_short_cells():
    import yaml

    for profile in chapters.PROFILES:
        known = yaml.safe_load((root() / "notebooks" / "profiles" / f"{profile}.yaml").read_text())
        assert set(known) == {name.split("/")[0] for name in chapters.names()}
    for name in chapters.names():
        cells = chapters.source(name).cells
        assert sum("parameters" in c.metadata.get("tags", []) for c in cells) == 1
        for cell in cells:
            if cell.cell_type == "code":
                assert cell.source.count("\n") < 15, (name, cell.source[:60])
        text = chapters.source_path(name).read_text()
        assert "profile ==" not in text
        assert "SCALINGLAWS_PROFILE" not in text


def test_a_lecture_can_be_read_in_an_hour_and_a_workshop_page_in_a_quarter():
    for name in chapters.names():
        size = pages.reading(chapters.source(name))
        assert size["words"] <= (3500 if name.endswith("/lecture") else 2000), (name, size)
        assert size["figures"] <= 8, (name, size)
        opening = "".join(c.source for c in chapters.source(name).cells[:2] if c.cell_type == "markdown")
        assert (
            len(re.findall(r"^- ", opening.split("{admonition} On this page")[1].split("```")[0], re.M)) == 3
        ), name


def test_reading_counts_prose_and_boxes_and_neither_code_nor_hints_nor_solutions():
    import nbformat.v4 as v4

    text = "# Two words\n\n```{admonition} A box\n:class: paper\nFive more words $x^2$ here.\n```\n\n$$\na + b + c\n$$ (eq-a)\n"
    hint = "```{admonition} Hint\n:class: dropdown hint\nnor is this, however long\n```"
    solution = "````{solution-start} ex\n````\nnot counted at all\n````{solution-end}\n````"
    code = v4.new_code_cell('figures.show("a", plot)\nx = "not counted"')
    found = pages.reading(v4.new_notebook(cells=[v4.new_markdown_cell(t) for t in (text, hint, solution)] + [code]))
    assert found["figures"] == 1
    assert 7 <= found["words"] <= 11
    assert found["minutes"] == 1


def test_every_glued_number_is_used_and_every_number_used_is_glued():
    import ast

    glued, used = set(), set()
    for name in chapters.names():
        for cell in chapters.source(name).cells:
            if cell.cell_type != "code":
                keys = re.findall(r"\{glue:text\}`([^`]+)`", cell.source)
                used |= {key if "#" in key else f"{name}#{key}" for key in keys}
                continue
            code = "\n".join(line for line in cell.source.splitlines() if not line.startswith("%"))
            for node in ast.walk(ast.parse(code)):
                if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "glue":
                    glued |= {f"{name}#{k.arg.replace('_', '-')}" for k in node.keywords}
    for page in (root() / "book").glob("*.md"):  # pages of prose name the page that computed a number
        named = re.findall(r"\{glue:text\}`([^`]+)`", page.read_text(encoding="utf-8"))
        assert all("#" in key for key in named), page.name
        used |= {key for key in named if not key.endswith("#reading-minutes")}
    assert used
    assert glued == used


def test_a_page_of_prose_takes_numbers_from_chapters(monkeypatch):
    monkeypatch.setattr(pages, "names", lambda: ["a/b"])
    monkeypatch.setattr(pages, "glued", lambda page, profile: {"size": "4 B_5"})
    monkeypatch.setattr(pages, "_kept", lambda page, profile: {"size"})
    monkeypatch.setattr(pages, "source", lambda page: "notebook")
    monkeypatch.setattr(pages, "reading", lambda notebook: {"minutes": 12})
    put = lambda text: pages.with_numbers(text, "book/index", "cpu")
    assert put("x {glue:text}`a/b#size` y") == "x [**4 B\\_5**](/book/chapters/a/b.ipynb){.elsewhere .stored} y"
    assert put("{glue:text}`a/b#reading-minutes`") == "12"
    with pytest.raises(chapters.BuildError, match=r"book/index\.md: the page 'a/b' glues no 'width'"):
        put("{glue:text}`a/b#width`")
    monkeypatch.setattr(pages, "read_records", lambda folder, kind: [{"id": "p.x", "verdict": "undecided"}])
    assert put("so: {claim}`p.x`.") == "so: [**undecided**](/book/chapters/a/b.ipynb){.elsewhere}."
    with pytest.raises(chapters.BuildError, match=r"book/index\.md: no page checks the claim 'p\.y'"):
        put("{claim}`p.y`")
    with pytest.raises(chapters.BuildError, match=r"book/index\.md: there is no page 'a/c'"):
        put("{glue:text}`a/c#size`")


def test_one_build_at_a_time_and_the_second_says_who_holds_it(tmp_path, monkeypatch):
    from scalinglaws.build import render

    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "registry.toml").touch()
    monkeypatch.setenv("SCALINGLAWS_ROOT", str(tmp_path))
    code = "from scalinglaws.build import render\nwith render.alone(lambda text: print(text, flush=True)): print('mine')"
    with render.alone():
        second = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        waiting = second.stdout.readline()
        assert "waiting for another build of this checkout (process " in waiting
        assert second.poll() is None
    assert second.communicate(timeout=60)[0] == "mine\n"


def test_a_figure_on_a_page_of_prose_is_the_chapter_s_or_says_not_run(tmp_path, monkeypatch):
    """Its alternative text is that of the page's output, which a stored figure has too."""
    import importlib.util
    from types import SimpleNamespace

    spec = importlib.util.spec_from_file_location("bookext", root() / "book" / "_ext" / "bookext.py")
    ext = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(ext)
    monkeypatch.setattr(ext, "ROOT", tmp_path)
    shown = {"metadata": {"scalinglaws": {"figure": "curve", "alt": "A curve."}}}
    page = tmp_path / "book" / "chapters" / "a" / "b.ipynb"
    page.parent.mkdir(parents=True)
    page.write_text(json.dumps({"cells": [{"source": ""}, {"outputs": [{}, shown]}]}), encoding="utf-8")

    def drawn(argument):
        one = ext.PageFigure.__new__(ext.PageFigure)
        one.arguments, one.content, one.content_offset = [argument], [], 0
        one.state = SimpleNamespace(nested_parse=lambda *given: None)
        (box,) = one.run()
        (link,) = box[0].children
        return link["refuri"], link[0]["uri"], link[0]["alt"]

    assert drawn("a/b#curve") == ("chapters/a/b.html#fig-curve", "chapters/a/figures/curve.light.svg", "A curve.")
    assert drawn("a/b#other")[1:] == ("_static/not-run.svg", "Not drawn: data missing")
