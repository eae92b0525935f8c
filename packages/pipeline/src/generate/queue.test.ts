import { int32 } from '@dimo/core';
import { describe, expect, it } from 'vitest';
import { createQueue, filledBatchSize, type Batch, type Job } from './queue.js';

function job(key: string, seed: number, count: number, signal?: AbortSignal): Job<string> & { readonly got: string[] } {
  const got: string[] = [];
  return {
    key,
    got,
    samples: Array.from({ length: count }, (_, index) => ({ seed, index })),
    condition: { label: int32([count], new Array<number>(count).fill(seed)) },
    signal,
    deliver: (result) => got.push(result),
  };
}

/** A queue whose pictures say which sample they are, and the batches that it drew. */
function recordingQueue(maximum: number, before: (batch: Batch) => Promise<void> = () => Promise.resolve()) {
  const batches: { readonly key: string; readonly size: number; readonly labels: readonly number[] }[] = [];
  const queue = createQueue<Job<string>, string>(maximum, async (batch, { key }) => {
    batches.push({ key, size: batch.batchSize, labels: [...batch.condition['label']!.data].map(Number) });
    await before(batch);
    return batch.samples.map(({ seed, index }) => `${seed}/${index}`);
  });
  return { queue, batches };
}

describe('the queue', () => {
  it('fills batches up to powers of two', () => {
    expect([1, 2, 3, 4, 5, 8].map((count) => filledBatchSize(count, 8))).toEqual([1, 2, 4, 4, 8, 8]);
  });

  it('draws requests of one kind together, each row with its own condition, and those of two kinds in turns', async () => {
    const { queue, batches } = recordingQueue(4);
    const [long, other, short] = [job('a', 1, 7), job('b', 2, 2), job('a', 3, 1)];
    await Promise.all([queue.run(long), queue.run(other), queue.run(short)]);
    expect(batches).toEqual([
      { key: 'a', size: 4, labels: [1, 1, 1, 1] },
      { key: 'b', size: 2, labels: [2, 2] },
      { key: 'a', size: 4, labels: [3, 1, 1, 1] },
    ]);
    expect(long.got).toEqual(['1/0', '1/1', '1/2', '1/3', '1/4', '1/5', '1/6']);
    expect([other.got, short.got]).toEqual([['2/0', '2/1'], ['3/0']]);
  });

  it('stops one request without the others of its batch, and the batch when nobody wants it', async () => {
    const stop = new AbortController();
    const { queue, batches } = recordingQueue(8, async ({ signal }) => {
      stop.abort();
      expect(signal.aborted).toBe(batches.length > 1);
      if (signal.aborted) throw new Error('stopped in the middle');
    });
    const [stopped, kept] = [job('a', 1, 2, stop.signal), job('a', 2, 1)];
    const results = await Promise.allSettled([queue.run(stopped), queue.run(kept)]);
    expect(results[0]).toMatchObject({ status: 'rejected', reason: { code: 'cancelled' } });
    expect(results[1]!.status).toBe('fulfilled');
    expect([stopped.got, kept.got]).toEqual([[], ['2/0']]);
    await expect(queue.run(job('a', 3, 1, stop.signal))).rejects.toMatchObject({ code: 'cancelled' });
    expect(batches).toHaveLength(1);
  });

  it('ends a request whose own callback throws, and no other', async () => {
    const { queue, batches } = recordingQueue(8, ({ onStep }) => onStep({ step: 1, numSteps: 1 }));
    const fail = (): never => {
      throw new Error('no page');
    };
    const jobs = [{ ...job('a', 1, 1), onStep: fail }, job('a', 3, 1), { ...job('a', 2, 9), deliver: fail }];
    const results = await Promise.allSettled(jobs.map((one) => queue.run(one)));
    expect(results.map(({ status }) => status)).toEqual(['rejected', 'fulfilled', 'rejected']);
    expect(jobs[1]!.got).toEqual(['3/0']);
    await queue.idle();
    // What the last still wanted is not drawn.
    expect(batches.flatMap(({ labels }) => labels)).toEqual([1, 3, 2, 2, 2, 2, 2, 2]);
  });

  it('tells a request at once that it was stopped, though another is being drawn', async () => {
    let release = (): void => undefined;
    const { queue, batches } = recordingQueue(2, () => new Promise((resolve) => (release = resolve)));
    const stop = new AbortController();
    const running = queue.run(job('a', 1, 1));
    const queued = queue.run(job('b', 2, 1, stop.signal));
    await expect.poll(() => batches.length).toBe(1);
    stop.abort();
    await expect(queued).rejects.toMatchObject({ code: 'cancelled' });
    release();
    await running;
    await queue.idle();
    expect(batches).toHaveLength(1);
  });

  it('tells a failure to those of the batch alone, and goes on', async () => {
    const { queue } = recordingQueue(2, ({ condition }) =>
      condition['label']!.data[0] === 1 ? Promise.reject(new Error('out of memory')) : Promise.resolve(),
    );
    const results = await Promise.allSettled([queue.run(job('a', 1, 3)), queue.run(job('b', 2, 1))]);
    expect(results.map(({ status }) => status)).toEqual(['rejected', 'fulfilled']);
    await queue.idle();
    await queue.run(job('a', 2, 1));
  });
});
