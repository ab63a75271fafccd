"""The calculators of the pages: the script agrees with the library, and they work with keys and without a script."""

from __future__ import annotations

import json

import numpy as np
import pytest

from scalinglaws import calculators, fit, laws
from scalinglaws.fit import sensitivity, simulate
from scalinglaws.paths import root
from scalinglaws.pretraining.overtrained import saved
from scalinglaws.resampling import estimators
from scalinglaws.testtime import policy

SCRIPT = root() / "book" / "_static" / "calculators.js"
EXACT = {"rel": 1e-9, "abs": 1e-12}
ASYMMETRIC = laws.Chinchilla(1.69, 406.4, 410.7, 0.465, 0.155)


def sent(calculator) -> dict:
    """The data as a page carries them."""
    html = calculator._repr_html_()
    return json.loads(html.split('type="application/json">')[1].split("</script>")[0])


def surface_of(one: dict, **fields):
    return laws.Chinchilla(**(one["law"] | fields))


@pytest.fixture(scope="module")
def drawn():
    """A surface fit with its resamples, some of them failed."""
    runs = simulate.isoflop_runs(laws.BESIROGLU, np.geomspace(1e8, 1e10, 9))
    noisy = simulate.with_noise(runs, 0.01, np.random.default_rng(3))
    surface = fit.fit_surface(runs.N, runs.D, noisy)
    samples = {k: np.array(v) for k, v in fit.bootstrap(surface, 60, 3).samples.items()}
    samples["A"][:3] = np.nan
    return surface.law, samples


@pytest.fixture(scope="module")
def counts():
    rng = np.random.default_rng(5)
    n = np.full(300, 200)
    c = rng.binomial(200, rng.beta(0.3, 1.5, 300))
    b = c + rng.binomial(200 - c, 0.2)
    b[:20] = c[:20] = 0
    return n, b, c


@pytest.fixture(scope="module")
def traded():
    rng = np.random.default_rng(6)
    budgets = [1, 4, 16, 64, 256]
    small = {"easy": np.sort(rng.random(5)), "hard": np.sort(rng.random(5)) / 2}
    gaps = {g: rng.normal(0, 0.1, (50, 5)) for g in small}
    return calculators.trade(budgets, small, {"easy": 0.9, "hard": 0.2}, gaps, 13.3)


# ---- what a page carries ----------------------------------------------------------------------------------------


def test_only_whole_resamples_are_sent_and_intervals_are_those_of_the_library(drawn):
    law, samples = drawn
    made = calculators.allocation({"ours": law, "Kaplan": laws.KAPLAN_FRONTIER}, {"ours": samples})
    ours = sent(made)["laws"][0]
    assert len(ours["draws"]["A"]) == 57
    good = np.isfinite(samples["A"])
    whole = laws.Chinchilla(**{k: samples[k][good] for k in ours["draws"]})
    low, high = fit.percentile(whole.optimum(1e22).N, 0.95)
    row = made.table.frame.query("law == 'ours'").iloc[1]
    assert row["parameters"].startswith(f"{law.optimum(1e22).N / 1e9:.1f}"[:3])
    assert (low, high) == pytest.approx(fit.percentile(surface_draws(ours).optimum(1e22).N, 0.95), rel=1e-6)
    assert sent(made)["laws"][1]["kind"] == "Frontier"


def surface_draws(one: dict):
    return laws.Chinchilla(**{k: np.array(v) for k, v in one["draws"].items()})


def test_the_page_can_not_be_broken_by_a_name():
    made = calculators.valley({"</script><b>": laws.BESIROGLU})
    html = made._repr_html_()
    assert html.count("</script>") == 1
    assert sent(made)["laws"][0]["name"] == "</script><b>"


def test_a_vertex_is_that_of_approach_2_and_exact_where_the_valley_is_even():
    even = laws.Chinchilla(1.69, 400, 400, 0.31, 0.31)
    for width in (1.5, 8.0, 20.0):
        assert calculators.vertex(even, 1e21, width, 1.0, 15)[1] == pytest.approx(even.optimum(1e21).N)
    grid = simulate.isoflop_grid(ASYMMETRIC, sensitivity.CZECH_BUDGETS, 8, sensitivity.CZECH_POINTS)
    valleys = fit.fit_isoflop(grid.N, grid.D, grid.loss, grid.C, budget=grid.group).valleys
    own = calculators.vertex(ASYMMETRIC, valleys[0].C, 8, 1.0, sensitivity.CZECH_POINTS)
    assert own[1] == pytest.approx(valleys[0].N, rel=1e-9)


def test_without_wrong_passes_what_is_submitted_is_right(counts):
    perfect = calculators.outcome(*counts, 20, 2.0, precision=1.0)
    assert perfect["right"] == pytest.approx(perfect["coverage"])
    assert perfect["reward"] == pytest.approx(perfect["right"])
    assert perfect["ceiling"] == 1
    as_is = calculators.outcome(*counts, 20, 2.0, precision=0.0)
    assert as_is["reward"] == pytest.approx(estimators.reward(*counts, 20, 2.0).mean())
    assert as_is["right"] < as_is["ceiling"]


# ---- the script against the library -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def script(browser):
    """Evaluate an expression of the script's arithmetic."""
    page = browser.new_page()
    page.add_script_tag(path=str(SCRIPT))
    yield lambda code, argument=None: page.evaluate(code, argument)
    page.close()


@pytest.mark.browser
def test_script_allocates_as_the_library(script, drawn):
    law, samples = drawn
    rules = {"ours": law, "Kaplan": laws.KAPLAN_FRONTIER, "asymmetric": ASYMMETRIC}
    data = sent(calculators.allocation(rules, {"ours": samples}))["laws"]
    for C in (1e17, 3.3e19, 5.76e23, 1e27):
        ours, kaplan, steep = script("([all, C]) => all.map((one) => scalinglaws.allocate(one, C))", [data, C])
        for found, truth in ((ours, surface_of(data[0]).optimum(C)), (steep, ASYMMETRIC.optimum(C))):
            assert (found["N"], found["D"], found["loss"]) == pytest.approx((truth.N, truth.D, truth.loss), **EXACT)
        best = laws.KAPLAN_FRONTIER.optimum(C)
        assert (kaplan["N"], kaplan["D"]) == pytest.approx((best.N, best.D), **EXACT)
        every = surface_draws(data[0]).optimum(C)
        assert ours["N_ends"] == pytest.approx(fit.percentile(every.N, 0.95), **EXACT)
        assert ours["D_ends"] == pytest.approx(fit.percentile(every.D, 0.95), **EXACT)


@pytest.mark.browser
def test_script_finds_the_vertex_of_the_library(script):
    rng = np.random.default_rng(1)
    for law in (laws.HOFFMANN_TEX, ASYMMETRIC):
        one = sent(calculators.valley({"law": law}))["laws"][0]["law"]
        for _ in range(20):
            C, width, centre = 10 ** rng.uniform(18, 25), rng.uniform(1.2, 20), rng.uniform(0.2, 5)
            code = "([law, C, w, c]) => { const f = scalinglaws.vertex(law, C, w, c, 15); return [f.vertex ?? NaN, f.N] }"
            found, N = script(code, [one, C, width, centre])
            sizes, truth = calculators.vertex(laws.Chinchilla(**one), C, width, centre, 15)
            assert N == pytest.approx(sizes.tolist(), **EXACT)
            if np.isnan(truth):
                assert np.isnan(found)
            else:  # a parabola leaning far out amplifies rounding with the distance of its vertex
                assert np.log(found) == pytest.approx(np.log(truth), rel=1e-9)


@pytest.mark.browser
def test_script_finds_the_cheapest_lifetime_of_the_library(script):
    for law in (laws.HOFFMANN_TEX, laws.BESIROGLU, ASYMMETRIC):
        one = sent(calculators.lifetime({"law": law}))["laws"][0]["law"]
        for N, served in ((1e8, 1e9), (13e9, 2e12), (70e9, 1e13), (1e12, 1e16)):
            found = script("([law, N, t]) => scalinglaws.lifetime(law, N, t)", [one, N, served])
            truth = saved(laws.Chinchilla(**one), N, served)
            for key in ("N", "D", "longer", "share"):
                assert found[key] == pytest.approx(getattr(truth, key), rel=1e-8, abs=1e-12), (law, N, served)


@pytest.mark.browser
def test_script_resamples_as_the_library(script, counts):
    data = sent(calculators.resampling({"model": {3: counts}}))["models"][0]["tests"]["3"]
    assert sum(row[3] for row in data) == 300
    for K, penalty, precision in ((1, 0, 0), (7, 2.5, 0), (50, 4, 0.37), (200, 1, 0.9), (200, 1, 1)):
        code = "([d, K, l, p]) => scalinglaws.outcome(d, K, l, p)"
        found = script(code, [data, K, penalty, precision])
        assert found == pytest.approx(calculators.outcome(*counts, K, penalty, precision), **EXACT)


@pytest.mark.browser
def test_script_prices_the_trade_as_the_library(script, traded):
    data = sent(traded)
    for R in (0.01, 0.16, 0.79, 22):
        for version in ("v1", "cr"):
            at = script("([M, R, v]) => scalinglaws.multiplier(M, R, v)", [13.3, R, version])
            assert at == pytest.approx(policy.multiplier(13.3, R, version), **EXACT)
            for group in data["groups"]:
                found = script("([g, b, n]) => scalinglaws.gap(g, b, n)", [group, data["budgets"], at])
                value = calculators.matched(group["small"], data["budgets"], at)
                every = [calculators.matched(one, data["budgets"], at) for one in group["gaps"]]
                assert found["small"] == pytest.approx(value, **EXACT)
                assert found["ends"] == pytest.approx(fit.percentile(every, 0.95), **EXACT)


# ---- as a reader meets them -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def five(drawn, counts, traded, tmp_path_factory):
    """A page with all five."""
    law, samples = drawn
    made = [
        calculators.allocation({"ours": law, "Kaplan": laws.KAPLAN_FRONTIER}, {"ours": samples}),
        calculators.valley({"Hoffmann": laws.HOFFMANN_TEX, "asymmetric": ASYMMETRIC}),
        calculators.lifetime({"Hoffmann": laws.HOFFMANN_TEX, "asymmetric": ASYMMETRIC}),
        calculators.resampling({"weak": {1: counts, 3: counts}}),
        traded,
    ]
    page = tmp_path_factory.mktemp("page") / "index.html"
    body = "".join(m._repr_html_() for m in made)
    page.write_text(
        f"<!doctype html><html lang=en><meta charset=utf-8><title>t</title><body>{body}<script src='{SCRIPT.as_uri()}'></script>",
        encoding="utf-8",
    )
    return page.as_uri()


@pytest.mark.browser
def test_each_moves_with_the_keys_and_says_what_it_found(browser, five):
    page = browser.new_page()
    errors = []
    page.on("pageerror", lambda e: errors.append(str(e)))
    page.goto(five)
    for place in page.locator(".calculator").all():
        line, table = place.locator("[aria-live]"), place.locator(".book-table table").first
        before = line.inner_text(), table.inner_text(), place.locator("svg").inner_html()
        slider = place.locator("input[type=range]").first
        name = slider.get_attribute("id")
        assert place.locator(f"label[for={name}]").inner_text().strip()
        spoken = slider.get_attribute("aria-valuetext")
        slider.focus()
        for _ in range(8):
            page.keyboard.press("ArrowRight")
        assert slider.get_attribute("aria-valuetext") != spoken
        assert place.locator("svg").get_attribute("aria-label") == line.inner_text()
        after = line.inner_text(), table.inner_text(), place.locator("svg").inner_html()
        assert [a for a, b in zip(before, after, strict=True) if a == b] == []
        assert not any(bad in "".join(after) for bad in ("NaN", "undefined", "Infinity"))
        assert not place.locator(".calculator-static").is_visible()
    assert not errors
    page.close()


@pytest.mark.browser
def test_without_a_script_the_static_table_stands_there(browser, five):
    page = browser.new_page(java_script_enabled=False)
    page.goto(five)
    assert [t.is_visible() for t in page.locator(".calculator-static table").all()] == [True] * 5
    page.close()
