/**
 * A pickle reader that makes data and nothing else. It knows the opcodes of protocols 0 to 5; the few functions that
 * weight files call for their tensors are implemented here (torch-globals.ts). What any other class or function would
 * have made becomes an opaque value: it is not made, and nothing reads it. Names that only a file with a program in it has
 * (refused-globals.ts) are refused, so that the file is known for what it is. There is no switch to turn this off.
 */
import { escapeText } from '../../text/escape-text.js';
import { PickleInput } from './pickle-input.js';
import { opcodeNames, refusedOpcodes } from './pickle-opcodes.js';
import {
  PickleDict,
  PickleGlobal,
  PickleList,
  PickleOpaque,
  PickleTuple,
  TensorReference,
  type PickleValue,
  type StorageReference,
} from './pickle-values.js';
import { hostileHint, isRefusedGlobal } from './refused-globals.js';
import { callGlobal, storageFromId } from './torch-globals.js';

/** Limits that no weight file comes near. */
export const pickleLimits = {
  /** Bytes of one pickle. */
  bytes: 64 * 2 ** 20,
  /** Instructions. A tensor takes some 30 of them. */
  instructions: 5_000_000,
  stack: 1_000_000,
  memo: 1_000_000,
  /** Classes and functions that are named, each time. */
  globals: 200_000,
  /** Lists, tuples, dictionaries and objects. */
  containers: 600_000,
  /** Elements of all of them together. */
  items: 4_000_000,
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
const noItems: readonly PickleValue[] = [];

/**
 * Reads one pickle.
 *
 * @param bytes - contains the pickle. Borrowed.
 * @param start - where it begins.
 * @param path - for messages.
 * @throws PickleCutOff if the bytes end before it does.
 * @throws WeightError if it is damaged, beyond the limits, or names what only a program would.
 */
export function readPickle(bytes: Uint8Array, start = 0, path?: string): PickleResult {
  const input = new PickleInput(bytes, start, pickleLimits.bytes, path);
  const { refuse } = input;
  const stack: StackItem[] = [];
  const memo: PickleValue[] = [];
  const storages = new Map<string, StorageReference>();
  let numRemembered = 0;
  let numGlobals = 0;
  let numContainers = 0;
  let numItems = 0;

  function push(value: StackItem): void {
    if (stack.length >= pickleLimits.stack) throw refuse(`has more than ${pickleLimits.stack} values on its stack`);
    stack.push(value);
  }
  function pop(): PickleValue {
    const value = stack.pop();
    if (value === undefined || value === mark) throw refuse('takes a value that is not there');
    return value;
  }
  function top(): PickleValue {
    const value = stack[stack.length - 1];
    if (value === undefined || value === mark) throw refuse('takes a value that is not there');
    return value;
  }
  function popToMark(): PickleValue[] {
    const at = stack.lastIndexOf(mark);
    if (at < 0) throw refuse('has no mark where one is needed');
    const items = stack.slice(at + 1) as PickleValue[];
    stack.length = at;
    return items;
  }
  function countContainer(): void {
    if (++numContainers > pickleLimits.containers)
      throw refuse(`holds more than ${pickleLimits.containers} lists, tuples and dictionaries`);
  }
  function countItems(count: number): void {
    numItems += count;
    if (numItems > pickleLimits.items) throw refuse(`holds more than ${pickleLimits.items} items`);
  }
  function tuple(items: readonly PickleValue[]): void {
    countContainer();
    countItems(items.length);
    push(new PickleTuple(items));
  }
  function list(items: readonly PickleValue[]): void {
    countContainer();
    const made = new PickleList();
    push(made);
    append(items);
  }
  function append(items: readonly PickleValue[]): void {
    const target = top();
    countItems(items.length);
    if (target instanceof PickleOpaque) return;
    if (!(target instanceof PickleList)) throw refuse('appends to something that is no list');
    target.append(items);
  }
  function dict(items: readonly PickleValue[]): void {
    countContainer();
    push(new PickleDict());
    setItems(items);
  }
  function setItems(items: readonly PickleValue[]): void {
    const target = top();
    if (!(target instanceof PickleDict || target instanceof PickleOpaque))
      throw refuse('sets an item of something that is no dictionary');
    if (items.length % 2 !== 0) throw refuse('has a key without a value');
    countItems(items.length);
    for (let i = 0; i < items.length; i += 2)
      if (target instanceof PickleDict) target.set(items[i]!, items[i + 1]!);
      else target.setItem(items[i]!, items[i + 1]!);
  }
  function remember(index: number): void {
    if (index >= pickleLimits.memo) throw refuse(`remembers more than ${pickleLimits.memo} values`);
    memo[index] = top();
    numRemembered = Math.max(numRemembered, index + 1);
  }
  function recall(index: number): void {
    const value = memo[index];
    if (value === undefined) throw refuse(`recalls value ${index}, which was not remembered`);
    push(value);
  }
  function global(module: PickleValue, name: PickleValue): PickleGlobal {
    if (typeof module !== 'string' || typeof name !== 'string') throw refuse('has a global whose name is no text');
    if (++numGlobals > pickleLimits.globals) throw refuse(`names more than ${pickleLimits.globals} globals`);
    const named = new PickleGlobal(module, name);
    if (isRefusedGlobal(named)) throw refuse(`names ${escapeText(String(named), 80)}, which is refused`, hostileHint);
    return named;
  }
  /** What `target(...items)` would make. */
  function call(target: PickleValue, items: readonly PickleValue[]): void {
    countContainer();
    push(callGlobal(target, items, { refuse, countItems }));
  }
  function itemsOf(value: PickleValue, target: PickleValue): readonly PickleValue[] {
    if (!(value instanceof PickleTuple)) throw refuse(`calls ${escapeText(String(target), 80)} without a tuple`);
    return value.items;
  }

  for (let instructions = 0; ; instructions++) {
    if (instructions > pickleLimits.instructions)
      throw refuse(`has more than ${pickleLimits.instructions} instructions`);
    const opcode = String.fromCharCode(input.uint8());
    switch (opcode) {
      case '\x80': {
        const protocol = input.uint8();
        if (protocol > 5) throw refuse(`is of protocol ${protocol}; 0 to 5 are known`);
        break;
      }
      case '\x95': // FRAME: only groups bytes
        input.expect(input.length64());
        break;
      case '.': {
        const value = pop();
        if (stack.length > 0) throw refuse('ends with values left over');
        return { value, end: input.position, storages };
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
        push(input.int32());
        break;
      case 'K':
        push(input.uint8());
        break;
      case 'M':
        push(input.uint16());
        break;
      case '\x8a':
        push(input.long(input.uint8()));
        break;
      case '\x8b':
        push(input.long(input.uint32()));
        break;
      case 'I': {
        const digits = input.line();
        push(digits === '00' ? false : digits === '01' ? true : input.decimal(digits));
        break;
      }
      case 'L':
        push(input.decimal(input.line().replace(/L$/, '')));
        break;
      case 'G':
        push(input.float64());
        break;
      case 'F':
        push(input.float());
        break;
      case 'X':
      case 'T': // Python 2 strings, which torch's own files hold for names
        push(input.text(input.uint32()));
        break;
      case '\x8c':
      case 'U':
        push(input.text(input.uint8()));
        break;
      case '\x8d':
        push(input.text(input.length64()));
        break;
      case 'V':
        push(input.line());
        break;
      case 'B':
        push(input.block(input.uint32()));
        break;
      case 'C':
        push(input.block(input.uint8()));
        break;
      case '\x8e':
      case '\x96':
        push(input.block(input.length64()));
        break;
      case ')':
        tuple(noItems);
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
        list(noItems);
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
        dict(noItems);
        break;
      case 'd':
        dict(popToMark());
        break;
      case 's': {
        const value = pop();
        setItems([pop(), value]);
        break;
      }
      case 'u':
        setItems(popToMark());
        break;
      case 'p':
        remember(input.index());
        break;
      case 'q':
        remember(input.uint8());
        break;
      case 'r':
        remember(input.uint32());
        break;
      case '\x94':
        remember(numRemembered);
        break;
      case 'g':
        recall(input.index());
        break;
      case 'h':
        recall(input.uint8());
        break;
      case 'j':
        recall(input.uint32());
        break;
      case 'c': {
        const module = input.line();
        push(global(module, input.line()));
        break;
      }
      case '\x93': {
        const name = pop();
        push(global(pop(), name));
        break;
      }
      case 'R': // REDUCE: a function, or (NEWOBJ) a class
      case '\x81': {
        const given = pop();
        const target = pop();
        call(target, itemsOf(given, target));
        break;
      }
      case '\x92': {
        pop(); // keyword arguments
        const given = pop();
        const target = pop();
        call(target, itemsOf(given, target));
        break;
      }
      case 'i': {
        const module = input.line();
        const target = global(module, input.line());
        call(target, popToMark());
        break;
      }
      case 'o': {
        const [target, ...items] = popToMark();
        if (target === undefined) throw refuse('makes an object of no class');
        call(target, items);
        break;
      }
      case 'b': {
        // Attributes (a state dict's version metadata, a parameter's hooks, an object's state) are of no use here.
        pop();
        const target = top();
        const mayHaveState = [PickleDict, PickleOpaque, TensorReference].some((kind) => target instanceof kind);
        if (!mayHaveState) throw refuse('sets the state of something that has none');
        break;
      }
      case 'Q': {
        const storage = storageFromId(pop(), refuse);
        const known = storages.get(storage.key);
        if (known && (known.dtype !== storage.dtype || known.numElements !== storage.numElements))
          throw refuse(`names the storage "${escapeText(storage.key, 40)}" twice, differently`);
        if (!known) storages.set(storage.key, storage);
        push(storage);
        break;
      }
      default: {
        const name = opcodeNames[opcode];
        if (name === undefined) throw refuse(`has the unknown opcode 0x${opcode.charCodeAt(0).toString(16)}`);
        throw refuse(`asks to ${refusedOpcodes[opcode]} (${name}), which is refused`, hostileHint);
      }
    }
  }
}
