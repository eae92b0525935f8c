/** What a run that fails leaves to be saved: the state of the end of a step, or nothing. */
import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';
import { describe, expect, it } from 'vitest';
import {
  eagerEngine,
  float32,
  NonFiniteError,
  runTraining,
  tensorSource,
  withTraining,
  type HostTensor,
  type TensorSource,
  type TrainingProgram,
  type TrainingSnapshot,
  type TrainingStart,
} from '../index.js';

/** Adds 1 to `a` and then 1 to `b` in every step. */
function counting(changes: Partial<TrainingProgram<number>> = {}): TrainingProgram<number> {
  const add = (name: string) => (state: tf.NamedTensorMap) => ({
    state: { [name]: tf.add(state[name]!, 1) },
    outputs: {},
  });
  return {
    name: 'counting',
    numSteps: 5,
    batchSize: 1,
    functions: { a: add('a'), b: add('b') },
    initialState: () => ({ a: float32([1]), b: float32([1]) }),
    initialCounters: { steps: 0 },
    draw: (step) => step,
    calls: () => [
      { fn: 'a', inputs: {} },
      { fn: 'b', inputs: {} },
    ],
    finish: (_step, { steps = 0 }) => ({ metrics: {}, counters: { steps: steps + 1 } }),
    ...changes,
  } as TrainingProgram<number>;
}

/** The error of a run, and what could be saved of it. */
async function failing(
  program: TrainingProgram<number>,
  onStep?: (step: number) => void,
): Promise<{ error: unknown; saved: TrainingSnapshot | undefined }> {
  let saved: TrainingSnapshot | undefined;
  const error: unknown = await runTraining(program, {
    engine: eagerEngine('cpu'),
    onStep: ({ step }) => onStep?.(step),
    onFailure: async ({ snapshot }) => void (saved = await snapshot()),
  }).catch((thrown: unknown) => thrown);
  return { error, saved };
}

const after = (step: number) => ({
  step,
  counters: { steps: step },
  state: { a: float32([1], [step]), b: float32([1], [step]) },
});
const boom = (): never => {
  throw new Error('boom');
};

describe('a run that fails', () => {
  it.each([
    ['drawing the inputs of a step', { draw: (step: number) => (step === 3 ? boom() : step) }],
    ['preparing a step', { calls: (step: number) => (step === 3 ? boom() : counting().calls(0, {}, 0)) }],
  ])('while %s leaves the state of the last whole step', async (_what, changes) => {
    const { error, saved } = await failing(counting(changes));
    expect(error).toMatchObject({ message: 'boom' });
    expect(saved).toEqual(after(3));
  });

  it('in what follows a step leaves the state of that step', async () => {
    const { error, saved } = await failing(counting(), (step) => void (step === 2 && boom()));
    expect(error).toMatchObject({ message: 'boom' });
    expect(saved).toEqual(after(2));
  });

  it('at the end that a step asks for leaves the state of that step', async () => {
    const failure = new NonFiniteError('not finite');
    const program = counting({
      finish: (step, { steps = 0 }) => ({
        metrics: {},
        counters: { steps: steps + 1 },
        ...(step === 1 ? { skipped: true, failure } : {}),
      }),
    });
    const { error, saved } = await failing(program);
    expect(error).toBe(failure);
    expect(saved).toEqual(after(2));
  });

  it.each([
    ['its second call fails', { functions: { ...counting().functions, b: boom } }],
    ['its result cannot be read', { finish: boom }],
  ])('in the middle of a step, because %s, leaves nothing: the state is that of half a step', async (_why, changes) => {
    const { error, saved } = await failing(counting(changes));
    expect(error).toBeInstanceOf(Error);
    expect(saved).toBeUndefined();
  });

  it('resumes from what it left as if nothing had happened', async () => {
    const { saved } = await failing(counting(), (step) => void (step === 2 && boom()));
    const { step, state } = await runTraining(counting(), { engine: eagerEngine('cpu'), from: saved! });
    expect({ step, state }).toEqual({ step: 5, state: after(5).state });
  });
});

describe('a run that goes on from tensors read one at a time', () => {
  const tensors = (b: HostTensor): TensorSource => tensorSource({ b });
  const from = (b: HostTensor, close: () => void): TrainingStart => ({
    step: 3,
    counters: { steps: 3 },
    state: tensors(b),
    close: async () => close(),
  });

  it('has the initial values of those that are not there, and closes what it has read before the first step', async () => {
    const order: string[] = [];
    const { state } = await runTraining(counting(), {
      engine: eagerEngine('cpu'),
      from: from(float32([1], [7]), () => order.push('closed')),
      onStep: ({ step }) => void order.push(`step ${step}`),
    });
    expect(state).toEqual({ a: float32([1], [2]), b: float32([1], [9]) });
    expect(order).toEqual(['closed', 'step 4', 'step 5']);
  });

  it('closes them where they do not fit', async () => {
    let numClosed = 0;
    const start = from(float32([2], [7, 7]), () => numClosed++);
    await expect(runTraining(counting(), { engine: eagerEngine('cpu'), from: start })).rejects.toMatchObject({
      code: 'shape',
    });
    expect(numClosed).toBe(1);
  });
});

describe('the end of a run', () => {
  it('is used on the device; what fails there is no failure of the run', async () => {
    const engine = eagerEngine('cpu');
    let numFailures = 0;
    const onFailure = (): void => void numFailures++;
    const options = { engine, onFailure, until: 2 };
    const made = await withTraining(counting(), options, async ({ step, stopped, deviceState }) => ({
      step,
      stopped,
      b: (await deviceState.download(['b']))['b'],
    }));
    expect(made).toEqual({ step: 2, stopped: false, b: float32([1], [2]) });
    await expect(withTraining(counting(), options, () => Promise.resolve().then(boom))).rejects.toThrow('boom');
    expect(numFailures).toBe(0);
  });
});
