/** Drawing tokens a second time, for tests: float64, one position at a time, by the definitions. */
import type { SamplingOptions } from '../model/sampler-options.js';

/** Softmax of one row. */
export function softmax(logits: readonly number[]): number[] {
  const largest = Math.max(...logits);
  const parts = logits.map((logit) => Math.exp(logit - largest));
  const total = parts.reduce((sum, part) => sum + part, 0);
  return parts.map((part) => part / total);
}

/** Probabilities that an id is drawn from: known ids, temperature, the k best, the best up to the mass p. */
export function drawingProbabilities(
  logits: readonly number[],
  codebookSize: number,
  { temperature = 1, topK = 0, topP = 0, reference = false }: SamplingOptions,
): number[] {
  const known = reference ? logits : logits.slice(0, codebookSize);
  let probabilities = softmax(known.map((logit) => logit / temperature));
  const keepOnly = (kept: readonly number[]) => {
    const total = kept.reduce((sum, id) => sum + probabilities[id]!, 0);
    probabilities = probabilities.map((p, id) => (kept.includes(id) ? p / total : 0));
  };
  const byProbability = () => probabilities.map((_, id) => id).sort((a, b) => probabilities[b]! - probabilities[a]!);
  if (topK > 0) keepOnly(byProbability().slice(0, topK));
  if (topP > 0 && topP < 1) {
    const kept: number[] = [];
    let mass = 0;
    for (const id of byProbability()) {
      if (mass > topP) break;
      kept.push(id);
      mass += probabilities[id]!;
    }
    keepOnly(kept);
  }
  return probabilities;
}

/** The first id whose cumulative probability exceeds the uniform number. */
export function invertCdf(probabilities: readonly number[], uniform: number): number {
  let cumulative = 0;
  return probabilities.findIndex((p) => (cumulative += p) > uniform);
}

/** argmax p / E. */
export function raceWinner(probabilities: readonly number[], exponentials: ArrayLike<number>): number {
  const times = probabilities.map((p, id) => p / exponentials[id]!);
  return times.indexOf(Math.max(...times));
}
