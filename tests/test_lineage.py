"""The bibliography as a graph."""

from __future__ import annotations

import pytest

from scalinglaws import figures, lineage
from scalinglaws.plots import lineage as plots

LIST = """
@article{old, title={A}, author={Elder, Ann}, year={2000}}
@article{mid, title={B}, author={H{\\"a}gele, Bo}, year={2010}, cites={old}}
@article{new, title={C}, author={Young, Cy}, year={2020}, cites={mid, old}}
@article{next, title={D}, author={Last, Di}, year={2021}, cites={new}}
@article{apart, title={E}, author={Else, Ed}, year={2015}}
"""


@pytest.fixture
def few(tmp_path):
    path = tmp_path / "list.bib"
    path.write_text(LIST, encoding="utf-8")
    return lineage.works(path)


def test_ancestors_and_descendants_of_a_work(few):
    arrows = lineage.around(few, "mid")
    assert set(zip(arrows["citing"], arrows["cited"], arrows["generation"], strict=True)) == {
        ("Hägele 2010", "Elder 2000", -1),
        ("Young 2020", "Hägele 2010", 1),
    }
    two = lineage.around(few, "new").set_index(["citing", "cited"])["generation"]
    assert two["Hägele 2010", "Elder 2000"] == -2
    assert two["Last 2021", "Young 2020"] == 1
    assert not any("Else" in label for pair in two.index for label in pair)


def test_a_list_that_contradicts_itself_is_refused(tmp_path):
    path = tmp_path / "list.bib"
    path.write_text(LIST.replace("cites={old}", "cites={nobody}"), encoding="utf-8")
    with pytest.raises(ValueError, match="mid cites nobody, which is not in the list"):
        lineage.works(path)
    path.write_text(LIST.replace("year={2000}", "year={2015}"), encoding="utf-8")
    with pytest.raises(ValueError, match="mid cites old, which is younger"):
        lineage.works(path)


def test_the_book_s_own_list_holds_together_and_can_be_drawn(tmp_path):
    every = lineage.works()
    for key in ("kaplan2020", "hoffmann2022", "snell2024", "stroebl2024"):
        arrows = lineage.around(every, key)
        assert (arrows["generation"] == 1).any()
        assert (arrows["generation"] == -1).any()
        figures.write(tmp_path / f"{key}.svg", plots.lineage, arrows, every[key].label)
        drawn = (tmp_path / f"{key}.svg").read_text(encoding="utf-8")
        assert drawn.count('<g id="patch_') >= len(arrows)
