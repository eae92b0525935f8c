/**
 * A pickle reader that makes data and nothing else. It knows the opcodes of protocols 0 to 5 that describe data; the
 * few functions that weight files call (rebuilding tensors, ordered dictionaries) are implemented here, any other call
 * is an error that names it. There is no switch to turn this off.
 */
import { escapeText, WeightError } from '@dimo/core';
import { opcodeNames, refusedOpcodes } from './pickle-opcodes.js';
import {
  PickleDict,
  PickleGlobal,
  PickleList,
  PickleTuple,
  type PickleValue,
  type StorageReference,
} from './pickle-values.js';
import { callGlobal, checkGlobal, storageFromId, type Refuse } from './torch-globals.js';

/** Limits that no weight file comes near. */
export const pickleLimits = {
  /** Bytes of one pickle. */
  bytes: 64 * 2 ** 20,
  stack: 1_000_000,
  memo: 1_000_000,
  /** Elements of all lists, tuples and dictionaries together. */
  items: 4_000_000,
  /** Bytes of one integer. */
  integerBytes: 1024,
} as const;

/** One pickle, and where it ends. */
export interface PickleResult {
  readonly value: PickleValue;
  /** Offset after the last byte. */
  readonly end: number;
  /** Every storage that was named, by key. */
  readonly storages: ReadonlyMap<string, StorageReference>;
}

const mark = Symbol('mark');
type StackItem = PickleValue | typeof mark;

/**
 * Reads one pickle.
 *
 * @param bytes - contains the pickle. Borrowed.
 * @param start - where it begins.
 * @param path - for messages.
 * @throws WeightError if it is damaged, beyond the limits, or asks for anything but data.
 */
export function readPickle(bytes: Uint8Array, start = 0, path?: string): PickleResult {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const limit = Math.min(bytes.length, start + pickleLimits.bytes);
  const stack: StackItem[] = [];
  const memo = new Map<number, PickleValue>();
  const storages = new Map<string, StorageReference>();
  let position = start;
  let numItems = 0;

  const refuse: Refuse = (message, hint) =>
    new WeightError(`pickle, byte ${position - start}: ${message}`, { path, hint });

  /** Advances by `length` bytes; returns where they begin. */
  function take(length: number): number {
    if (length > limit - position)
      throw refuse(bytes.length > limit ? `is longer than ${pickleLimits.bytes} bytes` : 'is cut off');
    position += length;
    return position - length;
  }
  const uint8 = () => view.getUint8(take(1));
  const uint16 = () => view.getUint16(take(2), true);
  const uint32 = () => view.getUint32(take(4), true);
  function length64(): number {
    const length = view.getBigUint64(take(8), true);
    if (length > BigInt(limit)) throw refuse('is cut off');
    return Number(length);
  }
  const block = (length: number) => {
    const at = take(length);
    return bytes.subarray(at, at + length);
  };
  function text(length: number): string {
    try {
      return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(block(length));
    } catch (cause) {
      if (cause instanceof WeightError) throw cause;
      throw refuse('holds text that is not UTF-8');
    }
  }
  function line(): string {
    const end = bytes.subarray(0, limit).indexOf(10, position);
    if (end < 0) throw refuse('is cut off');
    const result = text(end - position);
    position++;
    return result;
  }

  function push(value: StackItem): void {
    if (stack.length >= pickleLimits.stack) throw refuse(`has more than ${pickleLimits.stack} values on its stack`);
    stack.push(value);
  }
  function pop(): PickleValue {
    const value = stack.pop();
    if (value === undefined || value === mark) throw refuse('takes a value that is not there');
    return value;
  }
  function popToMark(): PickleValue[] {
    const at = stack.lastIndexOf(mark);
    if (at < 0) throw refuse('has no mark where one is needed');
    const items = stack.splice(at).slice(1) as PickleValue[];
    return items;
  }
  function countItems(items: readonly unknown[]): void {
    numItems += items.length;
    if (numItems > pickleLimits.items) throw refuse(`holds more than ${pickleLimits.items} items`);
  }
  function tuple(items: readonly PickleValue[]): void {
    countItems(items);
    push(new PickleTuple(items));
  }
  function list(items: readonly PickleValue[]): void {
    countItems(items);
    const made = new PickleList();
    for (const item of items) made.items.push(item);
    push(made);
  }
  function append(items: readonly PickleValue[]): void {
    const target = top();
    if (!(target instanceof PickleList)) throw refuse('appends to something that is no list');
    countItems(items);
    for (const item of items) target.items.push(item);
  }
  function setItems(items: readonly PickleValue[]): void {
    const target = top();
    if (!(target instanceof PickleDict)) throw refuse('sets an item of something that is no dictionary');
    if (items.length % 2 !== 0) throw refuse('has a key without a value');
    countItems(items);
    for (let i = 0; i < items.length; i += 2) target.entries.set(items[i]!, items[i + 1]!);
  }
  function top(): PickleValue {
    const value = stack[stack.length - 1];
    if (value === undefined || value === mark) throw refuse('takes a value that is not there');
    return value;
  }
  function remember(index: number): void {
    if (memo.size >= pickleLimits.memo) throw refuse(`remembers more than ${pickleLimits.memo} values`);
    memo.set(index, top());
  }
  function recall(index: number): void {
    const value = memo.get(index);
    if (value === undefined) throw refuse(`recalls value ${index}, which was not remembered`);
    push(value);
  }
  function long(length: number): void {
    if (length > pickleLimits.integerBytes) throw refuse(`has an integer of ${length} bytes`);
    let value = 0n;
    const raw = block(length);
    for (let i = length - 1; i >= 0; i--) value = (value << 8n) | BigInt(raw[i]!);
    if (length > 0 && raw[length - 1]! >= 0x80) value -= 1n << BigInt(8 * length);
    push(Number.isSafeInteger(Number(value)) ? Number(value) : value);
  }
  function decimal(digits: string): PickleValue {
    if (!/^-?\d+$/.test(digits) || digits.length > 2 * pickleLimits.integerBytes)
      throw refuse(`has the malformed integer "${escapeText(digits, 40)}"`);
    const value = BigInt(digits);
    return Number.isSafeInteger(Number(value)) ? Number(value) : value;
  }
  function index(digits: string): number {
    if (!/^\d{1,9}$/.test(digits)) throw refuse(`has the malformed index "${escapeText(digits, 40)}"`);
    return Number(digits);
  }
  function global(module: PickleValue, name: PickleValue): void {
    if (typeof module !== 'string' || typeof name !== 'string') throw refuse('has a global whose name is no text');
    const named = new PickleGlobal(module, name);
    checkGlobal(named, refuse);
    push(named);
  }

  for (;;) {
    const opcode = String.fromCharCode(uint8());
    switch (opcode) {
      case '\x80': {
        const protocol = uint8();
        if (protocol > 5) throw refuse(`is of protocol ${protocol}; 0 to 5 are known`);
        break;
      }
      case '\x95': // FRAME: only groups bytes
        if (length64() > limit - position) throw refuse('is cut off');
        break;
      case '.': {
        const value = pop();
        if (stack.length > 0) throw refuse('ends with values left over');
        return { value, end: position, storages };
      }
      case '(':
        push(mark);
        break;
      case '0': // POP also takes a mark
        if (stack.pop() === undefined) throw refuse('takes a value that is not there');
        break;
      case '1':
        popToMark();
        break;
      case '2':
        push(top());
        break;
      case 'N':
        push(null);
        break;
      case '\x88':
        push(true);
        break;
      case '\x89':
        push(false);
        break;
      case 'J':
        push(view.getInt32(take(4), true));
        break;
      case 'K':
        push(uint8());
        break;
      case 'M':
        push(uint16());
        break;
      case '\x8a':
        long(uint8());
        break;
      case '\x8b':
        long(uint32());
        break;
      case 'I': {
        const digits = line();
        push(digits === '00' ? false : digits === '01' ? true : decimal(digits));
        break;
      }
      case 'L':
        push(decimal(line().replace(/L$/, '')));
        break;
      case 'G':
        push(view.getFloat64(take(8), false));
        break;
      case 'F': {
        const digits = line();
        if (!/^-?(\d+\.?\d*(e[+-]?\d+)?|inf)$|^nan$/i.test(digits)) throw refuse('has a malformed number');
        push(Number(digits.replace(/inf/i, 'Infinity')));
        break;
      }
      case 'X':
        push(text(uint32()));
        break;
      case '\x8c':
        push(text(uint8()));
        break;
      case '\x8d':
        push(text(length64()));
        break;
      case 'V':
        push(line());
        break;
      case 'U': // Python 2 strings, which torch's own files hold for names
        push(text(uint8()));
        break;
      case 'T':
        push(text(uint32()));
        break;
      case 'B':
        push(block(uint32()));
        break;
      case 'C':
        push(block(uint8()));
        break;
      case '\x8e':
      case '\x96':
        push(block(length64()));
        break;
      case ')':
        tuple([]);
        break;
      case 't':
        tuple(popToMark());
        break;
      case '\x85':
        tuple([pop()]);
        break;
      case '\x86':
      case '\x87': {
        const last = pop();
        const middle = pop();
        tuple(opcode === '\x86' ? [middle, last] : [pop(), middle, last]);
        break;
      }
      case ']':
      case '\x8f': // a set, read as a list
        list([]);
        break;
      case 'l':
      case '\x91':
        list(popToMark());
        break;
      case 'a':
        append([pop()]);
        break;
      case 'e':
      case '\x90':
        append(popToMark());
        break;
      case '}':
        push(new PickleDict());
        break;
      case 'd': {
        const items = popToMark();
        push(new PickleDict());
        setItems(items);
        break;
      }
      case 's': {
        const value = pop();
        setItems([pop(), value]);
        break;
      }
      case 'u':
        setItems(popToMark());
        break;
      case 'p':
        remember(index(line()));
        break;
      case 'q':
        remember(uint8());
        break;
      case 'r':
        remember(uint32());
        break;
      case '\x94':
        remember(memo.size);
        break;
      case 'g':
        recall(index(line()));
        break;
      case 'h':
        recall(uint8());
        break;
      case 'j':
        recall(uint32());
        break;
      case 'c': {
        const module = line();
        global(module, line());
        break;
      }
      case '\x93': {
        const name = pop();
        global(pop(), name);
        break;
      }
      case 'R': {
        const given = pop();
        push(callGlobal(pop(), given, refuse));
        break;
      }
      case 'b': {
        // Attributes of an ordered dictionary (a state dict's version metadata) are of no use here.
        pop();
        const target = top();
        if (!(target instanceof PickleDict)) throw refuse('sets the state of something that is no dictionary');
        break;
      }
      case 'Q': {
        const storage = storageFromId(pop(), refuse);
        const known = storages.get(storage.key);
        if (known && (known.dtype !== storage.dtype || known.numElements !== storage.numElements))
          throw refuse(`names the storage "${escapeText(storage.key, 40)}" twice, differently`);
        if (!known) storages.set(storage.key, storage);
        push(known ?? storage);
        break;
      }
      default: {
        const name = opcodeNames[opcode];
        if (name === undefined) throw refuse(`has the unknown opcode 0x${opcode.charCodeAt(0).toString(16)}`);
        const target =
          opcode === 'i' ? `${line()}.${line()}` : String(stack.find((x) => x instanceof PickleGlobal) ?? '');
        throw refuse(
          `asks to ${refusedOpcodes[opcode] ?? 'do something other than read data'} (${name}${target ? ` ${escapeText(target, 80)}` : ''}), which is refused`,
          'this file holds more than weights; save its state dict alone',
        );
      }
    }
  }
}
