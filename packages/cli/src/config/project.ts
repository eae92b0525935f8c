/**
 * What counts as the user's own project: where a configuration that is only found, not named, may run code. A folder of
 * weights that somebody sent is none, whatever files lie beside the weights.
 */
import { lstat, readdir } from 'node:fs/promises';
import { join } from 'node:path';

/** Files of models and runs: a folder that holds one came from somewhere, or was written by `dimo`. */
const modelFile =
  /\.(?:safetensors|bin|pth|pt|ckpt|pkl|pickle|onnx|gguf|h5|msgpack)$|\.index\.json$|^(?:model_index|teacher|dimo|tokenizer|tokenizer_config|generation_config|preprocessor_config)\.json$|^(?:merges\.txt|metrics\.jsonl)$/i;

/**
 * Why a folder is not a project of the user, or undefined if it is one: it has a package.json of its own (not a link to
 * one), and no file of a model or a run.
 */
export async function whyNoProject(folder: string): Promise<string | undefined> {
  const hasPackage = await lstat(join(folder, 'package.json')).then(
    (stats) => stats.isFile(),
    () => false,
  );
  if (!hasPackage) return 'it has no package.json';
  const model = await modelFileIn(folder);
  return model === undefined ? undefined : `it holds a model or a run (${model})`;
}

/** A file of a model or a run in a folder, or undefined if it has none. */
export async function modelFileIn(folder: string): Promise<string | undefined> {
  const names: readonly string[] = await readdir(folder).catch(() => []);
  if (names.includes('config.yaml') && names.includes('checkpoints')) return 'checkpoints';
  return names.find((name) => modelFile.test(name));
}
