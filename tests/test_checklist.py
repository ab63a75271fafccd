"""The checklist of every study: all questions answered, numbers from the stored tables, silence told."""

from __future__ import annotations

import re

import pytest

from scalinglaws.build import chapters, checklist
from scalinglaws.lm.store import load_runs
from scalinglaws.studies import study
from scalinglaws.studies.study import StudyError


def test_every_study_answers_every_question_and_names_pages_that_are_there():
    pages = set(chapters.names())
    for name in study.names():
        text = "\n".join(checklist.entry(name))
        for question in checklist.QUESTIONS.values():
            assert f"* - {question}\n  - " in text, (name, question)
        assert re.search(r"\* - (Made|Runs)\n", text), name
        named = re.findall(r"\{doc\}`chapters/([^`]+)`", text)
        assert named, name
        assert set(named) <= pages, name


def test_numbers_are_those_of_the_stored_runs():
    text, runs = "\n".join(checklist.entry("repeats")), load_runs("repeats")
    assert f"* - Runs\n  - {len(runs)}: " in text
    assert f"{runs['N'].min():,.0f} to {runs['N'].max():,.0f} without embeddings" in text
    assert f"{runs['seconds'].sum() / 3600:.2g} core hours" in text
    assert "65,536, 262,144, 1,048,576 distinct tokens" in text
    assert str(runs["commit"].iloc[0])[:7] in text


def test_a_silent_study_is_told(monkeypatch):
    whole = study.read("bits")
    silent = {**whole[1], "checklist": {**whole[1]["checklist"], "fit": ""}}
    monkeypatch.setattr(study, "read", lambda name: (name, silent))
    with pytest.raises(StudyError, match=r"bits\.yaml: checklist lacks fit"):
        list(checklist.entry("bits"))
