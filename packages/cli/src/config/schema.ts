/**
 * The configuration file: every key with its type, range, default and one sentence. Validation, completion of flags,
 * `docs/configuration.md` and the settings of a run all come from this description. Keys under `distill` are core's
 * `dimoOptions` and what every distillation is told, keys under `train.teacher` those of `TeacherTrainingOptions`.
 */
import { z } from 'zod';
import { dimoOptions, fields } from '@dimo/core';
import { folderPath, text } from './fields.js';

const { belowOne, finite, learningRateSchedule, maskSchedule, onNonFinite, optimizer, positive, section, whole } =
  fields;
const freeForm = z.record(z.string(), z.unknown());

const distill = section({
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
  numSteps: whole(1, 2 ** 32 - 1)
    .default(1000)
    .describe('Iterations; each updates the auxiliary model.'),
  batchSize: whole(1, 65536).default(64).describe('Samples per micro-step.'),
  accumulation: whole(1, 4096).default(1).describe('Micro-steps whose gradients are added before an update.'),
  ...dimoOptions,
  prompts: text()
    .optional()
    .describe('Text file with one prompt a line, for teachers of text. Absent: the conditions of the teacher.'),
  negativePrompt: text()
    .optional()
    .describe('What the guidance of the teacher leads away from, typed. Absent: no condition.'),
  onNonFinite: onNonFinite
    .default('skip')
    .describe('A loss or gradient that is not finite: stop, skip the update and count it, or do as the official code.'),
  maxSkipped: whole(1).default(10).describe('Skipped steps in a row after which the run stops.'),
  sampleEvery: whole(0).default(200).describe('Steps between sample grids in samples/; 0: only at the end.'),
});

const trainTokenizer = section({
  config: freeForm
    .default({})
    .describe('Architecture of the tokenizer: `kind` and the keys of the kind, see below. Absent: patch-vq.'),
  numSteps: whole(1, 2 ** 32 - 1)
    .default(1500)
    .describe('Training steps.'),
  batchSize: whole(1, 65536).default(64).describe('Images per step.'),
  learningRate: positive().default(2e-3).describe('Peak learning rate.'),
  learningRateSchedule: learningRateSchedule({ kind: 'cosine', warmupSteps: 50, finalFraction: 0.05 }).describe(
    'Course of the learning rate.',
  ),
  optimizer: optimizer({ kind: 'adam', beta1: 0.9, beta2: 0.95, weightDecay: 0 }).describe('Optimizer.'),
  commitment: finite(0).default(0.25).describe('Weight of the pull of the encoder to its codes.'),
  codebookDecay: belowOne().default(0.98).describe('Decay of the moving averages of the codebook.'),
  deadBelow: belowOne().default(0.01).describe('Codes chosen less often than this part of the mean are re-seeded.'),
  reseedFraction: finite(0, 1).default(0.7).describe('Part of the run, from its start, that re-seeds dead codes.'),
  onNonFinite: onNonFinite.default('skip').describe('A loss or gradient that is not finite: see distill.onNonFinite.'),
});

const trainTeacher = section({
  tokenizer: text()
    .optional()
    .describe('Folder of a trained tokenizer, for datasets of images. Absent: the one of the teacher preset.'),
  conditions: text()
    .optional()
    .describe('Folder with files that the conditions of the teacher need: vocabulary, text encoder. Absent: none.'),
  config: freeForm.default({}).describe('Architecture, passed to the teacher plugin; those of MaskGIT are below.'),
  numSteps: whole(1, 2 ** 32 - 1)
    .default(2200)
    .describe('Training steps.'),
  batchSize: whole(1, 65536).default(64).describe('Sequences per step.'),
  maskSchedule: maskSchedule.default('arccos').describe('Distribution of the mask ratio.'),
  labelSmoothing: belowOne().default(0.1).describe('Label smoothing of the cross-entropy.'),
  conditionDrop: finite(0, 1).default(0.1).describe('Probability of training without condition, for guidance.'),
  dropout: belowOne().default(0).describe('Dropout rate, for models that have dropout.'),
  learningRate: positive().default(2e-3).describe('Peak learning rate.'),
  learningRateSchedule: learningRateSchedule({ kind: 'cosine', warmupSteps: 100, finalFraction: 0 }).describe(
    'Course of the learning rate.',
  ),
  optimizer: optimizer({ kind: 'adamw', beta1: 0.9, beta2: 0.96, weightDecay: 0.01, clipNorm: 1 }).describe(
    'Optimizer.',
  ),
  averageDecay: belowOne().default(0.998).describe('Decay of the moving average of the weights, the result.'),
  onNonFinite: onNonFinite.default('skip').describe('A loss or gradient that is not finite: see distill.onNonFinite.'),
});

/** The whole configuration. */
export const configSchema = z.strictObject({
  seed: whole(0).default(0).describe('Seed of everything random: the same seed gives the same run.'),
  plugins: z
    .array(text())
    .max(64)
    .default([])
    .describe(
      'Packages, or paths inside the project, that add teachers, datasets, samplers, algorithms, engines or metrics.',
    ),
  dataset: text().default('mnist').describe('Dataset for training and evaluation, by the name a plugin gives it.'),
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
        'What computes: auto, onnx, onnx-webgpu, onnx-cuda, wasm, webgpu, cuda, tensorflow, cpu, or a plugin engine.',
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
    steps: whole(1, 10_000).default(16).describe('Steps of the multi-step sampler, when a teacher is sampled.'),
    guidance: finite().optional().describe('Guidance scale of the multi-step sampler. Absent: the one of the teacher.'),
    negativePrompt: text()
      .optional()
      .describe('What the guidance of the multi-step sampler leads away from. Absent: no condition. Teachers only.'),
    temperature: positive()
      .optional()
      .describe('Divides the logits of the one-step generator. Absent: what the generator recommends, or 1.'),
    embeddingNoise: finite(0, 1)
      .optional()
      .describe(
        'Scale of the noise on the embeddings of the initial tokens. Absent: that of the training; 0 is faster.',
      ),
    topK: whole(0).default(0).describe('Only the k most probable ids; 0: all.'),
    topP: finite(0, 1).default(0).describe('Only the most probable ids up to this mass; 0: all.'),
    batchSize: whole(1, 65536).default(64).describe('Samples computed at once.'),
  }).describe('dimo sample.'),
  eval: section({
    count: whole(2, 1_000_000).default(5000).describe('Samples per row of the table; never compare across counts.'),
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
    precisionNeighbors: whole(1, 100)
      .default(5)
      .describe('k of precision and recall; with 5, real images score about 0.95.'),
    densityNeighbors: whole(1, 100).default(5).describe('k of density and coverage.'),
    batchSize: whole(1, 65536).default(50).describe('Samples computed at once.'),
    judge: section({
      kind: z
        .enum(['auto', 'trained', 'random'])
        .default('auto')
        .describe(
          'A classifier trained on the images of the dataset, or a random network; auto: trained where there are classes. MNIST has a bundled one, used while all of these settings are the defaults.',
        ),
      numSteps: whole(1, 2 ** 32 - 1)
        .optional()
        .describe('Training steps. Absent: three passes over the images, at least 1400, at most 5000.'),
      batchSize: whole(1, 65536).default(128).describe('Images per training step.'),
      learningRate: positive().default(2e-3).describe('Peak learning rate of its training.'),
      dropout: belowOne().default(0.3).describe('Dropout rate of its features in training.'),
      featureLength: whole(2, 4096).default(128).describe('Width of its features.'),
      seed: whole(0).default(0).describe('Seed of its weights and training.'),
    }).describe('The network by whose features images are judged (FID and the rest); kept for the next time.'),
  }).describe('dimo eval, and the evaluation after a distillation.'),
  checkpoint: section({
    everySteps: whole(0).default(200).describe('Steps between checkpoints; 0: no such rule.'),
    everyMinutes: finite(0).default(10).describe('Minutes between checkpoints; 0: no such rule.'),
    keep: whole(1, 10_000).default(3).describe('Newest checkpoints that stay.'),
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
export type PartialDimoConfig = z.input<typeof configSchema>;

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
