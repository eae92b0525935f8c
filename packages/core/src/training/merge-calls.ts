/**
 * Several device calls of a step as one. On an engine that keeps working memory per compiled function, one function needs
 * the memory of its largest part where several need the sum; and less crosses between host and device.
 */
import * as tf from '@tensorflow/tfjs-core';
import { DimoError } from '../errors.js';
import { subtree, withPrefix, type SpecTree, type TensorTree } from '../tensors/tensors.js';
import type { TrainingProgram } from './training.js';

/** Name of the one function. */
const mergedName = 'step';

/**
 * A program whose steps are one call. The same numbers, bit for bit; checkpoints fit both programs.
 *
 * @param program - every step calls each of its functions exactly once, in the order of `functions`: a distillation
 *   without accumulation and with one auxiliary round, for example.
 * @returns a program with one function. Its `calls` throws a DimoError with code `internal` if a step calls others.
 */
export function mergeCalls<Draws>(program: TrainingProgram<Draws>): TrainingProgram<Draws> {
  const parts = Object.entries(program.functions);
  if (parts.length < 2) return program;
  const names = parts.map(([name]) => name);
  const inputs: SpecTree = Object.assign({}, ...parts.map(([name, part]) => withPrefix(name, part.inputs)));
  return {
    ...program,
    functions: {
      [mergedName]: {
        inputs,
        fn: (state, values) => {
          const newState: TensorTree = {};
          const outputs: TensorTree = {};
          for (const [name, { fn }] of parts) {
            // What one part needs while it computes is released before the next begins.
            const result = tf.tidy(() => {
              const { state: changed = {}, outputs: results } = fn({ ...state, ...newState }, subtree(name, values));
              return { changed, results };
            });
            Object.assign(newState, result.changed);
            Object.assign(outputs, withPrefix(name, result.results));
          }
          return { state: newState, outputs };
        },
      },
    },
    calls(step, counters, draws) {
      const calls = program.calls(step, counters, draws);
      if (calls.map(({ fn }) => fn).join() !== names.join())
        throw new DimoError(
          'internal',
          `mergeCalls: ${program.name} must call ${names.join(', ')} in every step, step ${step} calls ${calls.map(({ fn }) => fn).join(', ')}`,
        );
      return [
        {
          fn: mergedName,
          inputs: Object.assign({}, ...calls.map((call) => withPrefix(call.fn, call.inputs))),
        },
      ];
    },
    finish: (step, counters, [outputs]) =>
      program.finish(
        step,
        counters,
        names.map((name) => subtree(name, outputs!)),
      ),
  };
}
