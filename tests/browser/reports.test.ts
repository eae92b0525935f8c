/**
 * Row D7: the report of a run whose every text is hostile, opened from the disk in a real Chromium: names of files, methods,
 * notes, titles, plugins' metrics and settings are shown as text and run nothing. So is the JSON of an evaluation.
 */
import { run as runCommand } from '@dimo/cli';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { findChromium, startChromium, type TestBrowser } from './chromium.js';

const found = findChromium();
/** None holds a slash where a file has it as its name. */
const hostile = [
  `</script><script>globalThis.pwned = 1</script>`,
  `<img src=x onerror="globalThis.pwned=1">`,
  `"><svg onload=globalThis.pwned=1>`,
  `'--><!--<script>globalThis.pwned=1`,
  `]]></style><iframe srcdoc="<script>parent.pwned=1</script>">`,
  `javascript:globalThis.pwned=1`,
  `\u2028\u202e&lt;script&gt;globalThis.pwned=1&lt;/script&gt;`,
  '${globalThis.pwned=1}{{constructor.constructor("pwned=1")()}}',
];
const png = Buffer.from(
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==',
  'base64',
);

describe.skipIf(!found.path)(found.path ? 'reports' : `reports, skipped: ${found.reason}`, { timeout: 180_000 }, () => {
  let browser: TestBrowser;
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'dimo-report-'));
    browser = await startChromium();
  }, 120_000);
  afterAll(async () => {
    await browser?.close();
    await rm(folder, { recursive: true, force: true });
  });

  it('show hostile texts as text, and run nothing of theirs', async () => {
    const run = path.join(folder, `<img src=x onerror=globalThis.pwned=1>`);
    for (const place of ['samples', 'eval-samples']) await mkdir(path.join(run, place), { recursive: true });
    const metrics = Object.fromEntries(hostile.map((name, i) => [name, i]));
    await writeFile(
      path.join(run, 'eval.json'),
      JSON.stringify({
        format: 'dimo-evaluation',
        version: 1,
        rows: hostile.map((method) => ({ method, steps: 1, fid: 1, inceptionScore: 1 })),
        pluginRows: hostile.map((method) => ({ method, metrics })),
        notes: hostile,
        grids: hostile,
        engine: { name: hostile[0], device: hostile[1] },
      }),
    );
    await writeFile(
      path.join(run, 'config.yaml'),
      JSON.stringify({ dataset: hostile[0], teacher: { source: hostile[1], config: metrics } }),
    );
    await writeFile(path.join(run, 'metrics.jsonl'), `{"step":1,"loss":1}\n{"step":2,"loss":2}\n`);
    for (let i = 0; i < hostile.length; i++)
      await writeFile(path.join(run, 'eval-samples', `${String(i).padStart(2, '0')}.png`), png);
    for (const name of hostile.filter((text) => !text.includes('/')))
      await writeFile(path.join(run, 'samples', `${name}.png`), png);
    const printed = vi.spyOn(process.stdout, 'write').mockReturnValue(true);
    expect(await runCommand(['report', run])).toBe(0);
    printed.mockRestore();

    const { page, problems, close } = await browser.open(pathToFileURL(path.join(run, 'report.html')).href);
    await page.waitForTimeout(300);
    expect(await page.evaluate(() => 'pwned' in globalThis)).toBe(false);
    const shown = await page.evaluate(() => ({
      text: document.body.innerText,
      sources: [...document.querySelectorAll('img')].map(({ src }) => src.slice(0, 15)),
      strangers: document.querySelectorAll('iframe, svg[onload], img[onerror], [href^="javascript"]').length,
    }));
    // The cut at a length and escapes of invisible characters are all that happens to them.
    for (const text of hostile.slice(0, 4)) expect(shown.text).toContain(text);
    expect(new Set(shown.sources)).toEqual(new Set(['data:image/png;']));
    expect(shown.sources.length).toBeGreaterThanOrEqual(hostile.length);
    expect(shown.strangers).toBe(0);
    expect(problems).toEqual([]);
    await close();

    const json = await browser.open(pathToFileURL(path.join(run, 'eval.json')).href);
    expect(await json.page.evaluate(() => 'pwned' in globalThis || document.querySelector('img') !== null)).toBe(false);
    await json.close();
  });
});
