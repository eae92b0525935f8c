/** What a kernel of core's table is here. */
import type { FusableAttributes, FusableInputs, FusableKernelName, FusableOutputs } from '@dimo/core';
import type { TensorInfo } from '@tensorflow/tfjs-core';
import type { Tuning } from './rows.js';
import type { WebgpuBackend } from './webgpu-backend.js';

/** Records the programs of one call. */
export type Kernel<Name extends FusableKernelName> = (
  backend: WebgpuBackend,
  tuning: Tuning,
  inputs: FusableInputs<Name, TensorInfo>,
  attributes: FusableAttributes<Name>,
) => FusableOutputs<Name, TensorInfo>;
