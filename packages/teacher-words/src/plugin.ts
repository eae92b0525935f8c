/** The teacher as a plugin. Nothing here needs Node: a web page can load the folders too. */
import {
  definePlugin,
  OptionError,
  readJsonFile,
  readModelWeights,
  readSafetensors,
  requireObject,
  streamSafetensors,
  type DimoPlugin,
  type HostTree,
  type PlainObject,
  type Teacher,
  type TeacherDefinition,
  type TeacherPlugin,
  type WeightSource,
} from '@dimo/core';
import { defineTeacher, teacherName, wordsFile } from './definition.js';

/** File with the first vectors of the words, in the folder that a training starts from. */
export const wordVectorsFile = 'word-vectors.safetensors';

/** Text to image in Meissonic's architecture, with words for prompts. */
export const wordsTeacher: TeacherPlugin = {
  name: teacherName,
  description: 'Meissonic architecture with a patch-VQ tokenizer, and a vocabulary of words for prompts',
  define: (config) => defineTeacher(config),
  defineFrom,
  async load(config, source): Promise<Teacher> {
    const saved = await savedConfig(source);
    const definition = await defineFrom({ ...saved, ...config }, source);
    const weights = (base: string, model: Parameters<typeof readModelWeights>[1]['model']): Promise<HostTree> =>
      readModelWeights(source, { folder: '', base, model });
    return {
      ...definition,
      weights: await weights('transformer', definition.model),
      decoderWeights: await weights('tokenizer', definition.decoder!),
    };
  },
  files: (teacher) => ({
    'config.json': new TextEncoder().encode(`${JSON.stringify(teacher.config)}\n`),
    'transformer.safetensors': streamSafetensors(teacher.weights),
    ...(teacher.decoderWeights ? { 'tokenizer.safetensors': streamSafetensors(teacher.decoderWeights) } : {}),
    ...teacher.conditionFiles?.(),
  }),
};

/** Plugin with the teacher `emoji-meissonic`. */
export const wordsPlugin: DimoPlugin = definePlugin({
  contract: 2,
  name: '@dimo/teacher-words',
  teachers: [wordsTeacher],
});

async function savedConfig(source: WeightSource): Promise<PlainObject> {
  if (!(await source.list()).includes('config.json')) return {};
  return requireObject(await readJsonFile(source, 'config.json'), `${source.location}/config.json`);
}

async function defineFrom(config: PlainObject, source: WeightSource): Promise<TeacherDefinition> {
  const words = await readJsonFile(source, wordsFile, { maximumBytes: 2 ** 22 });
  if (!Array.isArray(words) || !words.every((word) => typeof word === 'string'))
    throw new OptionError(`${source.location}/${wordsFile} must be a list of words`);
  if (!(await source.list()).includes(wordVectorsFile)) return defineTeacher(config, { words });
  const { tensors } = readSafetensors(await source.read(wordVectorsFile), { path: wordVectorsFile });
  const vectors = tensors['vectors'];
  if (vectors?.dtype !== 'float32' || vectors.shape[0] !== words.length + 1)
    throw new OptionError(`${wordVectorsFile} must hold "vectors", float32 [${words.length + 1}, textWidth]`);
  return defineTeacher(config, { words, vectors: vectors.data as Float32Array });
}
