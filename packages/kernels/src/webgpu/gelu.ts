/** GELU and its gradient, exact or in the tanh form. */
import type { FusableAttributes } from '@dimo/core';
import type { Kernel } from './kernel.js';
import { elementwise, type Elementwise } from './elementwise.js';

type GeluForm = FusableAttributes<'DimoGelu'>['approximate'];

/**
 * erf in float32 by two minimax polynomials, below and above 0.9277; largest error about one unit in the last place
 * (N. Juffa's approximation). tfjs' own (Abramowitz and Stegun 7.1.26) is off by up to 1.5e-7, also near 0.
 */
const errorFunction = (value: string) => `
fn erf(x: ${value}) -> ${value} {
  let t = abs(x);
  let s = x * x;
  var far = ${value}(-1.72853470e-5) * t + 3.83197126e-4;
  let tail = ${value}(-3.88396438e-3) * t + 2.42546219e-2;
  far = far * s + tail;
  far = far * t - 1.06777877e-1;
  far = far * t - 6.34846687e-1;
  far = far * t - 1.28717512e-1;
  far = far * t - t;
  far = (1.0 - exp(max(far, ${value}(-80.0)))) * sign(x);
  var near = ${value}(-5.96761703e-4);
  near = near * s + 4.99119423e-3;
  near = near * s - 2.67681349e-2;
  near = near * s + 1.12819925e-1;
  near = near * s - 3.76125336e-1;
  near = near * s + 1.28379166e-1;
  near = near * x + x;
  return select(near, far, t > ${value}(0.927734375));
}`;

/** tanh whose exponential cannot overflow: WGSL leaves the accuracy of `tanh` for large arguments open. */
const hyperbolicTangent = (value: string) => `
fn boundedTanh(x: ${value}) -> ${value} {
  let e = exp(-2.0 * min(abs(x), ${value}(20.0)));
  return sign(x) * (1.0 - e) / (1.0 + e);
}`;

const forward: Record<GeluForm, Elementwise> = {
  none: elementwise({
    name: 'DimoGelu',
    inputs: ['x'],
    output: 'y',
    code: (value) => ({
      functions: errorFunction(value),
      statements: `let v = x[i]; y[i] = v * (0.5 * (1.0 + erf(v * ${Math.SQRT1_2})));`,
    }),
  }),
  tanh: elementwise({
    name: 'DimoGelu',
    inputs: ['x'],
    output: 'y',
    code: (value) => ({
      functions: hyperbolicTangent(value),
      statements: `let v = x[i];
  y[i] = 0.5 * v * (1.0 + boundedTanh(${Math.sqrt(2 / Math.PI)} * (v * (1.0 + 0.044715 * (v * v)))));`,
    }),
  }),
};

const backward: Record<GeluForm, Elementwise> = {
  none: elementwise({
    name: 'DimoGeluGrad',
    inputs: ['x', 'dy'],
    output: 'dx',
    code: (value) => ({
      functions: errorFunction(value),
      statements: `let v = x[i];
  let cumulative = 0.5 * (1.0 + erf(v * ${Math.SQRT1_2}));
  let density = exp(-0.5 * (v * v)) * ${1 / Math.sqrt(2 * Math.PI)};
  dx[i] = dy[i] * (cumulative + v * density);`,
    }),
  }),
  tanh: elementwise({
    name: 'DimoGeluGrad',
    inputs: ['x', 'dy'],
    output: 'dx',
    code: (value) => ({
      functions: hyperbolicTangent(value),
      statements: `let v = x[i];
  let t = boundedTanh(${Math.sqrt(2 / Math.PI)} * (v * (1.0 + 0.044715 * (v * v))));
  let slope = ${Math.sqrt(2 / Math.PI)} * (1.0 + 0.134145 * (v * v));
  dx[i] = dy[i] * (0.5 * (1.0 + t) + 0.5 * v * (1.0 - t * t) * slope);`,
    }),
  }),
};

/** y = gelu(x). */
export const gelu: Kernel<'DimoGelu'> = (backend, _, { x }, { approximate }) => {
  return [forward[approximate](backend, [x])];
};

/** dx = dy gelu'(x). */
export const geluGrad: Kernel<'DimoGeluGrad'> = (backend, _, { x, dy }, { approximate }) => {
  return [backward[approximate](backend, [x, dy])];
};
