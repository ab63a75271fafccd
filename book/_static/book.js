// The pages' small helpers: tables that sort, verdicts that open when linked to, and the scorecard's filters.
document.addEventListener("DOMContentLoaded", () => {
  // The theme's toggles of a chapter's pages have no name for those who do not see them.
  document.querySelectorAll("nav li > details > summary").forEach((toggle) => {
    const chapter = toggle.closest("li").querySelector("a");
    toggle.setAttribute("aria-label", `Pages of ${chapter ? chapter.textContent.trim() : "this chapter"}`);
  });

  // A table of ten rows or more is sorted by the column whose head is pressed, numbers by size.
  const DIGITS = "⁰¹²³⁴⁵⁶⁷⁸⁹";
  const value = (cell) => {
    const text = cell.textContent.trim().replace(/[−]/g, "-").replace(/,(?=\d)/g, "");
    const found = text.match(/^[≥≤<>×]? ?([+-]?(?:\d+\.?\d*|\.\d+))(?:×10(⁻?)([⁰¹²³⁴⁵⁶⁷⁸⁹]+))? ?([kMBT]\b)?/);
    if (!found) return text;
    const power = [...(found[3] || "")].reduce((n, d) => 10 * n + DIGITS.indexOf(d), 0) * (found[2] ? -1 : 1);
    return Number(found[1]) * 10 ** (power + ({ k: 3, M: 6, B: 9, T: 12 }[found[4]] || 0));
  };
  const compare = (a, b) => (typeof a === "number" && typeof b === "number" ? a - b : typeof a === "number" ? -1 : typeof b === "number" ? 1 : a.localeCompare(b));
  document.querySelectorAll(".book-table table").forEach((table) => {
    const body = table.tBodies[0];
    if (!body || body.rows.length < 10) return;
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      const button = document.createElement("button");
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const up = head.getAttribute("aria-sort") !== "ascending";
        [...table.tHead.rows[0].cells].forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", up ? "ascending" : "descending");
        const rows = [...body.rows].map((row) => [value(row.cells[column]), row]);
        rows.sort((a, b) => (up ? 1 : -1) * compare(a[0], b[0]));
        body.append(...rows.map(([, row]) => row));
      });
    });
  });

  // A verdict linked to from the scorecard opens itself.
  const open = () => {
    const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    for (let part = target; part; part = part.parentElement) if (part.tagName === "DETAILS") part.open = true;
    if (target && target.tagName === "DETAILS") target.scrollIntoView();
  };
  window.addEventListener("hashchange", open);
  open();

  const form = document.querySelector(".scorecard-filter");
  if (!form) return;
  const rows = [...document.querySelectorAll("#claims-table tbody tr")];
  const apply = () => {
    const want = {};
    form.querySelectorAll("[data-filter]").forEach((f) => { want[f.dataset.filter] = f.value.trim().toLowerCase(); });
    let shown = 0;
    rows.forEach((row) => {
      const passes = Object.entries(want).every(([key, value]) => !value ||
        (key === "text" ? row.textContent.toLowerCase().includes(value) : row.dataset[key].toLowerCase() === value));
      row.hidden = !passes;
      shown += passes;
    });
    form.querySelector("output").textContent = `${shown} of ${rows.length}`;
  };
  form.addEventListener("input", apply);
  form.addEventListener("submit", (event) => event.preventDefault());
  apply();
});
