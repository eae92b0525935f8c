/**
 * Random graphs from lists of numbers: each list is a step that takes a tensor of those made so far and adds to them.
 * What is known of a tensor's numbers is how many bits they need, so that what may be rounded goes into nothing that
 * could jump.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { PureFunction, TensorTree } from '@dimo/core';

/** A tensor of the graph with what is known of its numbers. */
interface Node {
  readonly tensor: tf.Tensor;
  /** Significant bits that its numbers may need; beyond 22 they may be rounded. */
  readonly bits: number;
}

/** Choices of one step: each call takes the next number, cyclic. */
type Choose = (below: number) => number;

const rounded = 22;
const isExact = ({ bits }: Node) => bits <= rounded;
const isFloat = ({ tensor }: Node) => tensor.dtype === 'float32';
const isSmall = ({ tensor }: Node) => tensor.size <= 400;
const isFull = ({ tensor }: Node) => tensor.size > 0;
const log2 = (size: number) => Math.ceil(Math.log2(Math.max(1, size)));

/** Constants that folding and casting must not change. */
const numbers = [0.5, -0.5, 1, -1, 0, 1.5, 2, -2.5, 4, 2.5, -1.75];

function constantLike({ tensor }: Node, choose: Choose): Node {
  const { dtype, shape } = tensor;
  const number = numbers[choose(numbers.length)]!;
  const value = dtype === 'float32' ? number : dtype === 'bool' ? Number(number > 0) : Math.trunc(number);
  // A scalar, a vector along any axis, a full one, or one literal that is not all equal.
  const forms = [
    () => tf.fill([], value, dtype as 'float32'),
    () => tf.fill(oneLongAxis(shape, choose), value, dtype as 'float32'),
    () => tf.fill(shape, value, dtype as 'float32'),
    () => {
      const form = oneLongAxis(shape, choose);
      const data = Array.from({ length: tf.util.sizeFromShape(form) }, (_, i) => (i % 2 === 0 ? value : value + 1));
      return tf.tensor(dtype === 'bool' ? data.map((x) => x % 2) : data, form, dtype as 'float32');
    },
  ];
  return { tensor: forms[choose(forms.length)]!(), bits: 5 };
}

/** The shape with all axes but one of length 1, sometimes without its leading ones. */
function oneLongAxis(shape: readonly number[], choose: Choose): number[] {
  const kept = choose(shape.length + 1);
  const long = shape.map((length, axis) => (axis === kept ? length : 1));
  return long.slice(choose(2) === 0 ? 0 : Math.min(kept, shape.length));
}

function broadcasts(a: readonly number[], b: readonly number[]): boolean {
  return Array.from({ length: Math.min(a.length, b.length) }, (_, i) => [a.at(-1 - i)!, b.at(-1 - i)!]).every(
    ([x, y]) => x === y || x === 1 || y === 1,
  );
}

/** Another tensor of the pool that broadcasts with this one, or a constant. */
function partnerOf(node: Node, pool: readonly Node[], choose: Choose): Node {
  const { dtype, shape } = node.tensor;
  const fitting = pool.filter(({ tensor }) => tensor.dtype === dtype && broadcasts(tensor.shape, shape));
  return choose(3) === 0 ? constantLike(node, choose) : (fitting[choose(fitting.length)] ?? constantLike(node, choose));
}

const axisOf = ({ tensor }: Node, choose: Choose) => choose(2 * tensor.rank) - tensor.rank;
const positive = (axis: number, rank: number) => (axis < 0 ? axis + rank : axis);

/** A step takes a tensor, the pool and choices; undefined where it does not apply. */
type Step = (node: Node, choose: Choose, pool: readonly Node[]) => Node | Node[] | undefined;

const arithmetic: Step = (node, choose, pool) => {
  if (node.tensor.dtype === 'bool') return undefined;
  const other = partnerOf(node, pool, choose);
  const [a, b] = choose(2) === 0 ? [node, other] : [other, node];
  const sum = Math.max(a.bits, b.bits) + 1;
  switch (choose(7)) {
    case 0:
      return { tensor: tf.add(a.tensor, b.tensor), bits: sum };
    case 1:
      return { tensor: tf.sub(a.tensor, b.tensor), bits: sum };
    case 2:
      return a.bits + b.bits > rounded ? undefined : { tensor: tf.mul(a.tensor, b.tensor), bits: a.bits + b.bits };
    case 3:
      return { tensor: tf.maximum(a.tensor, b.tensor), bits: sum - 1 };
    case 4:
      return { tensor: tf.minimum(a.tensor, b.tensor), bits: sum - 1 };
    case 5:
      // Not by zero: the sign of one is no promise of either side.
      return isFloat(node) ? { tensor: tf.div(a.tensor, tf.add(tf.abs(b.tensor), 0.75)), bits: 99 } : undefined;
    default: {
      if (isFloat(node)) return undefined;
      const divisor = tf.scalar([1, 2, 3, -2, 7][choose(5)]!, 'int32');
      return { tensor: choose(2) ? tf.mod(a.tensor, divisor) : tf.floorDiv(a.tensor, divisor), bits: a.bits };
    }
  }
};

const comparison: Step = (node, choose, pool) => {
  const other = partnerOf(node, pool, choose);
  if (!isExact(node) || !isExact(other)) return undefined;
  const compare = [tf.less, tf.lessEqual, tf.greater, tf.greaterEqual, tf.equal, tf.notEqual][choose(6)]!;
  return { tensor: compare(node.tensor, other.tensor), bits: 1 };
};

const logic: Step = (node, choose, pool) => {
  if (node.tensor.dtype !== 'bool') return undefined;
  const other = partnerOf(node, pool, choose);
  const combine = [tf.logicalAnd, tf.logicalOr][choose(2)]!;
  return { tensor: choose(3) === 0 ? tf.logicalNot(node.tensor) : combine(node.tensor, other.tensor), bits: 1 };
};

const selection: Step = (node, choose, pool) => {
  const conditions = pool.filter(
    ({ tensor }) => tensor.dtype === 'bool' && broadcasts(tensor.shape, node.tensor.shape),
  );
  const condition = conditions[choose(conditions.length + 1)] ?? {
    tensor: tf.fill([], choose(2), 'bool'),
  };
  const shape = tf.broadcast_util.assertAndGetBroadcastShape(condition.tensor.shape, node.tensor.shape);
  const others = pool.filter(({ tensor }) => tensor.dtype === node.tensor.dtype && broadcasts(tensor.shape, shape));
  const other = others[choose(others.length + 1)] ?? constantLike(node, choose);
  return {
    tensor: tf.where(condition.tensor, node.tensor, other.tensor),
    bits: Math.max(node.bits, other.bits),
  };
};

const unary: Step = (node, choose) => {
  if (!isFloat(node)) return undefined;
  const smooth = [tf.neg, tf.abs, tf.relu, (x: tf.Tensor) => tf.clipByValue(x, -2, 1.5)];
  const jumps = [tf.floor, tf.ceil, tf.round, tf.sign];
  const all = isExact(node) ? [...smooth, ...jumps] : smooth;
  return { tensor: all[choose(all.length)]!(node.tensor), bits: node.bits };
};

const cast: Step = (node, choose) => {
  if (!isExact(node)) return undefined;
  const types = ['float32', 'int32', 'bool'] as const;
  const through = [types[choose(3)]!, types[choose(3)]!].slice(choose(2));
  let { tensor } = node;
  for (const type of through) tensor = tf.cast(tensor, type);
  return { tensor, bits: node.bits };
};

const reduction: Step = (node, choose) => {
  if (!isFull(node)) return undefined;
  const { rank, shape, dtype } = node.tensor;
  const chosen = Array.from({ length: rank }, (_, axis) => axis).filter(() => choose(2) === 0);
  const axes = choose(4) === 0 ? undefined : chosen.map((axis) => (choose(2) ? axis : axis - rank));
  const keepDims = choose(2) === 0;
  const count = tf.util.sizeFromShape((axes ?? shape.map((_, i) => i)).map((a) => shape[positive(a, rank)]!));
  if (dtype === 'bool') {
    // tfjs takes no empty list of axes here.
    const given = axes?.length === 0 ? undefined : axes;
    return { tensor: [tf.any, tf.all][choose(2)]!(node.tensor, given, keepDims), bits: 1 };
  }
  switch (choose(5)) {
    case 0:
      return isExact(node) || isFloat(node)
        ? { tensor: tf.sum(node.tensor, axes, keepDims), bits: node.bits + log2(count) }
        : undefined;
    case 1:
      return isFloat(node) ? { tensor: tf.mean(node.tensor, axes, keepDims), bits: 99 } : undefined;
    case 2:
      return { tensor: tf.max(node.tensor, axes, keepDims), bits: node.bits };
    case 3:
      return { tensor: tf.min(node.tensor, axes, keepDims), bits: node.bits };
    default:
      return node.bits * count > rounded
        ? undefined
        : { tensor: tf.prod(node.tensor, axes, keepDims), bits: node.bits * count };
  }
};

const extremum: Step = (node, choose) => {
  const { rank, dtype } = node.tensor;
  if (rank === 0 || !isFull(node) || !isExact(node) || dtype === 'bool') return undefined;
  const find = [tf.argMax, tf.argMin][choose(2)]!;
  return { tensor: find(node.tensor, axisOf(node, choose)), bits: 6 };
};

const best: Step = (node, choose) => {
  const { rank, shape, dtype } = node.tensor;
  if (rank === 0 || !isFull(node) || !isExact(node) || dtype !== 'float32') return undefined;
  const { values, indices } = tf.topk(node.tensor, 1 + choose(shape[rank - 1]!), true);
  return [
    { tensor: values, bits: node.bits },
    { tensor: indices, bits: 6 },
  ];
};

const running: Step = (node, choose) => {
  const { rank, shape, dtype } = node.tensor;
  if (rank === 0 || !isFull(node) || !isExact(node) || dtype === 'bool') return undefined;
  const axis = choose(rank);
  return {
    tensor: tf.cumsum(node.tensor, axis, choose(2) === 0, choose(2) === 0),
    bits: node.bits + log2(shape[axis]!),
  };
};

const layout: Step = (node, choose) => {
  const { tensor, bits } = node;
  const { rank, shape, size } = tensor;
  switch (choose(6)) {
    case 0: {
      const axes = shape.map((_, axis) => axis);
      for (let i = rank - 1; i > 0; i--) {
        const j = choose(i + 1);
        [axes[i], axes[j]] = [axes[j]!, axes[i]!];
      }
      return { tensor: tf.transpose(tensor, axes), bits };
    }
    case 1: {
      // Factors of the size in another order.
      const factors: number[] = [];
      for (let rest = size, factor = 2; rest > 1;)
        if (rest % factor === 0) {
          factors.push(factor);
          rest /= factor;
        } else factor++;
      const target = size === 0 ? [0, 3] : [1];
      if (size > 0)
        for (const factor of factors) {
          if (choose(2) === 0 && target.length < 5) target.push(factor);
          else target[target.length - 1]! *= factor;
        }
      return { tensor: tf.reshape(tensor, target), bits };
    }
    case 2:
      return rank > 4 ? undefined : { tensor: tf.expandDims(tensor, choose(2 * rank + 2) - rank - 1), bits };
    case 3:
      return { tensor: tf.squeeze(tensor), bits };
    case 4: {
      if (rank > 4 || size === 0) return undefined;
      const larger = [...(choose(2) ? [2] : []), ...shape.map((length) => (length === 1 ? 1 + choose(3) : length))];
      return { tensor: tf.broadcastTo(tensor, larger), bits };
    }
    default:
      return rank === 0 || !isFull(node) ? undefined : { tensor: tf.reverse(tensor, axisOf(node, choose)), bits };
  }
};

const part: Step = (node, choose) => {
  const { tensor, bits } = node;
  const { rank, shape } = tensor;
  if (rank === 0 || !isFull(node)) return undefined;
  const axis = axisOf(node, choose);
  const length = shape[positive(axis, rank)]!;
  switch (choose(6)) {
    case 0: {
      const begin = shape.map((side) => choose(side));
      return {
        tensor: tf.slice(
          tensor,
          begin,
          shape.map((side, i) => 1 + choose(side - begin[i]!)),
        ),
        bits,
      };
    }
    case 1:
      return length < 2 ? undefined : tf.split(tensor, [1, length - 1], axis).map((piece) => ({ tensor: piece, bits }));
    case 2:
      return tf.unstack(tensor, axis).map((piece) => ({ tensor: piece, bits }));
    case 3: {
      const indices = tf.tensor1d([choose(length), choose(length), choose(length)], 'int32');
      return { tensor: tf.gather(tensor, indices, axis), bits };
    }
    case 4: {
      if (tensor.dtype === 'bool') return undefined;
      const paddings = shape.map(() => [choose(2), choose(3)] as [number, number]);
      return { tensor: tf.pad(tensor, paddings, numbers[choose(3) + 2]), bits: bits + 1 };
    }
    default: {
      const strides = shape.map(() => 1 + choose(2));
      return {
        tensor: tf.stridedSlice(
          tensor,
          shape.map(() => 0),
          [...shape],
          strides,
        ),
        bits,
      };
    }
  }
};

const join: Step = (node, choose, pool) => {
  const { tensor, bits } = node;
  const { rank, shape, dtype } = tensor;
  const alike = pool.filter(
    (other) => other.tensor.dtype === dtype && tf.util.arraysEqual(other.tensor.shape, [...shape]),
  );
  const other = alike[choose(alike.length)]!;
  const both = Math.max(bits, other.bits);
  switch (choose(3)) {
    case 0:
      return rank > 4 ? undefined : { tensor: tf.stack([tensor, other.tensor], choose(rank + 1)), bits: both };
    case 1:
      return rank === 0
        ? undefined
        : {
            tensor: tf.tile(
              tensor,
              shape.map(() => 1 + choose(2)),
            ),
            bits,
          };
    default:
      return rank === 0
        ? undefined
        : {
            tensor: tf.concat([tensor, other.tensor, ...(choose(2) ? [tensor] : [])], axisOf(node, choose)),
            bits: both,
          };
  }
};

const product: Step = (node, choose, pool) => {
  const { tensor, bits } = node;
  const { rank, shape } = tensor;
  if (rank < 2 || rank > 4 || !isFloat(node) || !isFull(node) || 2 * bits + 6 > rounded) return undefined;
  // With itself transposed, or with the transposed of a view of itself: square, so that a wrong axis has a fitting shape.
  const swapped = tf.transpose(tensor, [...shape.map((_, axis) => axis).slice(0, -2), rank - 1, rank - 2]);
  const result = [
    () => tf.matMul(tensor, tensor, false, true),
    () => tf.matMul(tensor, tensor, true, false),
    () => tf.matMul(tensor, swapped),
    () => tf.matMul(swapped, tensor),
    () => tf.matMul(swapped, swapped, false, true),
  ][choose(5)]!();
  const made: Node = { tensor: result, bits: 2 * bits + 6 };
  const bias = partnerOf(made, pool, choose);
  return [made, { tensor: choose(2) ? tf.add(result, bias.tensor) : tf.sub(result, bias.tensor), bits: made.bits + 1 }];
};

const choice: Step = (node, choose) => {
  const { tensor, bits } = node;
  if (tensor.dtype !== 'int32' || tensor.rank > 4 || bits > rounded) return undefined;
  const [on, off] = [
    [1, 0],
    [1, 0.5],
    [2, -1],
  ][choose(3)]!;
  return { tensor: tf.oneHot(tensor, 3, on, off), bits: 5 };
};

const steps: readonly Step[] = [
  arithmetic,
  arithmetic,
  arithmetic,
  comparison,
  logic,
  selection,
  unary,
  cast,
  cast,
  reduction,
  reduction,
  extremum,
  best,
  running,
  layout,
  layout,
  layout,
  part,
  part,
  join,
  product,
  choice,
];

/** The graph that the choices stand for: every tensor that was made is an output. */
export function graphOf(choices: readonly (readonly number[])[]): PureFunction {
  return (_, inputs) => {
    const pool: Node[] = Object.values(inputs).map((tensor) => ({ tensor, bits: 6 }));
    const outputs: TensorTree = {};
    choices.forEach((given, index) => {
      let next = 0;
      const choose: Choose = (below) => (below <= 0 ? 0 : given[next++ % given.length]! % below);
      const node = pool[choose(pool.length)]!;
      const step = steps[choose(steps.length)]!;
      [step(node, choose, pool) ?? []].flat().forEach((made, i) => {
        if (!isSmall(made)) return;
        pool.push(made);
        outputs[`${index}.${i}`] = made.tensor;
      });
    });
    return { outputs: Object.keys(outputs).length > 0 ? outputs : { x: pool[0]!.tensor } };
  };
}
