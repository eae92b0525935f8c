/**
 * Reads mutated weight files and counts what happens: `mutated-weights <seed> <first> <count>`. Prints `at <index>`
 * now and then (for the watchdog) and, at the end, a line of JSON.
 */
import { DimoError, float32, int32, randomStream, readSafetensors, writeSafetensors, type HostTree } from '@dimo/core';
import { writeSync } from 'node:fs';

const [seed = 0, first = 0, count = 0] = process.argv.slice(2).map(Number);

/** The tensors of a tiny transformer of the MaskGIT kind, under its names. */
function tinyMaskgit(): Uint8Array {
  const width = 8;
  const draw = randomStream(1, 0, 'tiny-maskgit');
  const normal = (...shape: number[]): HostTree[string] =>
    float32(shape, draw.normal(shape.reduce((a, b) => a * b, 1)));
  const tree: HostTree = {
    'tok_emb.weight': normal(26, width),
    pos_emb: normal(1, 17, width),
    'class_emb.weight': normal(11, width),
    'last_norm.weight': normal(width),
    bias: normal(17, 25),
    num_batches_tracked: int32([], [3]),
  };
  for (const layer of [0, 1]) {
    tree[`transformer.layers.${layer}.0.norm.weight`] = normal(width);
    tree[`transformer.layers.${layer}.0.fn.mha.in_proj_weight`] = normal(3 * width, width);
    tree[`transformer.layers.${layer}.1.fn.net.0.weight`] = normal(4 * width, width);
  }
  return writeSafetensors(tree, {
    metadata: { format: 'pt' },
    dtypeOf: (name) => (name === 'bias' ? 'F16' : undefined),
  });
}

const original = tinyMaskgit();
const headerEnd = 8 + Number(new DataView(original.buffer).getBigUint64(0, true));

/** File number `index`: 1 to 4 edits, most of them in the header, where they matter. */
function mutated(index: number): Uint8Array {
  const draw = randomStream(seed, index, 'mutation');
  const below = (limit: number): number => draw.integers(1, limit)[0] as number;
  let bytes = original.slice();
  for (let edits = 1 + below(4); edits > 0 && bytes.length > 0; edits--) {
    const at = below(below(4) === 0 ? bytes.length : Math.min(headerEnd, bytes.length));
    switch (below(6)) {
      case 0:
        bytes[at] = below(256);
        break;
      case 1:
        bytes[at] = (bytes[at] as number) ^ (1 << below(8));
        break;
      case 2: {
        // A digit or a bracket: keeps the JSON well-formed more often than a random byte.
        const characters = '0123456789[]{},:"e-.';
        bytes[at] = characters.charCodeAt(below(characters.length));
        break;
      }
      case 3: {
        const added = new Uint8Array(below(9)).map(() => below(256));
        bytes = joined(bytes.subarray(0, at), added, bytes.subarray(at));
        break;
      }
      case 4:
        bytes = joined(bytes.subarray(0, at), bytes.subarray(at + 1 + below(8)));
        break;
      default:
        bytes = below(4) === 0 ? bytes.slice(0, below(bytes.length)) : bytes;
        bytes[at] = 0xff;
    }
  }
  return bytes;
}

function joined(...parts: Uint8Array[]): Uint8Array<ArrayBuffer> {
  return new Uint8Array(Buffer.concat(parts));
}

readSafetensors(original);
const memoryBefore = process.resourceUsage().maxRSS;
const result = {
  accepted: 0,
  rejected: 0,
  foreign: [] as string[],
  slowestMs: 0,
  memoryGrowthMb: 0,
  fileBytes: original.length,
};
for (let index = first; index < first + count; index++) {
  if (index % 20 === 0) writeSync(1, `at ${index}\n`);
  const bytes = mutated(index);
  const start = performance.now();
  try {
    // An accepted file must really be there: every element is touched.
    for (const { data, shape } of Object.values(readSafetensors(bytes, { allowNonFinite: true }).tensors)) {
      if (data.length !== shape.reduce((a, b) => a * b, 1)) throw new Error('shape and data disagree');
      for (const value of data) if (value === undefined) throw new Error('hole in the data');
    }
    result.accepted++;
  } catch (error) {
    if (DimoError.isInstance(error)) result.rejected++;
    else result.foreign.push(`file ${index}: ${String(error)}`);
  }
  result.slowestMs = Math.max(result.slowestMs, performance.now() - start);
}
result.memoryGrowthMb = (process.resourceUsage().maxRSS - memoryBefore) / 1024;
writeSync(1, `${JSON.stringify(result)}\n`);
