// Calculators of the pages, without a kernel. The first part is the arithmetic of src/scalinglaws/calculators.py,
// held to it by a test; the second draws inputs, a table and a chart from the numbers that the page brings.
"use strict";

const calculators = {
  // L = E + A/N^alpha + B/D^beta, or a frontier N0 (C/C0)^a: the best split of C FLOPs, 6 N D = C on a surface.
  optimum(kind, law, C) {
    if (kind === "Frontier") {
      const ratio = C / law.C0;
      return { N: law.N0 * ratio ** law.a, D: law.D0 * ratio ** law.b, loss: NaN };
    }
    const { E, A, B, alpha, beta } = law, G = ((alpha * A) / (beta * B)) ** (1 / (alpha + beta));
    const N = G * (C / 6) ** (beta / (alpha + beta)), D = (C / 6) ** (alpha / (alpha + beta)) / G;
    return { N, D, loss: E + A * N ** -alpha + B * D ** -beta };
  },
  // Linear between order statistics, as numpy's default.
  quantile(values, q) {
    const sorted = [...values].sort((x, y) => x - y), at = q * (sorted.length - 1), low = Math.floor(at);
    return sorted[low] + (at - low) * (sorted[Math.min(low + 1, sorted.length - 1)] - sorted[low]);
  },
  interval: (values) => [calculators.quantile(values, 0.025), calculators.quantile(values, 0.975)],
  // One row of the allocation: the optimum, and 95 % of the draws where there are some.
  allocate({ kind, law, draws }, C) {
    const best = calculators.optimum(kind, law, C), names = Object.keys(draws);
    const count = names.length ? draws[names[0]].length : 0;
    if (!count) return best;
    const every = Array.from({ length: count }, (_, i) => {
      const one = { ...law };
      names.forEach((name) => { one[name] = draws[name][i]; });
      return calculators.optimum(kind, one, C);
    });
    return { ...best, N_ends: calculators.interval(every.map((e) => e.N)), D_ends: calculators.interval(every.map((e) => e.D)) };
  },
  // Approach 2 at one budget: the grid of sizes, their losses, and the least-squares parabola's vertex.
  // The grid is even in log N, so the odd moments about its middle are zero.
  vertex(law, C, width, centre, points) {
    const best = calculators.optimum("Chinchilla", law, C);
    const x = Array.from({ length: points }, (_, i) => Math.log(width) * ((2 * i) / (points - 1) - 1));
    const middle = Math.log(best.N * centre), N = x.map((v) => Math.exp(middle + v));
    const loss = N.map((n) => law.E + law.A * n ** -law.alpha + law.B * (C / (6 * n)) ** -law.beta);
    const sum = (f) => x.reduce((total, v, i) => total + f(v, loss[i]), 0);
    const s2 = sum((v) => v * v), s4 = sum((v) => v ** 4), mean = sum((_, y) => y) / points;
    const c1 = sum((v, y) => v * (y - mean)) / s2;
    const c2 = sum((v, y) => v * v * (y - mean)) / (s4 - (s2 * s2) / points), c0 = mean - (c2 * s2) / points;
    return { best, N, loss, vertex: c2 > 0 ? Math.exp(middle - c1 / (2 * c2)) : NaN, parabola: (n) => {
      const v = Math.log(n) - middle;
      return c0 + c1 * v + c2 * v * v;
    } };
  },
  // The least 6ND + 2N·served at the loss of a compute-optimal model of N parameters: bisection in log N.
  lifetime(law, N, served) {
    const { E, A, B, alpha, beta } = law, G = ((alpha * A) / (beta * B)) ** (1 / (alpha + beta));
    const D = (N / G) ** (alpha / beta) / G, loss = E + A * N ** -alpha + B * D ** -beta;
    const tokens = (n) => (B / (loss - E - A * n ** -alpha)) ** (1 / beta);
    const slope = (n) => Math.log((alpha * A * n ** -alpha) / (beta * B * tokens(n) ** -beta)) - Math.log1p(served / (3 * tokens(n)));
    let low = Math.log(A / (loss - E)) / alpha + 1e-9, high = Math.log(N) + 1e-9;
    for (let i = 0; i < 200; i += 1) {
      const middle = (low + high) / 2;
      if (slope(Math.exp(middle)) > 0) low = middle; else high = middle;
    }
    const n = Math.exp((low + high) / 2), d = tokens(n), before = 6 * N * D + 2 * N * served;
    return { N: n, D: d, longer: d / D, share: 1 - (6 * n * d + 2 * n * served) / before };
  },
  // log of the chance that none of K samples, drawn without replacement, is among b of n.
  logNone(n, b, K) {
    if (K > n - b) return -Infinity;
    let total = 0;
    for (let i = 0; i < K; i += 1) total += Math.log((n - b - i) / (n - i));
    return total;
  },
  // What K samples lead to; counts: rows of n, b, c and how many tasks have these. See `outcome`.
  outcome(counts, K, penalty, precision) {
    const found = { coverage: 0, submitted: 0, right: 0, ceiling: 0, low: 0, reward: 0 };
    let tasks = 0, passed = 0;
    for (const [n, all, c, times] of counts) {
      const b = c + (1 - precision) * (all - c), pass = b > 0 ? -Math.expm1(calculators.logNone(n, b, K)) : 0;
      const share = b > 0 ? c / b : 0;
      tasks += times;
      passed += b > 0 ? times : 0;
      found.coverage += c > 0 ? times * -Math.expm1(calculators.logNone(n, c, K)) : 0;
      found.submitted += times * pass;
      found.right += times * pass * share;
      found.ceiling += times * share;
      found.reward += times * pass * ((1 + penalty) * share - penalty);
    }
    found.low = found.ceiling / tasks;
    found.ceiling = passed ? found.ceiling / passed : NaN;
    for (const name of ["coverage", "submitted", "right", "reward"]) found[name] /= tasks;
    return found;
  },
  // Generations of the small model at the price of one answer of a model M times as large (Snell et al. 2024).
  multiplier: (M, R, version) => M + ({ v1: 3, cr: 1.5 }[version] / R) * (M - 1),
  // Accuracy between measured budgets, linear in the logarithm; the nearest beyond them.
  matched(curve, budgets, generations) {
    if (generations <= budgets[0]) return curve[0];
    for (let k = 1; k < budgets.length; k += 1) {
      if (generations <= budgets[k]) {
        const share = Math.log(generations / budgets[k - 1]) / Math.log(budgets[k] / budgets[k - 1]);
        return curve[k - 1] + share * (curve[k] - curve[k - 1]);
      }
    }
    return curve[curve.length - 1];
  },
  gap({ small, large, gaps }, budgets, generations) {
    const ends = calculators.interval(gaps.map((one) => calculators.matched(one, budgets, generations)));
    return { small: calculators.matched(small, budgets, generations), large, ends };
  },
};
window.scalinglaws = calculators;

(() => {
  const POWERS = "⁰¹²³⁴⁵⁶⁷⁸⁹";
  const power = (p) => `10${p < 0 ? "⁻" : ""}${[...String(Math.abs(p))].map((d) => POWERS[d]).join("")}`;
  const scientific = (v) => {
    const [mantissa, p] = v.toExponential(1).split("e");
    return `${mantissa}×${power(Number(p))}`;
  };
  const size = (v) => {
    if (!Number.isFinite(v)) return "—";
    for (const [scale, letter] of [[1e12, "T"], [1e9, "B"], [1e6, "M"], [1e3, "k"]]) {
      if (v >= scale * 0.9995 && v < 999.5 * scale) return `${Number((v / scale).toPrecision(3))} ${letter}`;
    }
    return v >= 1 && v < 1e3 ? String(Number(v.toPrecision(3))) : scientific(v);
  };
  const signed = (v, digits = 3) => (Number.isFinite(v) ? `${v < 0 ? "−" : "+"}${Math.abs(v).toFixed(digits)}` : "—");
  const between = (ends, text) => (ends ? ` (${text(ends[0])} to ${text(ends[1])})` : "");
  const make = (tag, attributes = {}, ...children) => {
    const node = document.createElement(tag);
    Object.entries(attributes).forEach(([k, v]) => node.setAttribute(k, v));
    node.append(...children);
    return node;
  };
  let made = 0;

  // A slider with its value in words; `map` turns its position into the number.
  const slider = (label, { min, max, step, value, map = (v) => v, text }) => {
    made += 1;
    const input = make("input", { type: "range", id: `calculator-input-${made}`, min, max, step, value });
    const output = make("output", { for: input.id });
    const read = () => map(Number(input.value));
    const show = () => { output.textContent = text(read()); input.setAttribute("aria-valuetext", text(read())); };
    input.addEventListener("input", show);
    show();
    return { read, node: make("p", { class: "calculator-input" }, make("label", { for: input.id }, label), input, output) };
  };
  const choice = (label, options) => {
    made += 1;
    const input = make("select", { id: `calculator-input-${made}` });
    options.forEach(([value, text]) => input.append(make("option", { value }, text)));
    return { read: () => input.value, node: make("p", { class: "calculator-input" }, make("label", { for: input.id }, label), input) };
  };
  const tabulate = (table, head, rows) => {
    const cells = (tag) => (row) => make("tr", {}, ...row.map((text, i) => {
      const scope = tag === "th" ? "col" : "row";
      return make(i === 0 || tag === "th" ? "th" : "td", i === 0 || tag === "th" ? { scope } : {}, text);
    }));
    table.replaceChildren(make("thead", {}, cells("th")(head)), make("tbody", {}, ...rows.map(cells("td"))));
  };

  // Lines and dots on axes of which x, or both, are logarithmic. series: {name, points, dots, dashed, tone}.
  const draw = (svg, series, { x, y, logY = false, marks = [] }) => {
    const W = 560, H = 300, left = 62, right = 130, top = 12, bottom = 42;
    const all = series.flatMap((s) => s.points).filter((p) => p.every(Number.isFinite));
    const fx = Math.log10, fy = logY ? Math.log10 : (v) => v;
    const range = (values) => {
      const low = Math.min(...values), high = Math.max(...values), pad = (high - low || 1) * 0.04;
      return [low - pad, high + pad];
    };
    const [x0, x1] = range(all.map((p) => fx(p[0]))), [y0, y1] = range(all.map((p) => fy(p[1])));
    const px = (v) => left + ((fx(v) - x0) / (x1 - x0)) * (W - left - right);
    const py = (v) => H - bottom - ((fy(v) - y0) / (y1 - y0)) * (H - top - bottom);
    const node = (tag, attributes, text = "") => {
      const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
      Object.entries(attributes).forEach(([k, v]) => made.setAttribute(k, v));
      made.textContent = text;
      return made;
    };
    const parts = [];
    const grid = (a, b, c, d) => parts.push(node("line", { x1: a, y1: b, x2: c, y2: d, class: "grid" }));
    const decades = (low, high) => {
      const step = Math.max(1, Math.ceil((high - low) / 6));
      return Array.from({ length: Math.floor(high) - Math.ceil(low) + 1 }, (_, i) => Math.ceil(low) + i).filter((p) => p % step === 0);
    };
    decades(x0, x1).forEach((p) => {
      grid(px(10 ** p), top, px(10 ** p), H - bottom);
      parts.push(node("text", { x: px(10 ** p), y: H - bottom + 16, "text-anchor": "middle" }, power(p)));
    });
    const step = 10 ** Math.floor(Math.log10((y1 - y0) / 2)), count = (y1 - y0) / step, wide = step * (count > 10 ? 5 : count > 5 ? 2 : 1);
    const levels = logY ? decades(y0, y1).map((p) => 10 ** p)
      : Array.from({ length: Math.floor(y1 / wide) - Math.ceil(y0 / wide) + 1 }, (_, i) => (Math.ceil(y0 / wide) + i) * wide);
    levels.forEach((v) => {
      grid(left, py(v), W - right, py(v));
      const text = logY ? power(Math.round(Math.log10(v))) : String(Number(v.toFixed(6))).replace("-", "−");
      parts.push(node("text", { x: left - 6, y: py(v) + 4, "text-anchor": "end" }, text));
    });
    marks.filter((m) => fx(m.at) > x0 && fx(m.at) < x1).forEach((m) => parts.push(node("line", { x1: px(m.at), x2: px(m.at), y1: top, y2: H - bottom, class: "mark" })));
    const labels = [];
    series.forEach((s) => {
      const tone = `tone-${s.tone}`, points = s.points.filter((p) => p.every(Number.isFinite));
      if (!points.length) return;
      if (s.dots) points.forEach(([a, b]) => parts.push(node("circle", { cx: px(a), cy: py(b), r: 4, class: tone })));
      else parts.push(node("polyline", { points: points.map(([a, b]) => `${px(a).toFixed(1)},${py(b).toFixed(1)}`).join(" "), class: `${tone}${s.dashed ? " dashed" : ""}` }));
      labels.push({ text: s.name, y: py(points[points.length - 1][1]) + 4, tone });
    });
    labels.sort((a, b) => a.y - b.y).forEach((l, i) => {
      l.y = Math.max(l.y, i ? labels[i - 1].y + 14 : 16);
      parts.push(node("text", { x: W - right + 8, y: l.y, class: l.tone }, l.text));
    });
    parts.push(node("text", { x: (left + W - right) / 2, y: H - 6, "text-anchor": "middle" }, x));
    parts.push(node("text", { x: 14, y: (top + H - bottom) / 2, "text-anchor": "middle", transform: `rotate(-90 14 ${(top + H - bottom) / 2})` }, y));
    svg.setAttribute("viewBox", `0 0 ${W} ${H}`);
    svg.replaceChildren(...parts);
  };

  const budgetSlider = (value) => slider("Budget (FLOPs)", { min: 17, max: 27, step: 0.05, value, map: (v) => 10 ** v, text: scientific });
  const across = (low, high, count) => Array.from({ length: count }, (_, i) => low * (high / low) ** (i / (count - 1)));

  const kinds = {
    allocation(data) {
      const budget = budgetSlider(22), C = across(1e17, 1e27, 41);
      const series = data.laws.map((l, i) => ({ name: l.name, tone: i, points: C.map((c) => [c, calculators.optimum(l.kind, l.law, c).N]) }));
      return { inputs: [budget], update(table, svg, say) {
        const rows = data.laws.map((l) => {
          const at = calculators.allocate(l, budget.read());
          return [l.name, size(at.N) + between(at.N_ends, size), size(at.D) + between(at.D_ends, size), size(at.D / at.N), Number.isFinite(at.loss) ? at.loss.toFixed(3) : "—"];
        });
        tabulate(table, ["law", "parameters", "tokens", "tokens a parameter", "loss (nats a token)"], rows);
        draw(svg, series, { x: "budget (FLOPs)", y: "optimal parameters", logY: true, marks: [{ at: budget.read() }] });
        say(`With ${scientific(budget.read())} FLOPs: ${rows.map((r) => `${r[0]} ${r[1]} parameters`).join("; ")}.`);
      } };
    },
    valley(data) {
      const which = choice("World", data.laws.map((l, i) => [i, l.name])), budget = budgetSlider(21);
      const width = slider("Grid, up and down", { min: 0.2, max: 4.4, step: 0.1, value: 3, map: (v) => 2 ** v, text: (v) => `×${v.toFixed(1)}` });
      const centre = slider("Centre of the grid", { min: -3, max: 3, step: 0.1, value: 0, map: (v) => 2 ** v, text: (v) => `×${v.toFixed(2)} of the optimum` });
      return { inputs: [which, budget, width, centre], update(table, svg, say) {
        const { law } = data.laws[which.read()], C = budget.read();
        const found = calculators.vertex(law, C, width.read(), centre.read(), data.points), { best } = found;
        const lossAt = (n) => law.E + law.A * n ** -law.alpha + law.B * (C / (6 * n)) ** -law.beta;
        const N = across(found.N[0], found.N[found.N.length - 1], 60), miss = found.vertex / best.N - 1;
        tabulate(table, ["where", "parameters", "loss there (nats a token)"], [
          ["true optimum", size(best.N), best.loss.toFixed(4)],
          ["vertex of the parabola", `${size(found.vertex)} (${signed(100 * miss, 1)} %)`, Number.isFinite(found.vertex) ? lossAt(found.vertex).toFixed(4) : "—"],
        ]);
        draw(svg, [
          { name: "runs", tone: 0, dots: true, points: found.N.map((n, i) => [n, found.loss[i]]) },
          { name: "parabola", tone: 1, points: N.map((n) => [n, found.parabola(n)]) },
          { name: "the law", tone: 2, dashed: true, points: N.map((n) => [n, lossAt(n)]) },
        ], { x: "parameters", y: "loss (nats a token)", marks: [{ at: best.N }] });
        say(`At ${scientific(C)} FLOPs the best size is ${size(best.N)} parameters; the parabola puts it at ${size(found.vertex)}, ${signed(100 * miss, 1)} per cent off.`);
      } };
    },
    lifetime(data) {
      const quality = slider("Quality of a compute-optimal model of", { min: 8, max: 12, step: 0.02, value: 10.12, map: (v) => 10 ** v, text: size });
      const served = slider("Tokens it will serve", { min: 9, max: 16, step: 0.05, value: 12.3, map: (v) => 10 ** v, text: size });
      const range = across(1e9, 1e16, 36);
      return { inputs: [quality, served], update(table, svg, say) {
        const N = quality.read(), rows = data.laws.map((l) => {
          const at = calculators.lifetime(l.law, N, served.read());
          return [l.name, size(at.N), size(at.D), `×${at.longer.toPrecision(3)}`, `${(100 * at.share).toFixed(1)} %`];
        });
        tabulate(table, ["law", "parameters", "training tokens", "of the compute-optimal tokens", "FLOPs saved"], rows);
        draw(svg, data.laws.map((l, i) => ({ name: l.name, tone: i, points: range.map((t) => [t, calculators.lifetime(l.law, N, t).N / N]) })),
          { x: "tokens served", y: "parameters over compute-optimal", marks: [{ at: served.read() }] });
        say(`At the quality of ${size(N)} parameters, serving ${size(served.read())} tokens: ${rows.map((r) => `${r[0]} ${r[1]} parameters on ${r[2]} tokens, ${r[4]} saved`).join("; ")}.`);
      } };
    },
    resampling(data) {
      const which = choice("Model", data.models.map((m, i) => [i, m.name]));
      const tests = choice("Visible tests", Object.keys(data.models[0].tests).map((m) => [m, m]));
      const most = data.models[0].tests[tests.read()][0][0];
      const K = slider("Samples K", { min: 0, max: Math.log2(most), step: 0.05, value: 3, map: (v) => Math.round(2 ** v), text: String });
      const penalty = slider("Price of an error λ", { min: 0, max: 8, step: 0.1, value: 2, text: (v) => v.toFixed(1) });
      const precision = slider("Wrong passes weeded out", { min: 0, max: 1, step: 0.01, value: 0, text: (v) => `${Math.round(100 * v)} %` });
      const budgets = [...new Set(across(1, most, 40).map(Math.round))];
      return { inputs: [which, tests, K, penalty, precision], update(table, svg, say) {
        const counts = data.models[which.read()].tests[tests.read()];
        const at = (k) => calculators.outcome(counts, k, penalty.read(), precision.read()), here = at(K.read());
        const lines = budgets.map((k) => [k, at(k)]), best = lines.reduce((a, b) => (b[1].reward > a[1].reward ? b : a));
        tabulate(table, ["quantity", `K = ${K.read()}`], [
          ["a right program was written (pass@K)", here.coverage.toFixed(3)],
          ["something passes and is submitted", here.submitted.toFixed(3)],
          ["the submission is right", here.right.toFixed(3)],
          ["mean reward", signed(here.reward)],
          ["ceiling, over the tasks where something passes", here.ceiling.toFixed(3)],
          ["what an endless budget reaches at least, over all tasks", here.low.toFixed(3)],
          ["best budget of those drawn", best[1].reward > 0 ? `K = ${best[0]} (${signed(best[1].reward)})` : "do not answer"],
        ]);
        const line = (name, tone, key, dashed = false) => ({ name, tone, dashed, points: lines.map(([k, v]) => [k, v[key]]) });
        draw(svg, [line("pass@K", 2, "coverage", true), line("right", 0, "right"), line("reward", 1, "reward")], { x: "samples K", y: "share of tasks, reward", marks: [{ at: K.read() }] });
        say(`With ${K.read()} samples ${here.right.toFixed(3)} of the tasks are right, the reward is ${signed(here.reward)}.`);
      } };
    },
    trade(data) {
      const R = slider("R: tokens answered for each token of pretraining", { min: -2, max: 2, step: 0.05, value: -0.8, map: (v) => 10 ** v, text: (v) => v.toPrecision(2) });
      const M = slider("Size of the large model", { min: 1.1, max: 40, step: 0.1, value: data.size, text: (v) => `${v.toFixed(1)} times the small one` });
      const version = choice("Price of an answer", [["v1", "first version: 2ND"], ["cr", "published version: 4ND, the verifier too"]]);
      return { inputs: [R, M, version], update(table, svg, say) {
        const generations = calculators.multiplier(M.read(), R.read(), version.read()), last = data.budgets[data.budgets.length - 1];
        const rows = data.groups.map((g) => {
          const at = calculators.gap(g, data.budgets, generations), [low, high] = at.ends;
          return [g.name, at.small.toFixed(3), at.large.toFixed(3), signed(at.small - at.large) + between(at.ends, signed), low > 0 ? "search" : high < 0 ? "size" : "undecided"];
        });
        tabulate(table, ["questions", "small model, searching", "large model, once", "difference", "better"], rows);
        const series = data.groups.flatMap((g, i) => [
          { name: `${g.name}: small`, tone: i, points: data.budgets.map((n, k) => [n, g.small[k]]) },
          { name: `${g.name}: large`, tone: i, dashed: true, points: [[data.budgets[0], g.large], [last, g.large]] },
        ]);
        draw(svg, series, { x: "generations of the small model", y: "share right", marks: [{ at: generations }] });
        const beyond = generations > last ? ` We have measured up to ${last}; its accuracy stands in.` : "";
        say(`One answer of the large model costs as much as ${size(generations)} of the small one.${beyond} Ahead on ${rows.map((r) => `${r[0]} questions: ${r[4]}`).join("; ")}.`);
      } };
    },
  };

  const start = (place) => {
    const data = JSON.parse(place.querySelector("script").textContent), still = place.querySelector(".calculator-static");
    const { inputs, update } = kinds[place.dataset.calculator](data);
    const table = make("table"), svg = document.createElementNS("http://www.w3.org/2000/svg", "svg"), line = make("p", { "aria-live": "polite" });
    const form = make("form", {}, ...inputs.map((i) => i.node));
    const folded = make("details", {}, make("summary", {}, "Some of its results as a table"));
    svg.setAttribute("role", "img");
    const say = (text) => { line.textContent = text; svg.setAttribute("aria-label", text); };
    const run = () => update(table, svg, say);
    form.addEventListener("input", run);
    form.addEventListener("submit", (event) => event.preventDefault());
    place.setAttribute("role", "group");
    place.prepend(form, line, make("div", { class: "book-table", tabindex: 0, role: "region", "aria-label": `${place.getAttribute("aria-label")}: results` }, table), svg);
    still.replaceWith(folded);
    folded.append(still);
    run();
  };
  document.addEventListener("DOMContentLoaded", () => document.querySelectorAll(".calculator").forEach(start));
})();
