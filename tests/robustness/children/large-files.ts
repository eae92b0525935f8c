/**
 * Reads a few weights out of files of more than 4 GiB, most of which is a hole: a state that no one asks for. Prints the
 * peak of memory. Arguments: the folder for the files, and which one.
 */
import { closeSync, ftruncateSync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { folderWeightSource } from '../../../packages/backend-node/src/storage/weight-folder.js';
import { openSafetensors } from '../../../packages/core/src/storage/safetensors-file.js';
import { crc32 } from '../../../packages/core/src/weight-files/torch/crc32.js';
import { openTorchWeights } from '../../../packages/core/src/weight-files/torch/state-dict.js';
import {
  bytesOf,
  stateDict,
  tensor,
  uint16,
  uint32,
  uint64,
} from '../../../packages/core/src/weight-files/torch/test-support/torch-writer.js';

const [, , folder, kind] = process.argv as unknown as [string, string, string, 'zip' | 'legacy' | 'safetensors'];
const weights = Float32Array.from({ length: 786_432 }, (_, i) => i); // 3 MiB
const weightBytes = new Uint8Array(weights.buffer);
const holeBytes = 5 * 2 ** 30;
const file = openSync(join(folder, kind), 'w');
let position = 0;
const write = (bytes: Uint8Array): void => {
  for (let done = 0; done < bytes.length;) done += writeSync(file, bytes, done, bytes.length - done, position + done);
  position += bytes.length;
};
const skip = (length: number): void => void (position += length);

const float = (key: string, numElements: number) =>
  tensor({ key, numElements, offset: 0, shape: [numElements], strides: [1] });
const weight = float('0', weights.length);
const late = float('2', weights.length);
const state = float('1', holeBytes / 4);
const root = stateDict({
  state_dict: stateDict({ weight, late }).subarray(2, -1),
  optimizer_states: stateDict({ momentum: state }).subarray(2, -1),
});
({ zip: writeZip, legacy: writeLegacy, safetensors: writeSafetensorsFile })[kind]();
ftruncateSync(file, position);
closeSync(file);

const source = folderWeightSource(folder);
const before = process.resourceUsage().maxRSS;
const opened = kind === 'safetensors' ? await openSafetensors(source, kind) : await openTorchWeights(source, kind);
const tree = await opened.read(['weight', 'late']);
await opened.close();
const right = ['weight', 'late'].every((name) =>
  Buffer.from(tree[name]!.data.buffer).equals(Buffer.from(weights.buffer)),
);
const grownMb = (process.resourceUsage().maxRSS - before) / 1024;
writeSync(1, `${JSON.stringify({ fileBytes: position, right, grownMb })}\n`);

/** Entries beyond 4 GiB, and one that is longer: their lengths and places stand in 64-bit fields. */
function writeZip(): void {
  const records: Uint8Array[] = [];
  const entry = (name: string, content: Uint8Array | number): void => {
    const length = typeof content === 'number' ? content : content.length;
    const header = position;
    const checksum = uint32(typeof content === 'number' ? 0 : crc32(content));
    const label = bytesOf(name);
    const isLong = length >= 2 ** 32;
    const size = uint32(isLong ? 0xffffffff : length);
    const wide = [...(isLong ? [uint64(length), uint64(length)] : []), ...(header >= 2 ** 32 ? [uint64(header)] : [])];
    const extra = (values: readonly Uint8Array[]): Uint8Array =>
      values.length === 0 ? new Uint8Array() : bytesOf(uint16(1), uint16(8 * values.length), ...values);
    const localExtra = extra(isLong ? wide.slice(0, 2) : []);
    const common = (fields: Uint8Array): Uint8Array =>
      bytesOf(uint16(45), uint16(0x800), uint16(0), uint32(0), checksum, size, size, uint16(label.length), fields);
    write(bytesOf('PK\x03\x04', common(uint16(localExtra.length)), label, localExtra));
    if (typeof content === 'number') skip(content);
    else write(content);
    records.push(
      bytesOf('PK\x01\x02', uint16(45), common(uint16(extra(wide).length)), uint16(0), uint16(0), uint16(0), uint32(0)),
      bytesOf(uint32(header >= 2 ** 32 ? 0xffffffff : header), label, extra(wide)),
    );
  };
  entry('m/data.pkl', root);
  entry('m/data/0', weightBytes);
  entry('m/data/1', holeBytes);
  entry('m/data/2', weightBytes);
  const start = position;
  const directory = bytesOf(...records);
  write(directory);
  const end = position;
  write(bytesOf('PK\x06\x06', uint64(44), uint16(45), uint16(45), uint64(0), uint64(4), uint64(4)));
  write(bytesOf(uint64(directory.length), uint64(start), 'PK\x06\x07', uint32(0), uint64(end), uint32(1)));
  write(
    bytesOf('PK\x05\x06', uint32(0), uint16(4), uint16(4), uint32(directory.length), uint32(0xffffffff), uint16(0)),
  );
}

function writeLegacy(): void {
  write(bytesOf('\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.', '\x80\x02M\xe9\x03.'));
  write(bytesOf('\x80\x02}Vlittle_endian\n\x88s.', root, '\x80\x02](V0\nV1\nV2\ne.'));
  for (const content of [weightBytes, holeBytes, weightBytes]) {
    const length = typeof content === 'number' ? content : content.length;
    write(uint64(length / 4));
    if (typeof content === 'number') skip(content);
    else write(content);
  }
}

function writeSafetensorsFile(): void {
  const [first, second] = [weightBytes.length, weightBytes.length + holeBytes];
  const range = (begin: number, end: number): string =>
    `"shape":[${(end - begin) / 4}],"data_offsets":[${begin},${end}]`;
  const header = bytesOf(
    `{"weight":{"dtype":"F32",${range(0, first)}},"momentum":{"dtype":"F32",${range(first, second)}},"late":{"dtype":"F32",${range(second, second + first)}}}`,
  );
  write(bytesOf(uint64(header.length), header, weightBytes));
  skip(holeBytes);
  write(weightBytes);
}
