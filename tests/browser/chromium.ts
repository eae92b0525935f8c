/**
 * A real Chromium for tests: the one of the environment variable `DIMO_CHROMIUM`, else Debian's. Where there is none,
 * tests skip and say why:
 *
 *   const chromium = findChromium();
 *   describe.skipIf(!chromium.path)(chromium.path ? 'the page' : `the page, skipped: ${chromium.reason}`, ...)
 *
 * Its WebGPU adapter is SwiftShader, which emulates a GPU on the CPU: small sizes only.
 */
import { existsSync } from 'node:fs';
import { chromium, type Browser, type BrowserContextOptions, type Page } from 'playwright-core';

/** Where Chromium is, or why it is not. */
export interface FoundChromium {
  readonly path?: string;
  readonly reason: string;
}

/** Places of the packages `chromium` and `google-chrome`. */
const usualPlaces = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];

/** Finds Chromium without starting it. */
export function findChromium(): FoundChromium {
  const named = process.env['DIMO_CHROMIUM'];
  if (named) return existsSync(named) ? { path: named, reason: '' } : { reason: `DIMO_CHROMIUM: ${named} is no file` };
  const path = usualPlaces.find((place) => existsSync(place));
  return path ? { path, reason: '' } : { reason: 'no Chromium: install the package chromium or set DIMO_CHROMIUM' };
}

/** A running Chromium. */
export interface TestBrowser {
  readonly browser: Browser;
  /** Opens a page in a profile of its own, and goes to an address if one is given. */
  open(url?: string, options?: BrowserContextOptions): Promise<TestPage>;
  close(): Promise<void>;
}

/** A page and what went wrong in it. */
export interface TestPage {
  readonly page: Page;
  /** Console errors, uncaught errors, failed requests and crashes, the latest last. Expect it to be empty. */
  readonly problems: string[];
  /** Everything that the page and its workers have written to the console, for messages of failed tests. */
  readonly log: string[];
  close(): Promise<void>;
}

/** Without `--enable-unsafe-webgpu` there is no adapter; the others keep Chromium from calling out. */
const flags = [
  '--no-sandbox',
  '--enable-unsafe-webgpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

/** Starts Chromium without a window. `options.args` are further flags. */
export async function startChromium(options: { readonly args?: readonly string[] } = {}): Promise<TestBrowser> {
  const { path, reason } = findChromium();
  if (!path) throw new Error(reason);
  const browser = await chromium.launch({
    executablePath: path,
    headless: true,
    args: [...flags, ...(options.args ?? [])],
  });
  return {
    browser,
    async open(url, contextOptions = {}) {
      const context = await browser.newContext(contextOptions);
      const page = await context.newPage();
      const problems: string[] = [];
      const log: string[] = [];
      page.on('console', (message) => {
        log.push(`${message.type()}: ${message.text()}`);
        if (message.type() === 'error') problems.push(`console error: ${message.text()} (${message.location().url})`);
      });
      page.on('pageerror', (error) => problems.push(`uncaught: ${error.stack ?? error.message}`));
      page.on('crash', () => problems.push('the page crashed'));
      page.on('requestfailed', (request) =>
        problems.push(`request failed: ${request.url()}: ${request.failure()?.errorText}`),
      );
      if (url !== undefined) await page.goto(url);
      return { page, problems, log, close: () => context.close() };
    },
    close: () => browser.close(),
  };
}
