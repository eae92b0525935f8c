/** The page of a run while it goes on: its report, made anew when its files have changed, and a line on how far it is. */
import { renderReport } from '@dimo/eval';
import { reportOf } from '../evaluation/report.js';
import { formatDuration } from '../run/progress.js';
import { summarizeRun, type RunSummary } from '../run/run-summary.js';
import type { PageHandler } from '../serve/page.js';

/** Seconds between two looks of the page. */
const seconds = 2;

/** Parts of the time that reading the files may take. */
const restFactor = 10;

/** A step count at a time, for the rate. */
interface Observation {
  readonly step: number;
  readonly milliseconds: number;
}

/** Answers `/` with the page; everything else is not there. */
export function livePage(run: string): PageHandler {
  let first: Observation | undefined;
  let made: { readonly html: string; readonly until: number } | undefined;
  let making: Promise<string> | undefined;
  const make = async (): Promise<string> => {
    const begun = performance.now();
    const summary = await summarizeRun(run);
    first ??= { step: summary.step, milliseconds: begun };
    const html = renderReport({
      ...(await reportOf(run)),
      live: {
        state: stateLine(summary, first, begun),
        version: `${summary.changed ?? 0} ${summary.condition}`,
        seconds,
      },
    });
    // A long log takes its time: most of it is left to the run.
    made = { html, until: performance.now() + restFactor * (performance.now() - begun) };
    return html;
  };
  return (request, response, next) => {
    if ((request.url ?? '').split('?')[0] !== '/' || request.method !== 'GET') return next();
    const fresh = made && performance.now() < made.until ? Promise.resolve(made.html) : (making ??= make());
    fresh
      .finally(() => (making = undefined))
      .then(
        (html) => {
          response.setHeader('content-type', 'text/html; charset=utf-8');
          response.setHeader('cache-control', 'no-store');
          response.end(html);
        },
        () => {
          response.statusCode = 503; // its files are being written, or are gone
          response.end();
        },
      );
  };
}

/** `running: step 120 of 400, 3.1 steps/s, 1:30 min left`. */
function stateLine({ condition, step, numSteps, health }: RunSummary, first: Observation, now: number): string {
  const place = `step ${step}${numSteps === undefined ? '' : ` of ${numSteps}`}`;
  if (condition !== 'running') return `${condition}: ${place}${health === undefined ? '' : `, health ${health}`}`;
  if (step <= first.step) return `running: ${place}`;
  const rate = (1000 * (step - first.step)) / (now - first.milliseconds);
  const left = numSteps === undefined ? '' : `, ${formatDuration((numSteps - step) / rate)} left`;
  return `running: ${place}, ${rate.toPrecision(2)} steps/s${left}`;
}
