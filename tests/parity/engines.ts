/** The engines on which parity is shown, each with the tolerances that the fixtures' READMEs suggest for its kind. */
import { createOnnxEngine } from '@dimo/backend-node';
import { eagerEngine, type Engine } from '@dimo/core';
import '@tensorflow/tfjs-backend-cpu';

/** An engine under test. */
export interface EngineUnderTest {
  readonly name: string;
  /** `cpu`: float32 on a CPU; `gpu`: kernels that may round more. */
  readonly exactness: 'cpu' | 'gpu';
  create(): Promise<Engine>;
}

/** Engines that every checkout can run. */
export const enginesUnderTest: readonly EngineUnderTest[] = [
  { name: 'tfjs cpu', exactness: 'cpu', create: async () => eagerEngine('cpu') },
  { name: 'onnx', exactness: 'cpu', create: () => createOnnxEngine() },
];
