/** Writes state dicts as `torch.save` does: `torch.load(path, weights_only=True)` reads them, PyTorch 1.6 and later. */
import { float16BitsOf, sizeOf, type HostTensor, type HostTree } from '@dimo/core';
import { writeStoredZip } from '../run/stored-zip.js';

/** Type of float32 tensors in the file. */
export type StoredFloat = 'F32' | 'F16';

/** Everything lies in one folder of the archive; torch takes any name. */
const folder = 'archive';

/**
 * Writes a file; it is there whole or not at all.
 *
 * @param weights - float32, int32 and bool tensors by name.
 * @throws NonFiniteError naming the weight that is too large for F16; DimoError with code `io`.
 */
export async function writeTorchFile(path: string, weights: HostTree, float: StoredFloat = 'F32'): Promise<void> {
  const names = Object.keys(weights);
  const pickle = pickledStateDict(names.map((name) => [name, weights[name]!, storageOf(weights[name]!, float)]));
  const contents: readonly (readonly [name: string, bytes: Uint8Array])[] = [
    ['data.pkl', pickle],
    ['byteorder', new TextEncoder().encode('little')],
    ...names.map((name, index) => [`data/${index}`, elementsOf(name, weights[name]!, float)] as const),
    ['version', new TextEncoder().encode('3\n')],
  ];
  await writeStoredZip(
    path,
    contents.map(([name, bytes]) => ({ name: `${folder}/${name}`, parts: [bytes] })),
  );
}

type Storage = 'FloatStorage' | 'HalfStorage' | 'IntStorage' | 'BoolStorage';

function storageOf({ dtype }: HostTensor, float: StoredFloat): Storage {
  if (dtype === 'float32') return float === 'F16' ? 'HalfStorage' : 'FloatStorage';
  return dtype === 'int32' ? 'IntStorage' : 'BoolStorage';
}

function elementsOf(name: string, tensor: HostTensor, float: StoredFloat): Uint8Array {
  if (tensor.dtype === 'float32' && float === 'F16') {
    const bits = float16BitsOf(tensor as HostTensor<'float32'>, `weight ${name}`);
    return new Uint8Array(bits.buffer, bits.byteOffset, bits.byteLength);
  }
  const { data } = tensor;
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

/**
 * `OrderedDict` of tensors, pickled by protocol 2: each is `torch._utils._rebuild_tensor_v2` of a storage that the archive
 * holds under its index.
 */
function pickledStateDict(tensors: readonly (readonly [name: string, HostTensor, Storage])[]): Uint8Array {
  const parts: Uint8Array[] = [];
  const raw = (...bytes: number[]): void => void parts.push(Uint8Array.from(bytes));
  const ascii = (text: string): void => void parts.push(new TextEncoder().encode(text));
  const unsigned = (value: number): number[] => [value & 255, (value >>> 8) & 255, (value >>> 16) & 255, value >>> 24];
  const global = (module: string, name: string): void => ascii(`c${module}\n${name}\n`);
  const text = (value: string): void => {
    const bytes = new TextEncoder().encode(value);
    raw(0x58, ...unsigned(bytes.length));
    parts.push(bytes);
  };
  const integer = (value: number): void => {
    if (value < 2 ** 31) return raw(0x4a, ...unsigned(value));
    const bytes: number[] = [];
    for (let rest = value; rest > 0; rest = Math.floor(rest / 256)) bytes.push(rest % 256);
    // The number is signed.
    if (bytes.at(-1)! >= 128) bytes.push(0);
    raw(0x8a, bytes.length, ...bytes);
  };
  const mark = 0x28;
  const tuple = (items: readonly (() => void)[]): void => {
    raw(mark);
    for (const item of items) item();
    raw(0x74);
  };
  const emptyDict = (): void => {
    global('collections', 'OrderedDict');
    raw(0x29, 0x52);
  };
  const integers = (values: readonly number[]): void => tuple(values.map((value) => () => integer(value)));

  raw(0x80, 2);
  emptyDict();
  raw(mark);
  for (const [index, [name, { shape }, storage]] of tensors.entries()) {
    text(name);
    global('torch._utils', '_rebuild_tensor_v2');
    tuple([
      () => {
        tuple([
          () => text('storage'),
          () => global('torch', storage),
          () => text(String(index)),
          () => text('cpu'),
          () => integer(sizeOf(shape)),
        ]);
        // A reference to something outside of the pickle.
        raw(0x51);
      },
      () => integer(0),
      () => integers(shape),
      () => integers(shape.map((_, axis) => sizeOf(shape.slice(axis + 1)))),
      () => raw(0x89),
      emptyDict,
    ]);
    raw(0x52);
  }
  raw(0x75, 0x2e);
  return Buffer.concat(parts);
}
