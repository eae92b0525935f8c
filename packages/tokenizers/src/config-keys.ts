/** The keys of a tokenizer's configuration, in words: for documentation and for `dimo info`. */

/** A key that a configuration may have. */
export interface ConfigKey {
  /** Below the configuration: `transformer.depth`. */
  readonly key: string;
  /** `an integer >= 1`. */
  readonly accepts: string;
  /** In words where it follows from something else; absent where the key must be given. */
  readonly standard?: string;
  readonly meaning: string;
}

const count = 'an integer >= 1';

/** Keys of a tokenizer's configuration, `train.tokenizer.config`. */
export const tokenizerConfigKeys: readonly ConfigKey[] = [
  {
    key: 'kind',
    accepts: 'patch-vq, vqgan',
    standard: 'patch-vq',
    meaning: 'Kind of tokenizer; the other keys are those of the kind.',
  },
  {
    key: 'imageShape',
    accepts: '[height, width, channels], multiples of the patch size',
    standard: 'that of the dataset',
    meaning: 'patch-vq: shape of the images.',
  },
  { key: 'patchSize', accepts: '4, 8 or 16', standard: '4', meaning: 'patch-vq: side of the patch of a token.' },
  { key: 'codebookSize', accepts: count, standard: '64', meaning: 'patch-vq: number of codes.' },
  { key: 'codeWidth', accepts: count, standard: '8', meaning: 'patch-vq: length of a code vector.' },
  { key: 'encoderWidth', accepts: count, standard: '48', meaning: 'patch-vq: channels of the encoder.' },
  {
    key: 'decoderWidth',
    accepts: 'a multiple of 4 patch sizes',
    standard: '64',
    meaning: 'patch-vq: channels of the decoder.',
  },
  { key: 'n_embed', accepts: count, meaning: 'vqgan: number of codes.' },
  { key: 'embed_dim', accepts: count, meaning: 'vqgan: length of a code vector.' },
  {
    key: 'imageSize',
    accepts: 'n, or [height, width]',
    standard: 'that of the dataset',
    meaning: 'vqgan: size of the images.',
  },
  { key: 'ddconfig.ch', accepts: 'a multiple of 32', meaning: 'vqgan: channels of the first level.' },
  {
    key: 'ddconfig.ch_mult',
    accepts: 'a list of integers',
    meaning: 'vqgan: channels of each level, as multiples of ch.',
  },
  { key: 'ddconfig.num_res_blocks', accepts: count, meaning: 'vqgan: residual blocks of a level.' },
  {
    key: 'ddconfig.attn_resolutions',
    accepts: 'a list of integers',
    standard: '[]',
    meaning: 'vqgan: levels with attention, by their resolution.',
  },
  { key: 'ddconfig.z_channels', accepts: count, meaning: 'vqgan: channels before quantization.' },
  {
    key: 'ddconfig.resolution',
    accepts: count,
    standard: 'the longer side of the images',
    meaning: 'vqgan: nominal size of the images, which places the attention.',
  },
  {
    key: 'ddconfig.in_channels',
    accepts: count,
    standard: 'the channels of the dataset',
    meaning: 'vqgan: channels of the images that are read.',
  },
  {
    key: 'ddconfig.out_ch',
    accepts: count,
    standard: 'the channels of the dataset',
    meaning: 'vqgan: channels of the images that are made.',
  },
  {
    key: 'ddconfig.double_z',
    accepts: 'true or false',
    standard: 'false',
    meaning: 'vqgan: as in published configurations.',
  },
  { key: 'ddconfig.dropout', accepts: 'a number in [0, 1)', standard: '0', meaning: 'vqgan: recorded, not used.' },
];
