/** `@dimo/pipeline` bundled for a page, in a real Chromium: the pictures are those of Node. */
import { pipeline } from '@dimo/pipeline';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { bundleForBrowser, type BundledFolder } from './bundle.js';
import { findChromium, startChromium, type TestBrowser } from './chromium.js';
import { serveFolder, type FolderServer } from './serve-folder.js';

const found = findChromium();
const minutes = 60_000;
const at = (path: string) => fileURLToPath(new URL(path, import.meta.url));

describe.skipIf(!found.path)(
  found.path ? 'the pipeline in Chromium' : `the pipeline in Chromium, skipped: ${found.reason}`,
  { timeout: 5 * minutes },
  () => {
    let bundle: BundledFolder;
    let server: FolderServer;
    let browser: TestBrowser;
    beforeAll(async () => {
      // Fails if anything of Node is imported: the bundler knows none of its modules.
      bundle = await bundleForBrowser({ application: at('./pages/pipeline.ts') });
      server = await serveFolder(bundle.folder, {
        mounts: {
          '/ort/': at('../../node_modules/onnxruntime-web/dist/'),
          '/tfjs-wasm/': at('../../node_modules/@tensorflow/tfjs-backend-wasm/wasm-out/'),
          '/presets/': at('../../packages/presets/presets/'),
          '/elsewhere/': at('../../packages/presets/presets/'),
        },
      });
      browser = await startChromium();
    }, 3 * minutes);
    afterAll(async () => {
      await browser?.close();
      await server?.close();
      await bundle?.remove();
    });

    async function open() {
      const opened = await browser.open(server.origin);
      await opened.page.addScriptTag({ url: 'application.js', type: 'module' });
      return opened;
    }

    it('draws a preset on a canvas as Node draws it, by generator and teacher, and keeps its files', async () => {
      const { page, problems, close } = await open();
      const first = await page.evaluate(() => pipelineFunctions.draw('emoji', 'red heart', {}));
      await using inNode = await pipeline('emoji', { engine: 'wasm' });
      const [heart] = await inNode('red heart', { seed: 1 });
      const [ofTeacher] = await inNode('red heart', { seed: 1, steps: 2, sampler: 'halton' });
      expect(first.tokens).toEqual([...heart!.tokens.data]);
      expect(first.teacherTokens).toEqual([...ofTeacher!.tokens.data]);
      const rgba = heart!.rgba();
      expect(first.pixels.every((value, i) => Math.abs(value - rgba[i]!) <= 1)).toBe(true);
      expect(first.drawn).toEqual(first.pixels);
      expect([first.canvas, first.bitmap, first.imageData]).toEqual([[32, 32], [32, 32], 32]);
      expect([first.engine, first.stages]).toEqual(['wasm', ['files']]);
      expect(first.files).toContain('generator/model.safetensors');
      expect(first.save).toMatchObject({ code: 'option', hint: expect.stringContaining('toBlob()') as string });
      expect(first.wrong).toMatchObject({ code: 'option', message: expect.stringContaining('xyzzy') as string });
      // The second time from the browser's cache.
      const before = server.requests.filter((request) => request.startsWith('/presets/')).length;
      expect(before).toBeGreaterThan(5);
      const again = await page.evaluate(() => pipelineFunctions.draw('emoji', 'red heart', {}));
      expect(again.tokens).toEqual(first.tokens);
      expect(server.requests.filter((request) => request.startsWith('/presets/')).length).toBe(before);
      expect(problems).toEqual([]);
      await close();
    });

    it('reads a folder of the server, and presets that lie elsewhere', async () => {
      const { page, close } = await open();
      const folder = await page.evaluate(() => pipelineFunctions.failures(['./presets/mnist/generator/'], {}));
      expect(folder).toEqual([undefined]);
      const elsewhere = await page.evaluate(() => pipelineFunctions.failures(['mnist'], { presets: '/elsewhere' }));
      expect(elsewhere).toEqual([undefined]);
      expect(server.requests.some((request) => request.startsWith('/elsewhere/mnist/'))).toBe(true);
      await close();
    });

    it('says what is wrong and what to do', async () => {
      const { page, close } = await open();
      const names = ['emojis', 'hf:owner/model', './nothing/', 'ftp://x/'];
      const failures = await page.evaluate((some) => pipelineFunctions.failures(some, {}), names);
      expect(failures.map((failure) => failure?.code)).toEqual(['option', 'option', 'option', 'option']);
      expect(failures[0]).toMatchObject({
        message: 'there is no preset "emojis"',
        hint: expect.stringContaining('mnist, emoji') as string,
      });
      const misplaced = await page.evaluate(() => pipelineFunctions.failures(['mnist'], { presets: '/nowhere/' }));
      expect(misplaced[0]).toMatchObject({ hint: expect.stringContaining('option `presets`') as string });
      await close();
    });
  },
);
