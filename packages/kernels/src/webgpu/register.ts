/** The fused kernels under the names of core's fusable ops, for tfjs' backend `webgpu`. */
import * as tf from '@tensorflow/tfjs-core';
import type { TensorInfo } from '@tensorflow/tfjs-core';
import { adamUpdate, type AdamUpdateAttributes, type AdamUpdateInputs } from './adam-update.js';
import { attention, attentionGrad, type AttentionGradInputs, type AttentionInputs } from './attention.js';
import type { AttentionAttributes } from './attention-program.js';
import { gelu, geluGrad, type GeluForm } from './gelu.js';
import { globalNorm } from './global-norm.js';
import { layerNorm, layerNormGrad, type LayerNormGradInputs, type LayerNormInputs } from './layer-norm.js';
import { linear, linearGrad, matrixProduct, type LinearGradInputs, type LinearInputs } from './linear.js';
import { maskedCrossEntropy, type MaskedCrossEntropyInputs } from './masked-cross-entropy.js';
import { randomNumbers, type RandomNumbersAttributes } from './random-numbers.js';
import { rmsNorm, rmsNormGrad, type RmsNormGradInputs, type RmsNormInputs } from './rms-norm.js';
import { rotaryEmbedding, type RotaryEmbeddingInputs } from './rotary-embedding.js';
import { gpuTuning, type Tuning } from './rows.js';
import { sampleCategorical, type SampleCategoricalInputs } from './sample-categorical.js';
import { softCrossEntropy, type SoftCrossEntropyInputs } from './soft-cross-entropy.js';
import { tokenDivergence, type TokenDivergenceAttributes, type TokenDivergenceInputs } from './token-divergence.js';
import { asWebgpuBackend, type WebgpuBackend } from './webgpu-backend.js';

const backendName = 'webgpu';

type Kernel = (backend: WebgpuBackend, tuning: Tuning, inputs: never, attributes: never) => TensorInfo | TensorInfo[];

/** An implementation with the argument types of its op; tfjs itself types them loosely. */
function kernel<Inputs, Attributes>(
  compute: (
    backend: WebgpuBackend,
    tuning: Tuning,
    inputs: Inputs,
    attributes: Attributes,
  ) => TensorInfo | TensorInfo[],
): Kernel {
  return compute as Kernel;
}

interface GeluAttributes {
  readonly approximate: GeluForm;
}

const kernels: Readonly<Record<string, Kernel>> = {
  DimoLayerNorm: kernel<LayerNormInputs, { epsilon: number }>((backend, tuning, inputs, { epsilon }) =>
    layerNorm(backend, tuning, inputs, epsilon),
  ),
  DimoLayerNormGrad: kernel<LayerNormGradInputs, object>(layerNormGrad),
  DimoRmsNorm: kernel<RmsNormInputs, { epsilon: number }>((backend, tuning, inputs, { epsilon }) =>
    rmsNorm(backend, tuning, inputs, epsilon),
  ),
  DimoRmsNormGrad: kernel<RmsNormGradInputs, object>(rmsNormGrad),
  DimoRotaryEmbedding: kernel<RotaryEmbeddingInputs, { numHeads: number }>((backend, _, inputs, { numHeads }) =>
    rotaryEmbedding(backend, inputs, numHeads),
  ),
  DimoGelu: kernel<{ x: TensorInfo }, GeluAttributes>((backend, _, { x }, { approximate }) =>
    gelu(backend, x, approximate),
  ),
  DimoGeluGrad: kernel<{ x: TensorInfo; dy: TensorInfo }, GeluAttributes>((backend, _, { x, dy }, { approximate }) =>
    geluGrad(backend, x, dy, approximate),
  ),
  DimoAttention: kernel<AttentionInputs, AttentionAttributes>((backend, tuning, inputs, attributes) => {
    const [y, logSumExp] = attention(backend, tuning, inputs, attributes);
    backend.disposeData(logSumExp!.dataId);
    return y!;
  }),
  DimoAttentionForward: kernel<AttentionInputs, AttentionAttributes>(attention),
  DimoAttentionGrad: kernel<AttentionGradInputs, AttentionAttributes>(attentionGrad),
  DimoMatMul: kernel<{ a: TensorInfo; b: TensorInfo }, { transposeA: boolean; transposeB: boolean }>(
    (backend, tuning, operands, transposed) => matrixProduct(backend, tuning, { ...operands, ...transposed }),
  ),
  DimoLinear: kernel<LinearInputs, object>(linear),
  DimoLinearGrad: kernel<LinearGradInputs, { hasBias: boolean }>((backend, tuning, inputs, { hasBias }) =>
    linearGrad(backend, tuning, inputs, hasBias),
  ),
  DimoTokenDivergence: kernel<TokenDivergenceInputs, TokenDivergenceAttributes>(tokenDivergence),
  DimoMaskedCrossEntropy: kernel<MaskedCrossEntropyInputs, { labelSmoothing: number }>(
    (backend, tuning, inputs, { labelSmoothing }) => maskedCrossEntropy(backend, tuning, inputs, labelSmoothing),
  ),
  DimoSoftCrossEntropy: kernel<SoftCrossEntropyInputs, { temperature: number }>(
    (backend, tuning, inputs, { temperature }) => softCrossEntropy(backend, tuning, inputs, temperature),
  ),
  DimoSampleCategorical: kernel<SampleCategoricalInputs, object>(sampleCategorical),
  DimoRandomNumbers: kernel<object, RandomNumbersAttributes>((backend, _, __, attributes) =>
    randomNumbers(backend, attributes),
  ),
  DimoGlobalNorm: kernel<Record<string, TensorInfo>, object>(globalNorm),
  DimoAdamUpdate: kernel<AdamUpdateInputs, AdamUpdateAttributes>((backend, _, inputs, attributes) =>
    adamUpdate(backend, inputs, attributes),
  ),
};

/** Names of all kernels that `registerWebgpuKernels` knows. */
export const kernelNames: readonly string[] = Object.keys(kernels);

/** What to register. */
export interface RegisterKernelsOptions {
  /** How programs are shaped. @default for a real GPU */
  readonly tuning?: Tuning;
  /** Which kernels; the ops of the others stay compositions. @default all */
  readonly names?: readonly string[];
}

/**
 * Registers the kernels with tfjs for the backend `webgpu`, in place of those registered before.
 *
 * @throws BackendUnavailableError when a kernel first runs, if the backend is not the version that this package names.
 */
export function registerWebgpuKernels({ tuning = gpuTuning, names = kernelNames }: RegisterKernelsOptions = {}): void {
  unregisterWebgpuKernels();
  for (const kernelName of names) {
    const compute = kernels[kernelName];
    if (!compute || (kernelName === 'DimoRandomNumbers' && !tuning.drawsOnDevice)) continue;
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
