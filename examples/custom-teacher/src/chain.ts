/**
 * The data of this example: two Markov chains over eight symbols. Everything about them is known exactly (transition
 * probabilities, likelihood, entropy), so a generator can be judged without any learned metric.
 */
import { int32, type HostTensor, type RandomStream } from '@dimo/core';

/** Number of symbols, K. */
export const numSymbols = 8;
/** Symbols in a sequence, L. */
export const sequenceLength = 16;
/** The conditions, by id. */
export const chainNames = ['climbing', 'falling'] as const;

/** A Markov chain whose first symbol is uniform. */
export interface Chain {
  readonly name: string;
  /** Probability of symbol b after symbol a at [a * K + b]; every row sums to 1. */
  readonly transitions: Float64Array;
}

/** Probability of every transition that a chain does not prefer. */
const background = 0.01;

/** A chain that prefers some differences (modulo K) between neighbours. The uniform distribution is stationary. */
function circulantChain(name: string, preferred: ReadonlyMap<number, number>): Chain {
  const transitions = new Float64Array(numSymbols * numSymbols).fill(background);
  for (let from = 0; from < numSymbols; from++)
    for (const [difference, probability] of preferred) {
      const to = (from + difference + numSymbols) % numSymbols;
      transitions[from * numSymbols + to] = background + probability;
    }
  return { name, transitions };
}

/** The two chains: one mostly counts up, the other mostly counts down, each with its own exceptions. */
export const chains: readonly Chain[] = [
  circulantChain(
    chainNames[0],
    new Map([
      [1, 0.7],
      [0, 0.12],
      [2, 0.1],
    ]),
  ),
  circulantChain(
    chainNames[1],
    new Map([
      [-1, 0.7],
      [0, 0.12],
      [-3, 0.1],
    ]),
  ),
];

/** log p(sequence) under a chain, in nats. */
export function logProbability(chain: Chain, sequence: ArrayLike<number>): number {
  let sum = -Math.log(numSymbols);
  for (let i = 1; i < sequence.length; i++)
    sum += Math.log(chain.transitions[sequence[i - 1]! * numSymbols + sequence[i]!]!);
  return sum;
}

/** Entropy of a sequence of `length` symbols, nats: log K + (length - 1) H(next | current). */
export function sequenceEntropy(chain: Chain, length = sequenceLength): number {
  return Math.log(numSymbols) + (length - 1) * (entropy(trueBigrams(chain)) - Math.log(numSymbols));
}

/** Probability of neighbours (a, b) at [a * K + b]; the same at every position, since the chain is stationary. */
export function trueBigrams(chain: Chain): Float64Array {
  return chain.transitions.map((probability) => probability / numSymbols);
}

/** Frequencies of neighbours (a, b) at [a * K + b] in sequences int32 [count, L]. */
export function empiricalBigrams(tokens: HostTensor<'int32'>): Float64Array {
  const [count, length] = tokens.shape as [number, number];
  const frequencies = new Float64Array(numSymbols * numSymbols);
  for (let row = 0; row < count; row++)
    for (let i = 1; i < length; i++) {
      const at = row * length + i;
      frequencies[tokens.data[at - 1]! * numSymbols + tokens.data[at]!]! += 1 / (count * (length - 1));
    }
  return frequencies;
}

/** -sum p log p, nats. */
export function entropy(distribution: Float64Array): number {
  return -distribution.reduce((sum, p) => (p > 0 ? sum + p * Math.log(p) : sum), 0);
}

/** KL(p || q) = sum p log(p / q), nats; q must be positive where p is. */
export function divergence(p: Float64Array, q: Float64Array): number {
  return p.reduce(
    (sum, probability, i) => (probability > 0 ? sum + probability * Math.log(probability / q[i]!) : sum),
    0,
  );
}

/** Sequences int32 [count, L] of one chain. */
export function sampleChain(chain: Chain, random: RandomStream, count: number): HostTensor<'int32'> {
  const uniforms = random.uniform(count * sequenceLength);
  const tokens = new Int32Array(count * sequenceLength);
  for (let row = 0; row < count; row++)
    for (let i = 0; i < sequenceLength; i++) {
      const at = row * sequenceLength + i;
      let symbol = Math.floor(uniforms[at]! * numSymbols);
      if (i > 0) {
        let rest = uniforms[at]!;
        const start = tokens[at - 1]! * numSymbols;
        symbol = 0;
        while (symbol < numSymbols - 1 && rest >= chain.transitions[start + symbol]!)
          rest -= chain.transitions[start + symbol++]!;
      }
      tokens[at] = symbol;
    }
  return int32([count, sequenceLength], tokens);
}
