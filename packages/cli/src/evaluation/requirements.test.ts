/** The least number of samples of an evaluation is what its metrics can be computed from, no more and no less. */
import { int32, type Dataset, type TeacherDefinition } from '@dimo/core';
import { imageMetrics, intraClassVariance } from '@dimo/eval';
import { describe, expect, it } from 'vitest';
import { checkConfig } from '../config/check.js';
import { evaluationClasses } from './conditions.js';
import { checkEvaluation } from './requirements.js';

const numClasses = 3;
const labels = Int32Array.from({ length: 60 }, (_, i) => i % numClasses);
const split = { count: 60, pixels: new Uint8Array(60), labels: int32([60], labels) };
const dataset: Dataset = {
  name: 'dots',
  imageShape: [1, 1, 1],
  classNames: ['a', 'b', 'c'],
  train: split,
  test: split,
};
const definition = {
  decoder: { imageShape: [1, 1, 1] },
  conditions: { classNames: dataset.classNames, sample: () => ({}), parse: () => ({}) },
} as unknown as TeacherDefinition;

async function failure(settings: object, given: Partial<{ definition: TeacherDefinition; dataset: Dataset }> = {}) {
  const config = checkConfig({ eval: settings }, () => '').config!;
  const registry = { metrics: new Map() } as never;
  return checkEvaluation({ config, registry, dataset, definition, ...given }).then(
    () => undefined,
    (error: Error) => error.message,
  );
}

/** Whether the metrics themselves can be computed. */
function canCompute(count: number, neighbors: { precisionNeighbors: number; densityNeighbors: number }): boolean {
  const matrix = (columns: number) => ({
    rows: count,
    columns,
    data: Float32Array.from({ length: count * columns }, (_, i) => Math.sin(i * i)),
  });
  const covariance = Float64Array.from([1, 0, 0, 1]);
  const reference = {
    key: '',
    statistics: { count: 60, mean: new Float64Array(2), covariance },
    subset: matrix(2),
    intraClassVariance: 1,
  };
  try {
    const classes = evaluationClasses(definition.conditions, count, dataset)!;
    imageMetrics({ features: matrix(2), logits: matrix(numClasses) }, reference, { ...neighbors, labels: classes });
    return true;
  } catch {
    return false;
  }
}

describe('eval.count', () => {
  it.each([
    { precisionNeighbors: 5, densityNeighbors: 5 },
    { precisionNeighbors: 12, densityNeighbors: 5 },
    { precisionNeighbors: 1, densityNeighbors: 20 },
  ])('is accepted from where the metrics can be computed, with %j', async (neighbors) => {
    for (let count = 2; count <= 25; count++)
      expect((await failure({ count, ...neighbors })) === undefined, `${count}`).toBe(canCompute(count, neighbors));
  });

  it('says what needs so many', async () => {
    expect(await failure({ count: 9 })).toMatch(/eval\.count must be at least 10, got 9: the inception score/);
    expect(await failure({ count: 15, densityNeighbors: 15 })).toMatch(/at least 16, got 15: density and coverage/);
    expect(await failure({ count: 61 })).toMatch(/at most 60, got 61: .*dots/);
  });

  it('asks for a class with two samples', async () => {
    const many = int32(
      [60],
      Int32Array.from({ length: 60 }, (_, i) => i),
    );
    const names = Array.from({ length: 60 }, (_, i) => `class ${i}`);
    const alone = { ...dataset, classNames: names, test: { ...split, labels: many } };
    const conditions = { ...definition.conditions, classNames: names };
    const message = await failure({ count: 20 }, { dataset: alone, definition: { ...definition, conditions } });
    expect(message).toMatch(/must be larger, got 20: no class has two samples/);
    const features = { rows: 20, columns: 1, data: new Float32Array(20) };
    expect(() => intraClassVariance(features, many.data.subarray(0, 20))).toThrow(/no class has two samples/);
  });

  it('is free where no images are compared', async () => {
    const { decoder: _decoder, ...sequences } = definition;
    expect(await failure({ count: 2 }, { definition: sequences as TeacherDefinition })).toBeUndefined();
  });
});
