/** Style sheet and script of the report. */

/** Follows the reader's light or dark preference. */
export const reportStyle = `
:root { color-scheme: light dark; --text: #1c2024; --soft: #60646c; --line: #d9d9e0; --back: #fcfcfd; --mark: #eef3ff; }
@media (prefers-color-scheme: dark) {
  :root { --text: #edeef0; --soft: #b0b4ba; --line: #363a3f; --back: #111113; --mark: #1a2440; }
}
body { margin: 2rem auto; max-width: 72rem; padding: 0 1rem; font: 15px/1.5 system-ui, sans-serif; color: var(--text); background: var(--back); }
h1 { font-size: 1.6rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
p, figcaption, .soft { color: var(--soft); }
.scroll { overflow-x: auto; margin-bottom: 1rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .7rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th:first-child, td:first-child, .settings td { text-align: left; }
.settings td { white-space: pre-wrap; overflow-wrap: anywhere; }
td.best { background: var(--mark); font-weight: 600; }
.grids { display: flex; flex-wrap: wrap; gap: 1.2rem; }
figure { margin: 0; } figcaption { margin-bottom: .3rem; }
img { image-rendering: pixelated; max-width: 100%; border: 1px solid var(--line); }
.plot { margin: 1rem 0; } .u-legend { color: var(--text); } .u-title { font-size: 14px; }
`;

/** Draws the curves with uPlot; labels go in as text, never as markup. */
export const reportScript = `
let plots = [];
function drawCurves() {
plots.forEach(({ plot }) => plot.destroy());
plots = [];
const data = JSON.parse(document.getElementById('curves-data')?.textContent ?? '[]');
const colors = ['#3b82f6', '#f97316', '#22a06b', '#a855f7', '#e11d48', '#0891b2'];
const text = getComputedStyle(document.body).getPropertyValue('--text');
const line = getComputedStyle(document.body).getPropertyValue('--line');
const axis = { stroke: text, grid: { stroke: line }, ticks: { stroke: line } };
data.forEach((curve, index) => {
  const target = document.getElementById('curve-' + index);
  const plot = new uPlot({
    width: Math.min(900, target.clientWidth || 900), height: 280,
    scales: { x: { time: false }, y: { distr: curve.isLogarithmic ? 3 : 1 } },
    axes: [{ ...axis, label: curve.xLabel }, axis],
    series: [{ label: curve.xLabel }].concat(curve.series.map((series, i) => ({
      label: series.label, stroke: colors[i % colors.length], width: 1.5, points: { show: false }, spanGaps: true,
    }))),
  }, [curve.x].concat(curve.series.map((series) => series.values)), target);
  plots.push({ plot, target });
});
}
window.addEventListener('resize', () => {
  for (const { plot, target } of plots) plot.setSize({ width: Math.min(900, target.clientWidth), height: 280 });
});
drawCurves();
`;

/** Brings the page up to date every few seconds; what is selected or scrolled stays where it is. */
export const liveScript = (seconds: number): string => `
async function refresh() {
  const state = document.getElementById('live');
  try {
    const answer = await fetch(location.pathname, { cache: 'no-store' });
    if (!answer.ok) throw new Error(answer.statusText);
    const next = new DOMParser().parseFromString(await answer.text(), 'text/html');
    const main = next.querySelector('main');
    if (main.dataset.version !== document.querySelector('main').dataset.version) {
      const place = scrollY;
      document.querySelector('main').replaceWith(main);
      document.getElementById('curves-data').textContent = next.getElementById('curves-data').textContent;
      drawCurves();
      scrollTo(0, place);
    }
    state.textContent = next.getElementById('live').textContent;
    document.title = next.title;
  } catch {
    state.textContent = 'the program that serves this page has ended';
  }
  setTimeout(refresh, ${Math.round(1000 * seconds)});
}
setTimeout(refresh, ${Math.round(1000 * seconds)});
`;
