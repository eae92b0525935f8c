/**
 * The table of fusable kernels, which core's ops, the tracer and the WebGPU programs share: what each is given and what
 * it returns. A name, an input or an attribute that is not in it does not compile, and neither does an engine's table
 * that leaves a kernel out.
 */

/** Constants of `adamUpdate`. */
export interface AdamUpdateAttributes {
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
}

/** Constants of the divergence. */
export interface TokenDivergenceAttributes {
  /** 0: forward KL, 1: reverse KL, else generalized Jeffreys (1 - beta) FKL + beta RKL; any real number. */
  readonly beta: number;
  /** Divides the guided teacher logits, > 0. */
  readonly teacherTemperature: number;
  /** Divides the auxiliary logits, > 0. */
  readonly auxiliaryTemperature: number;
}

/** Attributes of a kernel that has none. */
type None = Readonly<Record<string, never>>;

interface AttentionAttributes {
  readonly numHeads: number;
  /** Factor of the scores. */
  readonly scale: number;
  readonly causal: boolean;
}

interface GeluAttributes {
  readonly approximate: 'none' | 'tanh';
}

/** `<tensor>/<i>` of parameter i = 0, 1, ..., and the scalars of `adamUpdate`. */
type AdamUpdateKernelInputs<T> = {
  readonly [parameter: `${'parameter' | 'gradient' | 'firstMoment' | 'secondMoment' | 'average'}/${number}`]: T;
} & {
  readonly gradientScale: T;
  readonly stepSize: T;
  readonly rootCorrection: T;
  readonly decay: T;
  readonly apply: T;
  readonly averageRate?: T | undefined;
};

/**
 * The kernels by name; T is what stands for a tensor: a tfjs tensor in core, a traced one in the tracer. float32 unless
 * said otherwise, and described at the op that runs them.
 */
export interface FusableKernels<T> {
  /** x, not before the tensors 0, 1, ...: for engines that order a graph themselves. */
  readonly DimoAfter: {
    readonly inputs: { readonly x: T } & { readonly [index: `${number}`]: T };
    readonly attributes: None;
    readonly outputs: readonly [x: T];
  };
  /** `attention` where no gradient is recorded: [batch, S, width] from [batch, S, width] and [batch, T, width]. */
  readonly DimoAttention: {
    readonly inputs: { readonly query: T; readonly key: T; readonly value: T };
    readonly attributes: AttentionAttributes;
    readonly outputs: readonly [y: T];
  };
  /** The same for a gradient; logSumExp [batch, heads, S] of the scaled scores. */
  readonly DimoAttentionForward: {
    readonly inputs: { readonly query: T; readonly key: T; readonly value: T };
    readonly attributes: AttentionAttributes;
    readonly outputs: readonly [y: T, logSumExp: T];
  };
  /** Of an engine that has `DimoAttentionForward`. */
  readonly DimoAttentionGrad: {
    readonly inputs: {
      readonly query: T;
      readonly key: T;
      readonly value: T;
      readonly output: T;
      readonly logSumExp: T;
      readonly dy: T;
    };
    readonly attributes: AttentionAttributes;
    readonly outputs: readonly [dquery: T, dkey: T, dvalue: T];
  };
  /** The statistics keep the last axis with length 1. */
  readonly DimoLayerNorm: {
    readonly inputs: { readonly x: T; readonly scale: T; readonly offset: T };
    readonly attributes: { readonly epsilon: number };
    readonly outputs: readonly [y: T, mean: T, inverseDeviation: T];
  };
  readonly DimoLayerNormGrad: {
    readonly inputs: {
      readonly x: T;
      readonly scale: T;
      readonly mean: T;
      readonly inverseDeviation: T;
      readonly dy: T;
    };
    readonly attributes: None;
    readonly outputs: readonly [dx: T, dscale: T, doffset: T];
  };
  /** The statistic keeps the last axis with length 1. */
  readonly DimoRmsNorm: {
    readonly inputs: { readonly x: T; readonly scale: T };
    readonly attributes: { readonly epsilon: number };
    readonly outputs: readonly [y: T, inverseRms: T];
  };
  readonly DimoRmsNormGrad: {
    readonly inputs: { readonly x: T; readonly scale: T; readonly inverseRms: T; readonly dy: T };
    readonly attributes: None;
    readonly outputs: readonly [dx: T, dscale: T];
  };
  /** `groupNormalization` where no gradient is recorded. */
  readonly DimoGroupNorm: {
    readonly inputs: { readonly x: T; readonly scale: T; readonly offset: T };
    readonly attributes: { readonly numGroups: number; readonly epsilon: number };
    readonly outputs: readonly [y: T];
  };
  readonly DimoGelu: {
    readonly inputs: { readonly x: T };
    readonly attributes: GeluAttributes;
    readonly outputs: readonly [y: T];
  };
  readonly DimoGeluGrad: {
    readonly inputs: { readonly x: T; readonly dy: T };
    readonly attributes: GeluAttributes;
    readonly outputs: readonly [dx: T];
  };
  readonly DimoRotaryEmbedding: {
    readonly inputs: { readonly x: T; readonly cosines: T; readonly sines: T };
    readonly attributes: { readonly numHeads: number };
    readonly outputs: readonly [y: T];
  };
  /** For backends without segment sums: dtable [numRows, D] from int32 ids [n] and dy [n, D]. */
  readonly DimoEmbeddingGrad: {
    readonly inputs: { readonly ids: T; readonly dy: T };
    readonly attributes: { readonly numRows: number };
    readonly outputs: readonly [dtable: T];
  };
  /** `matrixProduct`: for backends on which tfjs' own product is slow for transposed operands. */
  readonly DimoMatMul: {
    readonly inputs: { readonly a: T; readonly b: T };
    readonly attributes: { readonly transposeA: boolean; readonly transposeB: boolean };
    readonly outputs: readonly [product: T];
  };
  /** x [M, K], weight [N, K], bias [N] -> [M, N]. */
  readonly DimoLinear: {
    readonly inputs: { readonly x: T; readonly weight: T; readonly bias?: T | undefined };
    readonly attributes: None;
    readonly outputs: readonly [y: T];
  };
  /** dbias if there is a bias. */
  readonly DimoLinearGrad: {
    readonly inputs: { readonly x: T; readonly weight: T; readonly dy: T };
    readonly attributes: { readonly hasBias: boolean };
    readonly outputs: readonly [dx: T, dweight: T] | readonly [dx: T, dweight: T, dbias: T];
  };
  readonly DimoTokenDivergence: {
    readonly inputs: {
      readonly conditional: T;
      readonly unconditional?: T | undefined;
      readonly guidanceScale?: T | undefined;
      readonly auxiliary: T;
      readonly weights: T;
    };
    readonly attributes: TokenDivergenceAttributes;
    readonly outputs: readonly [value: T, forwardKl: T, totalVariation: T, gradient: T];
  };
  /** Targets int32. */
  readonly DimoMaskedCrossEntropy: {
    readonly inputs: { readonly logits: T; readonly targets: T; readonly weights: T };
    readonly attributes: { readonly labelSmoothing: number };
    readonly outputs: readonly [loss: T, negativeLogLikelihood: T, gradient: T];
  };
  readonly DimoSoftCrossEntropy: {
    readonly inputs: { readonly logits: T; readonly target: T; readonly weights: T };
    readonly attributes: { readonly temperature: number };
    readonly outputs: readonly [loss: T, gradient: T];
  };
  /** ids int32 [batch, L]. */
  readonly DimoSampleCategorical: {
    readonly inputs: { readonly logits: T; readonly uniforms: T };
    readonly attributes: None;
    readonly outputs: readonly [ids: T];
  };
  /** The tensors 0, 1, ... */
  readonly DimoGlobalNorm: {
    readonly inputs: { readonly [index: `${number}`]: T };
    readonly attributes: None;
    readonly outputs: readonly [norm: T];
  };
  /** parameter, first moment, second moment (and average, if there is one) of parameter 0, of parameter 1, ... */
  readonly DimoAdamUpdate: {
    readonly inputs: AdamUpdateKernelInputs<T>;
    readonly attributes: AdamUpdateAttributes;
    readonly outputs: readonly T[];
  };
  /** The first numbers of each stream, the host's bit for bit. Its composition are the host's numbers, uploaded. */
  readonly DimoRandomNumbers: {
    readonly inputs: None;
    readonly attributes: {
      readonly kind: 'uniform' | 'normal';
      readonly seedLow: number;
      readonly seedHigh: number;
      readonly step: number;
      readonly stream: number;
      /** Streams of consecutive steps, each of which gives an equal part of the numbers. */
      readonly rows: number;
      /** Multiplies the float32 numbers in float64. */
      readonly factor: number;
      readonly shape: readonly number[];
    };
    readonly outputs: readonly [numbers: T];
  };
}

/** Name of a fusable kernel. */
export type FusableKernelName = keyof FusableKernels<unknown>;
/** Tensors that the kernel is given. */
export type FusableInputs<Name extends FusableKernelName, T> = FusableKernels<T>[Name]['inputs'];
/** Plain values that the kernel is given. */
export type FusableAttributes<Name extends FusableKernelName> = FusableKernels<unknown>[Name]['attributes'];
/** What the kernel returns, in order. */
export type FusableOutputs<Name extends FusableKernelName, T> = FusableKernels<T>[Name]['outputs'];
