/**
 * The page in a real Chromium, whose GPU is emulated: it draws what Node draws, distils what Node distils, survives the
 * loss of its device, and can be used with a keyboard, a screen reader and a phone. Pictures of it are left in
 * `apps/playground/screenshots`.
 */
import { folderWeightSource, nodeEngines } from '@dimo/backend-node';
import { findModel, loadRegistry, serveModel } from '@dimo/cli';
import { createDistillation, readGenerator, runTraining, type Engine } from '@dimo/core';
import { renderReport } from '@dimo/eval';
import { presetFolder, presets } from '@dimo/presets';
import { maskgitTeacher } from '@dimo/teacher-maskgit';
import { wordsTeacher } from '@dimo/teacher-words';
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { findChromium } from './chromium.js';
import {
  observed,
  type Observed,
  screenshots,
  shownImages,
  startPageSite,
  waitForText,
  type OpenedPage,
  type PageSite,
} from './page-harness.js';

const found = findChromium();
const preset = fileURLToPath(presetFolder(presets.mnist));
const emojiPreset = fileURLToPath(new URL('generator', presetFolder(presets.emoji)));
const axe = createRequire(import.meta.url).resolve('axe-core/axe.min.js');
const minutes = 60_000;

describe.skipIf(!found.path)(
  found.path ? 'the page' : `the page, skipped: ${found.reason}`,
  { timeout: 5 * minutes },
  () => {
    let site: PageSite;
    let engine: Engine;
    let scratch: string;
    beforeAll(async () => {
      scratch = await mkdtemp(path.join(tmpdir(), 'dimo-page-'));
      site = await startPageSite();
      engine = await nodeEngines
        .find(({ name }) => name === 'onnx')!
        .create()
        .catch(() => nodeEngines.find(({ name }) => name === 'wasm')!.create());
    }, 3 * minutes);
    afterAll(async () => {
      await Promise.all([site?.close(), engine?.dispose(), rm(scratch, { recursive: true, force: true })]);
      console.log(`pictures of the page: ${screenshots}`);
    });

    async function picture(page: Page, name: string): Promise<void> {
      await page.screenshot({ path: path.join(screenshots, `${name}.png`), fullPage: true });
    }

    /** What axe finds; the page's policy allows no foreign script, so it is evaluated and not inserted. */
    async function violations(page: Page): Promise<string[]> {
      await page.evaluate(await readFile(axe, 'utf8'));
      return page.evaluate(async () => {
        const { violations: all } = await (
          globalThis as unknown as {
            axe: {
              run(): Promise<{ violations: { id: string; nodes: { html: string; failureSummary: string }[] }[] }>;
            };
          }
        ).axe.run();
        return all.flatMap(({ id, nodes }) =>
          nodes.map(({ html, failureSummary }) => `${id}: ${html} ${failureSummary}`),
        );
      });
    }

    /** Cells of the token grid in which images differ visibly. */
    function differentCells(shown: readonly number[][], expected: Float32Array): number {
      const cells = new Set<string>();
      shown.forEach((image, n) =>
        image.forEach((grey, i) => {
          const wanted = 255 * expected[n * 784 + i]!;
          if (Math.abs(grey - wanted) > 8) cells.add(`${n} ${Math.floor(i / 28 / 4)} ${Math.floor((i % 28) / 4)}`);
        }),
      );
      return cells.size;
    }

    async function inNode(name: string, texts: readonly string[], seed: number, steps?: number): Promise<Float32Array> {
      const registry = await loadRegistry([], process.cwd(), ['teachers']);
      const model =
        steps === undefined
          ? await findModel('mnist', registry)
          : { kind: 'teacher' as const, teacher: await maskgitTeacher.load({}, folderWeightSource(preset)) };
      const served = await serveModel(engine, name, model, steps === undefined ? {} : { sampler: { numSteps: steps } });
      const images = new Float32Array(texts.length * 784);
      const signal = new AbortController().signal;
      for await (const { image, index } of served.generate({ texts, count: texts.length, seed, signal }))
        images.set(image.data, index * 784);
      await served.dispose();
      return images;
    }

    describe('on WebGPU', () => {
      let opened: OpenedPage;
      let seen: Observed;
      beforeAll(async () => {
        opened = await site.open('?engine=webgpu&count=2&classes=3,7&seed=5&steps=3');
        await waitForText(opened.page, '#status', 'in 3');
        seen = await observed(opened.page);
      }, 4 * minutes);
      afterAll(() => opened?.close());

      it('draws by itself what Node draws from the same seed, and says how long it took', async () => {
        const { page } = opened;
        const texts = ['3', '7'];
        // A token at the edge between two may fall on the other side where sums are rounded otherwise.
        const generator = differentCells(
          await shownImages(page, '#generator-tiles', 28, 28),
          await inNode('g', texts, 5),
        );
        const teacher = differentCells(
          await shownImages(page, '#teacher-tiles', 28, 28),
          await inNode('t', texts, 5, 3),
        );
        console.log(`cells that differ from Node's: generator ${generator}, teacher ${teacher} of 98`);
        expect(generator).toBeLessThanOrEqual(6);
        expect(teacher).toBeLessThanOrEqual(12);
        expect(await page.textContent('#generator-time')).toMatch(/[0-9]+ m?s.*per image/);
        expect(await page.textContent('#status')).toMatch(
          /^Drew 2 images: .* in 1 pass, .* in 3\. The generator was .* as fast\.$/,
        );
        expect(await page.textContent('#engine-reason')).toMatch(/webgpu/i);
      });

      it('has loaded less than a megabyte before the weights', () => {
        const before = [...opened.received].filter(([name]) => !name.startsWith('/models/mnist/'));
        const bytes = before.reduce((sum, [, length]) => sum + length, 0);
        console.log(`first load: ${before.length} files, ${Math.round(bytes / 1000)} kB before the weights`);
        expect(bytes).toBeLessThan(1_000_000);
        expect(bytes).toBeGreaterThan(200_000);
        expect(before.filter(([name]) => name.endsWith('.wasm'))).toEqual([]);
      });

      it('computes in its worker alone, moves nothing, complains of nothing', async () => {
        const { page } = opened;
        const { longTasks, longestScript, layoutShift } = seen;
        console.log(
          `tasks over 50 ms: ${longTasks.join(', ') || 'none'}; longest script ${longestScript} ms; layout shift ${layoutShift.toFixed(4)}`,
        );
        // On cores that an emulated GPU takes, times say little: what could block is not in the page at all.
        const hasEngine = (): boolean => '_tfengine' in globalThis;
        expect(await page.evaluate(hasEngine)).toBe(false);
        expect(await page.workers()[0]!.evaluate(hasEngine)).toBe(true);
        const script = [...opened.received].find(([name]) => /^\/assets\/index-.*\.js$/.test(name));
        expect(script?.[1]).toBeLessThan(50_000);
        expect(layoutShift).toBeLessThan(0.02);
        expect(opened.problems).toEqual([]);
        await picture(page, 'desktop-light');
      });

      it('says that its device was lost, and goes on with another', async () => {
        const { page } = opened;
        const before = await shownImages(page, '#generator-tiles', 28, 28);
        const [worker] = page.workers();
        await worker!.evaluate(() => {
          const { registry } = (
            globalThis as unknown as { _tfengine: { registry: Record<string, { device: { destroy(): void } }> } }
          )._tfengine;
          registry['webgpu']!.device.destroy();
        });
        const said: string[] = [];
        await page.exposeFunction('heard', (text: string) => said.push(text));
        await page.evaluate(() => {
          const status = document.querySelector('#status')!;
          new MutationObserver(() =>
            (globalThis as unknown as { heard(text: string): void }).heard(status.textContent),
          ).observe(status, { childList: true });
        });
        await page.click('#draw');
        await waitForText(page, '#status', 'in 3');
        expect(said.join('\n')).toMatch(/lost; going on with a new engine, webgpu/);
        expect(await shownImages(page, '#generator-tiles', 28, 28)).toEqual(before);
        expect(opened.problems).toEqual([]);
      });
    });

    it('draws what words say, as Node does, and says which words it knows', async () => {
      const { page, problems, close } = await site.open(
        '?engine=wasm&model=emoji&prompt=blue%20heart&count=2&steps=2&seed=4',
      );
      await waitForText(page, '#status', 'in 2');
      const teachers = new Map([[wordsTeacher.name, wordsTeacher]]);
      const generator = await readGenerator(folderWeightSource(emojiPreset), teachers);
      const served = await serveModel(engine, 'emoji', { kind: 'generator', generator }, {});
      const { signal } = new AbortController();
      const texts = ['blue heart', 'blue heart'];
      const shown = await shownImages(page, '#generator-tiles', 32, 32);
      expect(shown).toHaveLength(2);
      let different = 0;
      for await (const { image, index } of served.generate({ texts, count: 2, seed: 4, signal }))
        for (let i = 0; i < image.data.length; i += 3)
          if (Math.abs(shown[index]![i / 3]! - 255 * image.data[i]!) > 8) different++;
      await served.dispose();
      console.log(`pixels that differ from Node's: ${different} of 2048`);
      expect(different).toBeLessThanOrEqual(64); // four tokens of 4 x 4 pixels
      await picture(page, 'emoji-light');
      await page.fill('#prompt', 'a heart of zorglub');
      await page.click('#draw');
      await page.waitForSelector('#problem:not([hidden])');
      expect(await page.textContent('#problem')).toMatch(/zorglub/);
      expect(problems).toEqual([]);
      await close();
    });

    describe('distilling', () => {
      let opened: OpenedPage;
      let file: string;
      const options = { numSteps: 10, batchSize: 2, seed: 3 };
      beforeAll(async () => {
        opened = await site.open('?tab=distil&engine=wasm&distil-steps=10&distil-batch=2&distil-seed=3', {
          acceptDownloads: true,
        });
        const { page } = opened;
        await page.click('#distil-start:not(:disabled)', { timeout: 2 * minutes });
        await waitForText(page, '#distil-state', 'Step 2');
        await page.click('#distil-pause');
        await waitForText(page, '#distil-state', 'Paused');
        expect(await page.textContent('#distil-pause')).toBe('Resume');
        await page.click('#distil-pause');
        await waitForText(page, '#distil-state', 'Done');
        const { longTasks, longestScript } = await observed(page);
        console.log(
          `distilling, tasks over 50 ms: ${longTasks.join(', ') || 'none'}; longest script ${longestScript} ms`,
        );
        const download = page.waitForEvent('download');
        await page.click('#distil-download');
        file = path.join(scratch, (await download).suggestedFilename());
        await (await download).saveAs(file);
      }, 4 * minutes);
      afterAll(() => opened?.close());

      it('ends after ten steps where Node does, and saves a generator that `dimo sample --model` takes', async () => {
        const registry = await loadRegistry([], process.cwd(), ['teachers']);
        const model = await findModel(file, registry);
        if (model.kind !== 'generator') throw new Error('not a generator');
        const teacher = await maskgitTeacher.load({}, folderWeightSource(preset));
        const distillation = createDistillation(teacher, { ...options, onNonFinite: 'skip' });
        const { state } = await runTraining(distillation.program, { engine });
        const expected = distillation.models.ema.weights(state);
        const before = teacher.weights;
        let [difference, change] = [0, 0];
        for (const [name, { data }] of Object.entries(expected))
          data.forEach((value, i) => {
            difference += (value - model.generator.weights[name]!.data[i]!) ** 2;
            change += (value - before[name]!.data[i]!) ** 2;
          });
        const relative = Math.sqrt(difference / change);
        console.log(`ten steps: the weights differ by ${relative.toExponential(1)} of the way that they have gone`);
        // Adam with beta1 = 0 divides by the size of the gradient, so where that is small, rounding decides; measured 0.012.
        expect(relative).toBeLessThan(0.05);
        expect(model.generator.description.training).toMatchObject({ steps: 10, seed: 3 });
        expect(model.generator.decoderWeights).toBeDefined();
      });

      it('shows curves and samples', async () => {
        const { page } = opened;
        expect(await page.getAttribute('#divergence-chart svg', 'aria-label')).toMatch(/at step 10/);
        const [first] = await shownImages(page, '#before-tiles', 28, 28);
        const [last] = await shownImages(page, '#after-tiles', 28, 28);
        expect(Math.max(...first!)).toBeGreaterThan(128);
        expect(Math.max(...last!)).toBeGreaterThan(128);
        expect(await page.textContent('#after-title')).toBe('After step 10');
        expect(await violations(page)).toEqual([]);
        expect(opened.problems).toEqual([]);
        await picture(page, 'distil-light');
      });
    });

    it('can be used with a keyboard and read by a screen reader, on a phone, light and dark', async () => {
      for (const colorScheme of ['light', 'dark'] as const) {
        const { page, problems, close } = await site.open('?engine=wasm&count=5&steps=2', {
          viewport: { width: 360, height: 740 },
          colorScheme,
          reducedMotion: 'reduce',
        });
        await waitForText(page, '#status', 'in 2');
        expect(await violations(page)).toEqual([]);
        const tooWide = () => page.evaluate(() => document.scrollingElement!.scrollWidth - innerWidth);
        expect(await tooWide()).toBeLessThanOrEqual(0);
        await picture(page, `phone-${colorScheme}`);
        await page.focus('#tab-generate');
        await page.keyboard.press('ArrowRight');
        expect(await page.evaluate(() => document.activeElement!.id)).toBe('tab-distil');
        expect(await page.isVisible('#panel-distil')).toBe(true);
        expect(await page.isVisible('#panel-generate')).toBe(false);
        expect(await tooWide()).toBeLessThanOrEqual(0);
        expect(await violations(page)).toEqual([]);
        await page.keyboard.press('Home');
        await page.focus('#seed');
        await page.keyboard.press('ArrowUp');
        await page.keyboard.press('Enter');
        // The address says that it has begun; a fast drawing ends before anybody sees the button say Stop.
        await page.waitForFunction(() => location.search.includes('seed=2'));
        await waitForText(page, '#status', 'in 2');
        expect(problems).toEqual([]);
        if (colorScheme === 'dark') {
          await page.setViewportSize({ width: 1280, height: 900 });
          await picture(page, 'desktop-dark');
        }
        await close();
      }
    });

    it('has buttons for a folder and a file that look and focus like the others', async () => {
      const { page, close } = await site.open('?engine=wasm&count=1');
      await page.waitForFunction(() => document.querySelector('#model-facts')!.textContent!.includes('parameters'));
      const looks = (selector: string): Promise<unknown> =>
        page.locator(selector).evaluate((element) => {
          const { padding, font, borderTop, color } = getComputedStyle(element);
          return { padding, font, borderTop, color, height: element.getBoundingClientRect().height };
        });
      await page.selectOption('#model', 'url');
      const button = await looks('#load-url');
      await page.selectOption('#model', 'files');
      for (const id of ['pick-folder', 'pick-file']) expect(await looks(`label:has(#${id})`), id).toEqual(button);
      await page.focus('#model');
      await page.keyboard.press('Tab');
      expect(await page.evaluate(() => document.activeElement!.id)).toBe('pick-folder');
      const label = page.locator('label:has(#pick-folder)');
      expect(await label.evaluate((element) => getComputedStyle(element).outlineStyle)).toBe('solid');
      await close();
    });

    const hostile = `</script><img src=x onerror="globalThis.pwned=1"><b>bold</b>`;

    it('shows labels of a model as text, whatever they are', async () => {
      const folder = path.join(scratch, 'hostile');
      await cp(path.join(preset, 'generator'), folder, { recursive: true });
      const config = JSON.parse(await readFile(path.join(folder, 'config.json'), 'utf8')) as {
        teacher: { config: { classNames: string[] } };
      };
      config.teacher.config.classNames[0] = hostile;
      await writeFile(path.join(folder, 'config.json'), JSON.stringify(config));
      const { page, problems, close } = await site.open('?engine=wasm&count=1');
      await page.waitForFunction(() => document.querySelector('#model-facts')!.textContent!.includes('parameters'));
      await page.selectOption('#model', 'files');
      await page.setInputFiles('#pick-folder', folder);
      await page.waitForFunction(() => document.querySelector('#classes')!.textContent!.includes('script'));
      expect(await page.textContent('#classes label >> nth=0')).toBe(hostile);
      expect(await page.textContent('#generator-tiles figcaption')).toBe(hostile);
      expect(
        await page.evaluate(
          () =>
            'pwned' in globalThis ||
            (document.querySelector('main b') !== null && document.querySelector('main img') !== null),
        ),
      ).toBe(false);
      expect(await page.locator('main img').count()).toBe(0);
      // A folder that is no model is a problem in words.
      await page.setInputFiles('#pick-file', { name: 'x.safetensors', mimeType: '', buffer: Buffer.from('{}') });
      await page.waitForSelector('#problem:not([hidden])');
      expect(await page.textContent('#problem')).toMatch(/safetensors/);
      expect(problems).toEqual([]);
      await close();
    });

    it('reports show them as text too', async () => {
      const html = renderReport({
        title: hostile,
        summary: hostile,
        notes: [hostile],
        curves: [{ title: hostile, x: [1, 2], series: [{ label: hostile, values: [1, 2] }] }],
        settings: { [hostile]: hostile },
        machine: { device: hostile },
      });
      // Not on the page's address, whose policy would forbid the report its own style and script.
      const { page, problems, close } = await site.browser.open('about:blank');
      await page.setContent(html);
      await page.waitForTimeout(200);
      expect(await page.title()).toBe(hostile);
      expect(await page.textContent('h1')).toBe(hostile);
      expect(await page.evaluate(() => 'pwned' in globalThis)).toBe(false);
      expect(await page.locator('img').count()).toBe(0);
      expect(problems).toEqual([]);
      await close();
    });
  },
);
