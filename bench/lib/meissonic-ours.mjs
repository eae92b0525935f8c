/** Our side of the full-size benchmark: a child process that writes the weights, or loads them and runs forward passes. */
import { createOnnxEngine, folderWeightSource } from '@dimo/backend-node';
import {
  conditionSpecs,
  float32,
  forwardPass,
  int32,
  randomStream,
  sequenceLength,
  sizeOf,
  subtree,
  timeInputs,
  timeSpecs,
  withPrefix,
  writeSafetensors,
} from '@dimo/core';
import { embedMicroConditions, microConditionNumbers, readReleasedTransformer } from '@dimo/teacher-meissonic';
import { writeFileSync } from 'node:fs';
import { serve } from './child.mjs';
import { writeTransformer } from './meissonic-release.mjs';
import { cpuSeconds, peakRss } from './statistics.mjs';

let engine;
let weights;
let compiled;
let inputs;
let logits;

const timed = async (work) => {
  const [start, cpu] = [performance.now(), cpuSeconds()];
  const value = await work();
  return { value, seconds: (performance.now() - start) / 1000, cpuSeconds: cpuSeconds() - cpu, peakRss: peakRss() };
};
const numbersOf = ({ value: _, ...numbers }) => numbers;

await serve({
  write: ({ folder, float, grid, size }) => writeTransformer(folder, { float, grid, size }),

  /** Reads, uploads, compiles; saves the inputs of the pass for the other side. */
  async start({ folder, grid, threads, inputFile }) {
    engine = await createOnnxEngine({ threads });
    const read = await timed(() => readReleasedTransformer(folderWeightSource(folder), { grid }));
    const { model, weights: host } = read.value;
    const upload = await timed(() => engine.upload(host, { move: true }));
    weights = upload.value;
    const length = sequenceLength(model.tokenSpace);
    const random = randomStream(2, 0, 'bench/inputs');
    const maskRatio = float32([1], [0.6]);
    const normal = (name, shape) => float32([1, ...shape], random.fork(name).normal(sizeOf(shape)));
    const condition = {
      textStates: normal('text', model.condition.textStates.shape),
      pooledText: normal('pooled', model.condition.pooledText.shape),
      microConditions: embedMicroConditions(microConditionNumbers()),
    };
    inputs = {
      tokens: int32([1, length], random.fork('tokens').integers(length, model.tokenSpace.codebookSize)),
      ...withPrefix('condition', condition),
      ...timeInputs(model, { maskRatio }),
    };
    writeFileSync(inputFile, writeSafetensors(inputs));
    const compile = await timed(() =>
      engine.compile(
        (state, given) => ({
          outputs: {
            logits: forwardPass(model, state, {
              tokens: given.tokens,
              condition: subtree('condition', given),
              time: subtree('time', given),
            }),
          },
        }),
        {
          state: model.parameters,
          inputs: {
            tokens: { dtype: 'int32', shape: [1, length] },
            ...conditionSpecs(model, 1),
            ...timeSpecs(model, 1),
          },
        },
      ),
    );
    compiled = compile.value;
    return { info: engine.info, read: numbersOf(read), upload: numbersOf(upload), compile: numbersOf(compile) };
  },

  async forward() {
    const pass = await timed(() => compiled.run(weights, inputs));
    logits = pass.value.logits;
    return numbersOf(pass);
  },

  /** Saves the logits of some positions. */
  save({ rows, file }) {
    const width = logits.shape[2];
    const data = rows.flatMap((row) => Array.from(logits.data.subarray(row * width, (row + 1) * width)));
    writeFileSync(file, writeSafetensors({ logits: float32([rows.length, width], data) }));
  },
});
await engine?.dispose();
