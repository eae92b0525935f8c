/**
 * The onnx engine in a process of its own, bundled as in the published package: the worker's file is found beside the
 * bundle, and the process ends by itself whether or not the engine was disposed.
 */
import { build } from 'esbuild';
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const source = fileURLToPath(new URL('.', import.meta.url));
// Inside the workspace, so that onnxruntime-node resolves; not in a folder that is published.
const folder = path.resolve(source, '../../../node_modules/.cache/dimo/onnx-process');

beforeAll(async () => {
  await build({
    entryPoints: { engine: path.join(source, 'onnx-engine.ts'), 'onnx-worker': path.join(source, 'onnx-worker.mjs') },
    outdir: folder,
    bundle: true,
    splitting: true,
    format: 'esm',
    platform: 'node',
    conditions: ['@dimo/source'],
    external: ['onnxruntime-node'],
    banner: {
      js: "import { createRequire as requireOf } from 'node:module'; var require = requireOf(import.meta.url);",
    },
    logLevel: 'error',
  });
});

/** Runs a script that has `createOnnxEngine` in scope and a compiled identity function on one tensor. */
function run(script: string, environment: Record<string, string> = {}, where = folder) {
  const file = path.join(where, `script-${process.pid}.mjs`);
  writeFileSync(
    file,
    `import { createOnnxEngine } from './engine.js';
     const x = { dtype: 'float32', shape: [3], data: Float32Array.of(1, 2, 3) };
     const specs = { x: { dtype: 'float32', shape: [3] } };
     async function prepare() {
       const engine = await createOnnxEngine({ threads: 1 });
       const state = await engine.upload({ x });
       const fn = await engine.compile(({ x }) => ({ outputs: { x } }), { state: specs, inputs: {} });
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

describe('a process with an onnx engine', () => {
  it('runs a function and ends when the engine is disposed', () => {
    const result = run(`
      const { engine, state, fn } = await prepare();
      console.log([...(await fn.run(state, {})).x.data].join());
      await engine.dispose();
      console.log('disposed');`);
    expect(result).toEqual({ ...success, stdout: '1,2,3\ndisposed' });
  });

  it('ends by itself when the engine is forgotten', () => {
    const result = run(`
      const { state, fn } = await prepare();
      console.log([...(await fn.run(state, {})).x.data].join());`);
    expect(result).toEqual({ ...success, stdout: '1,2,3' });
  });

  it('waits for a run that nobody awaits', () => {
    const result = run(`
      const { state, fn } = await prepare();
      void fn.run(state, {}).then(() => console.log('done'));`);
    expect(result).toEqual({ ...success, stdout: 'done' });
  });

  it('can exit at once in the middle of a run', () => {
    const result = run(`
      const { state, fn } = await prepare();
      for (let i = 0; i < 50; i++) void fn.run(state, {});
      setTimeout(() => process.exit(7), 1);`);
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

  it('takes the number of threads from the environment and refuses nonsense', () => {
    const script = `
      await createOnnxEngine().then(
        async (engine) => { console.log(engine.info.device); await engine.dispose(); },
        (error) => console.log(error.code, error.message));`;
    expect(run(script, { DIMO_THREADS: '3' })).toEqual({ ...success, stdout: 'CPU, 3 threads' });
    expect(run(script, { DIMO_THREADS: 'many' })).toEqual({
      ...success,
      stdout: 'option environment variable DIMO_THREADS: expected an integer from 1 to 1024, got "many"',
    });
  });
});

describe('where onnxruntime-node does not work', () => {
  const report = `await createOnnxEngine().catch(({ code, message, hint }) => console.log([code, message, hint].join('|')));`;
  let elsewhere: string;
  beforeAll(() => {
    elsewhere = mkdtempSync(path.join(tmpdir(), 'dimo-onnx-'));
    cpSync(folder, elsewhere, { recursive: true });
    writeFileSync(path.join(elsewhere, 'package.json'), '{"type":"module"}');
  });
  afterAll(() => rmSync(elsewhere, { recursive: true }));

  /** A package whose main file is this program. */
  function breakPackage(program: string): void {
    const broken = path.join(elsewhere, 'node_modules/onnxruntime-node');
    mkdirSync(broken, { recursive: true });
    writeFileSync(path.join(broken, 'package.json'), '{"name":"onnxruntime-node","main":"index.js"}');
    writeFileSync(path.join(broken, 'index.js'), program);
  }

  it('says that it is missing and how to install it', () => {
    expect(run(report, {}, elsewhere)).toEqual({
      ...success,
      stdout:
        'backend-unavailable|onnx engine: the package onnxruntime-node is not installed|' +
        `run \`cd "${elsewhere}" && npm install --include=optional --ignore-scripts\``,
    });
  });

  it('says why its native library does not load', () => {
    breakPackage('throw new Error("libexample.so.1: cannot open shared object file");');
    expect(run(report, {}, elsewhere)).toEqual({
      ...success,
      stdout:
        'backend-unavailable|onnx engine: onnxruntime-node cannot be loaded: libexample.so.1: cannot open shared object file|' +
        'reinstall it for this platform, or use the engine wasm, which runs everywhere',
    });
  });

  it('says that there is none for this platform', () => {
    breakPackage('require("./bin/napi-v6/" + process.platform + "/riscv64/onnxruntime_binding.node");');
    expect(run(report, {}, elsewhere)).toEqual({
      ...success,
      stdout:
        `backend-unavailable|onnx engine: onnxruntime-node has no build for ${process.platform} ${process.arch}|` +
        'use the engine wasm, which runs everywhere',
    });
  });
});
