/** The published class-conditional ImageNet models. Their weights are not bundled. */
import { imagenetClassNames } from './imagenet-classes.js';
import type { MaskgitConfig } from './teacher-config.js';

/**
 * MaskGIT for ImageNet at 256 x 256: put the published `MaskGIT_ImageNet_256.pth` and the VQGAN's `last.ckpt` into one
 * folder and load it with this configuration.
 */
export const imagenet256Config: MaskgitConfig = {
  transformer: { hidden: 768, depth: 24, heads: 16, mlp: 3072, numClasses: 1000, embeddingDeviation: 1 },
  tokenizer: {
    kind: 'vqgan',
    embed_dim: 256,
    n_embed: 1024,
    ddconfig: {
      ch: 128,
      ch_mult: [1, 1, 2, 2, 4],
      num_res_blocks: 2,
      attn_resolutions: [16],
      resolution: 256,
      z_channels: 256,
      in_channels: 3,
      out_ch: 3,
    },
  },
  classNames: imagenetClassNames,
  // The settings behind the published FID of 6.80.
  sampler: { numSteps: 8, schedule: 'arccos', guidanceScale: 4, choiceTemperature: 4.5 },
};
