/** Ranks of a data-parallel run within this process. */
import type { RankExchange } from '../training/training.js';

/** Exchanges of `count` ranks that wait for each other. Sums are made in the order of the ranks, so all hold the same. */
export function localRanks(count: number): RankExchange[] {
  let waiting: { rank: number; values: Float32Array; resolve(sum: Float32Array): void }[] = [];
  const add = (rank: number, values: Float32Array): Promise<Float32Array> =>
    new Promise((resolve) => {
      waiting.push({ rank, values, resolve });
      if (waiting.length < count) return;
      const all = waiting.sort((a, b) => a.rank - b.rank);
      waiting = [];
      const sum = new Float32Array(values.length);
      for (const part of all) part.values.forEach((value, i) => (sum[i]! += value));
      for (const part of all) part.resolve(sum.slice());
    });
  return Array.from({ length: count }, (_, rank) => ({
    async addState(state, names) {
      const tensors = await state.download(names);
      for (const name of names) {
        const { dtype, shape, data } = tensors[name]!;
        await state.assign({ [name]: { dtype, shape, data: await add(rank, data as Float32Array) } });
      }
    },
    addNumbers: (values) => add(rank, values),
  }));
}
