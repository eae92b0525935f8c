/**
 * The engine `onnx-native` in a process of its own, bundled as in the published package: it ends by itself whether or not
 * the engine was disposed, and says what is missing.
 */
import { build } from 'esbuild';
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { findOrt } from './ort-files.js';

const source = fileURLToPath(new URL('.', import.meta.url));
const modules = path.resolve(source, '../../../../node_modules');
// Inside the workspace, so that koffi and onnxruntime-node resolve; not in a folder that is published.
const folder = path.join(modules, '.cache/dimo/native-process');

beforeAll(async () => {
  await build({
    stdin: {
      contents: "export { createNativeEngine } from './native-engine.js'; export * as tf from '@tensorflow/tfjs-core';",
      resolveDir: source,
    },
    outfile: path.join(folder, 'engine.js'),
    bundle: true,
    format: 'esm',
    platform: 'node',
    conditions: ['@dimo/source'],
    external: ['koffi'],
    banner: {
      js: "import { createRequire as requireOf } from 'node:module'; var require = requireOf(import.meta.url);",
    },
    logLevel: 'error',
  });
});

/** Runs a script that has `createNativeEngine` in scope, and a compiled function that takes most of a second. */
function run(script: string, environment: Record<string, string> = {}, where = folder) {
  const file = path.join(where, `script-${process.pid}.mjs`);
  writeFileSync(
    file,
    `import { createNativeEngine, tf } from './engine.js';
     const x = { dtype: 'float32', shape: [300, 300], data: new Float32Array(90000).fill(1) };
     const specs = { x: { dtype: 'float32', shape: [300, 300] } };
     async function prepare() {
       const engine = await createNativeEngine({ threads: 1 });
       const state = await engine.upload({ x });
       const powers = ({ x }) => {
         let power = x;
         for (let i = 0; i < 300; i++) power = tf.div(tf.matMul(power, x), 300);
         return { outputs: { x: power } };
       };
       const fn = await engine.compile(powers, { state: specs, inputs: {} });
       return { engine, state, fn };
     }
     ${script}`,
  );
  const { status, signal, stdout, stderr } = spawnSync(process.execPath, [file], {
    encoding: 'utf8',
    timeout: 60_000,
    env: { ...process.env, ...environment },
  });
  return { status, signal, stdout: stdout.trim(), stderr: stderr.trim() };
}

const success = { status: 0, signal: null, stderr: '' };

describe('a process with the engine onnx-native', () => {
  it('runs a function and ends when the engine is disposed', () => {
    const result = run(`
      const { engine, state, fn } = await prepare();
      console.log((await fn.run(state, {})).x.data.length);
      await engine.dispose();
      console.log('disposed');`);
    expect(result).toEqual({ ...success, stdout: '90000\ndisposed' });
  });

  it('ends by itself when the engine is forgotten', () => {
    const result = run(`
      const { state, fn } = await prepare();
      console.log((await fn.run(state, {})).x.data.length);`);
    expect(result).toEqual({ ...success, stdout: '90000' });
  });

  it('waits for a run that nobody awaits', () => {
    const result = run(`
      const { state, fn } = await prepare();
      void fn.run(state, {}).then(() => console.log('done'));`);
    expect(result).toEqual({ ...success, stdout: 'done' });
  });

  it('can exit at once in the middle of runs', () => {
    const result = run(`
      const { state, fn } = await prepare();
      for (let i = 0; i < 50; i++) void fn.run(state, {}).catch(() => {});
      setTimeout(() => process.exit(7), 50);`);
    expect(result).toEqual({ ...success, status: 7, stdout: '' });
  });

  it('refuses everything after dispose', () => {
    const result = run(`
      const { engine, state, fn } = await prepare();
      await Promise.all([engine.dispose(), engine.dispose()]);
      for (const call of [() => fn.run(state, {}), () => state.download(), () => engine.upload({ x })])
        await call().catch((error) => console.log(error.code, error.message.includes('disposed')));
      await state.dispose();
      await fn.dispose();`);
    expect(result).toEqual({ ...success, stdout: 'option true\noption true\noption true' });
  });
});

describe('runs at the same time', () => {
  const report = `
    const engine = await createNativeEngine();
    console.log(engine.parallelRuns);
    await engine.dispose();`;
  it.each([
    [2, 4, 2],
    [6, 4, 4],
    [1, 4, 1],
    [6, 6, 6],
    [6, 0, 1],
    [6, 'many', 1],
    [6, -1, 6],
  ])('of %i threads and %s calls are %i', (threads, calls, expected) => {
    const result = run(report, { DIMO_THREADS: String(threads), UV_THREADPOOL_SIZE: String(calls) });
    expect(result).toEqual({ ...success, stdout: String(expected) });
  });
});

describe('where the engine onnx-native does not work', () => {
  const report = `await createNativeEngine().catch(({ code, message, hint }) => console.log([code, message, hint].join('|')));`;
  let elsewhere: string;
  beforeAll(() => {
    elsewhere = mkdtempSync(path.join(tmpdir(), 'dimo-native-'));
    cpSync(folder, elsewhere, { recursive: true });
    writeFileSync(path.join(elsewhere, 'package.json'), '{"type":"module"}');
    mkdirSync(path.join(elsewhere, 'node_modules/@koromix'), { recursive: true });
  });
  afterAll(() => rmSync(elsewhere, { recursive: true }));
  const install = () => `run \`cd "${elsewhere}" && npm install --include=optional --ignore-scripts\``;

  it('says that the library is missing', () => {
    expect(run(report, {}, elsewhere)).toEqual({
      ...success,
      stdout:
        'backend-unavailable|onnx-native engine: there is no library of onnxruntime|' +
        `${install()}, or name a library of onnxruntime with DIMO_ONNXRUNTIME`,
    });
  });

  it('says that the environment names none', () => {
    expect(run(report, { DIMO_ONNXRUNTIME: '/nowhere' }, elsewhere).stdout).toContain(
      'backend-unavailable|onnx-native engine: DIMO_ONNXRUNTIME names no library of onnxruntime: /nowhere|',
    );
  });

  it('says that koffi is missing', () => {
    const { library } = findOrt('cpu')!;
    expect(run(report, { DIMO_ONNXRUNTIME: library }, elsewhere)).toEqual({
      ...success,
      stdout: `backend-unavailable|onnx-native engine: the package koffi is not installed|${install()}`,
    });
  });

  it('says that a library is another one, or damaged', () => {
    for (const name of ['koffi', `@koromix/koffi-${process.platform}-${process.arch}`])
      symlinkSync(path.join(modules, name), path.join(elsewhere, 'node_modules', name));
    const damaged = path.join(elsewhere, 'libonnxruntime.so');
    writeFileSync(damaged, 'not a library');
    expect(run(report, { DIMO_ONNXRUNTIME: elsewhere }, elsewhere).stdout).toContain(
      `backend-unavailable|onnx-native engine: ${damaged} cannot be loaded: `,
    );
    writeFileSync(damaged, readFileSync(findOrt('cpu')!.library).subarray(0, 100_000));
    expect(run(report, { DIMO_ONNXRUNTIME: elsewhere }, elsewhere).stdout).toContain(
      `backend-unavailable|onnx-native engine: ${damaged} cannot be loaded: the file is cut short`,
    );
  });
});
