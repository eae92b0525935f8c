/** The page for tests: built from the sources, served by `dimo serve`'s server, with observers in every page. */
import { openPage, startServer, type RunningServer, type ServeOptions } from '@dimo/cli';
import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Page } from 'playwright-core';
import { build } from 'vite';
import { startChromium, type TestBrowser, type TestPage } from './chromium.js';

const root = fileURLToPath(new URL('../../', import.meta.url));
const app = path.join(root, 'apps', 'playground');

/** Where pictures of the page are left, for people to look at. */
export const screenshots = path.join(app, 'screenshots');

/** The served page and a browser. */
export interface PageSite {
  readonly server: RunningServer;
  readonly browser: TestBrowser;
  /** Opens the page with these settings, 1280 x 900 unless told otherwise. */
  open(query: string, options?: Parameters<TestBrowser['open']>[1]): Promise<OpenedPage>;
  close(): Promise<void>;
}

/** An opened page, and what has come over the wire. */
export interface OpenedPage extends TestPage {
  /** Bytes of bodies by path. */
  readonly received: Map<string, number>;
}

/** What the observers of a page have seen. */
export interface Observed {
  /** Milliseconds of tasks that blocked the page for more than 50 ms. */
  readonly longTasks: number[];
  /** Milliseconds of the longest piece of script in a frame that took long. */
  readonly longestScript: number;
  /** Cumulative layout shift that no input explains. */
  readonly layoutShift: number;
}

/** Builds and serves the page; alone, unless models are given. */
export async function startPageSite({ models = [], ...options }: Partial<ServeOptions> = {}): Promise<PageSite> {
  const cache = path.join(root, 'node_modules', '.cache', 'dimo');
  await mkdir(cache, { recursive: true });
  await mkdir(screenshots, { recursive: true });
  const folder = await mkdtemp(path.join(cache, 'page-'));
  execFileSync(process.execPath, ['collect-models.mjs'], { cwd: app });
  await build({ root: app, logLevel: 'error', build: { outDir: folder, emptyOutDir: true } });
  const server = await startServer({ ...options, models, port: 0, page: await openPage(folder) });
  const browser = await startChromium();
  return {
    server,
    browser,
    async open(query, options = {}) {
      const opened = await browser.open(undefined, { viewport: { width: 1280, height: 900 }, ...options });
      const received = new Map<string, number>();
      opened.page.on('response', (response) => {
        const { pathname } = new URL(response.url());
        void response.body().then(
          ({ length }) => received.set(pathname, length),
          () => undefined, // the page was closed
        );
      });
      await opened.page.addInitScript(observe);
      await opened.page.goto(`${server.address}/${query}`);
      return { ...opened, received };
    },
    async close() {
      await browser.close();
      await server.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** Runs in the page, before its scripts. */
function observe(): void {
  const seen = { longTasks: [] as number[], longestScript: 0, layoutShift: 0 };
  Object.assign(globalThis, { seen });
  new PerformanceObserver((list) => {
    for (const { duration } of list.getEntries()) seen.longTasks.push(Math.round(duration));
  }).observe({ type: 'longtask', buffered: true });
  new PerformanceObserver((list) => {
    for (const { scripts } of list.getEntries() as unknown as { scripts: { duration: number }[] }[])
      for (const { duration } of scripts) seen.longestScript = Math.max(seen.longestScript, Math.round(duration));
  }).observe({ type: 'long-animation-frame', buffered: true });
  new PerformanceObserver((list) => {
    for (const entry of list.getEntries() as unknown as { value: number; hadRecentInput: boolean }[])
      if (!entry.hadRecentInput) seen.layoutShift += entry.value;
  }).observe({ type: 'layout-shift', buffered: true });
}

/** What has been seen since the page was opened. */
export function observed(page: Page): Promise<Observed> {
  return page.evaluate(() => (globalThis as unknown as { seen: Observed }).seen);
}

/** Waits until the status line or the problem box says something that matches. */
export async function waitForText(page: Page, selector: string, text: string, timeout = 180_000): Promise<void> {
  await page.waitForFunction(
    ([where, wanted]) => {
      const problem = document.querySelector<HTMLElement>('#problem');
      if (problem && !problem.hidden) throw new Error(`the page has a problem: ${problem.innerText}`);
      return document.querySelector(where!)?.textContent?.includes(wanted!);
    },
    [selector, text],
    { timeout },
  );
}

/**
 * What a grid of the page shows: for each canvas the grey of every pixel of the image, read in its middle.
 *
 * @returns [count][height * width], 0 to 255.
 */
export function shownImages(page: Page, tiles: string, width: number, height: number): Promise<number[][]> {
  return page.evaluate(
    ([selector, w, h]) =>
      [...document.querySelectorAll<HTMLCanvasElement>(`${selector} canvas`)].map((canvas) => {
        const scale = canvas.width / w;
        const { data } = canvas.getContext('2d')!.getImageData(0, 0, canvas.width, canvas.height);
        return Array.from({ length: w * h }, (_, i) => {
          const x = Math.floor(((i % w) + 0.5) * scale);
          const y = Math.floor((Math.floor(i / w) + 0.5) * scale);
          return data[(y * canvas.width + x) * 4]!;
        });
      }),
    [tiles, width, height] as const,
  );
}
