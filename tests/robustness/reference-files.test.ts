/** Files written by the reference implementation (Python, safetensors) come back byte for byte from this writer. */
import { parseSafetensorsHeader, readSafetensors, writeSafetensors } from '@dimo/core';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const fixtures = process.env['DIMO_FIXTURES'] ?? fileURLToPath(new URL('../fixtures', import.meta.url));

it('are read and written again without a change, wherever no integer was widened', () => {
  let compared = 0;
  for (const name of readdirSync(fixtures, { recursive: true, encoding: 'utf8' })) {
    if (!name.endsWith('.safetensors')) continue;
    const file = readFileSync(join(fixtures, name));
    const dtypes = [...parseSafetensorsHeader(file, file.length).tensors.values()].map(({ dtype }) => dtype);
    if (!dtypes.every((dtype) => ['F32', 'I32', 'BOOL'].includes(dtype))) continue;
    const { tensors, metadata } = readSafetensors(file, { allowNonFinite: true });
    const written = writeSafetensors(tensors, { metadata, allowNonFinite: true });
    expect(Buffer.compare(written, withoutEmptyMetadata(file)), name).toBe(0);
    compared++;
  }
  expect(compared).toBeGreaterThanOrEqual(40);
});

/** The reader does not tell empty metadata from none, and the writer writes none. */
function withoutEmptyMetadata(file: Buffer): Buffer {
  const length = Number(file.readBigUInt64LE(0));
  const header = file.toString('utf8', 8, 8 + length);
  const empty = '"__metadata__":{},';
  if (!header.startsWith(`{${empty}`)) return file;
  const shorter = header.replace(empty, '').trimEnd();
  const padded = Buffer.from(shorter.padEnd(shorter.length + ((8 - (Buffer.byteLength(shorter) % 8)) % 8)));
  const size = Buffer.alloc(8);
  size.writeBigUInt64LE(BigInt(padded.length));
  return Buffer.concat([size, padded, file.subarray(8 + length)]);
}
