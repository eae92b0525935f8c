/** `dimo import` of Meissonic releases whose parts are incomplete or do not belong together; nothing is written. */
import { float32, readSafetensors, writeSafetensors, type HostTree } from '@dimo/core';
import { existsSync } from 'node:fs';
import { cp, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { fixtures } from '../parity/fixtures.js';
import { startHub, type HubServer } from '../support/hub-server.js';
import { dimoTrial } from '../support/in-process-dimo.js';

const { at, dimo, succeed, fails } = dimoTrial();
const release = path.join(fixtures, 'meissonic', 'tiny_release');
const weights = {
  transformer: 'transformer/diffusion_pytorch_model.safetensors',
  vqvae: 'vqvae/diffusion_pytorch_model.safetensors',
  textEncoder: 'text_encoder/model.safetensors',
} as const;
const grid = ['--set', 'grid=4'];

/** A copy of the release to change. */
async function copy(): Promise<string> {
  await cp(release, at('release'), { recursive: true });
  return at('release');
}

const edit = async (name: string, change: (text: string) => string): Promise<void> =>
  writeFile(at('release', name), change(await readFile(at('release', name), 'utf8')));
const set = (name: string, values: Record<string, unknown>): Promise<void> =>
  edit(name, (text) => JSON.stringify({ ...(JSON.parse(text) as object), ...values }));
const tensorsOf = async (name: string): Promise<HostTree> =>
  readSafetensors(new Uint8Array(await readFile(at('release', name)))).tensors;
const changeTensors = async (name: string, change: (tree: HostTree) => HostTree): Promise<void> =>
  writeFile(at('release', name), writeSafetensors(change(await tensorsOf(name)), { allowNonFinite: true }));

async function importAndSample(...flags: string[]): Promise<Record<string, unknown>> {
  const { stdout } = await succeed(['import', at('release'), '--out', at('imported'), '--json', ...grid, ...flags]);
  const sampling = ['--engine', 'onnx', '--steps', '2', '--seed', '1', '--out', at('a.png')];
  await succeed(['sample', 'a red ball', '--teacher', at('imported'), ...sampling]);
  return JSON.parse(stdout) as Record<string, unknown>;
}

describe('a release', { timeout: 120_000 }, () => {
  it('says what its files do not, and takes it', async () => {
    await copy();
    await edit('text_encoder/config.json', (text) => text.replace('"num_attention_heads": 4,', ''));
    const { assumed } = await importAndSample();
    expect(assumed).toContainEqual(expect.objectContaining({ key: 'textEncoder.num_attention_heads', value: 8 }));
    const given = await importAndSample('--set', 'textEncoder.num_attention_heads=4');
    expect(JSON.stringify(given['assumed'])).not.toContain('num_attention_heads');
  });

  it('may lie in shards, as a variant, wrapped, with tensors that nobody uses, beside what systems leave', async () => {
    await copy();
    await changeTensors(weights.vqvae, (tree) =>
      Object.fromEntries(Object.entries({ ...tree, 'loss.x': float32([1]) }).map(([k, v]) => [`module.${k}`, v])),
    );
    await cp(at('release', weights.vqvae), at('release', 'vqvae/diffusion_pytorch_model.fp16.safetensors'));
    await rm(at('release', weights.vqvae));
    await writeFile(at('release', 'vqvae/._diffusion_pytorch_model.safetensors'), 'x');
    const { parts } = await importAndSample();
    expect(parts).toContainEqual(
      expect.objectContaining({ name: 'decoder', leftOut: ['module.'], unused: ['module.loss.x'] }),
    );
  });

  it('a part may be there as .bin alone', async () => {
    await copy();
    const plain = await importAndSample();
    const picture = await readFile(at('a.png'));
    await rm(at('release', weights.vqvae));
    const bin = 'diffusion_pytorch_model.bin';
    await cp(path.join(fixtures, 'meissonic-bin', bin), at('release', 'vqvae', bin));
    const { description } = await importAndSample();
    expect(description).toBe(plain['description']);
    expect((await readFile(at('a.png'))).equals(picture)).toBe(true);
  });
});

const merges = 'tokenizer/merges.txt';
const lines = (change: (lines: string[]) => string[]) => (text: string) => {
  const [version, ...rest] = text.trimEnd().split('\n');
  return [version, ...change(rest)].join('\n');
};
const nan = (tree: HostTree): HostTree => {
  const [name, tensor] = Object.entries(tree)[3]!;
  return { ...tree, [name]: float32(tensor.shape, new Float32Array(tensor.data.length).fill(NaN)) };
};

const wrongs: [string, () => Promise<unknown>, RegExp][] = [
  ['an empty file of merges', () => edit(merges, () => ''), /merges\.txt: is empty/],
  ['no merges', () => edit(merges, () => '#version: 0.2\n'), /no merge makes \d+ of 1214 tokens/],
  [
    'half of the merges',
    () =>
      edit(
        merges,
        lines((all) => all.slice(0, all.length / 2)),
      ),
    /no merge makes/,
  ],
  [
    'merges the other way round',
    () =>
      edit(
        merges,
        lines((all) => all.reverse()),
      ),
    /comes before any merge that makes/,
  ],
  [
    'merges of another tokenizer',
    () =>
      edit(
        merges,
        lines((all) => [...all, 'q x']),
      ),
    /union is in the vocabulary/,
  ],
  ['merges in UTF-16', () => writeFile(at('release', merges), Buffer.from('i n', 'utf16le').fill(0xff, 0, 2)), /UTF-8/],
  [
    'an end token that the text encoder does not know',
    () => set('text_encoder/config.json', { eos_token_id: 7 }),
    /eos_token_id/,
  ],
  [
    'a padding token that is in no vocabulary',
    () => set('tokenizer/special_tokens_map.json', { pad_token: '[P]' }),
    /\[P\]/,
  ],
  [
    'texts longer than the positions',
    () => set('tokenizer/tokenizer_config.json', { model_max_length: 78 }),
    /78 tokens/,
  ],
  ['more ids than embeddings', () => set('text_encoder/config.json', { vocab_size: 1000 }), /ids up to 1213/],
  ['another width of text', () => set('transformer/config.json', { joint_attention_dim: 16 }), /16 channels of text/],
  ['another number of codes', () => set('vqvae/config.json', { num_vq_embeddings: 47 }), /48 codes, the VQ-VAE has 47/],
  ['another mask token', () => set('scheduler/scheduler_config.json', { mask_token_id: 54 }), /mask_token_id/],
  ['no weights of the VQ-VAE', () => rm(at('release', weights.vqvae)), /expected the weights of/],
  [
    'a tensor too few',
    () => changeTensors(weights.vqvae, ({ ['quant_conv.bias']: _, ...rest }) => rest),
    /missing: "quant/,
  ],
  [
    'a block too many',
    () =>
      changeTensors(weights.transformer, (tree) => ({ ...tree, 'transformer_blocks.1.attn.to_q.bias': float32([24]) })),
    /extra: "transformer_blocks\.1/,
  ],
  [
    'a pickle that is none',
    async () => {
      await rm(at('release', weights.vqvae));
      await writeFile(at('release', 'vqvae/diffusion_pytorch_model.bin'), 'no pickle');
    },
    /diffusion_pytorch_model\.bin/,
  ],
];

describe('parts that do not belong together', { timeout: 120_000 }, () => {
  it.each(wrongs)('%s', async (_name, change, message) => {
    await copy();
    await change();
    expect(await fails(['import', at('release'), '--out', at('imported'), ...grid])).toMatch(message);
    expect(existsSync(at('imported'))).toBe(false);
  });

  it.each(Object.values(weights))('NaN in %s', async (name) => {
    await copy();
    await changeTensors(name, nan);
    const { code, stderr } = await dimo(['import', at('release'), '--out', at('imported'), ...grid]);
    expect([code === 0, stderr]).toEqual([false, expect.stringContaining('NaN')]);
    expect(existsSync(at('imported'))).toBe(false);
  });
});

describe('on a hub', { timeout: 120_000 }, () => {
  let hub: HubServer | undefined;
  afterEach(() => hub?.close());
  const env = () => ({ HF_ENDPOINT: hub!.endpoint });
  const command = (): string[] => ['import', 'hf:maker/model', '--out', at('imported'), ...grid];

  async function serve(extra: Record<string, Buffer> = {}): Promise<HubServer> {
    const files: Record<string, Buffer> = { ...extra };
    for (const entry of await readdir(at('release'), { recursive: true, withFileTypes: true }))
      if (entry.isFile()) {
        const file = path.join(entry.parentPath, entry.name);
        files[path.relative(at('release'), file)] = await readFile(file);
      }
    return (hub = await startHub({ files }));
  }

  // What only the numbers show needs them; all the rest is refused by headers and small files.
  it.each(wrongs.filter(([name]) => !name.includes('pickle')))(
    '%s: no weights are fetched',
    async (_name, change, message) => {
      await copy();
      await change();
      const { fetches } = await serve();
      expect(await fails(command(), env())).toMatch(message);
      const whole = fetches().filter(
        ({ file, range }) => file!.endsWith('.safetensors') && !/^bytes=\d+-\d+$/.test(range ?? ''),
      );
      expect(whole).toEqual([]);
      expect(existsSync(at('imported'))).toBe(false);
    },
  );

  const odd = ['notes: draft.json', 'a\u202eb.json', 'x'.repeat(300), 'end.', '../up.json', 'nul.txt', 'q?.json'];
  it('odd names that are not needed are passed over', async () => {
    await copy();
    await serve(Object.fromEntries([...odd, 'ä名.json'].map((name) => [name, Buffer.from('{}')])));
    const { stderr } = await succeed(command(), env());
    expect(stderr).toContain('passed over 7 files');
    await hub!.close();
    await succeed([
      'sample',
      'a',
      '--teacher',
      at('imported'),
      '--engine',
      'onnx',
      '--steps',
      '1',
      '--out',
      at('a.png'),
    ]);
  });

  it('one that is needed is refused by its name', async () => {
    await copy();
    const index = { metadata: {}, weight_map: { 'quant_conv.bias': 'part:1.safetensors' } };
    await rm(at('release', weights.vqvae));
    await mkdir(at('release', 'vqvae'), { recursive: true });
    await writeFile(at('release', `${weights.vqvae}.index.json`), JSON.stringify(index));
    await serve({ 'vqvae/part:1.safetensors': Buffer.from('x') });
    const { code, stderr } = await dimo(command(), env());
    expect([code === 0, stderr]).toEqual([false, expect.stringContaining('part:1.safetensors')]);
  });
});
