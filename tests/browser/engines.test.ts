/**
 * The engines for browsers in a real Chromium, on the page's thread and in a worker, against Node's `onnx` engine. The GPU
 * is SwiftShader, which emulates one: sizes are small, and times say nothing.
 */
import { createOnnxEngine } from '@dimo/backend-node';
import type { WebEngineName } from '@dimo/backend-web';
import { modelManifest } from '@dimo/backend-web';
import { readSafetensors, type HostTree } from '@dimo/core';
import type { Page } from 'playwright-core';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { fullStepDistillation, runFullStep, stepDifference, type FullStep } from '../engines/full-step.js';
import { bundleForBrowser, type BundledFolder } from './bundle.js';
import { callPage } from './call-page.js';
import { findChromium, startChromium, type TestBrowser, type TestPage } from './chromium.js';
import type { Thread } from './pages/client.js';
import { isolationHeaders, serveFolder, type FolderServer } from './serve-folder.js';

const found = findChromium();
const sizes = { hidden: 16, depth: 1, grid: 3, codebookSize: 12, batchSize: 2 };
/** A GPU emulated on a busy CPU compiles the programs of a step for minutes. */
const timeout = 400_000;
const at = (path: string) => fileURLToPath(new URL(path, import.meta.url));

/** Bytes of `/models/m/model.safetensors`. */
const content = Uint8Array.from({ length: 200_000 }, (_, i) => (i * 7) % 251);

describe.skipIf(!found.path)(
  found.path ? 'engines in Chromium' : `engines in Chromium, skipped: ${found.reason}`,
  () => {
    let bundle: BundledFolder;
    let server: FolderServer;
    let browser: TestBrowser;
    let open: TestPage;
    let page: Page;
    /** Connections of the model file still to be cut, and what its manifest says. */
    const model = { cuts: 0, manifest: '', isServed: true };

    beforeAll(async () => {
      bundle = await bundleForBrowser({ client: at('./pages/client.ts'), worker: at('./pages/worker.ts') });
      server = await serveFolder(bundle.folder, {
        mounts: {
          '/ort/': at('../../node_modules/onnxruntime-web/dist/'),
          '/tfjs-wasm/': at('../../node_modules/@tensorflow/tfjs-backend-wasm/wasm-out/'),
        },
        handle(request, response) {
          if (!request.url!.startsWith('/models/m/')) return false;
          if (!model.isServed) response.socket?.destroy();
          else if (request.url!.endsWith('manifest.json')) response.end(model.manifest);
          else {
            const from = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0);
            response.writeHead(206, {
              'content-length': content.length - from,
              'content-range': `bytes ${from}-${content.length - 1}/${content.length}`,
            });
            if (model.cuts-- <= 0) response.end(content.subarray(from));
            else
              response.write(content.subarray(from, from + 50_000), () =>
                setTimeout(() => response.socket?.destroy(), 50),
              );
          }
          return true;
        },
      });
      browser = await startChromium();
    });
    afterAll(async () => {
      await browser?.close();
      await server?.close();
      await bundle?.remove();
    });
    // A page of its own: engines that could not start must not be remembered by the modules of the next test.
    beforeEach(async () => {
      open = await browser.open(server.origin);
      page = open.page;
      return () => open.close();
    });

    describe('agree with Node', () => {
      const expected = new Map<number, Promise<FullStep>>();
      const reference = (numSteps: number): Promise<FullStep> => {
        const known = expected.get(numSteps);
        if (known) return known;
        const computing = (async () => {
          const engine = await createOnnxEngine();
          try {
            return await runFullStep(engine, fullStepDistillation({ ...sizes, numSteps }));
          } finally {
            await engine.dispose();
          }
        })();
        expected.set(numSteps, computing);
        return computing;
      };

      // The limits of tests/engines/agreement.test.ts, which leave room for float32 sums in another order; the WebAssembly
      // build of onnxruntime has other kernels than Node's and gets those of a GPU as well. After ten steps the differences
      // have gone through nine updates, each of which divides gradients by their own size: up to ten learning rates.
      const limits = { logits: 5e-4, divergenceGradient: 5e-5, losses: 1e-4, parameterGradients: 1e-4, moments: 4e-4 };
      const cases: readonly (readonly [WebEngineName, Thread, number])[] = [
        ['wasm', 'page', 1],
        ['wasm', 'worker', 10],
        ['webgpu', 'worker', 1],
        ['webgpu', 'page', 1],
        ['onnx-webgpu', 'worker', 1],
      ];
      for (const [name, thread, numSteps] of cases)
        it(
          `${name} on the thread of a ${thread}, after ${numSteps === 1 ? 'one step' : `${numSteps} steps`} of distillation`,
          async () => {
            const result = await callPage(page, thread, 'distil', name, { ...sizes, numSteps });
            expect(result.info.name).toBe(name);
            expect(result.isPage).toBe(thread === 'page');
            const actual = {
              generator: decode(result.generator),
              auxiliary: decode(result.auxiliary),
              state: decode(result.state),
            };
            const { tokens, weights, ...differences } = stepDifference(actual, await reference(numSteps));
            expect(tokens).toBe(0);
            expect(weights).toBeLessThanOrEqual(3e-5 * numSteps);
            for (const [quantity, value] of Object.entries(differences))
              expect(value, quantity).toBeLessThanOrEqual(limits[quantity as keyof typeof limits] * numSteps);
            expect(open.problems).toEqual([]);
          },
          timeout,
        );
    });

    it(
      'wasm computes with several threads where the page is isolated, and what one computes',
      async () => {
        const isolated = await serveFolder(bundle.folder, {
          mounts: { '/ort/': at('../../node_modules/onnxruntime-web/dist/') },
          headers: isolationHeaders,
        });
        const own = await browser.open(isolated.origin);
        try {
          const processors = await own.page.evaluate(() => navigator.hardwareConcurrency);
          const [alone, together] = [
            await callPage(page, 'worker', 'distil', 'wasm', { ...sizes, numSteps: 1 }),
            await callPage(own.page, 'worker', 'distil', 'wasm', { ...sizes, numSteps: 1 }),
          ];
          expect(alone.info.device).toBe('CPU, WebAssembly, 1 thread');
          expect(Number(/(\d+) threads?$/.exec(together.info.device)?.[1])).toBeGreaterThanOrEqual(
            Math.min(2, processors),
          );
          const difference = stepDifference(
            {
              generator: decode(together.generator),
              auxiliary: decode(together.auxiliary),
              state: decode(together.state),
            },
            {
              generator: decode(alone.generator),
              auxiliary: decode(alone.auxiliary),
              state: decode(alone.state),
            },
          );
          expect(difference.tokens).toBe(0);
          expect(difference.weights).toBeLessThanOrEqual(3e-5);
          expect(own.problems).toEqual([]);
        } finally {
          await own.close();
          await isolated.close();
        }
      },
      timeout,
    );

    it.each([['wasm', true] as const, ['webgpu', false] as const])(
      '%s passes the conformance suite',
      async (name, isDeterministic) => {
        expect(await callPage(page, 'worker', 'conformance', name, isDeterministic)).toEqual([]);
        // A check hands in an index out of range, which onnxruntime reports on the console as well.
        expect(open.problems.filter((problem) => !problem.includes('indices element out of data bounds'))).toEqual([]);
      },
      timeout,
    );

    it.each(['webgpu', 'onnx-webgpu'] as const)(
      '%s reports a lost device with every call, and a new engine works',
      async (name) => {
        const { failures, after } = await callPage(page, 'worker', 'loseDevice', name);
        expect(failures).toHaveLength(4);
        for (const failure of failures) {
          expect(failure).toMatchObject({ code: 'device', hint: expect.stringContaining('checkpoint') as string });
          expect(failure!.message).toMatch(new RegExp(`^${name} engine: the GPU device was lost`));
        }
        expect(after).toBe(4); // 1, doubled before the loss and after it
        expect(open.problems).toEqual([]);
      },
      timeout,
    );

    it.each(['webgpu', 'onnx-webgpu'] as const)(
      '%s leaves the state as it was when the GPU runs out of memory, and goes on',
      async (name) => {
        const { failure, unchanged, after } = await callPage(page, 'page', 'runOutOfMemory', name);
        expect(failure).toMatchObject({ code: 'device', hint: 'lower the batch size' });
        expect([unchanged, after]).toEqual([2, 4]);
        expect(open.problems).toEqual([]);
      },
      timeout,
    );

    it('says what is missing: WebGPU, an adapter, room in its buffers', async () => {
      const failures = await callPage(page, 'page', 'unavailable');
      const { noGpu, noAdapter, limits, compile, unknown } = failures;
      for (const failure of [noGpu, noAdapter, limits, compile])
        expect(failure).toMatchObject({ code: 'backend-unavailable', hint: expect.stringMatching(/engine/) as string });
      expect(noGpu!.message).toContain('this browser has no WebGPU');
      expect(noAdapter!.message).toContain('there is no WebGPU adapter here');
      expect(limits!.message).toMatch(
        /tensors of 1099511627776 bytes do not fit into this GPU's largest buffer, \d+ bytes/,
      );
      expect(compile!.message).toContain('compile: "x" (float32 [1073741824], 4294967296 bytes) do not fit');
      expect(unknown).toMatchObject({ code: 'option' });
      expect(open.problems).toEqual([]);
    });

    it('says which files are not served', async () => {
      for (const name of ['wasm', 'onnx-webgpu'] as const)
        expect(await callPage(page, 'worker', 'withoutFiles', name)).toMatchObject({
          code: 'backend-unavailable',
          message: expect.stringMatching(/onnxruntime-web does not start: .*\/absent\//) as string,
          hint: expect.stringContaining('onnxruntimeFiles') as string,
        });
    });

    it('falls back to the WebAssembly of tfjs', async () => {
      expect(await callPage(page, 'worker', 'lastResort')).toEqual({ device: 'CPU, WebAssembly (tfjs)', x: [1, 2] });
    });

    it(
      'auto measures real steps, takes the fastest, and remembers it in pages and workers',
      async () => {
        const [first, second] = await callPage(page, 'worker', 'choose', ['webgpu', 'wasm'], true);
        const times = first!.measurements.map(({ milliseconds }) => milliseconds);
        expect(times).toHaveLength(2);
        expect(times[0]).toBeLessThanOrEqual(times[1]!);
        expect(first!.measurements[0]!.name).toBe(first!.name);
        expect(first!.events).toEqual(['start webgpu', 'measure webgpu', 'start wasm', 'measure wasm']);
        expect(second).toMatchObject({ name: first!.name, isRemembered: true, events: [`start ${first!.name}`] });
        const [third] = await callPage(page, 'page', 'choose', ['webgpu', 'wasm'], true);
        expect(third!.isRemembered).toBe(true);
        expect(open.problems).toEqual([]);
      },
      timeout,
    );

    it('auto passes over an emulated GPU', async () => {
      const [first] = await callPage(page, 'worker', 'choose', ['webgpu', 'wasm'], false);
      expect(first!.name).toBe('wasm');
      expect(first!.explanation).toMatch(/passed over: webgpu \(.*swiftshader.* only emulates a GPU\)$/);
    });

    it('a page that uses one engine downloads only that one', async () => {
      server.requests.length = 0;
      await callPage(page, 'worker', 'choose', ['webgpu'], true);
      expect(server.requests.filter((path) => path.endsWith('.wasm') || path.includes('/ort/'))).toEqual([]);
      await callPage(page, 'worker', 'distil', 'wasm', sizes);
      const fetched = server.requests.filter((path) => path.endsWith('.wasm'));
      expect(fetched).toEqual(['/ort/ort-wasm-simd-threaded.wasm']);
    });

    it('model files: a cut transfer is resumed, a wrong one refused, a known one read without a network', async () => {
      const url = `${server.origin}/models/m/`;
      const read = (thread: Thread) => callPage(page, thread, 'readFolder', url, 'model.safetensors');
      const serveManifest = async (bytes: Uint8Array) => {
        model.manifest = JSON.stringify(await modelManifest({ 'model.safetensors': bytes }));
      };
      await serveManifest(content.toReversed());
      expect(await read('worker')).toMatchObject({ length: -1, hasCache: true, failure: { code: 'weights' } });
      await serveManifest(content);
      model.cuts = 2;
      expect(await read('worker')).toMatchObject({ length: content.length, failure: undefined, fromCache: false });
      expect(model.cuts).toBe(-1); // two cuts, and one answer to the end
      model.isServed = false;
      expect(await read('page')).toMatchObject({ length: content.length, failure: undefined, fromCache: true });
    });
  },
);

function decode(base64: string): HostTree {
  return readSafetensors(Uint8Array.from(Buffer.from(base64, 'base64')), { path: 'page' }).tensors;
}
