/** Quantiles of a truncated normal distribution. */
import { OptionError } from '../errors.js';

/** A normal distribution restricted to an interval. */
export interface TruncatedNormal {
  readonly mean: number;
  readonly deviation: number;
  readonly lower: number;
  readonly upper: number;
}

/** The number below which a fraction `probability` in [0, 1] of the distribution lies; accurate to about 1e-7. @throws OptionError */
export function truncatedNormalQuantile(probability: number, distribution: TruncatedNormal): number {
  const { mean, deviation, lower, upper } = distribution;
  if (!(probability >= 0 && probability <= 1) || !(deviation > 0) || !(lower <= upper))
    throw new OptionError(
      `truncated normal: needs a probability in [0, 1], deviation > 0 and lower <= upper, got ${JSON.stringify({ probability, ...distribution })}`,
    );
  const cumulative = (x: number) => standardNormalDistribution((x - mean) / deviation);
  const target = cumulative(lower) + probability * (cumulative(upper) - cumulative(lower));
  let [low, high] = [lower, upper];
  for (let i = 0; i < 50; i++) {
    const middle = (low + high) / 2;
    if (cumulative(middle) < target) low = middle;
    else high = middle;
  }
  return (low + high) / 2;
}

/** P(X <= z) of a standard normal X; series of Marsaglia (2004), for |z| of a few units accurate to float64. */
export function standardNormalDistribution(z: number): number {
  if (z < -8) return 0;
  if (z > 8) return 1;
  let sum = z;
  let term = z;
  for (let i = 3; Math.abs(term) > 1e-17 * Math.abs(sum); i += 2) {
    term *= (z * z) / i;
    sum += term;
  }
  return 0.5 + sum * Math.exp(-0.5 * z * z - 0.918938533204672742);
}
