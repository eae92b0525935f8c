/** Maximum mean discrepancy of two sets of features: CMMD where they are CLIP's (Jayasumana et al. 2024, arXiv 2401.09603). */
import { packVectors, visitDistances } from '../distances.js';
import { checkMatrix, checkSameColumns, type Matrix } from '../matrix.js';

/** Bandwidth of the Gaussian kernel, and what the result is multiplied by, as published. */
const [bandwidth, scale] = [10, 1000];

/**
 * 1000 (mean k(x, x') + mean k(y, y') - 2 mean k(x, y)) with k(a, b) = exp(-|a - b|^2 / (2 * 10^2)), over all pairs, those of
 * a sample with itself too. The published numbers are of normalized CLIP ViT-L/14 features at 336 pixels.
 *
 * @throws ShapeError, OptionError, NonFiniteError
 */
export function meanDiscrepancy(real: Matrix, generated: Matrix): number {
  checkMatrix('real samples', real, 1);
  checkMatrix('generated samples', generated, 1);
  checkSameColumns('meanDiscrepancy', real, generated);
  const [x, y] = [packVectors(real), packVectors(generated)];
  const gamma = 1 / (2 * bandwidth ** 2);
  // 1 - k is summed, which is exact where k is close to 1.
  const missing = (a: typeof x, b: typeof x, isSame: boolean): number => {
    let sum = 0;
    visitDistances(a, b, isSame, (_, distances, from) => {
      for (let j = from; j < b.count; j++) sum -= Math.expm1(-gamma * distances[j]!);
    });
    return ((isSame ? 2 : 1) * sum) / (a.count * b.count);
  };
  return scale * (2 * missing(x, y, false) - missing(x, x, true) - missing(y, y, true));
}
