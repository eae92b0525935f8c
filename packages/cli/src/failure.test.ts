import { CheckpointError, DimoError, NonFiniteError, OptionError } from '@dimo/core';
import { describe, expect, it } from 'vitest';
import { describeFailure, exitCodeOf, withExitCode } from './failure.js';

describe('exit codes', () => {
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
