"""Exercises as they stand in the pages: found, checked for completeness, and cut free of their page.

An exercise is a box with its title, level and points, a hint, a folded solution (with the rubric where a
person grades), a cell tagged `check` that readers see, and one tagged `hidden-check` that only instructors
get. CONTRIBUTING.md shows one. What a solution needs of its page is found by following names backwards.
"""

from __future__ import annotations

import ast
import builtins
import re
import symtable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from ..paths import root
from . import chapters
from .chapters import BuildError

if TYPE_CHECKING:
    import nbformat

LEVELS = ("warm-up", "working", "research")
"""What an exercise asks for: a formula and a number; an hour; an open question, or a tool for one."""

_FENCE = re.compile(
    r"^(?P<fence>`{3,}|:{3,})\{(?P<name>[a-z-]+)\}[ ]*(?P<title>[^\n]*)\n(?P<body>.*?)^(?P=fence)[ ]*$",
    re.S | re.M,
)
_TITLE = re.compile(r"(?P<title>[^·]+) · (?P<level>[^·]+) · (?P<points>\d+) points?")
_RUBRIC = re.compile(r"^- (\d+): \S", re.M)
_KNOWN = {*dir(builtins), "display", "get_ipython", "__file__"}


@dataclass(frozen=True)
class Exercise:
    """One exercise of a page.

    results: the names that the text asks for, with the answer cell's line for each. solution: ("code" or
    "markdown", text) in order. setup: the page's statements that it needs, a cell each. by_hand: those of its
    points that a person gives by the rubric.
    """

    page: str
    label: str
    title: str
    level: str
    points: int
    text: str
    hints: tuple[str, ...] = ()
    results: dict[str, str] = field(default_factory=dict)
    checks: str = ""
    hidden: str = ""
    solution: tuple[tuple[str, str], ...] = ()
    rubric: str = ""
    setup: tuple[str, ...] = ()

    @property
    def by_hand(self) -> int:
        """Points of the rubric's best line."""
        return max((int(n) for n in _RUBRIC.findall(self.rubric)), default=0)

    @property
    def wanted(self) -> set[str]:
        """Names that its cells use and do not define."""
        code = [text for kind, text in self.solution if kind == "code"]
        return free([*code, self.checks, self.hidden])


def body(code: str) -> str:
    """A cell's Python: magics become empty lines, so that line numbers stay."""
    return "\n".join("" if line.startswith(("%", "!")) else line for line in code.splitlines())


def names(code: str) -> tuple[set[str], set[str]]:
    """The global names that code reads, and those that it defines."""
    top = symtable.symtable(code, "cell", "exec")
    used, defined, tables = set(), set(), [top]
    while tables:
        table = tables.pop()
        tables += table.get_children()
        for symbol in table.get_symbols():
            if symbol.is_referenced() and (table is top or symbol.is_global()):
                used.add(symbol.get_name())
            if table is top and (symbol.is_assigned() or symbol.is_imported()):
                defined.add(symbol.get_name())
    return used, defined


def _flow(nodes: list[ast.stmt]) -> tuple[set[str], set[str]]:
    """Names that statements, one after the other, read before they have defined them; and all that they define."""
    read: set[str] = set()
    made: set[str] = set()
    for node in nodes:
        if isinstance(node, (ast.For, ast.While, ast.If, ast.With, ast.Try)):
            inner: list[ast.stmt] = []
            head = set()
            for part in ast.iter_child_nodes(node):
                if isinstance(part, (ast.stmt, ast.ExceptHandler)):
                    inner += part.body if isinstance(part, ast.ExceptHandler) else [part]
                    head |= {part.name} if isinstance(part, ast.ExceptHandler) and part.name else set()
                    continue
                for name in (n for n in ast.walk(part) if isinstance(n, ast.Name)):
                    if isinstance(name.ctx, ast.Store):
                        head.add(name.id)
                    else:
                        read |= {name.id} - made
            used, defined = _flow(inner)
            defined |= head
            read |= used - made - head
        else:
            used, defined = names(ast.unparse(node))
            if isinstance(node, ast.AugAssign):  # x += 1 reads x
                used |= defined
            read |= used - made
        made |= defined
    return read, made


def _source(node: ast.stmt, lines: list[str]) -> str:
    first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))])
    return "\n".join(lines[first - 1 : node.end_lineno])


def free(cells: list[str]) -> set[str]:
    """Names that cells, run one after the other, read and have not defined."""
    return _flow([node for cell in cells for node in ast.parse(body(cell)).body])[0] - _KNOWN


def _changed(node: ast.stmt) -> set[str]:
    """Names whose objects a statement changes in place: `a[i] = …`, `a.b = …`, `a.append(…)`."""
    targets = getattr(node, "targets", [getattr(node, "target", None)])
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        targets = [node.value.func] if isinstance(node.value.func, ast.Attribute) else []
    found = set()
    for target in targets:
        inner = target
        while isinstance(inner, (ast.Subscript, ast.Attribute)):
            inner = inner.value
        if isinstance(inner, ast.Name) and inner is not target:
            found.add(inner.id)
    return found


def setup(cells: list[str], wanted: set[str]) -> tuple[tuple[str, ...], set[str]]:
    """The backward slice: statements of the cells that `wanted` names follow from, and names nobody defines.

    Statements keep their cells and their text; imports keep only what is used; `%%needs` stays on top.
    """
    trees = [ast.parse(body(c)) for c in cells]
    imported = {
        (a.asname or a.name).split(".")[0]
        for t in trees
        for n in t.body
        if isinstance(n, (ast.Import, ast.ImportFrom))
        for a in n.names
    }
    wanted, kept = set(wanted), []
    for cell, tree in zip(reversed(cells), reversed(trees), strict=True):
        chosen = []
        for node in reversed(tree.body):
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                used = [a for a in node.names if (a.asname or a.name).split(".")[0] in wanted]
                wanted -= {(a.asname or a.name).split(".")[0] for a in used}
                node.names = used
                chosen += [ast.unparse(node)] if used else []
                continue
            used, defined = _flow([node])
            if not (defined | (_changed(node) - imported)) & wanted:
                continue
            if isinstance(node, (ast.Assign, ast.AnnAssign, ast.FunctionDef, ast.ClassDef)):
                wanted -= defined
            wanted |= used
            apart = (
                "\n\n"
                if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node is not tree.body[0]
                else ""
            )
            chosen.append(apart + _source(node, cell.splitlines()))
        if chosen:
            magic = [line for line in cell.splitlines()[:1] if line.startswith("%%")]
            kept.append("\n".join([*magic, *reversed(chosen)]))
    return tuple(reversed(kept)), wanted - _KNOWN


def _options(text: str) -> tuple[dict[str, str], str]:
    """`:key: value` lines at the head of a directive, and the rest."""
    found = re.match(r"(?:^:[a-z]+:[^\n]*\n)*", text, re.M)
    head = found[0] if found else ""
    return dict(re.findall(r"^:([a-z]+):[ ]*(.*)$", head, re.M)), text[len(head) :].strip("\n")


def _stubs(text: str, solution: list[tuple[str, str]]) -> dict[str, str]:
    """The results that a text names in backticks and its solution defines, each with an open line."""
    asked = re.findall(r"`([A-Za-z_]\w*)(?:\([^`]*\))?`", text)
    stubs = {}
    for node in (n for kind, code in solution if kind == "code" for n in ast.parse(body(code)).body):
        if isinstance(node, ast.FunctionDef) and node.name in asked:
            told = f'raise NotImplementedError("{node.name} is still open: write its body")'
            stubs[node.name] = f"def {node.name}({ast.unparse(node.args)}):\n    {told}"
            continue
        if not isinstance(node, (ast.Assign, ast.AnnAssign)):
            continue
        defined = names(ast.unparse(node))[1]
        stubs |= {name: f"{name} = ..." for name in defined if name in asked}
    return {name: stubs[name] for name in dict.fromkeys(asked) if name in stubs}


def _parts(cells: list[nbformat.NotebookNode]):
    """(kind, title, text) of everything in the cells, in order: fences by their name, prose, code by its tag."""
    for cell in cells:
        if cell.cell_type == "code":
            tags = cell.metadata.get("tags", [])
            yield next((t for t in ("check", "hidden-check") if t in tags), "code"), "", cell.source
            continue
        at = 0
        for found in _FENCE.finditer(cell.source):
            yield "markdown", "", cell.source[at : found.start()]
            yield found["name"], found["title"].strip(), found["body"]
            at = found.end()
        yield "markdown", "", cell.source[at:]


def parse(page: str, notebook: nbformat.NotebookNode) -> list[Exercise]:
    """A page's exercises in order, complete with their setup.

    Raises BuildError, one line with page and exercise, for one that lacks a hint, a solution, or both checks
    and a rubric; for an unknown level, a label used twice, or a name that the page does not define.
    """
    first = next((i for i, c in enumerate(notebook.cells) if "{exercise}" in c.source), len(notebook.cells))
    exercises: list[Exercise] = []
    draft: dict = {}
    inside = False
    for kind, title, text in [*_parts(notebook.cells[first:]), ("end", "", "")]:
        if kind in ("exercise", "end") and draft:
            exercises.append(_finished(page, draft))
            draft = {}
        options, text = _options(text) if kind in ("exercise", "admonition", "solution-start") else ({}, text)
        if kind == "exercise":
            draft = {"label": options.get("label", "?"), "head": title, "text": text, "solution": []}
            draft |= {"hints": [], "check": [], "hidden-check": [], "rubric": ""}
        elif not draft:
            continue
        elif kind == "solution-start":
            inside = True
            if title != draft["label"]:
                raise BuildError(f"notebooks/{page}.md, exercise {draft['label']}: a solution of {title!r}")
        elif kind == "solution-end":
            inside = False
        elif kind == "admonition" and title in ("Hint", "Rubric"):
            if title == "Hint":
                draft["hints"].append(text)
            else:
                draft["rubric"] = text
        elif kind in ("check", "hidden-check"):
            draft[kind].append(text)
        elif inside and kind in ("code", "markdown") and text.strip() and not text.startswith("%%needs"):
            draft["solution"].append((kind, text.strip("\n")))
    doubled = [e.label for e in exercises if [x.label for x in exercises].count(e.label) > 1]
    if doubled:
        raise BuildError(f"notebooks/{page}.md, exercise {doubled[0]}: its label is used twice")
    code = code_of(notebook)
    return [_with_setup(e, code) for e in exercises]


def _finished(page: str, draft: dict) -> Exercise:
    """The exercise of a draft. Raises BuildError where something is missing."""

    def wrong(what: str) -> BuildError:
        return BuildError(f"notebooks/{page}.md, exercise {draft['label']}: {what}")

    head = _TITLE.fullmatch(draft["head"])
    if head is None:
        raise wrong(f"the title must read “What · level · N points”, not {draft['head']!r}")
    if head["level"] not in LEVELS:
        raise wrong(f"unknown level {head['level']!r} (there are {', '.join(LEVELS)})")
    checks, hidden = ("\n".join(draft[kind]) for kind in ("check", "hidden-check"))
    made = Exercise(
        page, draft["label"], head["title"], head["level"], int(head["points"]), draft["text"],
        tuple(draft["hints"]), _stubs(draft["text"], draft["solution"]) if checks else {}, checks, hidden,
        tuple(draft["solution"]), draft["rubric"],
    )  # fmt: skip
    for lacks, what in (
        (not made.hints, "no hint"),
        (not made.solution, "no solution"),
        (not checks and not made.rubric, "neither a check nor a rubric"),
        (bool(checks) != bool(hidden), "visible and hidden checks go together; one is missing"),
        (
            bool(checks) and not made.results,
            "its text names no result in `backticks` that the solution defines",
        ),
        (bool(made.rubric) and not made.by_hand, "a rubric's lines begin with their points, “- 2: …”"),
        (
            bool(made.rubric) and not re.search(r"^- 0: ", made.rubric, re.M),
            "a rubric ends with what earns 0",
        ),
        (made.by_hand > made.points - bool(checks), "the rubric gives more points than the exercise has"),
        (
            not checks and made.by_hand < made.points,
            "no check, and a rubric of fewer points than the exercise",
        ),
    ):
        if lacks:
            raise wrong(what)
    return made


def _with_setup(exercise: Exercise, code: list[str]) -> Exercise:
    """The exercise with what it needs of the page's code: what its cells use, and what its text speaks of."""
    offered = set().union(*(names(body(c))[1] for c in code))
    spoken = set(re.findall(r"`([A-Za-z_]\w*)[`.(]", exercise.text + "".join(exercise.hints)))
    own = set(exercise.results) | set(re.findall(r"\w+", "".join(exercise.results.values())))
    wanted = exercise.wanted | ((spoken & offered) - own)
    kept, missing = setup(code, wanted)
    if missing:
        raise BuildError(
            f"notebooks/{exercise.page}.md, exercise {exercise.label}: "
            f"no cell of the page above the exercises defines {sorted(missing)[0]!r}"
        )
    if any(cell.startswith("%%needs") for cell in kept):
        raise BuildError(
            f"notebooks/{exercise.page}.md, exercise {exercise.label}: it needs external data, which students may "
            "not have; ask for something that can be checked without"
        )
    return replace(exercise, setup=kept)


def code_of(notebook: nbformat.NotebookNode) -> list[str]:
    """The code of a page above its first exercise."""
    first = next((i for i, c in enumerate(notebook.cells) if "{exercise}" in c.source), len(notebook.cells))
    return [c.source for c in notebook.cells[:first] if c.cell_type == "code"]


def pages_of(chapter: str) -> list[str]:
    """A chapter's pages in the order of the book; by name where the book does not list them."""
    toc = root() / "_toc.yml"
    listed = re.findall(r"book/chapters/(\S+)", toc.read_text(encoding="utf-8")) if toc.is_file() else []
    found = [n for n in chapters.names() if n.split("/")[0] == chapter]
    return sorted(found, key=lambda n: listed.index(n) if n in listed else len(listed))


def of_chapter(chapter: str, profile: str = "cpu") -> list[Exercise]:
    """All exercises of a chapter, in the order of the book, with the profile's parameters.

    Raises BuildError as `parse`, and where two pages share a label or ask for a result of the same name.
    """
    from .pages import with_values

    found: list[Exercise] = []
    seen: dict[str, Exercise] = {}
    for page in pages_of(chapter):
        notebook = chapters.source(page)
        with_values(notebook, chapters.chosen(page, profile, notebook))
        for exercise in parse(page, notebook):
            for what in (exercise.label, *exercise.results):
                if what in seen:
                    raise BuildError(
                        f"notebooks/{page}.md, exercise {exercise.label}: {what!r} is also in "
                        f"{seen[what].label} of notebooks/{seen[what].page}.md; a notebook holds both"
                    )
                seen[what] = exercise
            found.append(exercise)
    return found
