"""Exercises out of their pages, and assignments made of them: complete, solvable, and nothing given away."""

from __future__ import annotations

import ast
import contextlib
import io
import json
import os
import re
import subprocess
import sys
import zipfile
from functools import cache
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest

from scalinglaws.build import assignments, chapters, exercises
from scalinglaws.paths import root

CHAPTERS = assignments.names()
PAGE = """---
jupytext: {text_representation: {extension: .md, format_name: myst}}
kernelspec: {name: python3, display_name: P}
---

# A page

```{code-cell} ipython3
:tags: [parameters]
scale = 2.0  # of everything
unused = 1
```

```{code-cell} ipython3
%load_ext scalinglaws.notebook
import math, os

table = {}
table["a"] = scale * math.pi
other = unused + 1
print(table)
```

## Exercises

"""
EXERCISE = """```{exercise} A title · working · 3 points
:label: ex-toy
Double `table["a"]`, write it as `twice(x)` and call the number `doubled`. Why?
```

```{admonition} Hint
:class: dropdown hint
Add it to itself.
```

````{solution-start} ex-toy
:class: dropdown
````
Twice is once and once.

```{code-cell} ipython3
def twice(x):
    total = x + x
    return total


doubled = twice(table["a"])
```

```{admonition} Rubric
- 1: a reason.
- 0: none.
```
````{solution-end}
````

```{code-cell} ipython3
:tags: [check]
assert twice(1) == 2, "one and one"
```

```{code-cell} ipython3
:tags: [hidden-check, remove-cell]
assert abs(doubled - 4 * math.pi) < 1e-9, "twice the number"
```
"""


def parsed(text, page="toy/lecture"):
    import jupytext

    return exercises.parse(page, jupytext.reads(PAGE + text, "md:myst"))


def test_an_exercise_is_read_whole():
    (one,) = parsed(EXERCISE)
    assert (one.label, one.title, one.level, one.points) == ("ex-toy", "A title", "working", 3)
    assert one.hints == ("Add it to itself.",)
    assert list(one.results) == ["twice", "doubled"]
    assert one.results["doubled"] == "doubled = ..."
    assert "total" not in one.results["twice"]
    assert one.by_hand == 1
    assert [kind for kind, _ in one.solution] == ["markdown", "code"]
    assert "one and one" in one.checks
    assert "4 * math.pi" in one.hidden


def test_the_setup_is_what_the_exercise_follows_from_and_no_more():
    (one,) = parsed(EXERCISE)
    text = "\n".join(one.setup)
    assert 'table["a"] = scale * math.pi' in text
    assert "scale = 2.0  # of everything" in text
    assert "import math" in text
    for left in ("unused", "os", "print", "%load_ext"):
        assert left not in re.findall(r"%?\w+", text)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("· working ·", "· impossible ·", "unknown level 'impossible' .there are warm-up, working, research"),
        (" · working · 3 points", "", "the title must read"),
        ("{admonition} Hint", "{note} Hint", "no hint"),
        (":tags: [check]", ":tags: [other]", "visible and hidden checks go together"),
        (":tags: [hidden-check, remove-cell]", ":tags: [other]", "visible and hidden checks go together"),
        ("`doubled`", "doubled", "no result"),
        ("- 1: a reason.\n", "", "a rubric's lines begin with their points"),
        ("- 0: none.", "none", "a rubric ends with what earns 0"),
        ("- 1: a reason", "- 3: a reason", "the rubric gives more points than the exercise has"),
        ("{solution-start} ex-toy", "{solution-start} ex-other", "a solution of 'ex-other'"),
        ("4 * math.pi", "4 * nowhere", "no cell of the page above the exercises defines 'nowhere'"),
    ],
)
def test_an_incomplete_exercise_is_named_in_one_line(old, new, message):
    text = EXERCISE.replace(old, new)
    if message == "no result":
        text = text.replace("`twice(x)`", "twice(x)")
        message = "its text names no result"
    assert text != EXERCISE
    with pytest.raises(chapters.BuildError, match=message) as found:
        parsed(text)
    assert str(found.value).startswith("notebooks/toy/lecture.md, exercise ex-toy: ")
    assert "\n" not in str(found.value)


def test_without_check_and_rubric_it_is_refused_and_so_is_a_label_used_twice():
    bare = EXERCISE[: EXERCISE.index("```{code-cell} ipython3\n:tags: [check]")].replace(
        "{admonition} Rubric", "{note} R"
    )
    with pytest.raises(chapters.BuildError, match="ex-toy: neither a check nor a rubric"):
        parsed(bare)
    with pytest.raises(chapters.BuildError, match="ex-toy: its label is used twice"):
        parsed(EXERCISE + "\n" + EXERCISE)


def test_what_needs_external_data_is_refused():
    import jupytext

    text = (
        (PAGE + EXERCISE)
        .replace("import math, os\n", "")
        .replace("## Exercises", "```{code-cell} ipython3\n%%needs epoch\nimport math\n```\n\n## Exercises")
    )
    with pytest.raises(chapters.BuildError, match=r"no cell .* defines 'math'|needs external data"):
        exercises.parse("toy/lecture", jupytext.reads(text, "md:myst"))


def test_names_are_followed_through_loops_functions_and_changes_in_place():
    assert exercises.free(["for i in rows:\n    total += i\n    last = i\nprint(last)"]) == {"rows", "total"}
    assert exercises.free(["def f(x, *, y=default):\n    return x + y + far"]) == {"default", "far"}
    assert exercises.free(["with open(path) as file:\n    text = file.read()", "text"]) == {"path"}
    assert exercises.free(["%%needs a\nsquares = [x**2 for x in xs]"]) == {"xs"}
    cells = ["a, b = 1, 2", "a = []", "a.append(b)", "a = other(a)", "c = 3"]
    kept, missing = exercises.setup(cells, {"a"})
    assert kept == ("a, b = 1, 2", "a = []", "a.append(b)", "a = other(a)")
    assert missing == {"other"}
    assert exercises.setup(["import numpy as np, os", "np.seterr(all='raise')", "x = np.ones(3)"], {"x"})[
        0
    ] == (
        "import numpy as np",
        "x = np.ones(3)",
    )


@cache
def of(chapter, profile="cpu"):
    return tuple(exercises.of_chapter(chapter, profile))


def test_the_book_s_exercises_have_every_part():
    found = [e for chapter in CHAPTERS for e in of(chapter)]
    assert len(found) >= 34
    assert {e.level for e in found} == set(exercises.LEVELS)
    for chapter in CHAPTERS:
        assert any(e.rubric for e in of(chapter)), f"{chapter} has nothing to argue about"
        assert [e.page for e in of(chapter)] == sorted(
            (e.page for e in of(chapter)), key=exercises.pages_of(chapter).index
        )
    in_pages = sum(
        chapters.source_path(n).read_text(encoding="utf-8").count("{exercise}") for n in chapters.names()
    )
    assert len(found) == in_pages


def test_every_check_says_what_is_wrong():
    for exercise in (e for chapter in CHAPTERS for e in of(chapter)):
        for code in (exercise.checks, exercise.hidden):
            for node in ast.walk(ast.parse(code)):
                assert not isinstance(node, ast.Assert) or node.msg is not None, (
                    exercise.label,
                    ast.unparse(node),
                )


def lines(text: str) -> set[str]:
    """Lines that say something."""
    return {line.strip() for line in text.splitlines() if len(line.strip()) > 12}


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_students_get_nothing_that_instructors_keep(chapter):
    found = list(of(chapter))
    given = assignments.notebook(chapter, found, "cpu")
    nbformat.validate(given)
    text = "\n".join(c.source for c in given.cells)
    known = lines(text)
    for e in found:
        solution = "\n".join(t for _, t in e.solution)
        on_page = "\n".join([*exercises.code_of(chapters.source(e.page)), e.checks, *e.results.values()])
        for secret in (lines(solution) | lines(e.hidden) | lines(e.rubric)) - lines(on_page):
            assert secret not in known, (e.label, secret)
        assert e.title in text
    assert "Rubric" not in text
    assert "solution" not in json.dumps(given.metadata)


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_the_slice_is_smaller_than_the_pages(chapter):
    given = assignments.notebook(chapter, list(of(chapter)), "cpu")
    kept = sum(
        len(c.source.splitlines()) for c in given.cells if c.cell_type == "code" and "otter" not in c.metadata
    )
    whole = sum(
        len(code.splitlines())
        for page in {e.page for e in of(chapter)}
        for code in exercises.code_of(chapters.source(page))
    )
    assert kept < 0.5 * whole
    code = "\n".join(c.source for c in given.cells if c.cell_type == "code")
    for never in ("figures.show(", "glue(", "provenance.stamp(", "%%needs"):
        assert never not in code


def spoilt(value):
    """A wrong answer of the same kind."""
    if callable(value):
        return lambda *a, **k: spoilt(value(*a, **k))
    if isinstance(value, str):
        return value + "?" if value else "something"
    if value is None or isinstance(value, bool):
        return 7 if value is None else not value
    if isinstance(value, dict):
        return {k: spoilt(v) for k, v in value.items()}
    if isinstance(value, list) and all(isinstance(v, int) for v in value):
        return value[::-1]
    if isinstance(value, (list, tuple)):
        worse = map(spoilt, value)
        return type(value)(*worse) if hasattr(value, "_fields") else type(value)(worse)
    if isinstance(value, (int, float, np.number, np.ndarray, pd.DataFrame)):
        return value * 1.5 + 1
    return object()


def walked(chapter, profile):
    """The solved notebook run cell by cell; at each check (exercise, names there)."""
    checked = {e.label: e for e in of(chapter, profile)}
    names: dict = {"__name__": "__main__"}
    for cell in assignments.notebook(chapter, list(checked.values()), profile, solved=True).cells:
        if cell.cell_type != "code":
            continue
        with contextlib.redirect_stdout(io.StringIO()):
            if "otter" in cell.metadata:
                exec(compile(cell.source, chapter, "exec"), dict(names))
                yield checked[cell.metadata["otter"]["tests"][0]], names
            else:
                exec(compile(cell.source, chapter, "exec"), names)


def fails(code, names) -> bool:
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            exec(code, dict(names))
    except Exception:
        return True
    return False


SLOW = ("chinchilla", "test_time_compute")


@pytest.mark.parametrize("profile", ["cpu", pytest.param("smoke", marks=pytest.mark.long)])
@pytest.mark.parametrize("chapter", [pytest.param(c, marks=[pytest.mark.long] * (c in SLOW)) for c in CHAPTERS])
def test_solutions_pass_and_each_wrong_result_is_caught(chapter, profile):
    done = 0
    for exercise, names in walked(chapter, profile):
        everything = exercise.checks + "\n" + exercise.hidden
        exec(everything, dict(names))
        for result in exercise.results:
            assert fails(everything, names | {result: spoilt(names[result])}), (exercise.label, result)
            assert fails(everything, {k: v for k, v in names.items() if k != result}), (
                exercise.label,
                result,
            )
            assert fails(everything, names | {result: ...}), (exercise.label, result)
        done += 1
    assert done == sum(bool(e.checks) for e in of(chapter, profile))


def graded(folder: Path, grader: bytes, notebooks: dict) -> dict[str, dict[str, float]]:
    """Scores of submissions by otter, {submission: {exercise: score}}."""
    (folder / "autograder.zip").write_bytes(grader)
    found = {}
    for name, notebook in notebooks.items():
        nbformat.write(notebook, folder / f"{name}.ipynb")
        (folder / name).mkdir()
        command = [
            sys.executable,
            "-m",
            "otter",
            "run",
            "-a",
            "autograder.zip",
            "-o",
            name,
            "--no-logo",
            f"{name}.ipynb",
        ]
        environment = os.environ | {
            "PYTHONPATH": str(root() / "src"),
            "JUPYTER_PREFER_ENV_PATH": "1",
            "OMP_NUM_THREADS": "1",
        }
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=900
        )
        assert done.returncode == 0, done.stdout + done.stderr
        tests = json.loads((folder / name / "results.json").read_text())["tests"]
        found[name] = {t["name"]: t["score"] for t in tests if "score" in t}
    return found


def marks(exercise, names) -> float:
    """Points that otter gives for these names, without a notebook."""
    from otter.test_files import ExceptionTestFile

    test = ExceptionTestFile.from_string(assignments.test_file(exercise))
    with contextlib.redirect_stdout(io.StringIO()):
        test.run(names)
    return test.score


def test_half_of_the_points_are_for_what_hides():
    """Solved: all points; a mistake that the student is shown: none; one that hides: half; nothing: none."""
    pytest.importorskip("otter", reason="otter-grader is not installed")
    (one,) = parsed(EXERCISE)
    (code,) = (text for kind, text in one.solution if kind == "code")

    def after(code):
        names: dict = {}
        exec("\n".join([*one.setup, code]), names)
        return marks(one, names)

    assert after(code) == 2 == one.points - one.by_hand
    assert after(code.replace("x + x", "x * x")) == 0
    assert after(code.replace('twice(table["a"])', "3.0")) == 1
    assert after(code.replace('twice(table["a"])', "...")) == 0
    assert after("") == 0


def test_a_notebook_is_graded_by_the_program(tmp_path, monkeypatch):
    pytest.importorskip("otter", reason="otter-grader is not installed")
    (tmp_path / "notebooks" / "toy").mkdir(parents=True)
    (tmp_path / "notebooks" / "profiles").mkdir()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "registry.toml").touch()
    for profile in chapters.PROFILES:
        (tmp_path / "notebooks" / "profiles" / f"{profile}.yaml").write_text("toy: {scale: 2.0}\n")
    (tmp_path / "notebooks" / "toy" / "lecture.md").write_text(PAGE + EXERCISE)
    monkeypatch.setenv("SCALINGLAWS_ROOT", str(tmp_path))
    found = exercises.of_chapter("toy")
    handed_in = assignments.notebook("toy", found, "cpu", solved=True)
    for cell in handed_in.cells:
        cell.source = cell.source.replace('twice(table["a"])', "3.0")
    assert graded(tmp_path, assignments.autograder(found), {"one": handed_in}) == {"one": {"ex-toy": 1}}


@pytest.mark.long
@pytest.mark.parametrize("chapter", CHAPTERS)
def test_solutions_get_full_marks_and_the_open_notebook_none(chapter, tmp_path):
    pytest.importorskip("otter", reason="otter-grader is not installed")
    student, instructor = (zipfile.ZipFile(p) for p in assignments.write(chapter, tmp_path))
    assert student.namelist() == [f"{chapter}.ipynb"]
    read = lambda archive, name: nbformat.reads(archive.read(name).decode(), 4)
    handed_in = {"solved": read(instructor, "solutions.ipynb"), "open": read(student, f"{chapter}.ipynb")}
    scores = graded(tmp_path, instructor.read("autograder.zip"), handed_in)
    full = {
        label: p["machine"] for label, p in json.loads(instructor.read("points.json")).items() if p["machine"]
    }
    assert scores == {"solved": full, "open": dict.fromkeys(full, 0)}
    (tmp_path / "grades.py").write_bytes(instructor.read("grades.py"))
    (tmp_path / "graded").mkdir()
    for name in scores:
        (tmp_path / name).rename(tmp_path / "graded" / name)
    rows = subprocess.run(
        [sys.executable, "grades.py", "graded"], cwd=tmp_path, capture_output=True, text=True
    ).stdout
    totals = pd.read_csv(io.StringIO(rows)).set_index("submission")["total"]
    assert totals.to_dict() == {"open": 0, "solved": sum(full.values())}


def test_the_open_notebook_says_what_is_missing_and_where(tmp_path):
    """Run whole, as a student first does: every check tells, nothing stops it."""
    from nbclient import NotebookClient

    notebook = assignments.notebook("resampling", [e for e in of("resampling") if "lecture" in e.page], "cpu")
    os.environ.setdefault("JUPYTER_PREFER_ENV_PATH", "1")
    environment = os.environ | {"PYTHONPATH": str(root() / "src")}
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute(
        env=environment
    )
    said = [
        o.evalue
        for c in notebook.cells
        if c.cell_type == "code"
        for o in c.outputs
        if o.output_type == "error"
    ]
    assert said == [
        "simulated is still open: fill in the cell above",
        "f_widest is still open: fill in the cell above",
    ]


def test_the_command_writes_zips_and_refuses_in_one_line(tmp_path, capsys, monkeypatch):
    from scalinglaws.__main__ import main

    assert main(["assignments", "chemistry", "--out", str(tmp_path)]) == 2
    assert "no chapter 'chemistry'; there are: abilities, beyond, chinchilla, guide, kaplan" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "otter", None)
    monkeypatch.setitem(sys.modules, "otter.generate", None)
    assert main(["assignments", "kaplan", "--out", str(tmp_path)]) == 2
    assert "is not installed: make setup" in capsys.readouterr().err


def test_the_zips_do_not_change_by_themselves(tmp_path):
    pytest.importorskip("otter", reason="otter-grader is not installed")
    first, second = (assignments.write("kaplan", tmp_path / name) for name in "ab")
    assert first[0].read_bytes() == second[0].read_bytes()
    assert zipfile.ZipFile(first[1]).namelist() == zipfile.ZipFile(second[1]).namelist()


def test_pages_show_checks_folded_and_hold_no_hidden_ones():
    import jupytext

    from scalinglaws.build import pages

    notebook = jupytext.reads(PAGE + EXERCISE, "md:myst")
    pages._fold_checks(notebook)
    code = [c for c in notebook.cells if c.cell_type == "code"]
    assert not any("4 * math.pi" in c.source for c in code)
    assert code[-1].metadata["tags"] == ["check", "hide-input"]
    assert code[-1].metadata["mystnb"]["code_prompt_show"] == "Check your answer"


def test_the_example_of_the_contributors_guide_is_an_exercise():
    text = (root() / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"^`{5}markdown\n(.*?\{exercise\}.*?)^`{5}$", text, re.S | re.M)
    (one,) = parsed(example.replace("rng", "scale"))
    assert one.hidden
    names: dict = {}
    exec(
        "\n".join([*one.setup, *(t for kind, t in one.solution if kind == "code"), one.checks, one.hidden]),
        names,
    )
    for result in one.results:
        assert fails(one.checks + "\n" + one.hidden, names | {result: spoilt(names[result])})
