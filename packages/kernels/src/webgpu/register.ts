/** The fused kernels under the names of core's fusable ops, for tfjs' backend `webgpu`. */
import type { FusableKernelName } from '@dimo/core';
import * as tf from '@tensorflow/tfjs-core';
import { adamUpdate } from './adam-update.js';
import { attention, attentionGrad, attentionValue } from './attention.js';
import { gelu, geluGrad } from './gelu.js';
import { globalNorm } from './global-norm.js';
import type { Kernel } from './kernel.js';
import { layerNorm, layerNormGrad } from './layer-norm.js';
import { linear, linearGrad, matrixProduct } from './linear.js';
import { maskedCrossEntropy } from './masked-cross-entropy.js';
import { randomNumbers } from './random-numbers.js';
import { rmsNorm, rmsNormGrad } from './rms-norm.js';
import { rotaryEmbedding } from './rotary-embedding.js';
import { gpuTuning, type Tuning } from './rows.js';
import { sampleCategorical } from './sample-categorical.js';
import { softCrossEntropy } from './soft-cross-entropy.js';
import { tokenDivergence } from './token-divergence.js';
import { asWebgpuBackend } from './webgpu-backend.js';

const backendName = 'webgpu';

/** Every kernel of core's table, or that core's composition of tfjs' own kernels is as good. */
const kernels: { readonly [Name in FusableKernelName]: Kernel<Name> | 'composition' } = {
  DimoAdamUpdate: adamUpdate,
  DimoAfter: 'composition',
  DimoAttention: attentionValue,
  DimoAttentionForward: attention,
  DimoAttentionGrad: attentionGrad,
  DimoEmbeddingGrad: 'composition',
  DimoGelu: gelu,
  DimoGeluGrad: geluGrad,
  DimoGlobalNorm: globalNorm,
  DimoGroupNorm: 'composition',
  DimoLayerNorm: layerNorm,
  DimoLayerNormGrad: layerNormGrad,
  DimoLinear: linear,
  DimoLinearGrad: linearGrad,
  DimoMaskedCrossEntropy: maskedCrossEntropy,
  DimoMatMul: matrixProduct,
  DimoRandomNumbers: randomNumbers,
  DimoRmsNorm: rmsNorm,
  DimoRmsNormGrad: rmsNormGrad,
  DimoRotaryEmbedding: rotaryEmbedding,
  DimoSampleCategorical: sampleCategorical,
  DimoSoftCrossEntropy: softCrossEntropy,
  DimoTokenDivergence: tokenDivergence,
};

/** Names of all kernels that `registerWebgpuKernels` knows. */
export const kernelNames: readonly FusableKernelName[] = (Object.keys(kernels) as FusableKernelName[]).filter(
  (name) => kernels[name] !== 'composition',
);

/** What to register. */
export interface RegisterKernelsOptions {
  /** How programs are shaped. @default for a real GPU */
  readonly tuning?: Tuning;
  /** Which kernels; the ops of the others stay compositions. @default all */
  readonly names?: readonly FusableKernelName[];
}

/**
 * Registers the kernels with tfjs for the backend `webgpu`, in place of those registered before.
 *
 * @throws BackendUnavailableError when a kernel first runs, if the backend is not the version that this package names.
 */
export function registerWebgpuKernels({ tuning = gpuTuning, names = kernelNames }: RegisterKernelsOptions = {}): void {
  unregisterWebgpuKernels();
  for (const kernelName of names) {
    // tfjs types tensors and attributes loosely; core's ops give each kernel those of the table.
    const compute = kernels[kernelName] as Kernel<never> | 'composition';
    if (typeof compute !== 'function' || (kernelName === 'DimoRandomNumbers' && !tuning.drawsOnDevice)) continue;
    tf.registerKernel({
      kernelName,
      backendName,
      kernelFunc: ({ inputs, backend, attrs }) =>
        compute(asWebgpuBackend(backend as object), tuning, inputs as never, (attrs ?? {}) as never),
    });
  }
}

/** Takes the kernels away again: core's compositions of tfjs' own kernels run in their place. */
export function unregisterWebgpuKernels(): void {
  for (const kernelName of kernelNames)
    if (tf.getKernel(kernelName, backendName)) tf.unregisterKernel(kernelName, backendName);
}
