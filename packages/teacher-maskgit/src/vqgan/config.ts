/** Size of a Taming VQModel, in the words of its published `model.yaml`. */
export interface VqganConfig {
  /** Width of the code vectors. */
  readonly embed_dim: number;
  /** Number of codes. */
  readonly n_embed: number;
  readonly ddconfig: VqganNetworkConfig;
}

/** The `ddconfig` of a VQModel: widths and depths of encoder and decoder. */
export interface VqganNetworkConfig {
  readonly ch: number;
  readonly ch_mult: readonly number[];
  readonly num_res_blocks: number;
  readonly attn_resolutions: readonly number[];
  /** Nominal image size; attention placement depends on it, the real size does not. */
  readonly resolution: number;
  readonly z_channels: number;
  readonly in_channels: number;
  readonly out_ch: number;
  readonly double_z?: boolean;
  readonly dropout?: number;
}
