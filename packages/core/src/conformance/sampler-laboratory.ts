/**
 * A laboratory for samplers with known answers: a small joint law whose conditionals are exact stands for the teacher, and
 * what a sampler makes of them is enumerated instead of drawn, every choice with its probability. So errors of a sampler
 * are seen to many digits, without sampling noise.
 */
import { DimoError, OptionError } from '../errors.js';
import type { SamplerSettings } from '../model/sampler-options.js';
import { samplingPlan } from '../sampling/plan.js';
import { resolveSampler, type SamplerRegistry } from '../sampling/resolve-sampler.js';
import type { SamplerRandom } from '../sampling/sampler-random.js';
import type { Pass, PassRequest } from '../sampling/sampler.js';

/** A law of `length` tokens with ids below `codebookSize`. */
export interface ExactLaw {
  readonly length: number;
  readonly codebookSize: number;
  /** [codebookSize^length], row-major: the last token changes fastest. They sum to 1. */
  readonly probabilities: ArrayLike<number>;
}

/** Half the sum of absolute differences of two distributions: 0 for equal ones, 1 for disjoint ones. */
export function totalVariation(a: ArrayLike<number>, b: ArrayLike<number>): number {
  return Array.from(a, (value, i) => Math.abs(value - b[i]!)).reduce((sum, each) => sum + each, 0) / 2;
}

/**
 * What is left of a law where each token is masked independently with a probability and then drawn again from its
 * conditional: the most that a sampler can give which ends there with one pass.
 */
export function redrawn(law: ExactLaw, maskProbability: number): Float64Array {
  const { length, codebookSize, probabilities } = law;
  const conditionals = conditionalsOf(law);
  const result = new Float64Array(probabilities.length);
  for (let x = 0; x < probabilities.length; x++)
    for (let mask = 0; mask < 2 ** length; mask++) {
      const masked = Array.from({ length }, (_, i) => Boolean(mask & (1 << i)));
      const weight = masked.reduce((w, isMasked) => w * (isMasked ? maskProbability : 1 - maskProbability), 1);
      const tokens = tokensOf(x, law).map((token, i) => (masked[i] ? codebookSize : token));
      const given = conditionals(tokens);
      for (let y = 0; y < probabilities.length; y++) {
        const drawn = tokensOf(y, law);
        let p = probabilities[x]! * weight;
        for (let i = 0; i < length; i++)
          p *= masked[i] ? given[i * codebookSize + drawn[i]!]! : Number(drawn[i] === tokens[i]);
        result[y]! += p;
      }
    }
  return result;
}

/** A decision that was taken while a sampler ran, and what else it could have been. */
interface Decision {
  readonly weights: readonly number[];
  taken: number;
}

/** Where a sampler can stand at the end of a step. */
interface Standing {
  probability: number;
  /** Decisions that lead there; the first ones found, since what follows depends on the standing alone. */
  readonly decisions: readonly number[];
  readonly tokens: readonly number[];
  readonly hasEnded: boolean;
  /** Passes along `decisions`. */
  readonly passes: number;
}

/** What a sampler makes of a law. */
export interface SampledDistribution {
  /** [codebookSize^length]. */
  readonly probabilities: Float64Array;
  /** Mean number of passes of a sample. */
  readonly passes: number;
  /** Mean fraction of masked positions at the end of each step. */
  readonly maskedFractions: readonly number[];
}

/**
 * The exact distribution that a sampler samples from a law.
 *
 * The sampler is run step by step from every standing it can reach; standings with equal tokens, and with equal values of
 * what it yields, are one.
 *
 * @param settings - sampler and options. `choiceTemperature` must be 0: Gumbel noise has no end of values to enumerate.
 *   Guidance and how tokens are drawn (temperature, top-k, top-p) have no effect: the law stands for the guided model.
 * @throws OptionError for wrong settings. DimoError with code `internal` if the sampler asks for what cannot be enumerated.
 */
export async function sampledDistribution(
  law: ExactLaw,
  settings: SamplerSettings,
  samplers?: SamplerRegistry,
): Promise<SampledDistribution> {
  const { sampler, options } = resolveSampler(settings, {}, samplers);
  const { length, codebookSize } = law;
  if (law.probabilities.length !== codebookSize ** length)
    throw new OptionError(`laboratory: a law of ${length} tokens has ${codebookSize ** length} probabilities`);
  const conditionals = conditionalsOf(law);
  const space = { codebookSize, numLogits: codebookSize, maskTokenId: codebookSize, grid: [1, length] } as const;

  /** Runs the sampler to the end of step `numSteps`, along decisions that are given and then the first possible ones. */
  async function runAlong(given: readonly number[], numSteps: number) {
    const decisions: Decision[] = [];
    const choose = (weights: readonly number[]): number => {
      const known = given[decisions.length];
      const taken = known ?? weights.findIndex((weight) => weight > 0);
      decisions.push({ weights, taken });
      return taken;
    };
    const plan = samplingPlan(space, 1);
    let passes = 0;
    const denoise = (_request?: PassRequest): Promise<Pass> => {
      if (plan.isOpen()) passes++;
      return Promise.resolve(exactPass(conditionals([...plan.tokens]), codebookSize, choose));
    };
    const run = sampler.run({ options, plan, denoise, random: enumeratedRandom(choose, length) });
    let hidden: unknown;
    let hasEnded = false;
    for (let step = 0; step < numSteps && !hasEnded; step++) {
      const result = await run.next();
      hasEnded = result.done === true;
      hidden = result.value;
    }
    return { decisions, tokens: [...plan.tokens], hidden, hasEnded, passes };
  }

  const probabilities = new Float64Array(law.probabilities.length);
  const maskedFractions: number[] = [];
  let passes = 0;
  let standings: Standing[] = [{ probability: 1, decisions: [], tokens: [], hasEnded: false, passes: 0 }];
  for (let numSteps = 1; standings.length > 0; numSteps++) {
    const next = new Map<string, Standing>();
    for (const from of standings) {
      let given: readonly number[] | undefined = from.decisions;
      while (given) {
        const reached = await runAlong(given, numSteps);
        const own = reached.decisions.slice(from.decisions.length);
        const probability = own.reduce((p, { weights, taken }) => p * shareOf(weights, taken), from.probability);
        const hidden = ArrayBuffer.isView(reached.hidden) ? [...(reached.hidden as Float64Array)] : reached.hidden;
        const key = JSON.stringify([reached.tokens, hidden, reached.hasEnded]);
        const known = next.get(key);
        if (known) known.probability += probability;
        else
          next.set(key, {
            probability,
            decisions: reached.decisions.map(({ taken }) => taken),
            tokens: reached.tokens,
            hasEnded: reached.hasEnded,
            passes: reached.passes,
          });
        passes += probability * (reached.passes - from.passes);
        given = following(reached.decisions, from.decisions.length);
      }
    }
    const masked = [...next.values()].reduce(
      (sum, { tokens, probability }) => sum + probability * tokens.filter((token) => token === codebookSize).length,
      0,
    );
    if ([...next.values()].some(({ hasEnded }) => !hasEnded)) maskedFractions.push(masked / length);
    for (const { hasEnded, tokens, probability } of next.values())
      if (hasEnded) {
        if (tokens.includes(codebookSize))
          throw new DimoError('internal', `laboratory: sampler "${sampler.name}" ended with masked tokens`);
        probabilities[tokens.reduce((index, token) => index * codebookSize + token, 0)]! += probability;
      }
    standings = [...next.values()].filter(({ hasEnded }) => !hasEnded);
  }
  return { probabilities, passes, maskedFractions };
}

/** The next run in depth-first order: the last decision that has another possibility takes it. Undefined after the last. */
function following(decisions: readonly Decision[], fixed: number): number[] | undefined {
  for (let last = decisions.length - 1; last >= fixed; last--) {
    const { weights, taken } = decisions[last]!;
    const other = weights.findIndex((weight, k) => k > taken && weight > 0);
    if (other >= 0) return [...decisions.slice(0, last).map((decision) => decision.taken), other];
  }
  return undefined;
}

function shareOf(weights: readonly number[], index: number): number {
  return weights[index]! / weights.reduce((sum, weight) => sum + weight, 0);
}

/** A pass whose tokens are chosen when they are looked at, so that those that are thrown away make no branches. */
function exactPass(
  conditionals: Float64Array,
  codebookSize: number,
  choose: (weights: readonly number[]) => number,
): Pass {
  const length = conditionals.length / codebookSize;
  const at = (i: number) => Array.from(conditionals.subarray(i * codebookSize, (i + 1) * codebookSize));
  const chosen = new Map<number, number>();
  const token = (i: number): number => {
    const known = chosen.get(i) ?? choose(at(i));
    chosen.set(i, known);
    return known;
  };
  const of = <T extends Int32Array | Float32Array>(value: (i: number) => number): T =>
    new Proxy([], {
      get: (_, name) =>
        name === 'length'
          ? length
          : name === Symbol.iterator
            ? () => Array.from({ length }, (_, i) => value(i))[Symbol.iterator]()
            : value(Number(name)),
    }) as unknown as T;
  return {
    tokens: of(token),
    logProbabilities: of((i) => Math.log(at(i)[token(i)]!)),
    entropies: of((i) => -at(i).reduce((sum, p) => sum + (p > 0 ? p * Math.log(p) : 0), 0)),
    largestProbabilities: of((i) => Math.max(...at(i))),
    probabilities: conditionals as unknown as Float32Array,
  };
}

function enumeratedRandom(choose: (weights: readonly number[]) => number, length: number): SamplerRandom {
  return {
    choices: () => ({
      chance: (_index, p) => choose([1 - p, p].map((weight) => Math.max(0, weight))) === 1,
      pick: (_index, weights) => choose(Array.from(weights)),
    }),
    wholeNumbers: (_purpose, count) => [choose(new Array<number>(count).fill(1))],
    // Only their order may matter: every order is equally likely.
    uniform() {
      const left = Array.from({ length }, (_, i) => i);
      const values = new Float32Array(length);
      for (let rank = 0; rank < length; rank++) {
        const index = choose(new Array<number>(left.length).fill(1));
        values[left.splice(index, 1)[0]!] = (rank + 0.5) / length;
      }
      return values;
    },
    gumbel() {
      throw new DimoError('internal', 'laboratory: Gumbel noise cannot be enumerated; set choiceTemperature to 0');
    },
  };
}

/** Conditional distribution of every masked token given the others, [length * codebookSize], by tokens; remembered. */
function conditionalsOf({
  length,
  codebookSize,
  probabilities,
}: ExactLaw): (tokens: readonly number[]) => Float64Array {
  const known = new Map<string, Float64Array>();
  return (tokens) => {
    const key = tokens.join();
    const found = known.get(key);
    if (found) return found;
    const result = new Float64Array(length * codebookSize);
    let total = 0;
    for (let x = 0; x < probabilities.length; x++) {
      const values = tokensOf(x, { length, codebookSize });
      if (!tokens.every((token, i) => token === codebookSize || token === values[i])) continue;
      total += probabilities[x]!;
      values.forEach((value, i) => (result[i * codebookSize + value]! += probabilities[x]!));
    }
    for (let i = 0; i < result.length; i++) result[i]! /= Math.max(total, 1e-300);
    known.set(key, result);
    return result;
  };
}

function tokensOf(index: number, { length, codebookSize }: Pick<ExactLaw, 'length' | 'codebookSize'>): number[] {
  return Array.from({ length }, (_, i) => Math.floor(index / codebookSize ** (length - 1 - i)) % codebookSize);
}
