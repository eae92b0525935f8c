/**
 * Compute programs with several outputs, run through tfjs' own command encoder, so that they are ordered with tfjs'
 * kernels and their buffers belong to tfjs' pool.
 */
import type { DataType, TensorInfo } from '@tensorflow/tfjs-core';
import type { Pipeline, WebgpuBackend } from './webgpu-backend.js';

/** Element type of a buffer as a program sees it. */
export type ElementType = 'f32' | 'i32' | 'vec2<f32>' | 'vec4<f32>';

/** A buffer of a program, by the name that its code uses. */
export interface BufferBinding {
  readonly name: string;
  readonly type: ElementType;
}

/**
 * A compute program, compiled once for each such object: a constant, or one of a family (`programs`). Its code declares
 * `fn run(group: u32, lane: u32)`, called for every workgroup below the count that `launch` gets, and may use the buffers,
 * `uniforms.<name>`, and `uniforms.size_<buffer>` (scalars in that buffer).
 */
export interface Program {
  readonly name: string;
  readonly inputs: readonly BufferBinding[];
  readonly outputs: readonly BufferBinding[];
  readonly uniforms?: Readonly<Record<string, 'u32' | 'f32'>>;
  readonly workgroupSize: number;
  readonly code: () => string;
}

/** A tensor to be made by a program. */
export interface OutputSpec {
  readonly shape: readonly number[];
  readonly dtype?: DataType;
}

/** Arguments of a program, in the order of its declarations. */
export interface Launch<Outputs extends readonly OutputSpec[]> {
  readonly inputs: readonly TensorInfo[];
  readonly outputs: Outputs;
  readonly uniforms?: Readonly<Record<string, number>>;
  /** Workgroups, any number up to the cube of the device's limit per dimension. */
  readonly numGroups: number;
}

const pipelines = new WeakMap<object, WeakMap<Program, Pipeline>>();

/**
 * A family of programs, one for each value of the parameters.
 *
 * @param make - reads nothing but its parameters, plain values: they alone tell programs apart.
 */
export function programs<Parameters extends object>(
  make: (parameters: Parameters) => Program,
): (parameters: Parameters) => Program {
  const made = new Map<string, Program>();
  return (parameters) => {
    const key = JSON.stringify(parameters);
    const known = made.get(key);
    if (known) return known;
    const program = make(parameters);
    made.set(key, program);
    return program;
  };
}

/** Number of elements of a shape. */
export function sizeOf(shape: readonly number[]): number {
  return shape.reduce((product, length) => product * length, 1);
}

/**
 * Runs a program.
 *
 * @returns the outputs; zeros if there are no workgroups or an input has no elements (which WebGPU cannot bind).
 */
export function runProgram<const Outputs extends readonly OutputSpec[]>(
  backend: WebgpuBackend,
  program: Program,
  launch: Launch<Outputs>,
): { readonly [I in keyof Outputs]: TensorInfo } {
  return runUntyped(backend, program, launch) as unknown as { readonly [I in keyof Outputs]: TensorInfo };
}

function runUntyped(backend: WebgpuBackend, program: Program, launch: Launch<readonly OutputSpec[]>): TensorInfo[] {
  const { numGroups } = launch;
  const outputs = launch.outputs.map(({ shape, dtype = 'float32' }) => ({ shape: [...shape], dtype }));
  if (
    numGroups === 0 ||
    launch.inputs.some(({ shape }) => sizeOf(shape) === 0) ||
    outputs.some(({ shape }) => !sizeOf(shape))
  )
    return outputs.map(({ shape, dtype }) => zeros(backend, shape, dtype));
  const inputs = launch.inputs.map((input, i) => asDeclared(backend, input, program.inputs[i]!));
  const results = outputs.map(({ shape, dtype }) => backend.makeTensorInfo(shape, dtype));
  // Flat, so that tfjs' own uniforms (shape and strides of each tensor) are two numbers each.
  const flat = ({ dataId, shape, dtype }: TensorInfo): TensorInfo => ({ dataId, shape: [sizeOf(shape)], dtype });
  for (const { dataId } of [...inputs, ...results]) backend.uploadToGPU(dataId);
  const [first, ...others] = results.map(flat);
  const dispatch = splitGroups(numGroups, backend.device.limits.maxComputeWorkgroupsPerDimension);
  const declared = Object.entries(program.uniforms ?? {});
  backend.recordAndSubmit(
    {
      pipeline: pipelineOf(backend, program),
      dispatch,
      outputShape: first!.shape,
      constructor: { name: program.name },
    },
    first!,
    [...others, ...inputs.map(flat)],
    [
      { type: 'int32', data: [numGroups] },
      ...declared.map(([name, type]) => {
        const value = launch.uniforms![name]!;
        return { type: type === 'f32' ? ('float32' as const) : ('int32' as const), data: [value] };
      }),
    ],
  );
  inputs.forEach((input, i) => {
    if (input !== launch.inputs[i]) backend.disposeData(input.dataId);
  });
  return results;
}

/** The tensor itself, or a copy as float32 of one whose buffer holds integers although its type says otherwise. */
function asDeclared(backend: WebgpuBackend, input: TensorInfo, { type }: BufferBinding): TensorInfo {
  if (type === 'i32' || backend.tensorMap.get(input.dataId).dtype === 'float32') return input;
  const [converted] = runProgram(backend, toFloat, {
    inputs: [input],
    outputs: [{ shape: input.shape }],
    numGroups: Math.ceil(sizeOf(input.shape) / toFloat.workgroupSize),
  });
  return converted;
}

const toFloat: Program = {
  name: 'DimoToFloat',
  workgroupSize: 64,
  outputs: [{ name: 'y', type: 'f32' }],
  inputs: [{ name: 'x', type: 'i32' }],
  code: () => `fn run(group: u32, lane: u32) {
  let i = group * workgroupSize + lane;
  if (i < uniforms.size_y) { y[i] = f32(x[i]); }
}`,
};

/** A tensor of zeros, made on the host. */
export function zeros(backend: WebgpuBackend, shape: readonly number[], dtype: DataType = 'float32'): TensorInfo {
  const size = sizeOf(shape);
  return backend.makeTensorInfo(shape, dtype, dtype === 'float32' ? new Float32Array(size) : new Int32Array(size));
}

/** Workgroup counts per dimension, at least `count` in all. */
export function splitGroups(count: number, limit: number): [number, number, number] {
  const x = Math.min(count, limit);
  const y = Math.min(Math.ceil(count / x), limit);
  return [x, y, Math.ceil(count / (x * y))];
}

function pipelineOf({ device }: WebgpuBackend, program: Program): Pipeline {
  let cache = pipelines.get(device);
  if (!cache) pipelines.set(device, (cache = new WeakMap()));
  let pipeline = cache.get(program);
  if (!pipeline) {
    const module = device.createShaderModule({ code: sourceOf(program), label: program.name });
    pipeline = device.createComputePipeline({
      label: program.name,
      layout: 'auto',
      compute: { module, entryPoint: 'start' },
    });
    cache.set(program, pipeline);
  }
  return pipeline;
}

/** The whole WGSL text of a program. */
export function sourceOf(program: Program): string {
  const [first, ...others] = program.outputs;
  // tfjs binds the first output, then everything else, then the uniforms.
  const buffers = [
    { ...first!, access: 'read_write' },
    ...others.map((buffer) => ({ ...buffer, access: 'read_write' })),
    ...program.inputs.map((buffer) => ({ ...buffer, access: 'read' })),
  ];
  const bindings = buffers.map(
    ({ name, type, access }, i) => `@group(0) @binding(${i}) var<storage, ${access}> ${name}: array<${type}>;`,
  );
  // tfjs' prefix: NaN, infinity, then shape and strides of all inputs and, last, of the first output.
  const inPrefixOrder = [...buffers.slice(1), buffers[0]!];
  const fields = [
    'nan: f32',
    'infinity: f32',
    ...inPrefixOrder.flatMap(({ name }) => [`size_${name}: u32`, `stride_${name}: u32`]),
    'numGroups: u32',
    ...Object.entries(program.uniforms ?? {}).map(([name, type]) => `${name}: ${type}`),
  ];
  return `struct Uniforms { ${fields.join(', ')} };
${bindings.join('\n')}
@group(0) @binding(${buffers.length}) var<uniform> uniforms: Uniforms;
const workgroupSize: u32 = ${program.workgroupSize}u;
${program.code()}
@compute @workgroup_size(${program.workgroupSize})
fn start(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) count: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let group = id.x + count.x * (id.y + count.y * id.z);
  if (group < uniforms.numGroups) { run(group, lane); }
}
`;
}
