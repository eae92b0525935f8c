/**
 * The page of `dimo serve --model DIR` in a real Chromium: it offers that model, which the server draws, beside its own;
 * with a token it asks for that. Labels of the model are text, whatever they are, also in the answers of the API.
 */
import type { ServedModel } from '@dimo/cli';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { findChromium } from './chromium.js';
import { shownImages, startPageSite, waitForText, type PageSite } from './page-harness.js';

const found = findChromium();
const hostile = `</script><img src=x onerror="globalThis.pwned=1"><b>bold</b>`;
const token = 'a-token-of-this-test';
const asked: { texts: readonly string[]; seed: number }[] = [];

/** Draws pictures as grey as the class says. */
const classes: ServedModel = {
  name: 'my-cats',
  kind: 'generator',
  classNames: [hostile, 'black', 'white'],
  imageShape: [6, 5, 1],
  samplers: [],
  maximumPasses: () => 1,
  async *generate({ texts, count, seed }) {
    asked.push({ texts, seed });
    for (let index = 0; index < count; index++) {
      const data = new Float32Array(30).fill(Number(texts[index]) / 2);
      yield { index, image: { dtype: 'float32', shape: [6, 5, 1], data }, label: '' };
      await Promise.resolve();
    }
  },
  dispose: () => Promise.resolve(),
};

const prompts: ServedModel = { ...classes, name: hostile, kind: 'teacher', classNames: undefined };

describe.skipIf(!found.path)(
  found.path ? 'models of the server' : `models of the server, skipped: ${found.reason}`,
  { timeout: 300_000 },
  () => {
    let site: PageSite;
    beforeAll(async () => void (site = await startPageSite({ models: [classes, prompts] })), 180_000);
    afterAll(() => site?.close());

    it('are offered first, and drawn by the server without weights in the browser', async () => {
      const { page, problems, received, close } = await site.open('?count=5&classes=1,2&seed=7&engine=wasm');
      await waitForText(page, '#status', 'Drew 5 images');
      expect(await page.inputValue('#model')).toBe('server:my-cats');
      expect(asked.at(-1)).toEqual({ texts: ['1', '2', '1', '2', '1'], seed: 7 });
      const shown = await shownImages(page, '#generator-tiles', 5, 6);
      expect(shown.map((image) => [...new Set(image)])).toEqual([[128], [255], [128], [255], [128]]);
      expect(await page.textContent('#model-facts')).toContain('my-cats');
      expect([...received.keys()].filter((name) => name.endsWith('.safetensors'))).toEqual([]);
      expect(await page.isDisabled('#distil-start')).toBe(true);
      expect(problems).toEqual([]);
      await close();
    });

    it('their labels and names are text', async () => {
      const { page, problems, close } = await site.open('?count=1&engine=wasm');
      await waitForText(page, '#status', 'Drew 1 image');
      expect(await page.textContent('#classes label >> nth=0')).toBe(hostile);
      await page.selectOption('#model', `server:${hostile}`);
      await page.waitForFunction(() => document.querySelector('#model-facts')!.textContent!.includes('teacher'));
      await page.fill('#prompt', '2');
      await page.click('#draw');
      await waitForText(page, '#status', 'Drew 1 image');
      await page.waitForFunction(() => document.querySelector('#draw')!.textContent === 'Draw');
      expect(asked.at(-1)!.texts).toEqual(['2']);
      const [shown] = await shownImages(page, '#teacher-tiles', 5, 6);
      expect([...new Set(shown)]).toEqual([255]);
      expect(await page.evaluate(() => 'pwned' in globalThis)).toBe(false);
      expect(await page.locator('main img').count()).toBe(0);
      // Back to a model of the page itself, which its own worker loads.
      await page.selectOption('#model', 'mnist');
      await page.waitForFunction(() => document.querySelector('#model-facts')!.textContent!.includes('parameters'));
      expect(problems).toEqual([]);
      await close();
    });

    it('the list of the API shows them as text when it is opened itself', async () => {
      const { page, close } = await site.browser.open(`${site.server.address}/v1/models`);
      expect(await page.textContent('body')).toContain(hostile.slice(0, 9));
      expect(await page.evaluate(() => 'pwned' in globalThis || document.querySelector('img') !== null)).toBe(false);
      await close();
    });

    it('a server with a token is asked with it', async () => {
      const guarded = await startPageSite({ models: [classes], token });
      const { page, close } = await guarded.open('?count=1&engine=wasm');
      await page.waitForSelector('#token-field:not([hidden])');
      // The page's own models work without.
      expect(await page.inputValue('#model')).toBe('mnist');
      await page.fill('#token', 'not-the-right-one');
      await page.click('#use-token');
      await page.waitForSelector('#problem:not([hidden])');
      await page.fill('#token', token);
      await page.click('#use-token');
      await page.waitForFunction(() => document.querySelector<HTMLSelectElement>('#model')!.value === 'server:my-cats');
      await page.waitForFunction(() => document.querySelector('#model-facts')!.textContent!.includes('my-cats'));
      await page.click('#draw');
      await waitForText(page, '#status', 'Drew 1 image');
      expect(page.url()).not.toContain(token);
      await close();
      await guarded.close();
    });
  },
);
