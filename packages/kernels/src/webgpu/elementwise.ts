/** Programs that compute each element on its own. */
import type { TensorInfo } from '@tensorflow/tfjs-core';
import { programs, runProgram, sizeOf, type BufferBinding } from './program.js';
import { vectorOf, widthOf, type VectorType } from './rows.js';
import type { WebgpuBackend } from './webgpu-backend.js';

/** What an elementwise program computes. */
export interface ElementwiseOp {
  readonly name: string;
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
export type Elementwise = (
  backend: WebgpuBackend,
  tensors: readonly TensorInfo[],
  parameters?: readonly TensorInfo[],
  uniforms?: Readonly<Record<string, number>>,
) => TensorInfo;

/** What runs the op. */
export function elementwise(op: ElementwiseOp): Elementwise {
  const bind = (names: readonly string[], type: BufferBinding['type']) =>
    names.map((name): BufferBinding => ({ name, type }));
  const family = programs(({ type }: { readonly type: VectorType }) => ({
    name: op.name,
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
  if (i >= uniforms.size_${op.output} / ${widthOf(type)}u) { return; }
  ${statements}
}`;
    },
  }));
  return (backend, tensors, parameters = [], uniforms = {}) => {
    const { shape } = tensors[0]!;
    const { type, width } = op.isScalar ? vectorOf(1) : vectorOf(sizeOf(shape));
    const [result] = runProgram(backend, family({ type }), {
      inputs: [...tensors, ...parameters],
      outputs: [{ shape }],
      uniforms,
      numGroups: Math.ceil(sizeOf(shape) / width / workgroupSize),
    });
    return result;
  };
}
