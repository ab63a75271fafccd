"""The API reference: every public name of its rooms, nothing private, text that Markdown cannot misread."""

from __future__ import annotations

import ast

import yaml

from scalinglaws.build import reference
from scalinglaws.paths import root


def test_every_public_name_of_a_room_is_on_its_page(tmp_path, monkeypatch):
    monkeypatch.setattr(reference, "folder", lambda: tmp_path)
    pages = {p.stem: p.read_text(encoding="utf-8") for p in reference.write()}
    assert set(pages) == set(reference.ROOMS)
    package = root() / "src" / "scalinglaws"
    for room, text in pages.items():
        files = (package / room).glob("*.py") if (package / room).is_dir() else [package / f"{room}.py"]
        for path in files:
            for node in ast.parse(path.read_text(encoding="utf-8")).body:
                if isinstance(node, ast.FunctionDef | ast.ClassDef):
                    heading = f"{'class ' if isinstance(node, ast.ClassDef) else ''}`{node.name}`"
                    assert (f"### {heading}" in text) == (not node.name.startswith("_")), (path, node.name)
    assert "N = G·(C/k)^a, D = (C/k)^b / G." in pages["laws"]
    assert r"\[R, P\]" in pages["lm"]
    before = {p: p.stat().st_mtime_ns for p in tmp_path.iterdir()}
    reference.write()
    assert {p: p.stat().st_mtime_ns for p in tmp_path.iterdir()} == before


def test_the_pages_are_in_the_table_of_contents():
    parts = yaml.safe_load((root() / "_toc.yml").read_text(encoding="utf-8"))["parts"]
    listed = [c["file"] for p in parts for c in p["chapters"] if c["file"].startswith("book/api/")]
    assert listed == [f"book/api/{room}" for room in reference.ROOMS]
