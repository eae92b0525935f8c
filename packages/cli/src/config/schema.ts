/**
 * The configuration file: every key with its type, range, default and one sentence. Validation, completion of flags,
 * `docs/configuration.md` and the settings of a run all come from this description. What belongs to a training, a sampler
 * or an evaluation is described by the package that does it, and only put in its place here.
 */
import { z } from 'zod';
import {
  dimoOptions,
  distillationRunOptions,
  fields,
  teacherTrainingOptions,
  tokenOptions,
  type GivenOptions,
} from '@dimo/core';
import { pictureOptions } from '@dimo/datasets/options';
import { judgeOptions, manifoldOptions, referenceOptions } from '@dimo/eval/options';
import { tokenizerTrainingOptions } from '@dimo/tokenizers/options';
import { folderPath, text } from './fields.js';

const { batchSize, finite, positive, section, seed, whole } = fields;
const freeForm = z.record(z.string(), z.unknown());

/** Without the seed, which is one for everything. */
function unseeded<Shape extends { readonly seed: unknown }>({ seed: _seed, ...others }: Shape): Omit<Shape, 'seed'> {
  return others;
}

const distill = section({
  preset: z
    .enum(['official'])
    .optional()
    .describe(
      'Settings of the official run on teachers of this kind, under the keys that are given; `dimo info <teacher>` lists them. Absent: the defaults.',
    ),
  algorithm: text().default('dimo').describe('Distillation algorithm; `dimo info algorithms` lists them.'),
  options: freeForm
    .default({})
    .describe(
      'Options of another algorithm than dimo, whose own stand here beside. `dimo info algorithms` lists them.',
    ),
  generator: freeForm
    .default({})
    .describe(
      'Architecture of the generator where it is another than the teacher: the keys of teacher.config that differ. Its first weights are fresh ones.',
    ),
  ...unseeded(distillationRunOptions),
  ...dimoOptions,
  prompts: text()
    .optional()
    .describe('Text file with one prompt a line, for teachers of text. Absent: the conditions of the teacher.'),
  negativePrompt: text()
    .optional()
    .describe('What the guidance of the teacher leads away from, typed. Absent: no condition.'),
  maxSkipped: fields.maxSkipped,
  recompute: z
    .enum(['none', 'blocks', 'auto'])
    .default('auto')
    .describe(
      'What is computed a second time for the gradients instead of kept: nothing, or the blocks of the networks, for less memory in more time; auto: the blocks where main memory would not suffice, as far as it is known (on Linux).',
    ),
  sampleEvery: whole(0).default(200).describe('Steps between sample grids in samples/; 0: only at the end.'),
});

const presetName = z.enum(['tiny', 'small', 'base']).optional();

const trainTokenizer = section({
  preset: presetName.describe(
    'Size and length of the training, for the pictures of the dataset: minutes, hours, or a GPU. Absent: tiny for a folder of pictures, else the defaults.',
  ),
  config: freeForm
    .default({})
    .describe('Architecture of the tokenizer: `kind` and the keys of the kind, see below. Absent: patch-vq.'),
  ...unseeded(tokenizerTrainingOptions),
});

const trainTeacher = section({
  preset: presetName.describe('As `train.tokenizer.preset`.'),
  tokenizer: text()
    .optional()
    .describe(
      'Folder of a trained tokenizer, for datasets of images. Absent: of a folder of pictures, the newest one in `run.folder` that was trained on it.',
    ),
  conditions: text()
    .optional()
    .describe('Folder with files that the conditions of the teacher need: vocabulary, text encoder. Absent: none.'),
  config: freeForm.default({}).describe('Architecture, passed to the teacher plugin; those of MaskGIT are below.'),
  init: text()
    .optional()
    .describe(
      'File with the weights to start from: the checkpoint of a PyTorch trainer or any other (.pth, .pt, .ckpt, .bin, .safetensors). Absent: fresh ones.',
    ),
  initWith: z
    .enum(['training', 'weights'])
    .default('training')
    .describe(
      'What is taken from that file: with the weights also the moments of Adam and the steps made, where it has them, or the weights alone.',
    ),
  ...unseeded(teacherTrainingOptions),
  recompute: z.enum(['none', 'blocks']).default('none').describe('As `distill.recompute`.'),
  sampleEvery: whole(0).default(200).describe('As `distill.sampleEvery`; of teachers that make images.'),
});

/** The whole configuration. */
export const configSchema = z.strictObject({
  seed,
  plugins: z
    .array(text())
    .max(64)
    .default([])
    .describe(
      'Packages, or paths inside the project, that add teachers, datasets, samplers, algorithms, engines or metrics.',
    ),
  dataset: folderPath()
    .default('mnist')
    .describe('Dataset for training and evaluation: the name a plugin gives it, or a folder of pictures.'),
  pictures: section(pictureOptions).describe(
    'How the pictures of a folder become images. Of a model that exists, images have the size of its own.',
  ),
  run: section({
    folder: folderPath().default('runs').describe('Folder that holds the runs.'),
    name: text()
      .regex(/^[^/\\]+$/, 'must not hold a slash')
      .optional()
      .describe('Folder of this run in it. Absent: made from the command and the teacher.'),
    shareFiles: z
      .boolean()
      .default(true)
      .describe('Store a text encoder once for all runs of the folder, as hard links; each run stays complete.'),
  }).describe('Where a run leaves its files.'),
  engine: section({
    name: text()
      .default('auto')
      .describe(
        'What computes: auto, onnx, onnx-native, onnx-webgpu, onnx-cuda, wasm, webgpu, cuda, tensorflow, cpu, or a plugin engine.',
      ),
    threads: whole(1, 1024).optional().describe('Threads of CPU engines. Absent: the number of cores.'),
  }).describe('Engine.'),
  teacher: section({
    source: text()
      .optional()
      .describe('Name of a bundled teacher, or the folder of a trained one. Absent: mnist, unless `plugin` is set.'),
    plugin: text().optional().describe('Teacher plugin by name, for teachers that are made from `config` alone.'),
    config: freeForm.default({}).describe('Passed to the teacher plugin; only together with `plugin`.'),
  }).describe('The teacher.'),
  sampler: freeForm
    .default({})
    .describe(
      'Multi-step sampler of the teacher: `name` and its options, as `dimo info samplers` lists them. Absent: the own one of the teacher.',
    ),
  distill: distill.describe('dimo distill: settings of the distillation; the defaults suit a small teacher.'),
  train: section({
    tokenizer: trainTokenizer.describe('dimo train tokenizer.'),
    teacher: trainTeacher.describe('dimo train teacher.'),
  }).describe('Training of teachers.'),
  sample: section({
    count: whole(1, 100_000).default(64).describe('Number of samples.'),
    classes: text().optional().describe('Class ids, names and ranges: 0-9, "3,cat". Absent: all classes in turn.'),
    steps: whole(1, 10_000)
      .optional()
      .describe('Steps of the multi-step sampler, when a teacher is sampled. Absent: those of the teacher.'),
    guidance: finite().optional().describe('Guidance scale of the multi-step sampler. Absent: the one of the teacher.'),
    negativePrompt: text()
      .optional()
      .describe('What the guidance of the multi-step sampler leads away from. Absent: no condition. Teachers only.'),
    temperature: tokenOptions.temperature
      .unwrap()
      .optional()
      .describe('Divides the logits of the one-step generator. Absent: what the generator recommends, or 1.'),
    embeddingNoise: finite(0, 1)
      .optional()
      .describe(
        'Scale of the noise on the embeddings of the initial tokens. Absent: that of the training; 0 is faster.',
      ),
    topK: tokenOptions.topK,
    topP: tokenOptions.topP,
    batchSize: batchSize.default(64).describe('Samples computed at once.'),
  }).describe('dimo sample.'),
  eval: section({
    count: referenceOptions.sampleCount,
    teacherSteps: z
      .array(whole(1, 10_000))
      .max(32)
      .default([16, 8, 4, 2, 1])
      .describe('Steps of the teacher, one row each.'),
    seeds: z.array(whole(0)).min(1).max(32).default([0]).describe('Sampling seeds; rows show the mean over them.'),
    metrics: z.array(text()).max(64).default([]).describe('Metrics of plugins to add, by name.'),
    prompts: text()
      .optional()
      .describe(
        'Text file with prompts, one a line, for a page of pictures; ` # ` and a remark may follow. Absent: no page.',
      ),
    ...manifoldOptions,
    batchSize: batchSize.default(50).describe('Samples computed at once.'),
    judge: section(judgeOptions).describe(
      'The network by whose features images are judged (FID and the rest); kept for the next time.',
    ),
  }).describe('dimo eval, and the evaluation after a distillation.'),
  checkpoint: section({
    everySteps: whole(0).default(200).describe('Steps between checkpoints; 0: no such rule.'),
    everyMinutes: finite(0).default(10).describe('Minutes between checkpoints; 0: no such rule.'),
    keep: fields.keptCheckpoints,
  }).describe('Checkpoints while training.'),
  log: section({
    everySteps: whole(1).default(1).describe('Steps between lines of metrics.jsonl and points of TensorBoard.'),
    everySeconds: positive().default(5).describe('Seconds between progress lines where there is no terminal.'),
    tensorboard: z.boolean().default(true).describe('Write TensorBoard event files.'),
  }).describe('What is logged.'),
});

/** A complete configuration: every default filled in. */
export type DimoConfig = z.infer<typeof configSchema>;

/** What a configuration file may say: any of the keys, at every level. */
export type PartialDimoConfig = GivenOptions<typeof configSchema.shape>;

/**
 * Types a configuration program; returns it as it is.
 *
 * @example
 * // dimo.config.ts
 * import { defineConfig } from '@dimo/cli';
 * export default defineConfig({ teacher: { source: 'mnist' }, distill: { numSteps: 500, teacherGuidance: 2 } });
 */
export function defineConfig(config: PartialDimoConfig): PartialDimoConfig {
  return config;
}
