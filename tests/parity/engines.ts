/**
 * The engines on which parity is shown, each with the tolerances that the fixtures' READMEs suggest for its kind.
 * `DIMO_PARITY_ENGINES` adds others by name, e.g. `webgpu,tensorflow` where their packages are installed.
 */
import { nodeEngines } from '@dimo/backend-node';
import { eagerEngine, type Engine } from '@dimo/core';
import '@tensorflow/tfjs-backend-cpu';

/** An engine under test. */
export interface EngineUnderTest {
  readonly name: string;
  /** `cpu`: float32 on a CPU; `gpu`: kernels that may round more. */
  readonly exactness: 'cpu' | 'gpu';
  create(): Promise<Engine>;
}

const added = (process.env['DIMO_PARITY_ENGINES'] ?? '').split(',').filter((name) => name !== '');

/** Engines that every checkout can run, and those asked for. */
export const enginesUnderTest: readonly EngineUnderTest[] = [
  { name: 'tfjs cpu', exactness: 'cpu', create: async () => eagerEngine('cpu') },
  nodeEngine('onnx', 'cpu'),
  nodeEngine('onnx-native', 'cpu'),
  nodeEngine('wasm', 'cpu'),
  ...added.map((name) => nodeEngine(name, name === 'tensorflow' ? 'cpu' : 'gpu')),
];

function nodeEngine(name: string, exactness: EngineUnderTest['exactness']): EngineUnderTest {
  const factory = nodeEngines.find((candidate) => candidate.name === name);
  if (!factory) throw new Error(`there is no engine "${name}"`);
  return { name, exactness, create: () => factory.create() };
}
