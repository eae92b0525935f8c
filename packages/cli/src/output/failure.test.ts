import { CheckpointError, DimoError, NonFiniteError, OptionError, type DimoErrorCode } from '@dimo/core';
import { describe, expect, it } from 'vitest';
import { describeFailure, exitCodeOf, withExitCode } from './failure.js';

/** Every code has one; `satisfies` says so when a code is added. */
const exitCodes = {
  option: 2,
  shape: 2,
  weights: 2,
  checkpoint: 2,
  'backend-unavailable': 2,
  device: 1,
  'non-finite': 1,
  io: 2,
  network: 1,
  locked: 75,
  plugin: 2,
  trace: 1,
  cancelled: 1,
  internal: 1,
} satisfies Record<DimoErrorCode, number>;

describe('exit codes', () => {
  it.each(Object.entries(exitCodes))('%s: %i', (code, expected) => {
    expect(exitCodeOf(new DimoError(code as DimoErrorCode, 'x'))).toBe(expected);
  });

  it.each([
    [new OptionError('x'), 2],
    [new CheckpointError('x'), 2],
    [new DimoError('io', 'x'), 2],
    [new DimoError('locked', 'x'), 75],
    [new NonFiniteError('x'), 1],
    [new DimoError('device', 'x'), 1],
    [new Error('x'), 1],
    [Object.assign(new Error('ENOENT'), { code: 'ENOENT', syscall: 'open' }), 2],
    [withExitCode(new DimoError('io', 'disk full'), 1), 1],
    ['text', 1],
  ])('%s: %i', (error, code) => {
    expect(exitCodeOf(error)).toBe(code);
  });

  it('messages: what, where, what to do', () => {
    const lines = describeFailure(new OptionError('seed must be 1', { path: 'a.yaml', hint: 'set it' })).join('\n');
    expect(lines).toContain('seed must be 1 (a.yaml)');
    expect(lines).toContain('set it');
    expect(describeFailure(new Error('boom')).join('\n')).toContain('--debug');
  });
});
