/** `dimo runs` and `dimo watch`: runs that go on, have ended, were stopped or are damaged, told from their files alone. */
import { appendFile, mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { acquireRunLock } from '@dimo/backend-node';
import { findChromium, startChromium, type TestBrowser } from '../browser/chromium.js';
import { dimoTrial } from '../support/in-process-dimo.js';
import { startDimo, type RunningDimo } from '../support/run-dimo.js';

const { at, succeed, fails } = dimoTrial();
const toyPlugin = fileURLToPath(new URL('../support/toy-plugin.mjs', import.meta.url));
const toy = ['--plugin', toyPlugin, '--engine', 'cpu', '--quiet'];
const train = (name: string, ...more: string[]) =>
  succeed(
    ['train', 'teacher', ...toy, '--teacher-plugin', 'toy', '--dataset', 'toy-tokens', '--batch', '4'].concat(
      ['--steps', '3', '--runs', at('runs'), '--name', name],
      more,
    ),
  );

interface Runs {
  readonly runs: readonly { readonly name: string; readonly condition: string; readonly step: number }[];
  readonly unreadable: readonly string[];
}

const listed = async (...args: string[]): Promise<Runs> =>
  JSON.parse((await succeed(['runs', at('runs'), '--json', ...args])).stdout) as Runs;

describe('dimo runs', () => {
  it('tells what each makes, how far it is and how it went, the latest first', async () => {
    await train('first');
    await train('second', '--checkpoint-steps', '2');
    // Killed after its checkpoint of step 2.
    const checkpoints = at('runs', 'second', 'checkpoints');
    for (const name of await readdir(checkpoints))
      if (name !== 'step-00000002') await rm(path.join(checkpoints, name), { recursive: true });
    await mkdir(at('runs', 'no-run'));
    const { stdout } = await succeed(['runs', at('runs')]);
    const [head, ...lines] = stdout.trim().split('\n');
    expect(head).toMatch(/^run +command +state +steps +last +health$/);
    expect(lines[0]).toMatch(/^second +train teacher +stopped +3\/3 +maskedNll [\d.]+ +unknown$/);
    expect(lines[1]).toMatch(/^first +train teacher +finished +3\/3 +maskedNll [\d.]+ +unknown$/);
    expect(lines).toHaveLength(2);
    const lock = await acquireRunLock(at('runs', 'first'));
    expect((await listed()).runs.map(({ name, condition }) => [name, condition])).toEqual([
      ['second', 'stopped'],
      ['first', 'running'],
    ]);
    await lock.release();
  });

  it('passes over what cannot be read, by name, and says where there is nothing', async () => {
    await train('first');
    await mkdir(at('runs', 'damaged', 'checkpoints'), { recursive: true });
    await writeFile(at('runs', 'damaged', 'config.yaml'), 'a: 1\n');
    await mkdir(at('runs', 'damaged', 'metrics.jsonl'));
    const { runs, unreadable } = await listed();
    expect(runs.map(({ name }) => name)).toEqual(['first']);
    expect(unreadable).toEqual([expect.stringMatching(/damaged: /)]);
    await mkdir(at('empty'));
    expect((await succeed(['runs', at('empty')])).stdout).toMatch(/^no runs in /);
    expect(await fails(['runs', at('absent')])).toMatch(/there is no folder .*absent/);
    expect(await fails(['watch', at('empty')])).toMatch(/is not the folder of a run.*dimo runs/s);
    expect(await fails(['watch', at('runs', 'first'), '--port', '70000'])).toMatch(/--port must be an integer/);
  });
});

const found = findChromium();

describe.skipIf(!found.path)(
  found.path ? 'dimo watch in Chromium' : `dimo watch in Chromium, skipped: ${found.reason}`,
  { timeout: 120_000 },
  () => {
    let browser: TestBrowser;
    beforeAll(async () => void (browser = await startChromium()));
    afterAll(() => browser?.close());

    /** Listeners of the window that are told of its size. */
    async function resizeListeners(page: Page): Promise<number> {
      const session = await page.context().newCDPSession(page);
      const { result } = await session.send('Runtime.evaluate', { expression: 'window' });
      const { listeners } = await session.send('DOMDebugger.getEventListeners', { objectId: result.objectId! });
      await session.detach();
      return listeners.filter(({ type }) => type === 'resize').length;
    }

    async function watch(run: string): Promise<{ server: RunningDimo; address: string }> {
      const server = startDimo(['watch', run, '--json', '--port', '0']);
      await server.printed('}');
      const { address } = JSON.parse(server.output().stdout) as { address: string };
      return { server, address };
    }

    it('keeps up with a run that goes on, and ends without touching it', async () => {
      await train('first');
      const run = at('runs', 'first');
      const lock = await acquireRunLock(run);
      const { server, address } = await watch(path.join(run, 'teacher'));
      const open = await browser.open(address);
      const { page } = open;
      await page.waitForSelector('#curve-0 canvas');
      expect(await page.textContent('#live')).toBe('running: step 3 of 3');
      expect(await page.textContent('main')).toContain('3 steps');
      const before = await page.locator('canvas').count();
      const listeners = await resizeListeners(page);
      await appendFile(path.join(run, 'metrics.jsonl'), '{"step":4,"loss":1,"maskedNll":1,"learningRate":0.1}\n');
      await page.waitForFunction(() => document.querySelector('main')!.textContent.includes('4 steps'));
      expect(await page.textContent('#live')).toMatch(/^running: step 4 of 3, [\d.]+ steps\/s/);
      expect(await page.locator('canvas').count()).toBe(before);
      // What was drawn before is let go: a page may be open for days.
      expect(await resizeListeners(page)).toBe(listeners);
      await lock.release();
      await page.waitForFunction(() => document.getElementById('live')!.textContent.startsWith('finished: step 4'));
      server.process.kill('SIGINT');
      expect((await server.ended).code).toBe(0);
      await page.waitForFunction(() => document.getElementById('live')!.textContent.includes('has ended'));
      expect(open.problems.filter((problem) => !problem.includes('ERR_CONNECTION_REFUSED'))).toEqual([]);
      await open.close();
    });

    it('answers this machine alone, and nothing but the page', async () => {
      await train('first');
      const { server, address } = await watch(at('runs', 'first'));
      const status = async (where: string, init?: RequestInit) => (await fetch(`${address}${where}`, init)).status;
      expect(await status('/')).toBe(200);
      expect(await status('/config.yaml')).toBe(404);
      expect(await status('/../config.yaml')).toBe(404);
      expect(await status('/', { headers: { origin: 'http://evil.example' } })).toBe(403);
      expect(await status('/v1/images', { method: 'POST', body: '{}' })).toBeGreaterThanOrEqual(400);
      await rm(at('runs', 'first'), { recursive: true });
      await new Promise((resolve) => setTimeout(resolve, 500));
      expect([200, 503]).toContain(await status('/')); // the last page that was made, or none
      server.process.kill('SIGTERM');
      expect((await server.ended).code).toBe(0);
    });
  },
);
