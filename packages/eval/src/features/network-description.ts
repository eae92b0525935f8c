/** How images get into a feature network of an ONNX file and features out of it: a small JSON file, or a name. */
import { OptionError, parseOptions } from '@dimo/core';
import { z } from 'zod';
import { resizeMethods } from './resize.js';

const side = z.number().int().min(1).max(4096);
const numbers = z.union([z.number(), z.array(z.number()).length(3)]);
const name = z.string().min(1).max(500);

/** Fields of the description of a feature network. */
export const featureNetworkFields = {
  preset: name.optional().describe('A known network, whose fields are taken where this file has none.'),
  name: name.optional().describe('For reports. Absent: the name of the preset or of the file.'),
  size: z
    .tuple([side, side])
    .nullable()
    .default([299, 299])
    .describe('Height and width of its images; null: it takes images of any size and resizes them itself.'),
  resize: z.enum(resizeMethods).default('bicubic').describe('How images of other sizes are brought to it.'),
  rounds: z
    .boolean()
    .default(false)
    .describe('Whether resized images are rounded to bytes, as Pillow does with pictures.'),
  layout: z.enum(['nchw', 'nhwc']).default('nchw').describe('Order of the axes of its input.'),
  range: z.tuple([z.number(), z.number()]).default([0, 1]).describe('What the bytes 0 and 255 become.'),
  mean: numbers.default(0).describe('Subtracted after that, one number or one per channel.'),
  std: numbers.default(1).describe('Divided by after that.'),
  input: name.optional().describe('Name of its input. Absent: the only one.'),
  features: name.optional().describe('Name of the output with the features. Absent: the only one.'),
  token: z
    .number()
    .int()
    .min(0)
    .optional()
    .describe('Where the output is a sequence: the position whose vector is taken.'),
  normalize: z.boolean().default(false).describe('Whether features are divided by their length, as those of CLIP are.'),
  logits: name.optional().describe('Name of the output with the logits of classes.'),
  probabilities: name
    .optional()
    .describe('Name of the output with the probabilities of classes, where there are no logits.'),
  spatial: name.optional().describe('Name of the output with features that keep their place, for sFID.'),
  spatialChannels: z.number().int().min(1).default(7).describe('So many channels of it are used.'),
};

const schema = z.strictObject(featureNetworkFields);

/** What a user writes about a network. */
export type FeatureNetworkFields = z.input<typeof schema>;

/** A resolved description. */
export interface FeatureNetworkDescription extends Omit<z.output<typeof schema>, 'preset' | 'name'> {
  readonly name: string;
}

const imagenet = { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] };
const clip = {
  mean: [0.48145466, 0.4578275, 0.40821073],
  std: [0.26862954, 0.26130258, 0.27577711],
  resize: 'bicubic',
  rounds: true,
  features: 'image_embeds',
  normalize: true,
} satisfies FeatureNetworkFields;

/** Known networks by name; docs/evaluation.md says how their ONNX files are made. */
export const featureNetworkPresets: Readonly<Record<string, FeatureNetworkFields>> = {
  /** Dhariwal and Nichol's evaluation: the graph of classify_image_graph_def.pb, which resizes images itself. */
  'inception-adm': {
    size: null,
    layout: 'nhwc',
    range: [0, 255],
    features: 'pool_3:0',
    logits: 'softmax/logits/MatMul:0',
    spatial: 'mixed_6/conv:0',
  },
  /** pytorch-fid and torch-fidelity's weights with pytorch-fid's resizing. */
  'inception-pytorch-fid': {
    size: [299, 299],
    resize: 'bilinear-torch',
    range: [-1, 1],
    features: 'pool3',
  },
  /** torch-fidelity: resizes like TensorFlow 1. */
  'inception-torch-fidelity': {
    size: [299, 299],
    resize: 'bilinear-tensorflow',
    // (x - 128) / 128.
    range: [-1, 127 / 128],
    features: 'pool3',
    logits: 'logits_unbiased',
  },
  /** clean-fid: Pillow's bicubic in floating point. */
  'inception-clean-fid': {
    size: [299, 299],
    resize: 'bicubic',
    // (x - 128) / 128.
    range: [-1, 127 / 128],
    features: 'pool3',
  },
  dinov2: {
    ...imagenet,
    size: [224, 224],
    resize: 'bicubic',
    rounds: true,
    features: 'last_hidden_state',
    token: 0,
  },
  'clip-vit-b32': { ...clip, size: [224, 224] },
  'clip-vit-l14': { ...clip, size: [224, 224] },
  'clip-vit-l14-336': { ...clip, size: [336, 336] },
};

/**
 * The description of a network.
 *
 * @param given - content of a JSON file, or the name of a preset.
 * @param fallbackName - name of the network where the description has none.
 * @throws OptionError for unknown presets, fields and values.
 */
export function describeFeatureNetwork(given: unknown, fallbackName: string): FeatureNetworkDescription {
  const where = `description of the feature network "${fallbackName}"`;
  const asked = typeof given === 'string' ? { preset: given } : given;
  const presetName = (asked as { preset?: unknown } | null)?.preset;
  const preset = presetName === undefined ? {} : presetNamed(presetName, where);
  const isObject = typeof asked === 'object' && asked !== null && !Array.isArray(asked);
  const { name, preset: _preset, ...fields } = parseOptions(schema, isObject ? { ...preset, ...asked } : asked, where);
  if (fields.logits !== undefined && fields.probabilities !== undefined)
    throw new OptionError(`${where}: logits and probabilities exclude each other; give one of them`);
  if (fields.range[0] === fields.range[1]) throw new OptionError(`${where}: range must be two different numbers`);
  if ([fields.std].flat().some((value) => value === 0)) throw new OptionError(`${where}: std must not be 0`);
  return { ...fields, name: name ?? (typeof presetName === 'string' ? presetName : fallbackName) };
}

function presetNamed(name: unknown, where: string): FeatureNetworkFields {
  if (typeof name === 'string' && Object.hasOwn(featureNetworkPresets, name)) return featureNetworkPresets[name]!;
  throw new OptionError(
    `${where}: there is no preset ${JSON.stringify(name)}; known are ${Object.keys(featureNetworkPresets).join(', ')}`,
  );
}
