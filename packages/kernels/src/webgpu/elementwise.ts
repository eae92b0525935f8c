/** Programs that compute each element on its own. */
import type { TensorInfo } from '@tensorflow/tfjs-core';
import { runProgram, sizeOf, type BufferBinding, type Program } from './program.js';
import { vectorOf } from './rows.js';
import type { WebgpuBackend } from './webgpu-backend.js';

/** What an elementwise program computes. */
export interface ElementwiseOp {
  readonly name: string;
  readonly variant?: string;
  /** One number at a time, for code that needs the index of each. @default false */
  readonly isScalar?: boolean;
  /** Tensors of the common shape. */
  readonly inputs: readonly string[];
  /** Further buffers, indexed by the code itself. */
  readonly parameters?: readonly BufferBinding[];
  readonly output: string;
  readonly uniforms?: Readonly<Record<string, 'u32' | 'f32'>>;
  /**
   * WGSL: functions, and the statements that set `<output>[i]` from `<input>[i]`. `value` is `f32` or `vec4<f32>`.
   */
  readonly code: (value: 'f32' | 'vec4<f32>') => { readonly functions?: string; readonly statements: string };
}

const workgroupSize = 64;

/** Runs an elementwise program on tensors of one shape. */
export function runElementwise(
  backend: WebgpuBackend,
  op: ElementwiseOp,
  tensors: readonly TensorInfo[],
  parameters: readonly TensorInfo[] = [],
  uniforms: Readonly<Record<string, number>> = {},
): TensorInfo {
  const { shape } = tensors[0]!;
  const { type, width } = op.isScalar ? vectorOf(1) : vectorOf(sizeOf(shape));
  const bind = (names: readonly string[], elementType: BufferBinding['type']) =>
    names.map((name): BufferBinding => ({ name, type: elementType }));
  const program: Program = {
    name: op.name,
    variant: `${type} ${op.variant ?? ''}`,
    workgroupSize,
    outputs: bind([op.output], type),
    inputs: [...bind(op.inputs, type), ...(op.parameters ?? [])],
    uniforms: op.uniforms ?? {},
    code: () => {
      const { functions = '', statements } = op.code(type);
      return `
${functions}
fn run(group: u32, lane: u32) {
  let i = group * workgroupSize + lane;
  if (i >= uniforms.size_${op.output} / ${width}u) { return; }
  ${statements}
}`;
    },
  };
  const [result] = runProgram(backend, program, {
    inputs: [...tensors, ...parameters],
    outputs: [{ shape }],
    uniforms,
    numGroups: Math.ceil(sizeOf(shape) / width / workgroupSize),
  });
  return result;
}
