/** `dimo export`: a model as files that other programs run. */
import {
  DimoError,
  OptionError,
  prepareTeacher,
  streamSafetensors,
  type HostTree,
  type LoadedGenerator,
  type TeacherDefinition,
} from '@dimo/core';
import { conditionsFor } from '@dimo/pipeline';
import { mkdir, readdir } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { onnxFileNames, onnxFiles } from '../export/onnx-files.js';
import { writeTorchFile, type StoredFloat } from '../export/torch-file.js';
import { exitOk } from '../output/failure.js';
import type { TypedSettings } from '../flags/flags.js';
import { modelOrigin } from '../models/model-card-file.js';
import { findModel } from '../models/models.js';
import { writeFileAtomically } from '../run/folder.js';
import { generatorSettings } from '../models/sampler-asked.js';
import { openEngine, openProject, type Project } from '../project/session.js';
import { print, printJson } from '../output/terminal.js';

/** What a model can be written as. */
export const exportFormats = ['onnx', 'safetensors', 'pytorch'] as const;

/** Arguments of `export`. */
export interface ExportArguments {
  /** Name of a preset, folder, import or file. */
  readonly model: string;
  /** Prompts or classes whose conditions are written beside an ONNX file. */
  readonly prompts: readonly string[];
  readonly to: (typeof exportFormats)[number];
  /** Folder to write. @default exported/<name> */
  readonly out: string | undefined;
  readonly float: StoredFloat;
  readonly batch: string | undefined;
  readonly isWeightsFile: boolean;
  readonly operators: 'standard' | 'microsoft';
  readonly typed: TypedSettings;
  readonly quiet: boolean;
  readonly json: boolean;
}

/** Keys of the configuration that are part of an exported generator. */
const readKeys = /^(?:sample\.(?:temperature|embeddingNoise|topK|topP)|engine(?:\..*)?|plugins)$/;
/** Of those, what weights alone depend on. */
const readForWeights = /^plugins$/;

/** Exports a model and prints what was written. */
export async function exportModel(args: ExportArguments): Promise<number> {
  const read = args.to === 'onnx' ? readKeys : readForWeights;
  const idle = args.typed.settings.find(({ path }) => !read.test(path));
  if (idle)
    throw new OptionError(`${idle.where} has no effect on \`dimo export --to ${args.to}\``, { hint: 'leave it out' });
  const batch = readBatch(args.batch);
  const project = await openProject(args.typed, { kinds: ['engines', 'teachers'], onlyEffective: false });
  const out = args.out ?? join('exported', shortName(args.model));
  await checkOut(out);
  const found = await findModel(args.model, project.registry);
  if (args.to !== 'onnx') {
    const idleOptions = {
      '--batch': args.batch,
      '--weights-file': args.isWeightsFile || undefined,
      '--operators': args.operators === 'standard' ? undefined : args.operators,
      prompts: args.prompts[0],
    };
    for (const [name, value] of Object.entries(idleOptions))
      if (value !== undefined)
        throw new OptionError(`export: ${name} has no effect with --to ${args.to}`, { hint: 'leave it out' });
    const weights = found.kind === 'generator' ? found.generator : found.teacher;
    return report(args, out, await writeWeights(out, weights, args));
  }
  if (found.kind === 'teacher')
    throw new OptionError(`${args.model} takes several passes for a picture; an ONNX file is one pass`, {
      hint: 'distil it first with `dimo distill`, or export its weights with --to safetensors',
    });
  const { generator } = found;
  const texts = args.prompts;
  const tensors = texts.length === 0 ? undefined : await conditionsOf(generator.definition, texts, project);
  const files = onnxFiles(generator, {
    settings: generatorSettings(project.config.sample),
    float: args.float,
    batch,
    operators: args.operators,
    isWeightsFile: args.isWeightsFile,
    origin: await modelOrigin(args.model, project.registry),
    conditions: tensors && { texts, tensors },
  });
  await mkdir(out, { recursive: true });
  // The model last: what it names is there by then.
  const { [onnxFileNames.model]: model, ...others } = files;
  for (const [name, bytes] of Object.entries({ ...others, [onnxFileNames.model]: model! }))
    await writeFileAtomically(join(out, name), bytes);
  return report(args, out, Object.keys(files));
}

/** Conditions of prompts or classes; an engine is made where a text encoder has to run. */
async function conditionsOf(
  definition: TeacherDefinition,
  prompts: readonly string[],
  { config, registry }: Project,
): Promise<HostTree> {
  const parse = async ({ conditions }: TeacherDefinition): Promise<HostTree> =>
    (await conditionsFor(conditions, prompts.length, { prompts, seed: config.seed })).condition;
  if (!definition.prepareConditions) return parse(definition);
  const { engine } = await openEngine(config.engine, registry);
  try {
    const prepared = await prepareTeacher(engine, definition);
    try {
      return await parse(prepared.teacher);
    } finally {
      await prepared.dispose();
    }
  } finally {
    await engine.dispose();
  }
}

/** Weights under their original names, a file for the model and one for the decoder. */
async function writeWeights(
  out: string,
  { weights, decoderWeights }: Pick<LoadedGenerator, 'weights' | 'decoderWeights'>,
  { to, float }: Pick<ExportArguments, 'to' | 'float'>,
): Promise<string[]> {
  await mkdir(out, { recursive: true });
  const parts: [stem: string, HostTree][] = [['model', weights]];
  if (decoderWeights) parts.push(['decoder', decoderWeights]);
  const written: string[] = [];
  for (const [stem, tensors] of parts) {
    const name = to === 'safetensors' ? `${stem}.safetensors` : stem === 'model' ? 'pytorch_model.bin' : `${stem}.bin`;
    const path = join(out, name);
    if (to === 'pytorch') await writeTorchFile(path, tensors, float);
    else await writeFileAtomically(path, streamSafetensors(tensors, { metadata: { format: 'pt' }, float }));
    written.push(name);
  }
  return written;
}

function report({ to, quiet, json }: ExportArguments, out: string, names: readonly string[]): number {
  const written = names.map((name) => join(out, name));
  if (json) printJson({ format: to, written });
  else if (!quiet) print(written.join('\n'));
  return exitOk;
}

function readBatch(text: string | undefined): number | 'dynamic' {
  if (text === undefined || text === 'dynamic') return 'dynamic';
  if (/^[1-9][0-9]{0,5}$/.test(text)) return Number(text);
  throw new OptionError(`--batch must be an integer from 1 to 999999, or dynamic, got ${JSON.stringify(text)}`);
}

/** `runs/cats/generator` is `cats`. */
function shortName(model: string): string {
  const path = resolve(model.replace(/\.safetensors$/, ''));
  return basename(path) === 'generator' ? basename(dirname(path)) : basename(path);
}

/** Nothing is replaced. @throws OptionError */
async function checkOut(out: string): Promise<void> {
  const names = await readdir(out).catch((error: unknown) => {
    if ((error as { code?: unknown }).code === 'ENOENT') return [];
    throw new DimoError('io', `${out} cannot be read: ${String((error as Error).message)}`, { path: out });
  });
  if (names.length > 0)
    throw new OptionError(`${out} holds other files`, { path: out, hint: 'choose a new folder with --out' });
}
