"""What the book needs from Sphinx beyond its extensions.

- the dark variant beside every light figure
- the scorecard, the execution record and the claims' anchors
- numbers and figures of chapters on pages of prose
- MathJax from the installed package, so that no page asks another host for it
- source and launch links that point at files which exist
"""

from __future__ import annotations

import html
import json
import re
import shutil
from functools import partial
from importlib import metadata
from pathlib import Path

from docutils import nodes
from sphinx.transforms import SphinxTransform
from sphinx.util.docutils import SphinxDirective

from scalinglaws.build import pages
from scalinglaws.build.plain import repository
from scalinglaws.claims import VERDICTS, gap_text

ROOT = Path(__file__).resolve().parents[2]


def scorecard_data() -> dict:
    """What the build recorded; empty before the first build."""
    path = ROOT / "book" / "scorecard_data.json"
    return (
        json.loads(path.read_text(encoding="utf-8"))
        if path.is_file()
        else {"papers": {}, "claims": [], "passports": {}, "profile": ""}
    )


class DarkFigures(SphinxTransform):
    """Put the .dark.svg beside every .light.svg; book.css shows the one that fits the page.

    The theme's own only-light/only-dark classes would hide the caption with the image.
    """

    default_priority = 5  # before images are collected

    def apply(self, **kwargs):
        """Double every light figure."""
        for image in list(self.document.findall(nodes.image)):
            if not image["uri"].endswith(".light.svg"):
                continue
            dark = image.deepcopy()
            dark["uri"] = image["uri"].removesuffix(".light.svg") + ".dark.svg"
            dark["ids"], dark["names"] = [], []
            dark["loading"] = "lazy"  # what is not shown is not fetched
            for twin, css in ((image, "book-light"), (dark, "book-dark")):
                twin["classes"] = [*twin.get("classes", []), css, "dark-light"]
            image.parent.insert(image.parent.index(image) + 1, dark)


def _stored(origin: dict | None) -> str:
    """That a claim's result is a stored one, and where it comes from."""
    if not origin:
        return ""
    names = ", ".join(origin["datasets"])
    return f"<br><small>stored, from the run of {html.escape(origin['date'][:10])} with {html.escape(names)}</small>"


class Scorecard(SphinxDirective):
    """The ledger as a filterable table, one row a claim."""

    def run(self):
        """A raw HTML table; links are relative to the page."""
        self.env.note_dependency(str(ROOT / "book" / "scorecard_data.json"))
        data = scorecard_data()
        repository = self.env.app.config.book_repository
        rows = []
        for c in data["claims"]:
            page = f"chapters/{c['page']}.html"
            source = f"notebooks/{c['page']}.md"
            line = f"line {c['line']}" if c["line"] else ""
            where = (
                f'<a href="{repository}/blob/main/{source}#L{c["line"]}">{line}</a>'
                if repository and c["line"]
                else line
            )
            statement = html.escape(c["statement"])
            cells = (
                f'<span class="verdict verdict-{c["verdict"].split()[0]}">{html.escape(c["verdict"])}</span>',
                f'<a href="{page}#claim-{html.escape(c["id"], quote=True)}">{statement}</a><br>'
                f"<small>{html.escape(c['paper'])}, {html.escape(c['locator'])} · {html.escape(c['id'])} · {where}</small>",
                html.escape(c["published_text"]),
                html.escape(c["ours_text"]) + _stored(c["stored"]),
                f"{html.escape(c['evidence'] or '—')}<br><small>{gap_text(c['decades'])}</small>",
            )
            keys = {"verdict": c["verdict"], "paper": c["paper"], "evidence": c["evidence"] or "none"}
            data_attributes = "".join(f' data-{k}="{html.escape(v, quote=True)}"' for k, v in keys.items())
            tags = ["td", 'th scope="row"', *["td"] * 3]
            body = "".join(f"<{t}>{cell}</{t.split()[0]}>" for t, cell in zip(tags, cells, strict=True))
            rows.append(f"<tr{data_attributes}>{body}</tr>")
        count = {v: sum(c["verdict"] == v for c in data["claims"]) for v in VERDICTS}
        summary = ", ".join(f"{n} {v}" for v, n in count.items() if n)
        options = {
            "paper": sorted({c["paper"] for c in data["claims"]}),
            "verdict": [v for v in VERDICTS if count[v]],
            "evidence": sorted({c["evidence"] or "none" for c in data["claims"]}),
        }
        selects = "".join(
            f'<label>{name} <select data-filter="{name}"><option value="">all</option>'
            + "".join(
                f'<option value="{html.escape(v, quote=True)}">{html.escape(v)}</option>' for v in values
            )
            + "</select></label>"
            for name, values in options.items()
        )
        table = (
            f"<p>{len(data['claims'])} claims: {summary}. Profile: {data['profile']}.</p>"
            f'<form class="scorecard-filter" aria-label="Filter the claims">{selects}'
            '<label>text <input type="search" data-filter="text"></label> <output></output></form>'
            '<div class="book-table" role="region" tabindex="0" aria-label="All claims and their verdicts"><table id="claims-table"><thead><tr>'
            + "".join(
                f'<th scope="col">{h}</th>'
                for h in (
                    "verdict",
                    "claim",
                    "published",
                    "ours (interval)",
                    "evidence, decades",
                )
            )
            + f"</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
        )
        return [nodes.raw("", table, format="html")]


class ExecutionRecord(SphinxDirective):
    """When, how long, on what and from which commit each page was executed."""

    def run(self):
        """A raw HTML table."""
        self.env.note_dependency(str(ROOT / "book" / "scorecard_data.json"))
        rows = []
        for chapter, p in scorecard_data()["passports"].items():
            if not p:
                continue
            machine = p["hardware"]
            cells = (
                p["date"],
                f"{p['seconds']} s",
                p["profile"],
                p["commit"],
                f"{machine['processor']}, {machine['cores']} cores, GPU: {machine['gpu']}",
            )
            rows.append(
                f'<tr><th scope="row"><a href="chapters/{chapter}.html">{chapter}</a></th>'
                + "".join(f"<td>{html.escape(str(c))}</td>" for c in cells)
                + "</tr>"
            )
        head = "".join(
            f'<th scope="col">{h}</th>'
            for h in ("page", "executed (UTC)", "run time", "profile", "commit", "hardware")
        )
        return [
            nodes.raw(
                "",
                '<div class="book-table" role="region" tabindex="0" aria-label="Execution record"><table>'
                f"<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>",
                format="html",
            )
        ]


class PageFigure(SphinxDirective):
    """A figure of a chapter's page on a page of prose: CHAPTER/PAGE#ID, linked to where it is discussed.

    The alternative text is the figure's own. Where it was not drawn, the book's "not run" stands in its place.
    """

    required_arguments = 1
    has_content = True

    def run(self):
        """A container with the linked image and the content below it."""
        page, _, id = self.arguments[0].partition("#")
        uri, alt = "_static/not-run.svg", "Not drawn: data missing"
        placed = json.loads((ROOT / "book" / "chapters" / f"{page}.ipynb").read_text(encoding="utf-8"))
        outputs = [o for cell in placed["cells"] for o in cell.get("outputs", [])]
        about = [o.get("metadata", {}).get("scalinglaws", {}) for o in outputs]
        if drawn := next((a for a in about if a.get("figure") == id), None):
            uri, alt = f"chapters/{page.split('/')[0]}/figures/{id}.light.svg", drawn["alt"]
        link = nodes.reference("", "", nodes.image(uri=uri, alt=alt), refuri=f"chapters/{page}.html#fig-{id}")
        box = nodes.container("", nodes.paragraph("", "", link), classes=["page-figure"])
        self.state.nested_parse(self.content, self.content_offset, box)
        return [box]


def prose_numbers(app, docname, text):
    """Numbers of chapters in a page of prose, as everywhere: {glue:text}`CHAPTER/PAGE#name`."""
    if docname.startswith("book/") and not docname.startswith(("book/chapters/", "book/api/")):
        text[0] = pages.with_numbers(text[0], docname, scorecard_data()["profile"])


def mathjax(app, config):
    """Serve what TeX needs of the installed MathJax: the combined component, its fonts, TeX extensions."""
    source = next(
        Path(f.locate()).parent for f in metadata.files("sphinx-mathjax-offline") if f.name == "tex-chtml.js"
    )
    static = ROOT / "_build" / "mathjax"
    for part in ("tex-chtml.js", "output/chtml/fonts/woff-v2", "input/tex/extensions"):
        target = static / "mathjax" / part
        if target.exists():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(source / part, target) if (source / part).is_dir() else shutil.copyfile(
            source / part, target
        )
    config.html_static_path.append(str(static))
    config.mathjax_path = "mathjax/tex-chtml.js"
    config.book_repository = repository() or ""
    if scorecard_data()["profile"] == "smoke":
        config.html_theme_options["announcement"] = (
            "This copy was built with the smoke profile: toy sizes, numbers without meaning."
        )


def without_thebe(app):
    """Keep sphinx-thebe's script out: its live cells would load code from another host, and it is written twice."""
    for listeners in app.events.listeners.values():
        for listener in list(listeners):
            if getattr(listener.handler, "__name__", "") == "init_thebe_core":
                app.disconnect(listener.id)


def page_context(app, pagename, templatename, context, doctree):
    """Launch and source links to the page's real files, and the execution record in the footer."""
    if 'class="calculator"' in context.get("body", ""):
        app.add_js_file("calculators.js", loading_method="defer")  # on this page only
    chapter = pagename.removeprefix("book/chapters/") if pagename.startswith("book/chapters/") else None
    passport = scorecard_data()["passports"].get(chapter) if chapter else None
    if passport:
        context["last_updated"] = None
        context["theme_extra_footer"] = (
            f'<p class="execution-record">Executed {passport["date"]} in {passport["seconds"]} s, profile {passport["profile"]}, '
            f"commit {passport['commit']}, on {html.escape(passport['hardware']['processor'])}.</p>"
        )
    base = app.config.book_repository
    buttons = context.get("header_buttons")
    if not base or buttons is None or not (ROOT / f"notebooks/{chapter}.md").is_file():
        return
    path = base.split("github.com/")[-1]
    links = [
        (
            "Colab",
            f"https://colab.research.google.com/github/{path}/blob/notebooks/{chapter}.ipynb",
            "fas fa-rocket",
        ),
        ("Source", f"{base}/blob/main/notebooks/{chapter}.md", "fab fa-github"),
    ]
    for name, url, icon in links:
        buttons.append(
            {
                "type": "link",
                "url": url,
                "tooltip": f"{name}: {chapter}",
                "icon": icon,
                "text": name,
                "label": f"{name.lower()}-button",
            }
        )


def tidy(app, exception):
    """Remove the templates that the themes copy among their static files, and a script of 1.5 MB.

    The theme's style sheet has every icon as a font; the script would draw them a second time.
    """
    out = Path(app.outdir)
    for template in (out / "_static").glob("*webpack-macros.html"):
        template.unlink()
    if exception:
        return
    for script in (out / "_static" / "scripts").glob("fontawesome.js*"):
        script.unlink()
    for page in out.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        text = re.sub(r'<script defer src="[^"]*fontawesome\.js[^"]*"></script>\s*', "", text)
        text = re.sub(r'<img (?=[^>]*src="([^"]+/_images/[^"]+\.svg)")', partial(_sized, page), text)
        page.write_text(text, encoding="utf-8")


def _sized(page, match):
    """An image's tag with its size, so that the page does not jump when a lazy one comes."""
    head = (page.parent / match[1]).resolve().read_text(encoding="utf-8")[:2000]
    size = {side: re.search(rf'<svg[^>]*\b{side}="([\d.]+)pt"', head) for side in ("width", "height")}
    if not all(size.values()):
        return match[0]
    return "<img " + "".join(f'{side}="{round(float(found[1]) * 4 / 3)}" ' for side, found in size.items())


def setup(app):
    """Register everything."""
    app.add_config_value("book_repository", "", "html")
    app.add_transform(DarkFigures)
    app.add_directive("scorecard", Scorecard)
    app.add_directive("page-figure", PageFigure)
    app.connect("source-read", prose_numbers)
    app.add_directive("execution-record", ExecutionRecord)
    app.connect("config-inited", mathjax, priority=900)
    app.connect("config-inited", lambda app, config: without_thebe(app), priority=950)
    app.connect("html-page-context", page_context, priority=900)
    app.connect("build-finished", tidy)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
