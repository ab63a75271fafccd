"""The rendered site in a real browser: no error, no outside request, nothing dangling, accessible.

The site is a smoke build made in a copy of the checkout, or the one that `SCALINGLAWS_SITE`
names. Needs Chromium.
"""

from __future__ import annotations

import functools
import gzip
import http.server
import os
import re
import shutil
import subprocess
import sys
import threading
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin

import pytest

from scalinglaws.paths import root

pytestmark = [pytest.mark.browser, pytest.mark.long]
PAGES = ["book/index.html", "book/chapters/kaplan/lecture.html", "book/chapters/chinchilla/lecture.html",
         "book/chapters/test_time_compute/lecture.html", "book/chapters/resampling/lecture.html",
         "book/chapters/kaplan/batches.html", "book/chapters/kaplan/consistency.html", "book/chapters/chinchilla/approach3.html",
         "book/chapters/chinchilla/own_runs.html", "book/chapters/test_time_compute/search.html", "book/chapters/resampling/coverage.html",
         "book/chapters/chinchilla/kaplan.html", "book/chapters/chinchilla/bought.html", "book/chapters/chinchilla/approach2.html",
         "book/chapters/test_time_compute/trade.html", "book/chapters/kaplan/roles.html",
         "book/chapters/abilities/lecture.html", "book/chapters/abilities/ladders.html", "book/chapters/abilities/known.html", "book/training.html", "book/seminar.html",
         "book/questions.html", "book/scorecard.html", "book/fit.html", "book/reproduce.html",
         "book/notation.html", "book/glossary.html", "book/bibliography.html", "book/architecture.html", "book/api/laws.html", "book/api/resampling.html"]  # fmt: skip


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """Folder of the site under test."""
    if named := os.environ.get("SCALINGLAWS_SITE"):
        folder = (root() / named).resolve()
        assert (folder / "index.html").is_file(), f"{folder}: make book first"
        return folder
    copy = tmp_path_factory.mktemp("checkout")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=root(),
        capture_output=True,
        text=True,
    )
    if listed.returncode:
        names = [
            str(p.relative_to(root()))
            for top in ("src", "notebooks", "book", "data")
            for p in (root() / top).rglob("*")
            if p.is_file()
        ]
        names += ["_config.yml", "_toc.yml", "requirements.lock"]
    else:
        names = listed.stdout.split("\0")
    for name in filter(None, names):
        if (root() / name).is_file() and not name.startswith("book/chapters"):
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(root() / name, copy / name)
    clean = {k: v for k, v in os.environ.items() if k != "SCALINGLAWS_REQUIRE_DATA"}
    environment = clean | {"SCALINGLAWS_ROOT": str(copy), "PYTHONPATH": str(copy / "src")}
    build = [sys.executable, "-m", "scalinglaws", "book", "--profile", "smoke"]
    found = subprocess.run(build, cwd=copy, env=environment, capture_output=True, text=True)
    assert found.returncode == 0, found.stdout + found.stderr
    return copy / "_build" / "html"


class Links(HTMLParser):
    """Targets and anchors of a page."""

    def __init__(self):
        super().__init__()
        self.links, self.ids, self.sources = [], set(), []

    def handle_starttag(self, tag, attributes):
        a = dict(attributes)
        if a.get("id"):
            self.ids.add(a["id"])
        if tag == "a" and a.get("href"):
            self.links.append(a["href"])
        for key in ("src", "href"):
            if tag in ("img", "script", "link", "iframe", "source") and a.get(key):
                self.sources.append((tag, a.get("rel", ""), a[key]))


def parsed(path: Path) -> Links:
    page = Links()
    page.feed(path.read_text(encoding="utf-8"))
    return page


def test_every_internal_link_figure_and_download_resolves(site):
    pages = {p.relative_to(site).as_posix(): parsed(p) for p in site.rglob("*.html")}
    assert set(PAGES) <= set(pages)
    broken, checked = [], 0
    for name, page in pages.items():
        for target in [*page.links, *(t for _, rel, t in page.sources if rel not in ("canonical",))]:
            if re.match(r"^(https?:|mailto:|data:|javascript:)", target) or target in ("#", ""):
                continue
            where, fragment = urldefrag(urljoin(f"/{name}", target))
            path = unquote(where).lstrip("/").split("?")[0] or name
            checked += 1
            if not (site / path).is_file() and not (site / path / "index.html").is_file():
                broken.append(f"{name} → {target}")
            elif fragment and path in pages and unquote(fragment) not in pages[path].ids:
                broken.append(f"{name} → {target} (no such anchor)")
    assert checked > 200
    assert not broken, broken[:10]


def test_no_page_refers_to_another_host_for_its_parts(site):
    for path in site.rglob("*.html"):
        for tag, rel, target in parsed(path).sources:
            if rel != "canonical":
                assert not re.match(r"^(https?:)?//", target), f"{path.name}: {tag} {target}"


def test_pages_hold_no_path_of_the_machine_and_no_stray_output(site):
    for name in PAGES:
        text = (site / name).read_text(encoding="utf-8")
        assert str(root()) not in text, name
        assert "Traceback (most recent call last)" not in text, name
        assert "Warning:" not in text, name
        assert "output stderr" not in text, name
        assert "{glue" not in text, name


def test_every_figure_has_both_variants_and_alternative_text(site):
    pages = sorted((site / "book/chapters/chinchilla").glob("*.html"))
    text = "".join(p.read_text(encoding="utf-8") for p in pages)
    figures = re.findall(r"<figure.*?</figure>", text, flags=re.S)
    drawn = [f for f in figures if ".light.svg" in f]
    sources = (root() / "notebooks" / "chinchilla").glob("*.md")
    assert len(figures) == sum(p.read_text(encoding="utf-8").count("figures.show(") for p in sources)
    for f in drawn:
        alts = re.findall(r'<img [^>]*?alt="([^"]+)"', f)
        assert len(alts) == 2
        assert alts[0] == alts[1]
        assert "figcaption" in f
        assert ".dark.svg" in f


def test_every_chapter_says_when_on_what_and_from_which_commit_it_was_executed(site):
    text = (site / "book/chapters/chinchilla/lecture.html").read_text(encoding="utf-8")
    record = re.search(r'<p class="execution-record">([^<]+)</p>', text)[1]
    assert re.match(
        r"Executed \d{4}-\d\d-\d\dT.* in [\d.]+ s, profile \w+, commit \S+, on .+\.", record.strip()
    )
    scorecard = (site / "book/scorecard.html").read_text(encoding="utf-8")
    assert 'aria-label="Execution record"' in scorecard


def test_scorecard_leads_to_every_claim(site):
    from scalinglaws.claims import ledger

    page = parsed(site / "book/scorecard.html")
    led = {}
    for link in page.links:
        if "#claim-" in link:
            name, id = link.split("#claim-")
            led[id] = name
    ids = {name: parsed(site / "book" / name).ids for name in set(led.values())}
    assert set(led) == set(ledger())
    for id, name in led.items():
        assert f"claim-{id}" in ids[name]
    text = (site / "book/scorecard.html").read_text(encoding="utf-8")
    assert len(re.findall(r"· (?:<a [^>]+>)?line \d+", text)) == len(ledger())


@pytest.fixture(scope="session")
def server(site):
    handler = functools.partial(Quiet, directory=str(site))
    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{httpd.server_port}"
    httpd.shutdown()
    httpd.server_close()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


def open_page(browser, server, name, **options):
    """A loaded page with what it asked for and complained about."""
    page = browser.new_page(**options)
    seen = {"outside": [], "errors": [], "failed": []}
    page.on(
        "request",
        lambda r: seen["outside"].append(r.url) if not r.url.startswith((server, "data:", "blob:")) else None,
    )
    page.on("console", lambda m: seen["errors"].append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda e: seen["errors"].append(str(e)))
    page.on("response", lambda r: seen["failed"].append(r.url) if r.status >= 400 else None)
    page.goto(f"{server}/{name}", wait_until="networkidle")
    return page, seen


@pytest.mark.parametrize("name", PAGES)
def test_pages_load_without_errors_or_outside_requests(browser, server, name):
    page, seen = open_page(browser, server, name)
    assert seen == {"outside": [], "errors": [], "failed": []}
    assert page.locator("article.bd-article h1").count() == 1
    assert (
        page.locator("img").evaluate_all(
            "all => all.filter(i => i.offsetParent && i.complete && !i.naturalWidth).length"
        )
        == 0
    )
    page.close()


def test_mathematics_renders(browser, server):
    page, _ = open_page(browser, server, "book/chapters/chinchilla/lecture.html")
    page.wait_for_selector("mjx-container", timeout=30_000)
    page.wait_for_function(
        "document.querySelectorAll('.math').length <= document.querySelectorAll('mjx-container').length",
        timeout=30_000,
    )
    assert page.locator("mjx-merror").count() == 0
    assert page.locator("mjx-container").count() > 25
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_one_variant_of_each_figure_shows_with_its_caption(browser, server, scheme):
    page, _ = open_page(browser, server, "book/chapters/chinchilla/lecture.html", color_scheme=scheme)
    counts = page.evaluate("""() => [...document.querySelectorAll('figure')].filter(f => f.querySelector('img.dark-light')).map(f => [
        [...f.querySelectorAll('img')].filter(i => i.offsetParent).map(i => i.className.includes('book-dark') ? 'dark' : 'light').join(),
        !!f.querySelector('figcaption').offsetParent])""")
    assert counts
    assert all(c == [scheme, True] for c in counts), Counter(map(str, counts))
    page.close()


@pytest.mark.parametrize("name", PAGES)
def test_nothing_is_wider_than_a_phone(browser, server, name):
    page, _ = open_page(browser, server, name, viewport={"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= 391
    page.close()


def test_scorecard_filters(browser, server):
    page, _ = open_page(browser, server, "book/scorecard.html")
    rows = page.locator("#claims-table tbody tr")
    total = rows.count()
    page.select_option('[data-filter="paper"]', label="Czech (2026)")
    shown = page.locator("#claims-table tbody tr:not([hidden])").count()
    assert 0 < shown < total
    assert page.locator(".scorecard-filter output").inner_text() == f"{shown} of {total}"
    page.fill('[data-filter="text"]', "drift")
    assert page.locator("#claims-table tbody tr:not([hidden])").count() == 1
    page.close()


def test_a_long_table_sorts_by_numbers_and_a_short_one_does_not(browser, server):
    page, _ = open_page(browser, server, "book/scorecard.html")
    head = page.locator("#claims-table th").nth(2)
    read = lambda: [t.strip() for t in page.locator("#claims-table tbody td:nth-child(3)").all_inner_texts()]
    numbers = lambda cells: [float(c.replace("−", "-")) for c in cells if re.fullmatch(r"[−-]?\d+\.\d+", c)]
    assert numbers(read()) != sorted(numbers(read()))
    head.locator("button").focus()
    page.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") == "ascending"
    assert len(numbers(read())) > 20
    assert numbers(read()) == sorted(numbers(read()))
    page.keyboard.press("Enter")
    assert numbers(read()) == sorted(numbers(read()), reverse=True)
    page.close()
    page, _ = open_page(browser, server, "book/chapters/chinchilla/tables.html")
    assert page.locator(".book-table:has(tbody tr:nth-child(2)):not(:has(tbody tr:nth-child(10))) thead button").count() == 0
    page.close()


def test_a_link_to_a_claim_opens_it(browser, server):
    page, _ = open_page(browser, server, "book/chapters/chinchilla/approach2.html#claim-czech.drift")
    assert page.evaluate("document.getElementById('claim-czech.drift').open")
    page.close()
    # one without a box in the text stands in the list at the head, which opens with it
    page, _ = open_page(
        browser, server, "book/chapters/chinchilla/approach2.html#claim-czech.bias.chinchilla.4"
    )
    assert page.evaluate("document.getElementById('claim-czech.bias.chinchilla.4').open")
    assert page.locator("#verdicts").get_attribute("open") is not None
    page.close()


def test_no_page_shows_more_than_three_verdicts_in_a_row(site):
    walls = 0
    for path in (site / "book/chapters").rglob("*.html"):
        body = path.read_text(encoding="utf-8").split('id="verdicts"', 1)[-1].split("</ul></details>", 1)[-1]
        kinds = re.findall(r'<details class="claim|<p>|<h[2-4]>', body)
        runs = re.findall(r"c+", "".join("c" if "claim" in k else "." for k in kinds))
        assert all(len(run) <= 3 for run in runs), path
        walls += body.count("more-verdicts")
    assert walls > 5  # what was folded says so


LECTURES = [name for name in PAGES if name.endswith("/lecture.html")]


@pytest.mark.parametrize("name", LECTURES)
def test_a_lecture_weighs_little(browser, server, name):
    """All that a first visit fetches, compressed as servers do: at most 1.5 MB. Other figures' mode is not fetched."""
    page, sizes = browser.new_page(color_scheme="light"), {}

    def weigh(response):
        body = response.body()
        packed = body if response.url.endswith((".woff", ".woff2", ".png")) else gzip.compress(body, 6)
        sizes[response.url] = len(packed)

    page.on("response", weigh)
    page.goto(f"{server}/{name}", wait_until="networkidle")
    assert sum(sizes.values()) < 1.5e6, sorted(sizes.items(), key=lambda pair: -pair[1])[:5]
    assert any(".light.svg" in url for url in sizes)
    assert not any(".dark.svg" in url for url in sizes)
    page.close()


@pytest.mark.parametrize("name", LECTURES)
def test_on_paper_no_figure_is_cut(browser, server, name):
    """A4 with margins of 15 mm: 180 by 267 mm, at 96 pixels an inch."""
    page, _ = open_page(browser, server, name, viewport={"width": 680, "height": 1009})
    page.emulate_media(media="print")
    boxes = page.locator("figure img:visible, .calculator svg:visible, .book-table table:visible").evaluate_all(
        "all => all.map((e) => { const b = e.getBoundingClientRect(); return [e.tagName, b.left, b.right, b.height]; })"
    )
    # every figure of the page, each in one mode; at the least two, and where a page had four it has them still
    assert sum(tag == "IMG" for tag, *_ in boxes) == page.locator("figure:has(img)").count() >= 2
    assert [b for b in boxes if b[1] < 0 or b[2] > 681] == []
    assert [b for b in boxes if b[0] != "TABLE" and b[3] > 1009] == []
    page.close()


def test_no_number_is_written_as_a_computer_writes_it(site):
    for page in (site / "book" / "chapters").rglob("*.html"):
        text = re.sub(r"<(pre|script|code)\b.*?</\1>", " ", page.read_text(encoding="utf-8"), flags=re.S)
        text = re.sub(r"<[^>]+>", "\n", text.split("<article", 1)[-1])
        assert re.findall(r"^.*\b\d+(?:\.\d+)?e[+-]?\d{2}\b.*$", text, re.M) == [], page.name


def test_solutions_are_folded_and_open(browser, server):
    page, _ = open_page(browser, server, "book/chapters/chinchilla/lecture.html")
    solutions = page.locator("div.solution")
    assert solutions.count() >= 2
    for k in range(solutions.count()):
        body = solutions.nth(k).locator("section, .solution-content").first
        assert not body.is_visible()
    solutions.first.locator("button.toggle-button, summary").first.click()
    assert solutions.first.locator("section, .solution-content").first.is_visible()
    page.close()


def test_exercises_show_level_and_points_and_hold_no_hidden_check(site):
    from scalinglaws.build import exercises

    for chapter in ("chinchilla", "kaplan"):
        for one in exercises.of_chapter(chapter):
            path = site / "book/chapters" / f"{one.page}.html"
            text = path.read_text(encoding="utf-8")
            points = f"{one.points} point{'s' * (one.points != 1)}"
            assert f"({one.title} · {one.level} · {points})" in text
            assert not one.checks or "Check your answer" in text
            messages = re.findall(r'"([^"]{20,})"', one.hidden)
            assert not any(message in text for message in messages), one.label


def test_hints_and_checks_are_folded(browser, server):
    page, _ = open_page(browser, server, "book/chapters/chinchilla/lecture.html")
    hints = page.locator("div.hint > p:not(.admonition-title)")
    assert hints.count() >= 3
    assert not any(hints.nth(k).is_visible() for k in range(hints.count()))
    checks = page.locator("details:has-text('Check your answer') pre")
    assert checks.count() >= 2
    assert not checks.first.is_visible()
    page.get_by_text("Check your answer", exact=True).first.click()
    assert checks.first.is_visible()
    page.close()


PLAIN_PAGE = """# A plain page

Text with a [link](https://example.org), {cite}`a2000`, $x^2$, `code`, {eq}`eq-a` and {numref}`fig-a`.

$$y = x$$ (eq-a)

```{code-cell} ipython3
:tags: [hide-input]
print(1)
```

```python
x = {"a": [1, 2.0], **{}}  # comment
def f(a, *b, c=None) -> str: return f"{a!r}" if a and not b else lambda: None
%magic
```

```{figure} a.svg
:name: fig-a
:alt: a square
A caption. {download}`Data <a.svg>`
```

```{admonition} A box
Text with a [link](index.md), {eq}`eq-a` and {numref}`fig-a`.
```

| a | b |
|---|---|
| 1 | 2 |

```{exercise}
:label: ex-a
Question.
```

```{solution} ex-a
:class: dropdown
Answer.
```

## A section

```{glossary}
word
  meaning
```

```{bibliography}
```
"""


@pytest.fixture(scope="session")
def plain_site(tmp_path_factory):
    """A book of one page made with the same theme and extensions and nothing of ours."""
    base = tmp_path_factory.mktemp("plain")
    config = (
        "title: Plain\nexecute: {execute_notebooks: 'off'}\nbibtex_bibfiles: [a.bib]\n"
        "sphinx: {extra_extensions: [sphinx_exercise], config: {numfig: true, html_js_files: [],"
        " html_context: {default_mode: auto}, mathjax_path: 'none.js'}}\n"
    )
    (base / "_config.yml").write_text(config)
    (base / "_toc.yml").write_text("format: jb-book\nroot: index\nchapters: [{file: other}]\n")
    front = "---\njupytext: {text_representation: {extension: .md, format_name: myst}}\nkernelspec: {name: python3, display_name: P}\n---\n"
    (base / "index.md").write_text(front + PLAIN_PAGE)
    (base / "other.md").write_text("# Other\n\nText.\n")
    (base / "a.bib").write_text("@article{a2000, title={T}, author={A, B}, journal={J}, year={2000}}")
    (base / "a.svg").write_text(
        '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect width="9" height="9"/></svg>'
    )
    command = [
        sys.executable,
        "-c",
        "from jupyter_book.cli.main import main; main()",
        "build",
        str(base),
        "--quiet",
    ]
    found = subprocess.run(command, capture_output=True, text=True)
    assert (base / "_build" / "html" / "index.html").is_file(), found.stdout + found.stderr
    return base / "_build" / "html"


def signatures(axe, page):
    """What axe complains of: rule, element and its classes; text and ids left out."""
    found = {}
    for violation in axe.Axe().run(page).response["violations"]:
        for node in violation["nodes"]:
            tag, classes = (
                re.match(r"<([a-z0-9-]+)", node["html"])[1],
                re.search(r'class="([^"]*)"', node["html"].split(">")[0]),
            )
            found[violation["id"], tag, " ".join(sorted(classes[1].split())) if classes else ""] = node[
                "html"
            ][:160]
    return found


@pytest.fixture(scope="session")
def theme_findings(browser, plain_site):
    """What axe finds on the plain page, per colour scheme."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")
    out = {}
    for scheme in ("light", "dark"):
        page = browser.new_page(color_scheme=scheme, viewport={"width": 1300, "height": 900})
        page.goto((plain_site / "index.html").as_uri(), wait_until="load")
        page.wait_for_timeout(500)
        out[scheme] = set(signatures(axe, page))
        page.close()
    return out


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_nothing_that_the_theme_itself_does_not(browser, server, theme_findings, name, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")
    page, _ = open_page(browser, server, name, color_scheme=scheme, viewport={"width": 1300, "height": 900})
    found = signatures(axe, page)
    ours = {k: v for k, v in found.items() if k not in theme_findings[scheme]}
    assert not ours, "\n".join(f"{k}: {v}" for k, v in sorted(ours.items())[:25])
    page.close()
