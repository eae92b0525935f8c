/** Tokens of a batch while it is being sampled: which are decided, which are masked. */
import { float32, int32, type HostTensor } from '../tensors/tensors.js';
import { checkKnownTokens } from './known-tokens.js';
import { sequenceLength, type TokenSpace } from '../model/token-space.js';

/** Tokens and masks of a batch. Position i of sample b has the index b * L + i. */
export interface SamplingPlan {
  readonly batchSize: number;
  /** L. */
  readonly length: number;
  readonly grid: readonly [rows: number, columns: number];
  /** [batch * L], the mask id where nothing is decided. */
  readonly tokens: Int32Array;
  /** [batch * L], 1 where a token is still wanted. */
  readonly isMasked: Uint8Array;
  /** True as long as anything is masked. */
  isOpen(): boolean;
  /** Indices of the masked positions of a sample, ascending. */
  maskedIn(sample: number): number[];
  /** Indices of the masked positions of all samples, ascending. */
  masked(): number[];
  /** Indices of decided positions that may be masked again: those that were not given. */
  decided(): number[];
  /** Decides a token; what was given stays. */
  unmask(index: number, token: number): void;
  /** Masks again what was decided; what was given stays. */
  mask(index: number): void;
  /** Fraction of masked positions, float32 [batch]. */
  maskRatio(): HostTensor<'float32'>;
  /** A copy of the tokens, int32 [batch, L]. */
  snapshot(): HostTensor<'int32'>;
}

/**
 * A plan with everything masked, or with the tokens of `known` that are not the mask id decided for good.
 *
 * @param known - int32 [batch, L].
 * @throws ShapeError if `known` has another shape, OptionError if it holds what is no token.
 */
export function samplingPlan(space: TokenSpace, batchSize: number, known?: HostTensor<'int32'>): SamplingPlan {
  const length = sequenceLength(space);
  if (known) checkKnownTokens(known, space, batchSize, 'sampler');
  const tokens = known ? known.data.slice() : new Int32Array(batchSize * length).fill(space.maskTokenId);
  const isMasked = Uint8Array.from(tokens, (token) => (token === space.maskTokenId ? 1 : 0));
  const isGiven = isMasked.map((masked) => 1 - masked);
  const indices = (from: number, to: number, isWanted: (index: number) => boolean): number[] => {
    const found = [];
    for (let i = from; i < to; i++) if (isWanted(i)) found.push(i);
    return found;
  };
  return {
    batchSize,
    length,
    grid: space.grid,
    tokens,
    isMasked,
    isOpen: () => isMasked.includes(1),
    maskedIn: (sample) => indices(sample * length, (sample + 1) * length, (i) => isMasked[i] === 1),
    masked: () => indices(0, tokens.length, (i) => isMasked[i] === 1),
    decided: () => indices(0, tokens.length, (i) => isMasked[i] === 0 && isGiven[i] === 0),
    unmask(index, token) {
      if (isGiven[index]) return;
      tokens[index] = token;
      isMasked[index] = 0;
    },
    mask(index) {
      if (isGiven[index]) return;
      tokens[index] = space.maskTokenId;
      isMasked[index] = 1;
    },
    maskRatio() {
      const ratios = new Float32Array(batchSize);
      for (let b = 0; b < batchSize; b++)
        ratios[b] = isMasked.subarray(b * length, (b + 1) * length).reduce((sum, masked) => sum + masked, 0) / length;
      return float32([batchSize], ratios);
    },
    snapshot: () => int32([batchSize, length], tokens.slice()),
  };
}
