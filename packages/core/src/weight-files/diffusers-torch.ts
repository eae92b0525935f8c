/**
 * Parts of a diffusers folder whose weights are only there as PyTorch files: `pytorch_model.bin` and
 * `diffusion_pytorch_model.bin`, whole or in shards. They are offered under the names, and in the format, that safetensors
 * files would have.
 */
import { WeightError } from '../errors.js';
import { readJsonFile } from '../storage/json-file.js';
import { writeSafetensors } from '../storage/safetensors-write.js';
import type { WeightSource } from '../storage/weight-source.js';

/** `text_encoder/pytorch_model-00001-of-00002.bin`. */
const torchName = /^(.+\/)(diffusion_pytorch_model|pytorch_model)((?:[.-][\w.-]*)?)\.bin(\.index(?:\.\w+)?\.json)?$/;

/** The file of PyTorch behind each offered name: those of folders with a `config.json` and without safetensors files. */
export function torchFilesByName(names: readonly string[]): ReadonlyMap<string, string> {
  const all = new Set(names);
  const hasSafetensors = new Set(
    names.filter((name) => name.endsWith('.safetensors')).map((name) => name.slice(0, name.lastIndexOf('/') + 1)),
  );
  const offered = new Map<string, string>();
  for (const name of names) {
    const match = torchName.exec(name);
    const folder = match?.[1] ?? '';
    if (!match || hasSafetensors.has(folder) || !all.has(`${folder}config.json`)) continue;
    offered.set(safetensorsName(name), name);
  }
  return offered;
}

function safetensorsName(name: string): string {
  return name
    .replace(/(^|\/)pytorch_model(?=[^/]*$)/, '$1model')
    .replace(/\.bin(?=$|\.index(?:\.\w+)?\.json$)/, '.safetensors');
}

/** A source that offers such files too. Reading one converts it, and refuses what is no state dict. */
export function withTorchWeights(source: WeightSource): WeightSource {
  const { open } = source;
  const behind = async (name: string): Promise<string | undefined> => torchFilesByName(await source.list()).get(name);

  async function convert(name: string): Promise<Uint8Array> {
    if (name.endsWith('.json')) return convertIndex(name);
    const { openTorchWeights } = await import('./torch/state-dict.js');
    const opened = await openTorchWeights(source, name);
    try {
      return writeSafetensors(await opened.read(Object.keys(opened.specs)));
    } finally {
      await opened.close();
    }
  }

  async function convertIndex(name: string): Promise<Uint8Array> {
    const index = (await readJsonFile(source, name, { maximumBytes: 2 ** 26 })) as { weight_map?: unknown } | null;
    const map = index?.weight_map;
    if (typeof map !== 'object' || map === null)
      throw new WeightError(`${source.location}/${name}: must hold a "weight_map" from tensors to files`);
    const renamed = Object.entries(map).map(([tensor, file]) => [tensor, safetensorsName(String(file))]);
    return new TextEncoder().encode(JSON.stringify({ metadata: {}, weight_map: Object.fromEntries(renamed) }));
  }

  return {
    location: source.location,
    async list() {
      const names = await source.list();
      return [...names, ...torchFilesByName(names).keys()].sort();
    },
    async read(name) {
      const file = await behind(name);
      return file === undefined ? source.read(name) : convert(file);
    },
    ...(open
      ? {
          async open(name: string) {
            const file = await behind(name);
            if (file === undefined) return open.call(source, name);
            const bytes = await convert(file);
            return {
              length: bytes.length,
              read: (begin: number, end: number) => Promise.resolve(bytes.slice(begin, end)),
              close: () => Promise.resolve(),
            };
          },
        }
      : {}),
  };
}
