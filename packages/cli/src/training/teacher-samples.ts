/** Grids of a teacher in training: its averaged weights in several steps, with the same conditions and draws each time. */
import {
  compileMultiStep,
  gatherRows,
  sampleMultiStep,
  teacherTrainingResult,
  type Engine,
  type HostTensor,
  type HostTree,
  type SamplerRegistry,
  type StepReport,
  type TeacherDefinition,
} from '@dimo/core';
import { conditionsFor, openDecoder } from '@dimo/pipeline';
import { folderInRun } from '../run/folder.js';
import type { StepTools } from '../run/train-run.js';
import { writeSampleGrid } from './sample-grids.js';

/** Images of a grid at most; never more than a batch, whose memory the training has. */
const maximumImages = 64;

/** What grids are made with. */
export interface TeacherSampling {
  readonly engine: Engine;
  /** Folder of the run. */
  readonly run: string;
  readonly samplers: SamplerRegistry;
  readonly batchSize: number;
  readonly seed: number;
}

/** What the teacher is, and what it is trained on. */
export interface SampledTeacher {
  readonly definition: TeacherDefinition;
  /** A row for each training sequence: teachers of texts draw the first ones. */
  readonly condition: HostTree;
  readonly decoderWeights?: HostTree;
}

/** Writes `samples/step-<n>.png`; nothing for teachers that make no images. */
export function teacherSamples(
  { engine, run, samplers, batchSize, seed }: TeacherSampling,
  { definition, condition, decoderWeights }: SampledTeacher,
) {
  let ready: ReturnType<typeof prepare> | undefined;

  async function prepare() {
    const rows = Object.values(condition)[0]?.shape[0] ?? batchSize;
    const hasClasses = definition.conditions.classNames !== undefined;
    const count = Math.min(maximumImages, batchSize, hasClasses ? batchSize : rows);
    const named = hasClasses ? await conditionsFor(definition.conditions, count, { seed }) : undefined;
    const first = Array.from({ length: count }, (_, i) => i);
    const sampler = await compileMultiStep(engine, definition, {
      batchSize: count,
      state: teacherTrainingResult(definition),
      samplers,
    });
    const decoder = await openDecoder(engine, definition, decoderWeights, { batchSize: count });
    return {
      sampler,
      decoder,
      numDifferent: named?.numDifferent ?? 0,
      condition:
        named?.condition ??
        Object.fromEntries(
          Object.entries(condition).map(([name, tensor]) => [name, gatherRows(tensor as HostTensor, first)]),
        ),
      folder: await folderInRun(run, 'samples'),
    };
  }

  return {
    async write({ step, deviceState }: StepReport, tools: StepTools): Promise<void> {
      if (!definition.decoder || !decoderWeights) return;
      ready ??= prepare();
      const { sampler, decoder, numDifferent, condition: wanted, folder } = await ready;
      const tokens = await sampleMultiStep(sampler, definition.model, {
        weights: deviceState,
        condition: wanted,
        seed,
      });
      await writeSampleGrid(folder, step, { images: await decoder!.images(tokens), numDifferent }, tools);
    },
    async dispose(): Promise<void> {
      const made = await ready?.catch(() => undefined);
      await made?.sampler.dispose();
      await made?.decoder?.dispose();
    },
  };
}
