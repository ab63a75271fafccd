"""Figures, tables and numbers in sentences: what is refused and what is written."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET

import numpy as np
import pandas as pd
import pytest

from scalinglaws import figures, notebook, provenance

DATA = pd.DataFrame({"x": [1, 2], "y": [3, 4]})


def plot(fig, frame, label="data"):
    """A line."""
    fig.subplots().plot(frame["x"], frame["y"], label=label)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("SCALINGLAWS_FIGURES", str(tmp_path / "figures"))
    monkeypatch.setenv("SCALINGLAWS_RECORD", str(tmp_path))
    return tmp_path / "figures"


def test_show_writes_both_modes_data_and_passport(folder):
    shown = figures.show("a-line", plot, DATA, caption="A line.", alt="One line.", data=DATA, label="z")
    light, dark = ((folder / f"a-line.{mode}.svg").read_text() for mode in ("light", "dark"))
    for text in (light, dark):
        ET.fromstring(text)
    assert light != dark
    assert "#1f2328" in light
    assert "#e6edf3" in dark
    pd.testing.assert_frame_equal(pd.read_csv(folder / "a-line.csv"), DATA)
    facts = json.loads((folder / "a-line.json").read_text())
    assert {"commit", "date", "hardware", "profile", "packages"} <= facts.keys()
    assert facts["plot"] == "test_figures.plot"
    bundle, about = shown._repr_mimebundle_()
    assert about == {"scalinglaws": {"figure": "a-line", "caption": shown.caption, "alt": shown.alt}}
    assert 'name: fig-a-line\nalt: "One line."' in bundle["text/markdown"]
    assert "Data <figures/a-line.csv>" in bundle["text/markdown"]
    assert 'alt="One line."' in bundle["text/html"]


def test_the_same_figure_twice_is_the_same_file(folder):
    figures.show("b", plot, DATA, caption="c", alt="a", data=DATA)
    first = (folder / "b.light.svg").read_bytes()
    figures.show("b", plot, DATA, caption="c", alt="a", data=DATA)
    assert (folder / "b.light.svg").read_bytes() == first


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"caption": " "}, "caption is missing"),
        ({"alt": ""}, r"alternative text \(alt\) is missing"),
        ({"data": None}, "data must be"),
        ({"data": DATA.iloc[:0]}, "data must be"),
    ],
)
def test_incomplete_figures_are_refused(folder, change, message):
    arguments = {"caption": "c", "alt": "a", "data": DATA} | change
    with pytest.raises(figures.FigureError, match=f"figure x: {message}"):
        figures.show("x", plot, DATA, **arguments)
    assert not folder.exists()


def test_ids_are_words(folder):
    with pytest.raises(figures.FigureError, match="lower-case words joined by hyphens"):
        figures.show("My Figure", plot, DATA, caption="c", alt="a", data=DATA)


def test_glue_takes_text_only():
    with pytest.raises(TypeError, match=r"glue\(x=…\) takes a formatted string, got float64"):
        notebook.glue(x=np.float64(1.5))


def test_products_of_a_cell_are_read_from_its_source():
    source = 'display(check("a.b", 1), claims.check("c.d", x))\nglue(one="1", two=f"{x}")\nfigures.show("fig", plot, caption="")\nfit.show\n'
    assert notebook.products(source) == {"claims": ["a.b", "c.d"], "glue": ["one", "two"], "figures": ["fig"]}


def test_tables_are_escaped_and_captioned():
    text = notebook.Table(pd.DataFrame({"a<b": ["x&y"], "n": [1]}), "A caption")._repr_html_()
    assert "<caption>A caption</caption>" in text
    assert "a&lt;b" in text
    assert '<th scope="row">x&amp;y</th><td>1</td>' in text
    with pytest.raises(ValueError, match="caption"):
        notebook.Table(DATA, " ")


def test_provenance_names_machine_and_commit():
    facts = provenance.passport(seed=3)
    assert facts["seed"] == 3
    assert facts["hardware"]["cores"] >= 1
    assert facts["packages"]["numpy"] == np.__version__
    head = facts["commit"].split("+")[0]
    assert head == "unknown" or (len(head) == 12 and int(head, 16) >= 0)


def test_dependencies_list_modules_and_data_read():
    from scalinglaws.datasets import paper_table

    paper_table("large_models")
    found = provenance.dependencies()
    assert "data/papers/large_models.csv" in found
    assert "src/scalinglaws/provenance.py" in found
    assert all(not f.startswith("/") for f in found)


def test_curves_become_rows():
    table = figures.tidy({("p", 1): ([1, 2], [3, 4]), ("q", 2): ([5], [6])}, ("panel", "k", "x", "y"))
    assert table.to_numpy().tolist() == [["p", 1, 1, 3], ["p", 1, 2, 4], ["q", 2, 5, 6]]
    assert figures.tidy({"a": ([1], [2])}, ("line", "x", "y")).columns.tolist() == ["line", "x", "y"]
    with pytest.raises(ValueError, match=r"shorter|longer"):
        figures.tidy({"a": ([1], [2, 3])}, ("line", "x", "y"))


def test_numbers_of_a_column_stand_with_their_points_below_each_other():
    pad = "\u2007"
    assert notebook.aligned(["8.0 B", "205.1 B", "1.5 T", "—"]) == [f"{pad * 2}8.0 B", "205.1 B", f"{pad * 2}1.5 T", f"{pad * 3}—"]
    assert notebook.aligned(["+0.4 (0.1 to 0.9)", "−12.25"]) == [f"{pad}+0.4 (0.1 to 0.9)", "−12.25"]
    assert notebook.aligned(["1.9×10¹⁹", "≥ 200"]) == [f"{pad * 4}1.9×10¹⁹", "≥ 200"]
    assert notebook.aligned(["12", "one"]) == ["12", "one"]


def test_the_row_that_matters_is_marked():
    frame = pd.DataFrame({"size": ["67 B", "1 T"], "tokens": ["1.5 T", "21 T"]})
    shown = notebook.Table(frame, "Sizes", mark="67 B")._repr_html_()
    assert shown.count('class="row-mark"') == 1
    assert '<tr class="row-mark"><th scope="row">67 B</th>' in shown
    with pytest.raises(ValueError, match="no row '5 B'"):
        notebook.Table(frame, "Sizes", mark="5 B")
