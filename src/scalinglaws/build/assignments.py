"""A chapter's exercises as an assignment: a notebook for students, an autograder and rubrics for instructors.

Students get plain notebooks that need nothing but the library: their checks are asserts. Instructors get the
same exercises as otter-grader's tests, hidden checks included. Each exercise is graded where it stands, in the
state that the notebook has there.
"""

from __future__ import annotations

import io
import json
import re
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from . import chapters, exercises, plain
from .exercises import Exercise

if TYPE_CHECKING:
    import nbformat

OTTER = "otter-grader>=7.0,<8"
_EPOCH = (2020, 1, 1, 0, 0, 0)  # equal contents make equal zips


def first_cell() -> str:
    """What loads the library, or says in one line how to get it."""
    url = plain.repository()
    clone = f"git clone {url} scaling-laws-book && cd scaling-laws-book && " if url else ""
    get = f"{clone}make kernel" if url else "run `make kernel` in its folder"
    return (
        "import os\n\n"
        'os.environ.setdefault("OMP_NUM_THREADS", "1")  # small arrays gain nothing from more\n'
        "try:\n    import scalinglaws\nexcept ImportError:\n"
        f'    print("The book\'s library is missing here: {get}, then choose the kernel “Scaling laws”.")'
    )


def check_cell(exercise: Exercise) -> str:
    """The visible checks, with a first line for what is still open and a last one for success."""
    open_ones = [
        f'assert {name} is not ..., "{name} is still open: fill in the cell above"'
        for name, stub in exercise.results.items()
        if stub.endswith("= ...")
    ]
    told = f'print("{exercise.title}: the visible checks pass")'
    return "\n".join(["# Check your answer: run this cell.", *open_ones, exercise.checks, told])


def _plain(text: str) -> str:
    """MyST as Markdown that any Jupyter shows."""
    text = re.sub(r"^(`{3,})\{admonition\} Rubric\n.*?^\1$\n?", "", text, flags=re.S | re.M)
    return plain.plain_markdown(text, {}).strip("\n")


def _equations(chapter: str) -> dict[str, str]:
    """Label → LaTeX of every numbered equation of a chapter."""
    text = "\n".join(chapters.source_path(n).read_text(encoding="utf-8") for n in exercises.pages_of(chapter))
    return {label: math.strip() for math, label in re.findall(r"\$\$([^$]+)\$\$ \((eq-[a-z-]+)\)", text)}


def question(exercise: Exercise, number: int, equations: dict[str, str]) -> str:
    """The exercise's text with its hints folded, and the equations that it speaks of."""
    points = f"{exercise.points} point{'s' * (exercise.points != 1)}"
    by_hand = f", {exercise.by_hand} of them for the argument" if exercise.by_hand and exercise.checks else ""
    parts = [
        f"### Exercise {number}. {exercise.title}\n\n*{exercise.level}, {points}{by_hand}*",
        _plain(exercise.text),
    ]
    spoken = dict.fromkeys(re.findall(r"\{eq\}`(eq-[a-z-]+)`", exercise.text))
    parts += [f"Here ({label}) is\n\n$$\n{equations[label].rstrip(',.')}\n$$" for label in spoken if label in equations]
    parts += [f"<details><summary>Hint</summary>\n\n{_plain(hint)}\n\n</details>" for hint in exercise.hints]
    return "\n\n".join(parts)


def notebook(
    chapter: str, found: list[Exercise], profile: str, solved: bool = False
) -> nbformat.NotebookNode:
    """All exercises of a chapter with what they need of their pages; the answers open, or solved.

    Answers and checks may fail without stopping a run of the whole notebook (`raises-exception`), so that
    every check says what is missing.
    """
    from nbformat import v4

    from .pages import with_values

    equations = _equations(chapter)
    cells: list[nbformat.NotebookNode] = []

    def add(kind: str, source: str, **metadata) -> None:
        cell = (v4.new_code_cell if kind == "code" else v4.new_markdown_cell)(source, metadata=metadata)
        cell["id"] = f"{chapter.replace('_', '-')}-{len(cells)}"
        cells.append(cell)

    title = chapter.replace("_", " ").capitalize()
    points = sum(e.points for e in found)
    add("markdown", f"# {title}: exercises\n\n{len(found)} exercises, {points} points. Replace each `...`, keep the names and the check cells, and run "
        "the check below each answer. Answers in words go where it says so. Before you hand it in: restart the kernel, run all.")  # fmt: skip
    add("code", first_cell())
    page = ""
    for number, exercise in enumerate(found, 1):
        if exercise.page != page:
            page = exercise.page
            source = chapters.source(page)
            with_values(source, chapters.chosen(page, profile, source))
            setups = [cell for e in found if e.page == page for cell in e.setup]
            wanted = set().union(*(exercises.names(exercises.body(cell))[1] for cell in setups))
            heading = re.search(r"^# (.*)$", source.cells[0].source, re.M)
            needed = exercises.setup(exercises.code_of(source), wanted)[0]
            told = f"\n\nWhat the exercises need of the page `{page}`:" if needed else ""
            add("markdown", f"## {heading[1] if heading else page}{told}")
            for cell in needed:
                add("code", cell)
        add("markdown", question(exercise, number, equations))
        loose = {"tags": ["raises-exception"]}
        if solved:
            for kind, text in exercise.solution:
                add(kind, text if kind == "code" else _plain(text), **(loose if kind == "code" else {}))
        else:
            if exercise.results:
                add("code", ("\n\n\n" if "def " in str(exercise.results) else "\n").join(exercise.results.values()), **loose)
            if exercise.by_hand:
                add("markdown", "*Your argument here.*")
        if exercise.checks:
            add("code", check_cell(exercise), otter={"tests": [exercise.label]}, **loose)
    spec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return v4.new_notebook(cells=cells, metadata={"kernelspec": spec, "language_info": {"name": "python"}})


def test_file(exercise: Exercise) -> str:
    """Otter's test of an exercise: half of the points for the visible checks, half for these and the hidden ones."""
    return f'''\
"""{exercise.title}: {exercise.points - exercise.by_hand} of {exercise.points} points by machine."""
from otter.test_files import test_case

OK_FORMAT = False
name = {exercise.label!r}
points = {exercise.points - exercise.by_hand}
VISIBLE = {exercise.checks!r}
HIDDEN = {exercise.hidden!r}


def run(env, code):
    answers = [env.get(wanted, ...) for wanted in {sorted(exercise.results)!r}]
    assert all(answer is not ... for answer in answers), "not answered"
    exec(compile(code, name, "exec"), dict(env))


@test_case(name="visible checks")
def visible(env):
    run(env, VISIBLE)


@test_case(name="hidden checks", hidden=True)
def hidden(env):
    run(env, VISIBLE + "\\n" + HIDDEN)
'''


def autograder(found: list[Exercise]) -> bytes:
    """Otter's configuration zip for the exercises. Raises ModuleNotFoundError without otter-grader."""
    from otter.generate import main as generate

    with tempfile.TemporaryDirectory() as folder:
        tests = Path(folder, "tests")
        tests.mkdir()
        for exercise in found:
            if exercise.checks:
                (tests / f"{exercise.label}.py").write_text(test_file(exercise), encoding="utf-8")
        output = Path(folder, "autograder.zip")
        generate(tests_dir=str(tests), output_path=str(output), no_environment=True)
        return output.read_bytes()


def rubrics(chapter: str, found: list[Exercise]) -> str:
    """What earns how many points by hand."""
    text = [
        f"# {chapter}: rubrics\n\nPoints that a person gives. What a machine gives is in `autograder.zip`."
    ]
    for number, exercise in enumerate(found, 1):
        machine = exercise.points - exercise.by_hand
        text.append(
            f"## {number}. {exercise.title} ({exercise.label})\n\nBy machine {machine}, by hand {exercise.by_hand}."
        )
        if exercise.rubric:
            text.append(f"{_plain(exercise.text)}\n\n{exercise.rubric}")
    return "\n\n".join(text) + "\n"


GRADES = '''\
"""python grades.py graded > grades.csv: one row a submission, one column an exercise, machine points only."""
import csv
import json
import pathlib
import sys

rows = []
for path in sorted(pathlib.Path(sys.argv[1]).glob("*/results.json")):
    scores = {}
    for test in json.loads(path.read_text(encoding="utf-8"))["tests"]:
        label = test["name"].split(" - ")[0]
        if "score" in test:
            scores[label] = scores.get(label, 0) + test["score"]
    rows.append({"submission": path.parent.name, **scores, "total": sum(scores.values())})
columns = list(dict.fromkeys(key for row in rows for key in row if key != "total")) + ["total"]
table = csv.DictWriter(sys.stdout, columns, restval=0)
table.writeheader()
table.writerows(rows)
'''


def instructions(chapter: str) -> str:
    """How a folder of submissions is graded."""
    return f"""# {chapter}: grading

Put the submissions, one notebook a student, into `submissions/`. In the environment of the book (`make setup`, then `. .venv/bin/activate` in its folder), here:

    pip install "{OTTER}"  # part of `make setup`
    for s in submissions/*.ipynb; do d=graded/$(basename "$s" .ipynb); mkdir -p "$d"; otter run -a autograder.zip -o "$d" --no-logo "$s"; done
    python grades.py graded > grades.csv

Submissions are programs of other people: run them where they can do no harm. Points by hand: `rubrics.md`. Right answers:
`solutions.ipynb`. Half of an exercise's machine points are for the checks that students see, half for the hidden ones.
"""


def _zip(files: dict[str, str | bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def write(chapter: str, folder: str | Path, profile: str = "cpu") -> list[Path]:
    """CHAPTER-student.zip and CHAPTER-instructor.zip in the folder. Returns the paths.

    Raises BuildError for a chapter without exercises or an incomplete one, ModuleNotFoundError without otter-grader.
    """
    import nbformat

    found = exercises.of_chapter(chapter, profile)
    if not found:
        raise chapters.BuildError(f"notebooks/{chapter}: no page has exercises")
    student, solved = (nbformat.writes(notebook(chapter, found, profile, how)) for how in (False, True))
    points = {e.label: {"machine": e.points - e.by_hand, "by hand": e.by_hand} for e in found}
    files = {
        "student": {f"{chapter}.ipynb": student},
        "instructor": {
            "README.md": instructions(chapter),
            "autograder.zip": autograder(found),
            "solutions.ipynb": solved,
            "rubrics.md": rubrics(chapter, found),
            "points.json": json.dumps(points, indent=1) + "\n",
            "grades.py": GRADES,
        },
    }
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for who, content in files.items():
        path = folder / f"{chapter}-{who}.zip"
        path.write_bytes(_zip(content))
        written.append(path)
    return written


def names() -> list[str]:
    """The chapters, in the order of their folders."""
    return list(dict.fromkeys(name.split("/")[0] for name in chapters.names()))
