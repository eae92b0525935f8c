/** A generator as ONNX, with what a program in another language needs to know to run it. */
import { exportGenerator, type ExportedGenerator } from '@dimo/onnx';
import {
  numRows,
  randomOneStepDraws,
  sequenceLength,
  tokenDrawSpec,
  writeSafetensors,
  type HostTree,
  type LoadedGenerator,
} from '@dimo/core';
import { samplingOf, type GeneratorSettings } from '@dimo/pipeline';
import { cardHead, conditionKind, type ModelCardFacts } from '../models/model-card.js';
import { version } from '../version.js';
import type { StoredFloat } from './torch-file.js';

/** How a generator is exported. */
export interface OnnxExport {
  readonly settings: GeneratorSettings;
  readonly float: StoredFloat;
  readonly batch: number | 'dynamic';
  readonly operators: 'standard' | 'microsoft';
  /** Weights in a file beside the model; without it they are inside where they fit. */
  readonly isWeightsFile: boolean;
  /** Licence and place of the model, for the head that hubs read. */
  readonly origin: Pick<ModelCardFacts, 'licence' | 'baseModel'>;
  /** Conditions to write beside it, and what they were made from. */
  readonly conditions: { readonly texts: readonly string[]; readonly tensors: HostTree } | undefined;
}

/** Names of the files. */
export const onnxFileNames = {
  model: 'model.onnx',
  weights: 'model.onnx.data',
  conditions: 'conditions.safetensors',
  readme: 'README.md',
} as const;

/**
 * The files of the export.
 *
 * @throws OptionError for a generator of several passes; DimoError as `exportGenerator`.
 */
export function onnxFiles(generator: LoadedGenerator, options: OnnxExport): Record<string, Uint8Array> {
  const { definition, description } = generator;
  const { tokenInit, sampling } = samplingOf(generator, options.settings);
  const { classNames } = definition.conditions;
  const exported = exportGenerator(generator, {
    tokenInit,
    sampling,
    float: options.float,
    batch: options.batch,
    operators: options.operators,
    ...(options.isWeightsFile ? { weightsFile: onnxFileNames.weights } : {}),
    name: description.model,
    metadata: {
      'dimo.version': version,
      'dimo.teacher': description.teacher.name,
      'dimo.tokenInit': JSON.stringify(tokenInit),
      'dimo.sampling': JSON.stringify(sampling),
      'dimo.tokenSpace': JSON.stringify(definition.model.tokenSpace),
      ...(classNames ? { 'dimo.classNames': JSON.stringify(classNames) } : {}),
    },
  });
  const { conditions } = options;
  return {
    [onnxFileNames.model]: exported.model,
    ...(exported.weights ? { [onnxFileNames.weights]: exported.weights } : {}),
    ...(conditions ? { [onnxFileNames.conditions]: writeSafetensors(conditions.tensors) } : {}),
    ...(definition.conditionFiles?.() ?? {}),
    [onnxFileNames.readme]: new TextEncoder().encode(readme(generator, exported, options)),
  };
}

/** An input, and how a program makes it. */
interface InputRecipe {
  readonly name: string;
  readonly type: string;
  readonly meaning: string;
  /** Expressions for `n` samples. */
  readonly python: string;
  readonly javascript: string;
}

function readme(generator: LoadedGenerator, exported: ExportedGenerator, options: OnnxExport): string {
  const { definition, description } = generator;
  const recipes = inputRecipes(generator, exported, options);
  const { decoder } = definition;
  const { classNames } = definition.conditions;
  const count =
    options.batch === 'dynamic' ? (options.conditions ? numRows(options.conditions.tensors) : 4) : options.batch;
  const { tokenSpace } = definition.model;
  const length = sequenceLength(tokenSpace);
  const numMasked = maskedCount(generator, options);
  const isFromFile = options.conditions !== undefined;
  const table = recipes.map(({ name, type, meaning }) => `| \`${name}\` | ${type} | ${meaning} |`);
  const outputs = [
    `| \`tokens\` | int32 [batch, ${length}] | ids of the codebook, row by row |`,
    ...(decoder ? [`| \`images\` | float32 [batch, ${decoder.imageShape.join(', ')}] | in [0, 1] |`] : []),
  ];
  const result = decoder ? 'images' : 'tokens';
  const start = cardHead({
    ...options.origin,
    library: 'onnx',
    isOneStep: true,
    conditionedBy: conditionKind(definition),
    imageShape: decoder?.imageShape,
  });
  return `${start}
# ${description.model}

A one-step generator, exported by dimo ${version}: random numbers in, ${decoder ? 'pictures' : 'tokens'} out, one pass.
Weights are stored as ${options.float}; the batch is ${options.batch === 'dynamic' ? 'of any size' : `of ${options.batch}`}.

| input | type | what it is |
| --- | --- | --- |
${table.join('\n')}

| output | type | what it is |
| --- | --- | --- |
${outputs.join('\n')}
${classNames?.some((name, id) => name !== String(id)) ? `\nClasses: ${classNames.map((name, id) => `${id} ${name}`).join(', ')}.\n` : ''}${isFromFile ? `\n\`${onnxFileNames.conditions}\` holds the condition of ${options.conditions.texts.map((text) => JSON.stringify(text)).join(', ')}.\n` : ''}
## Python

\`\`\`python
import numpy as np, onnxruntime as ort${isFromFile ? '\nfrom safetensors.numpy import load_file' : ''}

session, rng, n = ort.InferenceSession("${onnxFileNames.model}"), np.random.default_rng(0), ${count}
codes = rng.integers(0, ${tokenSpace.codebookSize}, (n, ${length}))
masked = rng.random((n, ${length})).argsort(1).argsort(1) < ${numMasked}${isFromFile ? `\nconditions = load_file("${onnxFileNames.conditions}")` : ''}
feeds = {
${recipes.map(({ name, python }) => `    "${name}": ${python},`).join('\n')}
}
${result}, = session.run(["${result}"], feeds)
\`\`\`

## JavaScript

\`\`\`js
import * as ort from 'onnxruntime-node'; // or onnxruntime-web
${isFromFile ? "import { readSafetensors } from '@dimo/core';\nimport { readFileSync } from 'node:fs';\n" : ''}
const session = await ort.InferenceSession.create('${onnxFileNames.model}');
const n = ${count};
const fill = (type, Array, dims, make) =>
  new ort.Tensor(type, Array.from({ length: dims.reduce((a, b) => a * b, 1) }, (_, i) => make(i)), dims);
const order = (length) => Array.from({ length }, Math.random).map((x, _, all) => all.filter((y) => y < x).length);
const ranks = Array.from({ length: n }, () => order(${length})).flat();
const normal = () => Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());${isFromFile ? `\nconst conditions = readSafetensors(readFileSync('${onnxFileNames.conditions}')).tensors;` : ''}
const { ${result} } = await session.run({
${recipes.map(({ name, javascript }) => `  ${/^[a-zA-Z]\w*$/.test(name) ? name : `'${name}'`}: ${javascript},`).join('\n')}
});
\`\`\`
`;
}

function inputRecipes(generator: LoadedGenerator, { inputs }: ExportedGenerator, options: OnnxExport): InputRecipe[] {
  const { model, nullCondition } = generator.definition;
  const { tokenSpace } = model;
  const { sampling } = samplingOf(generator, options.settings);
  const isRace = tokenDrawSpec(tokenSpace, sampling).shape.length > 1;
  return Object.entries(inputs).map(([name, { dtype, shape }]): InputRecipe => {
    const own = shape.slice(1);
    const dims = ['n', ...own].join(', ');
    const type = `${dtype} [${['batch', ...own].join(', ')}]`;
    const [Array, numpy] = dtype === 'float32' ? ['Float32Array', 'np.float32'] : ['Int32Array', 'np.int32'];
    const filled = (make: string): string => `fill('${dtype}', ${Array}, [${dims}], ${make})`;
    if (name === 'initialTokens')
      return {
        name,
        type,
        meaning: `random ids below ${tokenSpace.codebookSize}, ${maskedCount(generator, options)} of ${own[0]} replaced by the mask id ${tokenSpace.maskTokenId}`,
        python: `np.where(masked, ${tokenSpace.maskTokenId}, codes).astype(np.int32)`,
        javascript: filled(
          `(i) => (ranks[i] < ${maskedCount(generator, options)} ? ${tokenSpace.maskTokenId} : Math.floor(Math.random() * ${tokenSpace.codebookSize}))`,
        ),
      };
    if (name === 'embeddingNoise')
      return {
        name,
        type,
        meaning: 'standard normal',
        python: `rng.standard_normal((${dims}), np.float32)`,
        javascript: filled('normal'),
      };
    if (name === 'tokenDraws')
      return {
        name,
        type,
        meaning: isRace ? 'standard exponential, > 0' : 'uniform in [0, 1)',
        python: isRace ? `rng.standard_exponential((${dims}), np.float32)` : `rng.random((${dims}), np.float32)`,
        javascript: filled(isRace ? '() => -Math.log(1 - Math.random())' : 'Math.random'),
      };
    if (options.conditions && name in model.condition)
      return {
        name,
        type,
        meaning: 'condition',
        python: `conditions["${name}"]`,
        javascript: `new ort.Tensor('${dtype}', conditions['${name}'].data, [${dims}])`,
      };
    const below = model.condition[name]?.below;
    const none = nullCondition[name]?.data[0];
    const numClasses = generator.definition.conditions.classNames?.length;
    const range = numClasses === undefined ? '' : ` in [0, ${numClasses})`;
    return {
      name,
      type,
      meaning: `condition${range}${below !== undefined && own.length === 0 && none !== undefined ? `; ${none}: none` : ''}`,
      python:
        numClasses === undefined
          ? `np.zeros((${dims}${own.length === 0 ? ',' : ''}), ${numpy})`
          : `np.arange(n, dtype=np.int32) % ${numClasses}`,
      javascript: filled(numClasses === undefined ? '() => 0' : `(i) => i % ${numClasses}`),
    };
  });
}

/** Masked positions of the initial tokens; of the first sample, where the ratio is drawn. */
function maskedCount(generator: LoadedGenerator, { settings }: OnnxExport): number {
  const { model } = generator.definition;
  const { tokenInit, sampling } = samplingOf(generator, settings);
  const { initialTokens } = randomOneStepDraws(0, 0, { batchSize: 1, model, tokenInit, sampling });
  return initialTokens.data.filter((token) => token === model.tokenSpace.maskTokenId).length;
}
