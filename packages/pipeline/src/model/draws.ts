/** Random numbers for batches whose samples come from several requests: each depends on its own seed and index alone. */
import {
  float32,
  gatherRows,
  int32,
  randomMultiStepDraws,
  randomOneStepDraws,
  type HostTensor,
  type OneStepDraws,
  type OneStepSampler,
  type SamplerDraws,
  type SamplerDrawSize,
} from '@dimo/core';

/** Which sample it is: number `index` of a seed. */
export interface SampleKey {
  readonly seed: number;
  readonly index: number;
}

/** Samples of one seed that follow each other. */
interface Run extends SampleKey {
  count: number;
}

/** Runs of consecutive samples, filled up to `batchSize` with those that would follow. */
function runsOf(samples: readonly SampleKey[], batchSize: number): Run[] {
  const runs: Run[] = [];
  for (const { seed, index } of samples) {
    const last = runs.at(-1);
    if (last && last.seed === seed && last.index + last.count === index) last.count++;
    else runs.push({ seed, index, count: 1 });
  }
  runs.at(-1)!.count += batchSize - samples.length;
  return runs;
}

/**
 * Draws of one batch of a generator.
 *
 * @param knownTokens - int32 [batchSize, L], as `randomOneStepDraws` has them.
 */
export function oneStepDraws(
  samples: readonly SampleKey[],
  sampler: OneStepSampler,
  knownTokens?: HostTensor<'int32'>,
): OneStepDraws {
  let first = 0;
  const parts = runsOf(samples, sampler.batchSize).map(({ seed, index, count }) => {
    const rows = Array.from({ length: count }, (_, i) => first + i);
    first += count;
    const known = knownTokens && gatherRows(knownTokens, rows);
    return randomOneStepDraws(seed, index, { ...sampler, batchSize: count, knownTokens: known });
  });
  if (parts.length === 1) return parts[0]!;
  const noises = parts.flatMap(({ embeddingNoise }) => embeddingNoise ?? []);
  return {
    initialTokens: joinRows(parts.map(({ initialTokens }) => initialTokens)),
    tokenDraws: joinRows(parts.map(({ tokenDraws }) => tokenDraws)),
    initialMaskRatio: joinRows(parts.map(({ initialMaskRatio }) => initialMaskRatio)),
    ...(noises.length > 0 ? { embeddingNoise: joinRows(noises) } : {}),
  };
}

/** Draws of one batch of a teacher. */
export function multiStepDraws(samples: readonly SampleKey[], size: SamplerDrawSize): SamplerDraws {
  const parts = runsOf(samples, size.batchSize).map(({ seed, index, count }) =>
    randomMultiStepDraws(seed, index, { ...size, batchSize: count }),
  );
  if (parts.length === 1) return parts[0]!;
  return {
    tokenDraws: (pass) =>
      joinNumbers(
        parts.map((part) => part.tokenDraws(pass)),
        Float32Array,
      ),
    // Float64 holds what a part may give: float32 or any numbers.
    uniform: (purpose, step) =>
      joinNumbers(
        parts.map((part) => part.uniform(purpose, step)),
        Float64Array,
      ),
    gumbel: (step) =>
      joinNumbers(
        parts.map((part) => part.gumbel(step)),
        Float64Array,
      ),
  };
}

function joinNumbers<T extends Float32Array | Float64Array>(
  parts: readonly ArrayLike<number>[],
  Numbers: new (length: number) => T,
): T {
  const joined = new Numbers(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.length;
  }
  return joined;
}

function joinRows<D extends 'int32' | 'float32'>(tensors: readonly HostTensor<D>[]): HostTensor<D> {
  const [first] = tensors;
  const shape = [tensors.reduce((sum, tensor) => sum + tensor.shape[0]!, 0), ...first!.shape.slice(1)];
  const joined = (first!.dtype === 'int32' ? int32(shape) : float32(shape)) as HostTensor<D>;
  let at = 0;
  for (const { data } of tensors) {
    joined.data.set(data, at);
    at += data.length;
  }
  return joined;
}
