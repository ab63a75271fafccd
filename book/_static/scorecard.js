// Filters of the scorecard page: a row shows when it passes every filter.
document.addEventListener("DOMContentLoaded", () => {
  // The theme's toggles of a chapter's pages have no name for those who do not see them.
  document.querySelectorAll("nav li > details > summary").forEach((toggle) => {
    const chapter = toggle.closest("li").querySelector("a");
    toggle.setAttribute("aria-label", `Pages of ${chapter ? chapter.textContent.trim() : "this chapter"}`);
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
