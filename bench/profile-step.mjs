/**
 * Where the time of a traced step goes: runs the generator and the auxiliary step of a benchmark case in onnxruntime's
 * profiler and prints the operators, and the single nodes, that take longest.
 *
 *   node bench/profile-step.mjs [case=h128-d4] [threads=1] [runs=5] [top=25]
 */
import { emitModel, trace } from '@dimo/onnx';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import * as ort from 'onnxruntime-node';
import { cases, largeCases, step } from './lib/cases.mjs';
import { benchDistillation } from './lib/distillation.mjs';
import { specsOf } from '@dimo/core';
import { loadLine, options } from './lib/statistics.mjs';

const given = options({ case: 'h128-d4', threads: 1, runs: 5, top: 25 });
const { batch, ...model } = { ...cases, ...largeCases }[given.case];
const { distillation } = benchDistillation({ model, batch, step, seed: 1 });
const { program } = distillation;
const state = program.initialState();
const types = { float32: 'float32', int32: 'int32', bool: 'bool' };
const draws = await program.draw(0);
const calls = program.calls(0, program.initialCounters, draws);
const folder = mkdtempSync(path.join(tmpdir(), 'dimo-profile-'));
console.log(`${given.case}, ${given.threads} threads, ${loadLine()}`);

for (const { fn, inputs } of calls) {
  const bytes = emitModel(trace(program.functions[fn], { state: specsOf(state), inputs: specsOf(inputs) }));
  const session = await ort.InferenceSession.create(bytes, {
    intraOpNumThreads: given.threads,
    interOpNumThreads: 1,
    enableProfiling: true,
    profileFilePrefix: path.join(folder, fn),
    logSeverityLevel: 3,
    extra: { session: { intra_op: { allow_spinning: '0' } } },
  });
  const feeds = {};
  for (const name of session.inputNames) {
    // Graph inputs are named `s:<state tensor>` and `i:<input>`.
    const tensor = (name.startsWith('s:') ? state : inputs)[name.slice(2)];
    if (!tensor) throw new Error(`no value for the graph input "${name}"`);
    feeds[name] = new ort.Tensor(types[tensor.dtype], tensor.data, [...tensor.shape]);
  }
  const before = process.memoryUsage().rss;
  for (let i = 0; i < given.runs; i++) await session.run(feeds);
  const after = process.memoryUsage().rss;
  session.endProfiling();
  await session.release();
  const { readdirSync } = await import('node:fs');
  const file = readdirSync(folder).find((name) => name.startsWith(fn));
  const events = JSON.parse(readFileSync(path.join(folder, file), 'utf8'));
  // The first run allocates; it is left out.
  const starts = events.filter((event) => event.name === 'model_run').map((event) => event.ts);
  const kernels = events.filter((event) => event.name.endsWith('_kernel_time') && event.ts >= (starts[1] ?? 0));
  const runs = given.runs - 1;
  const sum = (key) => {
    const totals = new Map();
    for (const event of kernels) {
      const name = key(event);
      const entry = totals.get(name) ?? { milliseconds: 0, count: 0 };
      entry.milliseconds += event.dur / 1000 / runs;
      entry.count += 1 / runs;
      totals.set(name, entry);
    }
    return [...totals].sort(([, a], [, b]) => b.milliseconds - a.milliseconds);
  };
  const total = kernels.reduce((all, event) => all + event.dur, 0) / 1000 / runs;
  console.log(`\n${fn} step: ${total.toFixed(0)} ms in kernels, memory +${((after - before) / 2 ** 20).toFixed(0)} MB`);
  const print = (rows) => {
    for (const [name, { milliseconds, count }] of rows.slice(0, given.top))
      console.log(
        `  ${milliseconds.toFixed(1).padStart(8)} ms ${((100 * milliseconds) / total).toFixed(1).padStart(5)} %  ${count.toFixed(0).padStart(4)} x ${name}`,
      );
  };
  print(sum((event) => event.args.op_name));
  console.log('  by operator and shapes:');
  const shapes = (list) => (list ?? []).map((type) => Object.values(type)[0].join('x') || 'scalar').join(' ');
  print(
    sum(
      (event) =>
        `${event.args.op_name} ${shapes(event.args.input_type_shape)} -> ${shapes(event.args.output_type_shape)}`,
    ),
  );
}
rmSync(folder, { recursive: true, force: true });
