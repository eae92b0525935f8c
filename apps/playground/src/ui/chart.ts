/** A small line chart in SVG: raw values faint, their running mean on top. */

const namespace = 'http://www.w3.org/2000/svg';
/** Units of the view box. */
const [width, height] = [360, 136];
const [left, right, top, bottom] = [44, 4, 6, 18];
/** Points drawn at most; longer series are thinned. */
const maximumPoints = 400;

/** A chart of one series. */
export interface Chart {
  clear(): void;
  /** Adds a value; drawn with the next frame. */
  add(step: number, value: number): void;
  /** The running mean at the end, undefined before the first value. */
  latest(): number | undefined;
}

/** @param lastStep - right end of the axis, which may grow. */
export function createChart(container: HTMLElement, name: string, lastStep: () => number): Chart {
  const svg = element('svg', { viewBox: `0 0 ${width} ${height}`, role: 'img', preserveAspectRatio: 'none' });
  const grid = element('path', { class: 'grid', 'vector-effect': 'non-scaling-stroke' });
  const raw = element('path', { class: 'raw', 'vector-effect': 'non-scaling-stroke' });
  const smooth = element('path', { class: 'smooth', 'vector-effect': 'non-scaling-stroke' });
  const [low, high, from, to] = Array.from({ length: 4 }, () => element('text', {})) as [
    SVGElement,
    SVGElement,
    SVGElement,
    SVGElement,
  ];
  svg.append(grid, raw, smooth, low, high, from, to);
  container.replaceChildren(svg);
  let points: { step: number; value: number; mean: number }[] = [];
  let numAdded = 0;
  let isScheduled = false;

  function draw(): void {
    isScheduled = false;
    // In units of the element, so that text keeps its shape.
    const [w, h] = [container.clientWidth || width, container.clientHeight || height];
    svg.setAttribute('viewBox', `0 0 ${w} ${h}`);
    const values = points.flatMap(({ value, mean }) => [value, mean]);
    const [least, most] = values.length > 0 ? [Math.min(...values), Math.max(...values)] : [0, 1];
    const margin = (most - least) * 0.08 || Math.abs(most) * 0.1 || 1;
    const [floor, ceiling] = [Math.max(least - margin, least >= 0 ? 0 : -Infinity), most + margin];
    const last = Math.max(lastStep(), points.at(-1)?.step ?? 1, 2);
    const x = (step: number): number => left + ((step - 1) / (last - 1)) * (w - left - right);
    const y = (value: number): number => h - bottom - ((value - floor) / (ceiling - floor)) * (h - top - bottom);
    const lines = [0, 0.5, 1].map((part) => h - bottom - part * (h - top - bottom));
    grid.setAttribute('d', lines.map((at) => `M${left} ${at}H${w - right}`).join(''));
    const path = (of: (point: (typeof points)[number]) => number): string =>
      points.map((point, i) => `${i === 0 ? 'M' : 'L'}${x(point.step).toFixed(1)} ${y(of(point)).toFixed(1)}`).join('');
    raw.setAttribute(
      'd',
      path(({ value }) => value),
    );
    smooth.setAttribute(
      'd',
      path(({ mean }) => mean),
    );
    place(low, 0, h - bottom, points.length > 0 ? label(floor) : '');
    place(high, 0, top + 8, points.length > 0 ? label(ceiling) : '');
    place(from, left, h - 4, '1');
    place(to, w - right, h - 4, String(last));
    to.setAttribute('text-anchor', 'end');
    const end = points.at(-1);
    svg.setAttribute(
      'aria-label',
      end
        ? `${name}: ${end.mean.toFixed(3)} at step ${end.step}, ${points[0]!.value.toFixed(3)} at first`
        : `${name}: no values yet`,
    );
  }

  function schedule(): void {
    if (isScheduled) return;
    isScheduled = true;
    requestAnimationFrame(draw);
  }

  new ResizeObserver(schedule).observe(container);
  schedule();
  return {
    clear() {
      points = [];
      numAdded = 0;
      schedule();
    },
    add(step, value) {
      const before = points.at(-1)?.mean ?? value;
      // A plain mean at first, then one that forgets.
      numAdded++;
      points.push({ step, value, mean: before + (value - before) * Math.max(0.1, 1 / numAdded) });
      if (points.length > maximumPoints) points = points.filter((_, i) => i % 2 === 0 || i === points.length - 1);
      schedule();
    },
    latest: () => points.at(-1)?.mean,
  };
}

function element(tag: string, attributes: Readonly<Record<string, string>>): SVGElement {
  const made = document.createElementNS(namespace, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

function place(text: SVGElement, x: number, y: number, content: string): void {
  text.setAttribute('x', String(x));
  text.setAttribute('y', String(y));
  text.textContent = content;
}

function label(value: number): string {
  return Math.abs(value) >= 100 ? value.toFixed(0) : value.toPrecision(2);
}
