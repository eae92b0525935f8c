/** What torch files hold besides plain tensors: other data, other types, views, other formats. */
import { DimoError } from '../../errors.js';
import { describe, expect, it } from 'vitest';
import { openTorchWeights, readTorchStateDict, requireTensors } from './state-dict.js';
import { bytesOf, integer, stateDict, tensor, text, torchZip, zip } from './test-support/torch-writer.js';

const six = Float32Array.of(0, 1, 2, 3, 4, 5);
const plain = { key: '0', numElements: 6, offset: 0, shape: [2, 3], strides: [3, 1] };
const goodFile = () =>
  torchZip(stateDict({ weight: tensor(plain), other: tensor({ ...plain, shape: [6], strides: [1] }) }), { 0: six });

/** The error's message; anything but a DimoError fails the test. */
async function refusal(run: () => unknown): Promise<string> {
  try {
    await run();
  } catch (error) {
    if (!DimoError.isInstance(error)) throw error;
    return error.message;
  }
  throw new Error('was not refused');
}

describe('what stands beside or in place of tensors', () => {
  const open = (pickle: Uint8Array, storages: Record<string, Float32Array> = { 0: six }) => {
    const bytes = torchZip(pickle, storages);
    return openTorchWeights(
      { location: 'somewhere', list: () => Promise.resolve([]), read: () => Promise.resolve(bytes) },
      'x.pth',
    );
  };

  it('is named where a tensor is needed', async () => {
    const opaque = bytesOf('cnumpy\nndarray\n)R');
    const opened = await open(
      stateDict({
        weight: tensor(plain),
        bias: opaque,
        half: tensor({ ...plain, key: '1', type: 'ComplexFloatStorage' }),
        step: integer(3),
      }),
    );
    expect(Object.keys(opened.specs)).toEqual(['weight']);
    expect(() => requireTensors(opened, ['weight'])).not.toThrow();
    expect(() => requireTensors(opened, ['weight', 'bias'])).toThrow(
      /"bias" must be a tensor, it is what numpy.ndarray makes/,
    );
    expect(() => requireTensors(opened, ['half'])).toThrow(/"half" .* type complex64/);
    expect(() => requireTensors(opened, ['step'])).toThrow(/"step" .* the value 3/);
    await expect(opened.read(['bias'])).rejects.toThrow(/numpy.ndarray/);
  });

  it('is named where the whole file is an object', async () => {
    await expect(open(bytesOf('\x80\x02cmy_project\nModel\n)\x81}b.'))).rejects.toThrow(/what my_project.Model makes/);
  });

  it('has its tensors under names with dots, and only a bounded number of visits', async () => {
    const inner = bytesOf('}', text('weight'), tensor(plain), 's');
    expect(Object.keys((await open(stateDict({ layer: inner }))).specs)).toEqual(['layer.weight']);
    // Four levels of a hundred dictionaries each: a hundred million paths.
    const level = (below: string) => `}(${Array.from({ length: 100 }, (_, i) => `V${i}\n${below}`).join('')}u`;
    const bomb = bytesOf(
      '\x80\x02',
      level(')0}'),
      'q\x000',
      level('h\x00'),
      'q\x010',
      level('h\x01'),
      'q\x020',
      level('h\x02'),
      '.',
    );
    await expect(open(bomb)).rejects.toThrow(/more than 1000000 entries/);
  });

  it('does not refuse numbers that are never read', async () => {
    const tree = await readTorchStateDict(
      torchZip(stateDict({ weight: tensor(plain), huge: tensor({ ...plain, key: '1', type: 'DoubleStorage' }) }), {
        0: six,
      }),
      { only: (name) => name === 'weight' },
    );
    expect(Object.keys(tree)).toEqual(['weight']);
  });
});

describe('tensors', () => {
  it.each([
    ['1e300', 1e300, /holds 1e\+300 at element 1, which is too large for float32/],
    ['the first number that rounds to infinity', 3.4028235677973366e38, /too large for float32/],
    ['infinity', Infinity, /holds Infinity at element 1/],
    ['NaN', NaN, /holds NaN at element 1/],
  ])('of 64 bits that hold %s are refused by name', async (_, value, message) => {
    const data = new Float32Array(Float64Array.of(0, value).buffer);
    const file = torchZip(
      stateDict({
        weight: tensor({ key: '0', numElements: 2, offset: 0, shape: [2], strides: [1], type: 'DoubleStorage' }),
      }),
      { 0: data },
    );
    const failure = readTorchStateDict(file);
    await expect(failure).rejects.toThrow(message);
    await expect(failure).rejects.toMatchObject({ code: 'non-finite', message: expect.stringContaining('"weight"') });
    const largest = new Float32Array(Float64Array.of(0, 3.4028234663852886e38).buffer);
    const good = torchZip(
      stateDict({
        weight: tensor({ key: '0', numElements: 2, offset: 0, shape: [2], strides: [1], type: 'DoubleStorage' }),
      }),
      { 0: largest },
    );
    expect((await readTorchStateDict(good))['weight']!.data[1]).toBe(3.4028234663852886e38);
  });

  it('that repeat one number are refused in sum, and may do so a little', async () => {
    const repeated = (count: number, length: number) =>
      torchZip(
        stateDict(
          Object.fromEntries(
            Array.from({ length: count }, (_, i) => [`w${i}`, tensor({ ...plain, shape: [length], strides: [0] })]),
          ),
        ),
        { 0: six },
      );
    expect(Object.keys(await readTorchStateDict(repeated(10, 1000)))).toHaveLength(10);
    await expect(readTorchStateDict(repeated(5, 2 ** 20))).rejects.toThrow(
      /5 tensors of 20971520 bytes together are repetitions of 4 stored bytes/,
    );
  });

  it('that lie scattered over a large storage are refused', async () => {
    const storage = new Float32Array(2 ** 23);
    const scattered = torchZip(
      stateDict({ w: tensor({ key: '0', numElements: 2 ** 23, offset: 0, shape: [2], strides: [2 ** 23 - 1] }) }),
      { 0: storage },
    );
    await expect(readTorchStateDict(scattered)).rejects.toThrow(/scattered over/);
  });

  it('of one storage are read once, each from its own part', async () => {
    const views = {
      a: tensor({ ...plain, shape: [2], strides: [1] }),
      b: tensor({ ...plain, offset: 4, shape: [2], strides: [1] }),
      c: tensor({ ...plain, offset: 1, shape: [2, 2], strides: [1, 1] }),
      none: tensor({ ...plain, shape: [0], strides: [1] }),
    };
    const tree = await readTorchStateDict(torchZip(stateDict(views), { 0: six }));
    expect(Object.fromEntries(Object.entries(tree).map(([name, { data }]) => [name, [...data]]))).toEqual({
      a: [0, 1],
      b: [4, 5],
      c: [1, 2, 2, 3],
      none: [],
    });
  });
});

describe('files of other kinds', () => {
  const names = (...all: string[]) =>
    zip(all.map((name) => ({ name, content: six.slice(0, 1) as unknown as Uint8Array })));
  it.each([
    ['a TorchScript archive', names('m/data.pkl', 'm/code/__torch__.py', 'm/constants.pkl'), /TorchScript archive/],
    ['NumPy arrays', zip([{ name: 'a.npy', content: Uint8Array.of(1) }]), /zip archive of other files: a.npy/],
    ['a zipped folder', zip([{ name: 'a/last.ckpt', content: Uint8Array.of(1) }]), /other files: a\/last.ckpt/],
    ['safetensors', bytesOf('\x10\0\0\0\0\0\0\0{"a":1}         '), /is a safetensors file/],
    ['a page', bytesOf('<!DOCTYPE html><html>'), /web page/],
    ['a pointer', bytesOf('version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n'), /Git LFS.* 5 bytes/],
    ['nothing', new Uint8Array(), /empty/],
  ])('are named: %s', async (_, bytes, message) =>
    expect(await refusal(() => readTorchStateDict(bytes))).toMatch(message),
  );

  it('that are cut are called so, at any length', async () => {
    const good = goodFile();
    for (let length = 5; length < good.length; length += 7) {
      const failure = readTorchStateDict(good.slice(0, length));
      await expect(failure).rejects.toMatchObject({
        message: expect.stringContaining('cut off'),
        hint: expect.stringContaining('incomplete'),
      });
    }
  });
});

describe('the older format', () => {
  const storageOf = (key: string, data: Float32Array) =>
    bytesOf(new Uint8Array(new BigInt64Array([BigInt(data.length)]).buffer), new Uint8Array(data.buffer));
  const legacy = (root: Uint8Array, key = '0') =>
    bytesOf(
      '\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.',
      '\x80\x02M\xe9\x03.',
      '\x80\x02}',
      text('little_endian'),
      '\x88s.',
      root,
      '\x80\x02]',
      text(key),
      'a.',
      storageOf(key, six),
    );

  it('is read, also if its pickles are longer than what is read at first', async () => {
    expect([...(await readTorchStateDict(legacy(stateDict({ weight: tensor(plain) }))))['weight']!.data]).toEqual([
      ...six,
    ]);
    const long = stateDict({ weight: tensor(plain), note: text('x'.repeat(2_000_000)) });
    expect([...(await readTorchStateDict(legacy(long)))['weight']!.data]).toEqual([...six]);
  });

  it('may have storages that are views of others', async () => {
    const view = bytesOf(
      'ctorch._utils\n_rebuild_tensor\n((',
      text('storage'),
      'ctorch\nFloatStorage\n',
      text('0'),
      text('cpu'),
      integer(6),
      '(',
      text('v'),
      integer(2),
      integer(3),
      'ttQ',
      integer(1),
      '(',
      integer(2),
      't(',
      integer(1),
      'ttR',
    );
    expect([...(await readTorchStateDict(legacy(stateDict({ weight: view }))))['weight']!.data]).toEqual([3, 4]);
  });

  it('is refused where it is cut', async () => {
    const whole = legacy(stateDict({ weight: tensor(plain) }));
    for (const length of [16, 30, 60, whole.length - 30, whole.length - 1])
      expect(await refusal(() => readTorchStateDict(whole.slice(0, length)))).toMatch(/cut off/);
  });
});
