/** Parameter lists of convolutional networks, and PyTorch's default first values. */
import type { RandomStream } from '../random/random.js';
import { float32, sizeOf, type HostTree, type SpecTree } from '../tensors/tensors.js';

/** Collects parameters by name, in order. */
export interface ParameterList {
  readonly specs: SpecTree;
  /** `<name>.weight` [out, in, size, size], `<name>.bias` [out]. */
  convolution(name: string, out: number, inner: number, size: number): void;
  /** `<name>.weight` [in, out, size, size], `<name>.bias` [out]. */
  transposedConvolution(name: string, out: number, inner: number, size: number): void;
  /** `<name>.weight` [out, in], `<name>.bias` [out]. */
  linear(name: string, out: number, inner: number): void;
  /** `<name>.weight`, `<name>.bias` [channels]. */
  norm(name: string, channels: number): void;
  /** A tensor of its own. */
  tensor(name: string, ...shape: number[]): void;
}

/** An empty list. */
export function parameterList(): ParameterList {
  const specs: Record<string, { dtype: 'float32'; shape: number[] }> = {};
  const tensor = (name: string, ...shape: number[]): void => {
    specs[name] = { dtype: 'float32', shape };
  };
  return {
    specs,
    tensor,
    convolution(name, out, inner, size) {
      tensor(`${name}.weight`, out, inner, size, size);
      tensor(`${name}.bias`, out);
    },
    transposedConvolution(name, out, inner, size) {
      tensor(`${name}.weight`, inner, out, size, size);
      tensor(`${name}.bias`, out);
    },
    linear(name, out, inner) {
      tensor(`${name}.weight`, out, inner);
      tensor(`${name}.bias`, out);
    },
    norm(name, channels) {
      tensor(`${name}.weight`, channels);
      tensor(`${name}.bias`, channels);
    },
  };
}

/**
 * PyTorch's defaults: convolutions and linear maps uniform in +-1/sqrt(fan-in), norms 1 and 0; the codebook (a matrix
 * without bias) uniform in +-1/K as in Taming Transformers. (PyTorch takes the second axis times the kernel area as fan-in, also for transposed ones.)
 */
export function initializeConvolutions(specs: SpecTree, random: RandomStream): HostTree {
  return Object.fromEntries(
    Object.entries(specs).map(([name, { shape }]) => {
      const size = sizeOf(shape);
      const uniform = (bound: number) =>
        random
          .fork(name)
          .uniform(size)
          .map((value) => (2 * value - 1) * bound);
      const weight = specs[name.replace(/\.bias$/, '.weight')]!.shape;
      const isCodebook = weight.length === 2 && !(name.replace(/\.weight$/, '.bias') in specs);
      if (isCodebook) return [name, float32(shape, uniform(1 / weight[0]!))];
      if (weight.length === 1)
        return [name, float32(shape, new Float32Array(size).fill(name.endsWith('weight') ? 1 : 0))];
      return [name, float32(shape, uniform(1 / Math.sqrt(sizeOf(weight.slice(1)))))];
    }),
  );
}
