/**
 * The random numbers a second time, for tests: Philox-4x32-10 as the paper writes it, in BigInt, and the transforms in
 * float64 with the language's own functions. Nothing is shared with random.ts.
 */

const wordMask = 0xffffffffn;

/** Word `index` of the stream (seed, step, name). */
function wordAt(seed: number, step: number, name: string, index: number): number {
  let streamHash = 0x811c9dc5n;
  for (const character of name) streamHash = ((streamHash ^ BigInt(character.charCodeAt(0))) * 0x01000193n) & wordMask;
  const block = BigInt(Math.floor(index / 4));
  let counter = [block & wordMask, block >> 32n, BigInt(step), streamHash] as [bigint, bigint, bigint, bigint];
  let [key0, key1] = [BigInt(seed) & wordMask, BigInt(seed) >> 32n];
  for (let round = 0; round < 10; round++) {
    const [a, b] = [0xd2511f53n * counter[0], 0xcd9e8d57n * counter[2]];
    counter = [(b >> 32n) ^ counter[1] ^ key0, b & wordMask, (a >> 32n) ^ counter[3] ^ key1, a & wordMask];
    key0 = (key0 + 0x9e3779b9n) & wordMask;
    key1 = (key1 + 0xbb67ae85n) & wordMask;
  }
  return Number(counter[index % 4]);
}

/** The numbers of one stream, each call from its beginning. */
export function referenceStream(seed: number, step: number, name: string) {
  const words = (count: number) => Array.from({ length: count }, (_, i) => wordAt(seed, step, name, i));
  const uniform = (count: number) => words(count).map((word) => Math.floor(word / 256) / 2 ** 24);
  return {
    uniform,
    /** Within 1e-7 of the float32 numbers. */
    normal: (count: number) => {
      const drawn = words(count + (count % 2));
      return Array.from({ length: count }, (_, i) => {
        const [first, second] = [drawn[i - (i % 2)]!, drawn[i - (i % 2) + 1]!];
        const angle = (2 * Math.PI * second) / 2 ** 32;
        return Math.sqrt(-2 * Math.log((first + 1) / 2 ** 32)) * (i % 2 === 0 ? Math.cos(angle) : Math.sin(angle));
      });
    },
    integers: (count: number, below: number) => words(count).map((word) => Math.floor((word / 2 ** 32) * below)),
    /** Fisher and Yates from the end: element i changes places with one of 0 .. i. */
    permutation: (length: number) => {
      const drawn = words(Math.max(0, length - 1));
      const order = Array.from({ length }, (_, i) => i);
      for (let i = length - 1; i > 0; i--) {
        const j = Math.floor((drawn[length - 1 - i]! / 2 ** 32) * (i + 1));
        [order[i], order[j]] = [order[j]!, order[i]!];
      }
      return order;
    },
    /** Standard exponential from the middle of the uniform number's cell. */
    exponential: (count: number) => uniform(count).map((u) => -Math.log(u + 2 ** -25)),
    /** Standard Gumbel; a uniform number of 0 stands for the middle of its cell. */
    gumbel: (count: number) => uniform(count).map((u) => -Math.log(-Math.log(u === 0 ? 2 ** -25 : u))),
  };
}

/** Which positions the uniform numbers mask: those of which the rank of the number at the place that sorts there is below `count`. */
export function referenceMask(uniforms: readonly number[], count: number): boolean[] {
  const order = uniforms.map((_, i) => i).sort((i, j) => uniforms[i]! - uniforms[j]! || i - j);
  return order.map((position) => position < count);
}
