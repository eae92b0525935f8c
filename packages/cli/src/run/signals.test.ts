import { afterEach, describe, expect, it, vi } from 'vitest';
import { listenForStop, type StopRequests } from './signals.js';

let requests: StopRequests | undefined;
afterEach(() => {
  requests?.dispose();
  vi.restoreAllMocks();
});

describe('listenForStop', () => {
  it('the first signal asks to stop; a second SIGINT within five seconds ends, a later one does not', () => {
    vi.spyOn(process.stderr, 'write').mockReturnValue(true);
    let now = 0;
    const ended: number[] = [];
    requests = listenForStop(
      () => now,
      (code) => ended.push(code),
    );
    expect(requests.signal.aborted).toBe(false);
    process.emit('SIGINT', 'SIGINT');
    expect([requests.signal.aborted, requests.received()]).toEqual([true, 'SIGINT']);
    now = 6000;
    process.emit('SIGINT', 'SIGINT');
    expect(ended).toEqual([]);
    now = 10_000;
    process.emit('SIGINT', 'SIGINT');
    expect(ended).toEqual([130]);
  });

  it('a second SIGTERM keeps waiting for the save', () => {
    vi.spyOn(process.stderr, 'write').mockReturnValue(true);
    const ended: number[] = [];
    requests = listenForStop(
      () => 0,
      (code) => ended.push(code),
    );
    process.emit('SIGTERM', 'SIGTERM');
    process.emit('SIGTERM', 'SIGTERM');
    expect([requests.received(), ended]).toEqual(['SIGTERM', []]);
  });

  it('gives the signals back', () => {
    const before = process.listenerCount('SIGUSR1');
    requests = listenForStop();
    expect(process.listenerCount('SIGUSR1')).toBe(before + 1);
    requests.dispose();
    expect(process.listenerCount('SIGUSR1')).toBe(before);
  });
});
