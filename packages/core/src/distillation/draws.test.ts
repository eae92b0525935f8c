/**
 * What the host draws for a distillation step, against a second implementation of the random numbers, and what follows
 * from given draws: masks, ratios, time inputs, guidance, weights, dropped and null conditions, noise.
 */
import { describe, expect, it } from 'vitest';
import {
  createDistillation,
  distillationInputs,
  drawDistillation,
  drawnTensor,
  float32,
  gatherRows,
  int32,
  maskRatioAt,
  phaseInputs,
  randomStream,
  scaledTensor,
  type DistillationOptions,
  type PhaseDraws,
  type Teacher,
} from '../index.js';
import type { DistillationPhase } from './draws.js';
import { linearModel, linearTeacher } from '../testing/linear-model.js';
import { referenceMask, referenceStream } from '../testing/reference-random.js';
import { drawRecipeOf } from '../ops/drawn-tensor.js';

const seed = 2 ** 33 + 5;
const [batch, length, width] = [4, 6, 8];
const weightsOf = (name: string) => linearModel.initialize(randomStream(1, 0, name));
const teacher: Teacher = { ...linearTeacher, weights: weightsOf('teacher') };

/** A distillation whose generator has weights, so an embedding scale, of its own. */
function contextOf(options: DistillationOptions = {}, negativeLabel?: number) {
  return createDistillation(
    teacher,
    { batchSize: batch, seed, ...options },
    {
      models: { generator: { weights: weightsOf('generator') } },
      ...(negativeLabel === undefined ? {} : { negativeCondition: { label: int32([], [negativeLabel]) } }),
    },
  ).context;
}

describe('draws of an iteration', () => {
  it.each([0, 3])('come from the streams of their phase and samples, in step %i', async (step) => {
    const context = contextOf({
      accumulation: 2,
      tokenInit: { maskRatio: [0.2, 0.7] },
      dropout: { teacher: 0.1, auxiliary: 0.1, generator: 0.1 },
      teacherGuidance: 2,
      auxiliaryGuidance: 1,
      auxiliaryTrainingGuidance: 2,
    });
    const draws = await drawDistillation(context, step);
    const reference = referenceStream(seed, step, 'distillation/initial-mask-ratio');
    expect(draws.initialMaskRatio).toBeCloseTo(0.2 + 0.5 * reference.uniform(1)[0]!, 12);
    for (const phase of ['generator', 'auxiliary'] as const) {
      expect(draws[phase]).toHaveLength(2);
      draws[phase].forEach((drawn, i) => {
        // Sample b of micro-step i is number 8 step + 4 i + b of the run.
        const rows = <T>(name: string, of: (stream: ReturnType<typeof referenceStream>) => T[]): T[] =>
          [0, 1, 2, 3].flatMap((b) => of(referenceStream(seed, 8 * step + 4 * i + b, `distillation/${phase}/${name}`)));
        expect([...drawn.condition['label']!.data]).toEqual(rows('condition', (s) => s.integers(1, 3)));
        expect([...drawn.initialCodes.data]).toEqual(rows('codes', (s) => s.integers(length, 6)));
        expect([...drawn.initialMaskUniforms.data]).toEqual(rows('initial-mask', (s) => s.uniform(length)));
        expect([...drawn.tokenDraws.data]).toEqual(rows('tokens', (s) => s.uniform(length)));
        expect([...drawn.maskRatioUniforms.data]).toEqual(rows('mask-ratio', (s) => s.uniform(1)));
        expect([...drawn.maskUniforms.data]).toEqual(rows('mask', (s) => s.uniform(length)));
        expect([...drawn.dropUniforms.data]).toEqual(rows('drop', (s) => s.uniform(1)));
        const noise = rows('embedding-noise', (s) => s.normal(length * width));
        noise.forEach((value, k) => expect(drawn.embeddingNoise!.data[k]).toBeCloseTo(value, 6));
        // A guided network drops out independently in its unconditional pass.
        const roles = phase === 'generator' ? ['auxiliary', 'generator', 'teacher'] : ['auxiliary', 'generator'];
        const guided = phase === 'generator' ? ['teacher'] : ['auxiliary'];
        for (const [name, trees, expected] of [
          ['dropout', drawn.dropout!, roles],
          ['unconditional-dropout', drawn.unconditionalDropout!, guided],
        ] as const) {
          expect(Object.keys(trees).sort()).toEqual(expected.map((role) => `${role}/hidden`));
          for (const [site, { shape, data }] of Object.entries(trees)) {
            expect(shape).toEqual([batch, length, width]);
            expect([...data]).toEqual(rows(`${name}/${site}`, (s) => s.uniform(length * width)));
          }
        }
      });
    }
  });

  it('are exponential, one per id, for the race', async () => {
    const { generator } = await drawDistillation(contextOf({ sampling: { method: 'exponential-race' } }), 0);
    const expected = [0, 1, 2, 3].flatMap((b) =>
      referenceStream(seed, b, 'distillation/generator/tokens').exponential(length * 6),
    );
    expect(generator[0]!.tokenDraws.shape).toEqual([batch, length, 6]);
    expected.forEach((value, i) => expect(generator[0]!.tokenDraws.data[i]).toBeCloseTo(value, 5));
  });

  it('update the generator in the first of every few rounds', async () => {
    const context = contextOf({ auxiliaryRounds: 3 });
    const drawn = await Promise.all([0, 1, 2, 3, 4, 5, 6].map((step) => drawDistillation(context, step)));
    expect(drawn.map(({ generator }) => generator.length)).toEqual([1, 0, 0, 1, 0, 0, 1]);
    expect(drawn.every(({ auxiliary }) => auxiliary.length === 1)).toBe(true);
  });

  it('left to the device are the same numbers', async () => {
    const { program } = createDistillation(
      { ...teacher, weights: weightsOf('teacher') },
      { batchSize: batch, seed, dropout: { generator: 0.2 }, tokenInit: { noiseUnit: 'unit' } },
    );
    const [here, there] = [await program.draw(2), await program.draw(2, true)];
    for (const phase of ['generator', 'auxiliary']) {
      const [a, b] = [here[phase]![0]!, there[phase]![0]!];
      expect(drawRecipeOf(a['embeddingNoise']!)).toBeUndefined();
      expect(drawRecipeOf(b['embeddingNoise']!)).toEqual({
        kind: 'normal',
        key: { ...randomStream(seed, 2 * batch, `distillation/${phase}/embedding-noise`).key, rows: batch },
        factor: 1,
      });
      expect(drawRecipeOf(b['dropout/generator/hidden']!)!.kind).toBe('uniform');
      expect(drawRecipeOf(b['tokenDraws']!)).toBeUndefined();
      for (const [name, { data }] of Object.entries(a)) expect(b[name]!.data, name).toEqual(data);
    }
  });

  it('of a step are the same in one piece and in parts', async () => {
    const options = { seed, teacherGuidance: 2, dropout: { teacher: 0.1 } };
    const whole = createDistillation(teacher, { ...options, batchSize: 8 }).program;
    const parts = createDistillation(teacher, { ...options, batchSize: 4, accumulation: 2 }).program;
    const ranks = [0, 1, 2, 3].map(
      (rank) => createDistillation(teacher, { ...options, batchSize: 8 }, { shard: { rank, ranks: 4 } }).program,
    );
    for (const phase of ['generator', 'auxiliary']) {
      const [all] = (await whole.draw(5))[phase]!;
      const split = [
        (await parts.draw(5))[phase]!,
        (await Promise.all(ranks.map((program) => program.draw(5)))).map((inputs) => inputs[phase]![0]!),
      ];
      for (const trees of split)
        for (const [name, { shape, data }] of Object.entries(all!)) {
          const isPerSample = shape[0] === 8;
          if (isPerSample)
            expect(
              trees.flatMap((tree) => [...tree[name]!.data]),
              name,
            ).toEqual([...data]);
          else for (const tree of trees) expect(tree[name]!.data, name).toEqual(data);
        }
    }
  });

  it('are scaled in float64 and rounded once, drawn or not', () => {
    const drawn = drawnTensor([5], randomStream(1, 1, 'x'), 'normal');
    const plain = float32([5], randomStream(1, 1, 'x').normal(5));
    const expected = Array.from(plain.data, (value) => Math.fround(value * 0.3));
    for (const tensor of [scaledTensor(drawn, 0.3), scaledTensor(plain, 0.3)])
      expect(Array.from(tensor.data)).toEqual(expected);
    expect(drawRecipeOf(scaledTensor(drawn, 0.3))).toMatchObject({ kind: 'normal', factor: 0.3 });
    expect(drawRecipeOf(scaledTensor(scaledTensor(drawn, 0.3), 2))).toBeUndefined();
    expect(drawRecipeOf({ ...drawn })).toBeUndefined();
    expect(scaledTensor(drawn, 1)).toBe(drawn);
  });
});

/** Draws by hand: four samples that are masked in quarters. */
const given: PhaseDraws = {
  condition: { label: int32([4], [0, 1, 2, 1]) },
  initialCodes: int32(
    [4, 6],
    Array.from({ length: 24 }, (_, i) => i % 6),
  ),
  initialMaskUniforms: float32([4, 6], randomStream(0, 0, 'initial').uniform(24)),
  embeddingNoise: float32([4, 6, 8], randomStream(0, 0, 'noise').normal(192)),
  tokenDraws: float32([4, 6], randomStream(0, 0, 'draws').uniform(24)),
  maskRatioUniforms: float32([4], [0.05, 0.3, 0.6, 0.95]),
  maskUniforms: float32([4, 6], randomStream(0, 0, 'mask').uniform(24)),
  dropUniforms: float32([4], [0.1, 0.4, 0.2, 0.9]),
};

function inputsOf(phase: DistillationPhase, options: DistillationOptions = {}, step = 0, negativeLabel?: number) {
  return phaseInputs(contextOf(options, negativeLabel), given, { phase, step, initialMaskRatio: 0.55 });
}

const numbers = (tensor: { data: ArrayLike<number> } | undefined) => Array.from(tensor!.data);
const ratios = (schedule: 'linear' | 'square' | 'arccos') =>
  numbers(given.maskRatioUniforms).map((r) => maskRatioAt(schedule, r));

describe('inputs of a phase', () => {
  it('mask by the schedule of the phase within the range', () => {
    const options = { maskSchedule: 'linear', auxiliaryMaskSchedule: 'square', maskRatioRange: [0.2, 0.8] } as const;
    for (const [phase, schedule] of [
      ['generator', 'linear'],
      ['auxiliary', 'square'],
    ] as const) {
      const expected = ratios(schedule).map((ratio) => Math.fround(Math.min(0.8, Math.max(0.2, ratio))));
      const inputs = inputsOf(phase, options);
      expect(numbers(inputs['time/auxiliary/ratio'])).toEqual(expected);
      const isMasked = expected.flatMap((ratio, row) => {
        const uniforms = numbers(given.maskUniforms).slice(row * 6, row * 6 + 6);
        return referenceMask(uniforms, Math.round(6 * ratio)).map(Number);
      });
      expect(numbers(inputs['isMasked'])).toEqual(isMasked);
    }
    // Without settings both follow arccos, and one token at least is masked.
    for (const phase of ['generator', 'auxiliary'] as const) {
      expect(numbers(inputsOf(phase)['time/auxiliary/ratio'])).toEqual(ratios('arccos'));
      const { isMasked } = inputsOf(phase, { maskSchedule: 'square' });
      expect(numbers(isMasked).slice(0, 6).filter(Boolean)).toEqual([1]);
    }
  });

  it('tell the generator its initial ratio, the others that of the re-masked sample', () => {
    const generator = inputsOf('generator', { maskSchedule: 'linear' });
    expect(numbers(generator['time/generator/ratio'])).toEqual(new Array(4).fill(Math.fround(0.55)));
    expect(numbers(generator['time/teacher/ratio'])).toEqual(ratios('linear'));
    expect(numbers(generator['time/auxiliary/ratio'])).toEqual(ratios('linear'));
    const auxiliary = inputsOf('auxiliary', { maskSchedule: 'linear' });
    expect(numbers(auxiliary['time/generator/ratio'])).toEqual(new Array(4).fill(Math.fround(0.55)));
    expect(auxiliary['time/teacher/ratio']).toBeUndefined();
  });

  it('start from the initial codes, round(6 * 0.55) = 3 of each row masked', () => {
    const expected = [0, 1, 2, 3].flatMap((row) => {
      const isMasked = referenceMask(numbers(given.initialMaskUniforms).slice(row * 6, row * 6 + 6), 3);
      return isMasked.map((masked, i) => (masked ? 11 : i));
    });
    expect(numbers(inputsOf('generator')['initialTokens'])).toEqual(expected);
    expect(numbers(inputsOf('auxiliary')['initialTokens'])).toEqual(expected);
  });

  it('guide the teacher in the generator phase, per sample where it adapts, away from the negative condition', () => {
    const fixed = inputsOf('generator', { teacherGuidance: 4 });
    expect(numbers(fixed['teacherGuidanceScale'])).toEqual([4, 4, 4, 4]);
    expect(numbers(fixed['negativeCondition/label'])).toEqual([3]);
    expect(numbers(inputsOf('generator', {}, 0, 1)['negativeCondition/label'])).toEqual([1]);
    const adaptive = inputsOf('generator', {
      maskSchedule: 'linear',
      teacherGuidance: { kind: 'ratio-adaptive', scale: 3 },
    });
    ratios('linear').forEach((ratio, i) =>
      expect(adaptive['teacherGuidanceScale']!.data[i]).toBeCloseTo(1 + 2 * ratio, 6),
    );
    expect(inputsOf('auxiliary', { teacherGuidance: 4 })['teacherGuidanceScale']).toBeUndefined();
    expect(inputsOf('generator', { teacherGuidance: 1 })['negativeCondition/label']).toBeUndefined();
  });

  it('guide the auxiliary with the setting of the phase, away from the null condition', () => {
    const options = { auxiliaryGuidance: 2, auxiliaryTrainingGuidance: 5, conditionDrop: 0 };
    const generator = inputsOf('generator', options, 0, 1);
    expect(numbers(generator['auxiliaryGuidanceScale'])).toEqual([2, 2, 2, 2]);
    expect(numbers(generator['nullCondition/label'])).toEqual([3]);
    expect(numbers(inputsOf('auxiliary', options)['auxiliaryGuidanceScale'])).toEqual([5, 5, 5, 5]);
    const once = { auxiliaryGuidance: 2, conditionDrop: 0 };
    expect(inputsOf('auxiliary', once)['auxiliaryGuidanceScale']).toBeUndefined();
  });

  it('weigh the generator by the ratio or its inverse', () => {
    const weights = (ratioWeight: 'ratio' | 'inverse-ratio') =>
      numbers(inputsOf('generator', { maskSchedule: 'linear', ratioWeight })['ratioWeight']);
    expect(weights('ratio')).toEqual(ratios('linear'));
    expect(weights('inverse-ratio')).toEqual(ratios('linear').map((ratio) => Math.fround(1 / ratio)));
    expect(inputsOf('auxiliary', { ratioWeight: 'ratio' })['ratioWeight']).toBeUndefined();
  });

  it('drop the conditions of the auxiliary phase that their number says, and leave the draws as they are', () => {
    const inputs = inputsOf('auxiliary', { conditionDrop: 0.3 });
    expect(numbers(inputs['auxiliaryCondition/label'])).toEqual([3, 1, 3, 1]);
    expect(numbers(inputs['condition/label'])).toEqual([0, 1, 2, 1]);
    expect(numbers(given.condition['label'])).toEqual([0, 1, 2, 1]);
    expect(inputsOf('generator', { conditionDrop: 0.3 })['auxiliaryCondition/label']).toBeUndefined();
    // A number equal to the probability is not below it.
    expect(numbers(inputsOf('auxiliary', { conditionDrop: Math.fround(0.2) })['auxiliaryCondition/label'])).toEqual([
      3, 1, 2, 1,
    ]);
  });

  it('scale the noise by the rms of the generator embeddings, and its scale by the ramp of the step', () => {
    const table = Array.from(weightsOf('generator')['tokens']!.data);
    const rms = Math.sqrt(table.reduce((sum, value) => sum + value * value, 0) / table.length);
    numbers(inputsOf('generator')['embeddingNoise']).forEach((value, i) =>
      expect(value).toBeCloseTo(given.embeddingNoise!.data[i]! * rms, 6),
    );
    expect(numbers(inputsOf('generator', { tokenInit: { noiseUnit: 'unit' } })['embeddingNoise'])).toEqual(
      numbers(given.embeddingNoise),
    );
    const scaleAt = (step: number, kind: 'linear' | 'exponential' | 'cosine') =>
      inputsOf('auxiliary', { tokenInit: { embeddingNoise: { kind, scale: 0.4, warmupSteps: 10 } } }, step)[
        'embeddingNoiseScale'
      ]!.data[0]!;
    expect([0, 4, 10, 11].map((step) => scaleAt(step, 'linear'))).toEqual([0, 0.16, 0.4, 0.4].map(Math.fround));
    expect(scaleAt(0, 'exponential')).toBe(0);
    expect(scaleAt(10, 'exponential')).toBeCloseTo(0.4 * (1 - 1 / Math.E), 7);
    expect(scaleAt(5, 'cosine')).toBeCloseTo(0.2, 7);
  });

  it('of all micro-steps follow their own draws', async () => {
    const context = contextOf({ accumulation: 2, auxiliaryRounds: 2 });
    const draws = await drawDistillation(context, 2);
    const inputs = distillationInputs(context, draws, 2);
    for (const phase of ['generator', 'auxiliary'] as const) {
      const alone = draws[phase].map((drawn) =>
        phaseInputs(context, drawn, { phase, step: 2, initialMaskRatio: draws.initialMaskRatio }),
      );
      // Losses are means over what is masked in both.
      const maskedCount = float32([], [alone.flatMap(({ isMasked }) => numbers(isMasked)).filter(Boolean).length]);
      expect(inputs[phase]).toEqual(alone.map((tree) => ({ ...tree, maskedCount })));
    }
    expect(distillationInputs(context, await drawDistillation(context, 3), 3).generator).toEqual([]);
    // Rows stay rows.
    const swapped = { ...draws.auxiliary[0]!, tokenDraws: gatherRows(draws.auxiliary[0]!.tokenDraws, [1, 0, 2, 3]) };
    const moved = phaseInputs(context, swapped, { phase: 'auxiliary', step: 2, initialMaskRatio: 0.6 });
    expect(moved['tokenDraws']).toEqual(swapped.tokenDraws);
  });
});
